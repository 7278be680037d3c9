"""Rate and distortion, against distributions and optimisers that know nothing of ours."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from a2i_lib.evaluation.rate import linear_curve, rate_distortion
from a2i_lib.gaussians import DiagonalGaussian
from a2i_lib.models.vae import LatentImageModel


class Copier(LatentImageModel):
    """z is the image itself with noise of 0.1 in each of its 12 values; the prior sits at y."""

    latent = 12

    def posterior(self, x, y):
        return DiagonalGaussian(x.flatten(1), torch.full((len(x), 12), 0.1).log() * 2)

    def prior(self, y):
        return DiagonalGaussian(y.expand(-1, 12), torch.zeros(len(y), 12))

    def decode(self, z, y):
        return z.unflatten(1, (3, 2, 2))


def test_a_draw_of_z_leaves_its_own_variance_and_costs_its_divergence():
    x, y = torch.rand(4000, 3, 2, 2), torch.full((4000, 1), 0.5)
    found = rate_distortion(Copier(), x, y, torch.Generator().manual_seed(0))
    assert found.row["squared_error"] == pytest.approx(12 * 0.01, rel=0.02)
    expected = kl_divergence(Normal(x.flatten(1).double(), 0.1), Normal(0.5, 1.0)).sum(1)
    torch.testing.assert_close(found.kl.double(), expected, rtol=1e-5, atol=0)
    assert found.row["kl_se"] == pytest.approx(float(expected.std()) / 4000**0.5, rel=1e-4)


def test_bytes_count_as_images_in_unit_range():
    x = torch.randint(256, (10, 3, 2, 2), dtype=torch.uint8)
    y = torch.zeros(10, 1)
    both = [rate_distortion(Copier(), images, y).kl for images in (x, x.float() / 255)]
    torch.testing.assert_close(*both)


def test_the_linear_curve_is_what_an_optimiser_finds():
    """One direction above the water, one below, one that y explains: minimise over encoder scale,
    variance and decoder scale of each by brute force."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(4000, 1, generator=generator).sign()
    noise = torch.randn(4000, 3, generator=generator) * torch.tensor([1.0, 0.3, 0.01])
    noise -= noise.mean(0)
    noise -= y * (noise * y).sum(0) / len(y)
    noise = torch.linalg.qr(noise)[0] * noise.norm(dim=0)  # the columns are the eigenvectors
    x = torch.zeros(4000, 3, 1, 1)
    x[:, :, 0, 0] = noise + torch.tensor([0.0, 0.0, 0.4]) * y
    w = torch.tensor([0.5])
    error, kl = linear_curve(x, y, w)

    expected_error, expected_kl = 0.0, 0.0
    for level in noise.double().pow(2).mean(0).tolist():
        a, b = torch.meshgrid(
            torch.linspace(0, 1.5, 301), torch.linspace(-3, 0, 301), indexing="ij"
        )  # mu = a u / sqrt(level), log variance b; decoder c: best for a given code
        variance = b.exp()
        c = a * level**0.5 / (a**2 + variance)
        left = (level**0.5 - c * a) ** 2 + c**2 * variance
        rate = 0.5 * (a**2 + variance - 1 - b)
        best = int((left + float(w) * rate).argmin())
        expected_error += float(left.flatten()[best])
        expected_kl += float(rate.flatten()[best])
    assert float(error) == pytest.approx(expected_error, abs=5e-3)
    assert float(kl) == pytest.approx(expected_kl, abs=2e-2)


def test_the_linear_curve_falls_and_its_slope_is_the_weight():
    x, y = torch.rand(200, 3, 8, 8), torch.randn(200, 2)
    w = torch.logspace(-3, 1, 400)
    error, kl = linear_curve(x, y, w)
    assert bool((error.diff() >= -1e-9).all()) and bool((kl.diff() <= 1e-9).all())
    inside = kl[1:] > 0
    slope = (error.diff() / -kl.diff())[inside]
    assert bool((slope >= w[:-1][inside] * 0.99).all() and (slope <= w[1:][inside] * 1.01).all())
