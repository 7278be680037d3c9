"""Bounds against exact log-likelihoods, Parzen windows against scikit-learn."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.neighbors import KernelDensity
from torch import Tensor
from torch.distributions import MultivariateNormal

from a2i_lib.evaluation.likelihood import (
    bits_per_dimension,
    dequantise,
    importance_weighted_bound,
    log_grid,
    log_likelihood,
    log_weights,
    parzen,
    parzen_log_density,
    squared_distances,
    variational_bound,
)
from a2i_lib.gaussians import DiagonalGaussian
from a2i_lib.models import CMMA
from a2i_lib.models.vae import LatentImageModel
from a2i_lib.objectives import negative_elbo

SIGMA, Z, D = 0.3, 2, 12


class LinearGaussian(LatentImageModel):
    """x = W z + b + noise: log p(x) is known, and the posterior is Gaussian with one covariance."""

    def __init__(self, widen: float = 0.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        basis, _ = torch.linalg.qr(torch.randn(D, Z, generator=generator))
        self.w = basis * torch.tensor([0.8, 0.4])  # orthogonal columns: the posterior is diagonal
        self.b = torch.rand(D, generator=generator)
        self.latent, self.widen = Z, widen

    def decode(self, z: Tensor, y: Tensor) -> Tensor:
        return (z @ self.w.T + self.b).view(-1, 3, 2, 2)

    def posterior(self, x: Tensor, y: Tensor) -> DiagonalGaussian:
        precision = 1 + (self.w**2).sum(0) / SIGMA**2
        mu = (x.flatten(1) - self.b) @ self.w / SIGMA**2 / precision
        return DiagonalGaussian(mu, (-precision.log() + self.widen).expand_as(mu))

    def exact(self, x: Tensor) -> Tensor:
        covariance = self.w @ self.w.T + SIGMA**2 * torch.eye(D)
        return MultivariateNormal(self.b, covariance).log_prob(x.flatten(1))


class FactorAnalysis(LatentImageModel):
    """x = W z + V y + noise, each value with a variance of its own, z ~ N(U y, I): p(x | y) is
    Gaussian, and the prior depends on y, as in CMMA.
    """

    def __init__(self) -> None:
        super().__init__()
        draw = partial(torch.randn, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        self.latent = Z
        self.w, self.u, self.log_var = draw(D, Z), draw(Z, 1), draw(D) - 1

    def prior(self, y: Tensor) -> DiagonalGaussian:
        mu = y @ self.u.T
        return DiagonalGaussian(mu, torch.zeros_like(mu))

    def pixels(self, z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        mean = (z @ self.w.T).view(-1, 3, 2, 2)
        return mean, self.log_var.view(3, 2, 2).expand_as(mean)

    def posterior(self, x: Tensor, y: Tensor) -> DiagonalGaussian:
        """The mean and the diagonal of the precision are right; correlations are left out."""
        scaled = self.w / self.log_var.exp()[:, None]
        precision = self.w.T @ scaled + torch.eye(Z)
        mu = torch.linalg.solve(precision, (x.flatten(1) @ scaled + y @ self.u.T).T).T
        return DiagonalGaussian(mu, -precision.diagonal().log().expand_as(mu))

    def exact(self, x: Tensor, y: Tensor) -> Tensor:
        covariance = self.w @ self.w.T + self.log_var.exp().diag()
        mean = y @ self.u.T @ self.w.T
        return MultivariateNormal(mean, covariance).log_prob(x.flatten(1))


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(6, 3, 2, 2, generator=generator), torch.zeros(6, 1)


def data_with_attributes() -> tuple[Tensor, Tensor]:
    y = torch.tensor([[-1.0], [1.0]] * 3, dtype=torch.float64)
    return data()[0].double(), y


def test_with_the_true_posterior_every_weight_is_the_likelihood():
    model = LinearGaussian()
    x, y = data()
    log_w = log_weights(model, x, y, SIGMA, 5)
    torch.testing.assert_close(log_w, model.exact(x).expand(5, 6), rtol=1e-4, atol=1e-3)


def test_the_bound_lies_below_by_the_posterior_gap():
    """E[elbo] = log p(x) - KL(q || true posterior), for a q that is twice too wide."""
    model, widen = LinearGaussian(math.log(4.0)), math.log(4.0)
    x, y = data()
    n = 4000
    many = x.repeat_interleave(n, 0)
    out = model(many, torch.zeros(len(many), 1))
    elbo = -negative_elbo(many, out.x_hat, out.q, out.p, sigma=SIGMA).total.view(6, n)
    gap = Z * 0.5 * (math.exp(widen) - 1 - widen)
    error = elbo.std(1) / n**0.5
    assert bool(((elbo.mean(1) - (model.exact(x) - gap)).abs() < 5 * error).all())
    found = variational_bound(model, x, y, SIGMA, draws=n, generator=torch.Generator())
    assert bool(((found.nats - (model.exact(x) - gap)).abs() < 5 * error).all())


def test_more_samples_tighten_the_bound_towards_the_likelihood():
    model = LinearGaussian(math.log(4.0))
    x, y = data()
    log_w = log_weights(model, x, y, SIGMA, 20_000, torch.Generator().manual_seed(0))
    exact = model.exact(x)
    gaps = [
        float((exact - importance_weighted_bound(log_w.view(k, -1, 6)).mean(0)).mean())
        for k in (1, 5, 100)
    ]
    assert gaps[0] > gaps[1] > gaps[2] > -0.01
    assert gaps[2] < 0.05 * gaps[0]


def test_a_variance_for_each_value_and_a_prior_that_depends_on_y():
    model, (x, y) = FactorAnalysis(), data_with_attributes()
    exact = model.exact(x, y)
    draw = torch.Generator().manual_seed(0)
    log_w = log_weights(model, x, y, None, 20_000, draw)
    gaps = [
        float((exact - importance_weighted_bound(log_w.view(k, -1, 6)).mean(0)).mean())
        for k in (1, 5, 100)
    ]
    assert gaps[0] > gaps[1] > gaps[2] > -0.01
    assert gaps[2] < 0.1 * gaps[0]
    n = 2000
    bound = variational_bound(
        model, x.repeat_interleave(n, 0), y.repeat_interleave(n, 0), generator=draw
    )
    each = bound.nats.view(6, n)
    precision = model.w.T @ (model.w / model.log_var.exp()[:, None]) + torch.eye(Z)
    gap = 0.5 * (precision.diagonal().log().sum() - torch.logdet(precision))  # KL(q || posterior)
    error = each.std(1) / n**0.5
    assert bool(((each.mean(1) - (exact - gap)).abs() < 5 * error).all())
    assert gaps[0] == pytest.approx(float(gap), rel=0.1)
    assert bound.values == D and bool((bound.kl > 0).all())


@pytest.mark.parametrize("batch_size", [4, 25, 1000])
def test_batches_change_memory_only(batch_size, monkeypatch):
    """With the true posterior each weight is the likelihood, so none may land on another row."""
    model, (x, y) = LinearGaussian(), data()
    sizes, decode = [], model.decode
    monkeypatch.setattr(model, "decode", lambda z, y: (sizes.append(len(z)), decode(z, y))[1])
    log_w = log_weights(model, x, y, SIGMA, 7, batch_size=batch_size)
    torch.testing.assert_close(log_w, model.exact(x).expand(7, 6), rtol=1e-4, atol=1e-3)
    assert max(sizes) == min(batch_size, 42) and sum(sizes) == 42
    bound = variational_bound(model, x, y, SIGMA, draws=3, batch_size=batch_size)
    assert bound.nats.shape == (6,) and max(sizes) <= batch_size


def test_bytes_are_read_as_levels():
    model, (_, y) = LinearGaussian(), data()
    pixels = torch.randint(256, (6, 3, 2, 2), generator=torch.Generator(), dtype=torch.uint8)
    a, b = (log_weights(model, x, y, SIGMA, 1) for x in (pixels, pixels.float() / 255))
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-3)


def test_cmma_is_read_by_its_own_variance():
    torch.manual_seed(0)
    model = CMMA(3, latent=4, width=0.05, size=32).eval()
    x, y, z = torch.rand(2, 3, 32, 32), torch.ones(2, 3), torch.randn(2, 4)
    with torch.no_grad():
        mean, log_var = model.pixels(z, y)
        found = log_likelihood(model, x, z, y)
    expected = torch.distributions.Normal(mean, log_var.exp().sqrt()).log_prob(x)
    torch.testing.assert_close(found, expected.sum((1, 2, 3)))
    assert log_weights(model, x, y, None, 3).shape == (3, 2)


def test_a_model_without_a_variance_asks_for_sigma():
    x, y = data()
    with pytest.raises(ValueError, match="LinearGaussian.*sigma"):
        log_likelihood(LinearGaussian(), x, torch.zeros(6, Z), y)


# ---------------------------------------------------------------- bits


def test_the_uniform_density_over_all_cells_costs_eight_bits():
    volume = 256 / 255  # of one value: 256 cells of width 1 / 255
    nats = torch.full((3,), -D * math.log(volume), dtype=torch.float64)
    torch.testing.assert_close(bits_per_dimension(nats, D), torch.full_like(nats, 8.0))


def test_dequantised_bits_bound_the_probabilities_of_bytes():
    """One value, p = N(0.3, sigma^2): the exact probabilities of all bytes from scipy."""
    levels = torch.arange(256, dtype=torch.float64)[:, None] / 255
    for sigma, tight in ((0.1, 1e-3), (0.003, 0.2)):  # the second is narrower than a cell
        cells = np.stack([levels[:, 0] - 0.5 / 255, levels[:, 0] + 0.5 / 255])
        exact = np.diff(norm.cdf(cells, 0.3, sigma), axis=0)[0]
        seen = torch.from_numpy(exact > 1e-8)
        density = torch.distributions.Normal(0.3, sigma).log_prob
        draw = torch.Generator().manual_seed(0)
        noisy = dequantise(levels[:, 0].expand(4000, -1), draw)
        bits = bits_per_dimension(density(noisy), 1)
        error = bits.std(0) / 4000**0.5
        above = bits.mean(0) + torch.from_numpy(np.log2(exact.clip(1e-300)))
        assert bool((above > -4 * error)[seen].all())
        assert float((above * torch.from_numpy(exact))[seen].sum()) < tight


def test_a_density_at_the_levels_themselves_bounds_nothing():
    """Spikes at the bytes: the "probabilities" read off the levels sum to more than 1."""
    levels = torch.arange(256, dtype=torch.float64) / 255
    spikes = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.ones(256, dtype=torch.float64)),
        torch.distributions.Normal(levels, 1e-4),
    )
    claimed = 2 ** -bits_per_dimension(spikes.log_prob(levels), 1)
    assert float(claimed.sum()) > 10
    draw = torch.Generator().manual_seed(0)
    honest = bits_per_dimension(spikes.log_prob(dequantise(levels.expand(50, -1), draw)), 1)
    assert float((2 ** -honest.mean(0)).sum()) < 1


# ---------------------------------------------------------------- Parzen windows


def bright(y: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Samples around a grey level that is y's, (B * n, 3, 2, 2), float64."""
    level = y.repeat_interleave(n, 0)[:, :1, None, None]
    noise = torch.randn(len(level), 3, 2, 2, generator=generator, dtype=torch.float64)
    return level + 0.2 * noise


def rows(n: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    y = torch.rand(n, 1, generator=generator, dtype=torch.float64)
    return bright(y, 1, generator), y


@pytest.mark.parametrize("batch_size", [7, 40, 10_000])
def test_equal_to_scikit_learn_in_batches_of_any_size(batch_size):
    x, y = rows(9, 0)
    drawn, largest = {}, 0

    def remembered(part, n):  # in batches a row's samples come piece by piece
        nonlocal largest
        samples = bright(part, n, generator)
        largest = max(largest, len(samples))
        for row, some in zip(part, samples.unflatten(0, (len(part), n)), strict=True):
            drawn.setdefault(float(row), []).append(some)
        return samples

    generator = torch.Generator().manual_seed(1)
    squared = squared_distances(remembered, x, y, 30, batch_size=batch_size)
    assert squared.shape == (9, 30) and largest <= batch_size
    for sigma in (0.01, 0.2, 3.0):
        found = parzen_log_density(squared, D, sigma)
        for i in range(9):
            samples = torch.cat(drawn[float(y[i])]).flatten(1).numpy()
            expected = KernelDensity(bandwidth=sigma).fit(samples)
            assert len(samples) == 30
            log_p = expected.score_samples(x[i : i + 1].flatten(1).numpy())[0]
            assert float(found[i]) == pytest.approx(log_p, abs=1e-5)


def test_equal_to_scikit_learn_for_images_of_64_pixels():
    """In 12,288 dimensions, where every term of the sum underflows; single precision inside."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, 64, 64, generator=generator)
    samples = torch.rand(2, 5, 3, 64, 64, generator=generator)
    squared = squared_distances(lambda y, n: samples.flatten(0, 1), x, torch.zeros(2, 1), 5)
    found = parzen_log_density(squared, 12_288, 0.05)
    for i in range(2):
        window = KernelDensity(bandwidth=0.05).fit(samples[i].flatten(1).double().numpy())
        expected = window.score_samples(x[i : i + 1].flatten(1).double().numpy())[0]
        assert expected < -1e5
        assert float(found[i]) == pytest.approx(expected, abs=1e-5)


def test_sigma_is_the_validation_rows_choice():
    validation, test = rows(20, 3), rows(15, 4)
    sampler = partial(bright, generator=torch.Generator().manual_seed(5))
    grid = torch.tensor([0.05, 0.1, 0.2, 0.4, 0.8])
    found = parzen(sampler, validation, test, 25, grid)
    # the same draws again: first those for the validation rows, then those for the test rows
    again = partial(bright, generator=torch.Generator().manual_seed(5))
    tried, held = (squared_distances(again, *split, 25) for split in (validation, test))
    means = [float(parzen_log_density(tried, D, s).mean()) for s in grid.tolist()]
    best = max(range(5), key=means.__getitem__)
    assert found.sigma == pytest.approx(float(grid[best]))
    assert found.sigma == pytest.approx(0.2) and not found.at_the_edge
    torch.testing.assert_close(found.validation, torch.tensor(means, dtype=torch.float64))
    torch.testing.assert_close(found.nats, parzen_log_density(held, D, found.sigma))
    assert found.row["samples"] == 25
    assert parzen(sampler, validation, test, 25, grid[:2]).at_the_edge


def test_the_grid_has_equal_ratios():
    grid = log_grid(0.1, 1.0, 11)
    torch.testing.assert_close(grid[1:] / grid[:-1], torch.full((10,), 10**0.1).double())
    with pytest.raises(ValueError, match="positive"):
        parzen_log_density(torch.ones(1, 1), D, 0.0)
