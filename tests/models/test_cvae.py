import pytest
import torch
from torch import nn

from a2i_lib.models import CVAE, ShallowCVAE


@pytest.mark.parametrize("kind", [CVAE, ShallowCVAE])
def test_attributes_reach_posterior_and_image(kind):
    torch.manual_seed(0)
    model = kind(5, latent=8, width=0.25, size=32).eval()
    x, z = torch.rand(2, 3, 32, 32), torch.randn(2, 8)
    on, off = torch.ones(2, 5), -torch.ones(2, 5)
    assert not torch.allclose(model.posterior(x, on).mu, model.posterior(x, off).mu)
    assert not torch.allclose(model.decode(z, on), model.decode(z, off))
    out = model(x, on)
    assert out.x_hat.shape == x.shape and 0 <= out.x_hat.min() and out.x_hat.max() <= 1


def test_the_log_variance_sees_the_image_only():
    torch.manual_seed(0)
    model = CVAE(5, latent=8, width=0.125, size=32).eval()
    nn.init.normal_(model.log_var.weight)
    x = torch.rand(2, 3, 32, 32)
    a, b = model.posterior(x, torch.ones(2, 5)), model.posterior(x, -torch.ones(2, 5))
    assert torch.equal(a.log_var, b.log_var) and not torch.equal(a.mu, b.mu)


def test_the_papers_sizes():
    model = CVAE(73)
    assert model.latent == 256
    assert model.mu.in_features == 1024 + 192 and model.log_var.in_features == 1024


def test_the_shallow_variant_is_debbaghs():
    model = ShallowCVAE(4, size=64)
    kinds = [type(m) for m in model.encoder]
    assert kinds.count(nn.Conv2d) == 2 and kinds.count(nn.MaxPool2d) == 2
    decoder = [type(m) for m in model.decoder]
    assert decoder.count(nn.ConvTranspose2d) == 2 and decoder.count(nn.Linear) == 1
    assert isinstance(model.decoder[-1], nn.Sigmoid)
    assert model.encoder[0].in_channels == 3 + 4  # y is tiled over the image
    biases = [m.bias for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert all(not b.any() for b in biases)
    kl = model.posterior(torch.rand(2, 3, 64, 64), torch.ones(2, 4)).kl()
    assert bool(torch.isfinite(kl).all())
