"""CMMA and its CVAE: the paper's sizes, who sees y, the floor of the variance."""

import math

import pytest
import torch
from torch import nn

from a2i_lib.models import CMMA, MatchedCVAE
from a2i_lib.models.cmma import START_STD

SMALL = {"latent": 6, "width": 0.125, "size": 32}
KINDS = [CMMA, MatchedCVAE]


def small(kind, **settings):
    torch.manual_seed(0)
    return kind(5, **{**SMALL, **settings})


def data():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(4, 3, 32, 32, generator=generator)
    return x, torch.randn(4, 5, generator=generator).sign()


def reaches(result: torch.Tensor, *sources: torch.Tensor) -> list[bool]:
    gradients = torch.autograd.grad(
        result.sum(), sources, retain_graph=True, materialize_grads=True, allow_unused=True
    )
    return [bool(g.abs().sum() > 0) for g in gradients]


def test_the_papers_sizes():
    with torch.device("meta"):
        model = CMMA(73)
    f = [(m.in_features, m.out_features) for m in model.embed_prior if isinstance(m, nn.Linear)]
    assert f == [(73, 800)] and isinstance(model.embed_prior[1], nn.Softplus)
    assert model.prior_mu.weight.shape == model.prior_log_var.weight.shape == (500, 800)
    assert model.mu.weight.shape == model.log_var.weight.shape == (500, 4800)
    assert model.decoder.dense.weight.shape == (4800, 500)
    with torch.device("meta"):
        assert MatchedCVAE(73).decoder.dense.weight.shape == (4800, 500 + 73)


def test_but_for_y_in_the_decoder_both_have_the_same_networks():
    with torch.device("meta"):
        cmma, cvae = CMMA(73).state_dict(), MatchedCVAE(73).state_dict()
    own = {name for name in cmma if "prior" in name}
    assert cmma.keys() - own == cvae.keys()
    differ = {name for name in cvae if cvae[name].shape != cmma[name].shape}
    assert differ == {"decoder.dense.weight"}


@pytest.mark.parametrize("sees_y", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_where_y_enters(kind, sees_y):
    model = small(kind, sees_y=sees_y)
    for head in (model.log_var, *(m for n, m in model.named_modules() if n.startswith("prior_"))):
        nn.init.normal_(head.weight)
    x, y = data()
    y.requires_grad_()
    q, p, z = model.posterior(x, y), model.prior(y), torch.randn(4, 6)
    for part in (q.mu, q.log_var):
        assert not part.requires_grad or reaches(part, y) == [sees_y]
    mean, log_var = model.pixels(z, y)
    if kind is CMMA:
        assert reaches(p.mu, y) == reaches(p.log_var, y) == [True]
        assert reaches(mean, y) == reaches(log_var, y) == [False]
    else:
        assert not p.mu.any() and not p.log_var.any()
        assert reaches(mean, y) == reaches(log_var, y) == [True]


@pytest.mark.parametrize("kind", KINDS)
def test_the_contract_of_every_model(kind):
    model = small(kind).eval()
    x, y = data()
    made = model(x, y)
    assert made.x_hat.shape == made.log_var.shape == x.shape and made.z.shape == (4, 6)
    assert 0 <= float(made.x_hat.min()) and float(made.x_hat.max()) <= 1
    torch.testing.assert_close(model.decode(made.z, y), made.x_hat)
    torch.testing.assert_close(made.q.mu, model.encode(x, y))
    still = model.sample(y, 2, temperature=0)
    assert still.shape == (8, 3, 32, 32)
    expected = model.decode(model.prior(y).mu, y).repeat_interleave(2, 0)
    torch.testing.assert_close(still, expected)


def test_training_starts_from_the_standard_prior():
    model = small(CMMA)
    x, y = data()
    p = model.prior(y)
    assert not p.mu.any() and not p.log_var.any()
    std = model.pixels(model.posterior(x, y).mu, y)[1].mul(0.5).exp()
    assert float((std - START_STD).abs().max()) < 0.15


@pytest.mark.parametrize("min_std", [0.02, 0.2])
def test_no_variance_falls_below_its_floor(min_std):
    model = small(MatchedCVAE, min_std=min_std)
    y, z = data()[1], torch.randn(4, 6)
    last = model.decoder.stack[-1]
    with torch.no_grad():
        last.bias[3:] = -50.0
    log_var = model.pixels(z, y)[1]
    floor = 2 * math.log(min_std)
    torch.testing.assert_close(log_var, torch.full_like(log_var, floor))
    with torch.no_grad():
        last.bias[3:] = 2.0
        last.weight[3:] = 0.0
    variance = model.pixels(z, y)[1].exp()
    torch.testing.assert_close(variance, torch.full_like(variance, min_std**2 + math.exp(2)))


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="min_std must be positive"):
        CMMA(5, min_std=0.0)
    with pytest.raises(ValueError, match="multiple of 8 from 32"):
        CMMA(5, size=36)
    with pytest.raises(ValueError, match="multiple of 8 from 32"):
        MatchedCVAE(5, size=24)
