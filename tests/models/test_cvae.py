import pytest
import torch
from torch import nn

from a2i_lib.models import CVAE, ConditionalPriorCVAE, ShallowCVAE
from a2i_lib.models.cvae import convolve_tiled
from a2i_lib.objectives import weighted_loss


@pytest.mark.parametrize("kind", [CVAE, ShallowCVAE, ConditionalPriorCVAE])
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
    layers = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert all(not m.bias.any() for m in layers if m is not model.log_var)
    kl = model.posterior(torch.rand(2, 3, 64, 64), torch.ones(2, 4)).kl()
    assert bool(torch.isfinite(kl).all())


@pytest.mark.parametrize("shape", [(4, 4), (7, 12), (2, 3)])
def test_attributes_are_tiled_without_tiling(shape):
    """Against the plain way, in float64: edges and corners see a part of the tile only."""
    torch.manual_seed(0)
    layer = nn.Conv2d(3 + 5, 6, 3, padding=1).double()
    x, y = torch.rand(2, 3, *shape).double(), torch.randn(2, 5).double()
    plain = layer(torch.cat([x, y[:, :, None, None].expand(-1, -1, *shape)], 1))
    torch.testing.assert_close(convolve_tiled(layer, x, y), plain)


def test_the_conditional_prior_starts_standard_and_learns_from_y():
    torch.manual_seed(0)
    model = ConditionalPriorCVAE(4, latent=6, width=0.125, size=16)
    x, y = torch.rand(8, 3, 16, 16), torch.randn(8, 4).sign()
    start = model.prior(y)
    assert not start.mu.any() and not start.log_var.any()
    result = model(x, y)
    torch.testing.assert_close(result.q.kl(result.p), result.q.kl())
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        result = model(x, y)
        result.q.kl(result.p).mean().backward()
        optimizer.step()
    p = model.prior(y)
    assert not torch.allclose(p.mu[y[:, 0] > 0].mean(0), p.mu[y[:, 0] < 0].mean(0))
    assert model.sample(y, 2).shape == (16, 3, 16, 16)


def test_the_shallow_encoder_sees_the_image_from_the_start():
    """With many attributes too: codes of two images differ more than those of two requests."""
    torch.manual_seed(0)
    model = ShallowCVAE(312, size=16)
    x, y = torch.rand(2, 3, 16, 16), torch.randn(2, 312).sign()
    mu = model.posterior(x, y[:1].expand(2, -1)).mu
    requests = model.posterior(x[:1].expand(2, -1, -1, -1), y).mu
    assert (mu[0] - mu[1]).norm() > (requests[0] - requests[1]).norm()


def test_no_rectifier_dies_of_what_all_attribute_vectors_share():
    """CUB's 312 attributes are nearly all -1 in every image, and Adam moves their weights alike."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model = ShallowCVAE(312, size=16)
    adam = torch.optim.Adam(model.parameters(), 3e-3)
    noise = torch.rand(64, 3, 16, 16, generator=generator)
    pictures = 0.2 * noise + 0.8 * torch.rand(64, 3, 1, 1, generator=generator)
    y = (torch.rand(64, 312, generator=generator) < 0.1) * 2.0 - 1
    for _ in range(60):
        adam.zero_grad()
        went = model(pictures, y)
        weighted_loss(pictures, went.x_hat, went.q, None, beta=0.5).total.mean().backward()
        adam.step()
    first = model.encoder[0]
    seen = convolve_tiled(first, pictures - 0.5, y / model.attributes)
    alive = (seen.amax((0, 2, 3)) > 0).float().mean()
    assert alive > 0.9
    assert model.posterior(pictures, y).mu.std(0).mean() > 0.1
