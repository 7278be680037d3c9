"""The layered model: which latent can reach which layer, sizes, its bound, its gradients."""

import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from a2i_lib.data.dataset import AttributeImages, Batch, DataError
from a2i_lib.gaussians import DiagonalGaussian
from a2i_lib.models.discvae import DisCVAE, LayeredPass, Layers
from a2i_lib.objectives import layered_negative_elbo
from a2i_lib.recipes import get_recipe
from a2i_lib.training.updates import LayeredElboUpdate
from a2i_lib.worlds import get_world

SMALL = {"latent_f": 6, "latent_b": 4, "width": 0.125, "size": 32, "dropout": 0.0}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return DisCVAE(5, **SMALL)


def test_at_full_width_it_has_the_papers_sizes():
    with torch.device("meta"):
        full = DisCVAE(73)
    assert (full.latent_f, full.latent_b, full.latent) == (192, 64, 256)
    assert full.mu_f.weight.shape == (192, 1024 + 192)
    dense = [layer for layer in full.decoder_f.dense if isinstance(layer, torch.nn.Linear)]
    assert [layer.out_features for layer in dense] == [256, 8 * 8 * 256]
    assert full.decoder_f.stack[-1].weight.shape == (4, 64, 5, 5)  # foreground and gate
    assert full.decoder_b.stack[-1].weight.shape == (3, 32, 5, 5)
    assert full.encoder_b.features == 512


def test_each_latent_reaches_its_own_layers_only(model):
    z_f = torch.randn(2, 6, requires_grad=True)
    z_b = torch.randn(2, 4, requires_grad=True)
    y = torch.randn(2, 5, requires_grad=True)
    layers = model.decode_layers(torch.cat([z_f, z_b], 1), y)

    def reaches(layer):
        gradients = torch.autograd.grad(
            layer.sum(), (z_f, z_b, y), retain_graph=True, materialize_grads=True
        )
        return tuple(bool(g.abs().sum() > 0) for g in gradients)

    assert reaches(layers.x_f) == (True, False, True)
    assert reaches(layers.g) == (True, False, True)
    assert reaches(layers.x_b) == (False, True, False)
    torch.testing.assert_close(layers.x, layers.x_f + layers.g * layers.x_b)


def test_the_backgrounds_kl_reaches_the_foregrounds_encoder(model):
    """q(z_b | z_f, ...) sees z_f, so its KL has a gradient there; the published code lost it."""
    torch.nn.init.normal_(model.log_var_b.weight, std=0.1)
    x, y, mask = torch.rand(3, 3, 32, 32), torch.randn(3, 5), torch.ones(3, 1, 32, 32)
    made = model(x, y, mask)
    made.q_b.kl(made.p_b).sum().backward()
    assert float(model.encoder_f.stack[0].weight.grad.abs().sum()) > 0
    assert model.decoder_f.dense[0].weight.grad is None


def test_the_bound_term_by_term_against_torch_distributions():
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    x, mask = draw(2, 3, 4, 4), draw(2, 1, 4, 4).round()
    layers = Layers(draw(2, 3, 4, 4), draw(2, 1, 4, 4), draw(2, 3, 4, 4))
    q_f, q_b = (DiagonalGaussian(draw(2, d), draw(2, d)) for d in (3, 2))
    p_f, p_b = (DiagonalGaussian(draw(2, d), draw(2, d)) for d in (3, 2))
    loss = layered_negative_elbo(
        x, mask, LayeredPass(layers, q_f, q_b, p_f, p_b), sigma=0.3, gate_weight=0.7
    )

    def normal(d):
        return Normal(d.mu, d.sigma)

    recon = -Normal(layers.x, 0.3).log_prob(x).flatten(1).sum(1)
    recon_f = -Normal(layers.x_f, 0.3).log_prob(mask * x).flatten(1).sum(1)
    gate = -Bernoulli(layers.g).log_prob(1 - mask).flatten(1).sum(1)
    kl_f = kl_divergence(normal(q_f), normal(p_f)).sum(1)
    kl_b = kl_divergence(normal(q_b), normal(p_b)).sum(1)
    expected = {"recon": recon, "recon_f": recon_f, "gate": gate, "kl_f": kl_f, "kl_b": kl_b}
    for name, value in expected.items():
        torch.testing.assert_close(loss.terms[name].double(), value, rtol=1e-5, atol=1e-5)
    total = recon + recon_f + 0.7 * gate + kl_f + kl_b
    torch.testing.assert_close(loss.total.double(), total, rtol=1e-5, atol=1e-4)


def test_its_contract_is_that_of_every_model(model):
    y = torch.randn(3, 5)
    samples = model.eval().sample(y, 2, torch.Generator().manual_seed(0))
    assert samples.shape == (6, 3, 32, 32)
    assert 0 <= float(samples.min()) and float(samples.max()) <= 1
    x, mask = torch.rand(3, 3, 32, 32), torch.ones(3, 1, 32, 32)
    q = model.posterior(x, y, mask)
    assert q.mu.shape == (3, 10)
    with pytest.raises(ValueError, match="mask"):
        model.posterior(x, y)


def test_without_masks_it_says_what_is_missing():
    world = get_world("faces")
    data = AttributeImages.from_world(world, 20, 0, 32, progress=False)
    recipe = get_recipe("discvae-faces", "smoke", steps=1, batch_size=2)
    assert isinstance(recipe.build_update(data), LayeredElboUpdate)
    data.masks[[3, 7]] = 0
    with pytest.raises(DataError, match="2 images have an empty mask: rows 3, 7"):
        recipe.train(data, progress=False)
    data.masks = None
    with pytest.raises(DataError, match="there are none"):
        recipe.train(data, progress=False)
    get_recipe("cvae-faces", "smoke", steps=1, batch_size=2).train(data, progress=False)
    update = LayeredElboUpdate(recipe.build_model(33), sigma=0.2)
    with pytest.raises(ValueError, match="masks"):
        update.loss(Batch(torch.rand(2, 3, 32, 32), torch.zeros(2, 33)))
