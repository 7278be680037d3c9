"""The linear-Gaussian model against scipy, scikit-learn and its own bound."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA

from a2i_lib.evaluation.likelihood import importance_weighted_bound, log_weights
from a2i_lib.models.linear import LinearGaussian, eigenvalues, spectrum

SIGMA = 0.6


@pytest.fixture
def x() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(7, 7, generator=generator, dtype=torch.float64)
    return torch.randn(400, 7, generator=generator, dtype=torch.float64) @ mixing / 2


def a_rotation(n: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))[0]


def test_log_likelihood_against_scipy(x):
    model = LinearGaussian.fit(x, 3, SIGMA).rotated(a_rotation(3))
    covariance = model.weight @ model.weight.T + SIGMA**2 * torch.eye(7, dtype=torch.float64)
    expected = multivariate_normal(model.mean.numpy(), covariance.numpy()).logpdf(x.numpy())
    np.testing.assert_allclose(model.log_likelihood(x).numpy(), expected, rtol=1e-9)


def test_most_likely_model_is_scikit_learns(x):
    pca = PCA(3).fit(x.numpy())
    # scikit-learn divides by N - 1; its noise variance is the best, ours is given
    shrink = (len(x) - 1) / len(x)
    model = LinearGaussian.fit(x, 3, math.sqrt(pca.noise_variance_ * shrink))
    covariance = model.weight @ model.weight.T + model.sigma**2 * torch.eye(7)
    np.testing.assert_allclose(covariance.numpy(), pca.get_covariance() * shrink, atol=1e-9)


def test_the_gap_vanishes_with_orthogonal_axes_only(x):
    straight = LinearGaussian.fit(x, 3, SIGMA)
    turned = straight.rotated(a_rotation(3))
    for model, tight in ((straight, True), (turned, False)):
        log_w = log_weights(model, x, x, SIGMA, 20, torch.Generator().manual_seed(2))
        gap = model.log_likelihood(x) - log_w
        precision = model.precision()
        expected = 0.5 * (precision.diagonal().log().sum() - torch.logdet(precision))
        assert (gap.abs().max() < 1e-4) == tight
        assert gap.mean() == pytest.approx(float(expected), abs=0.05 if not tight else 1e-4)


def test_many_samples_close_the_gap(x):
    model = LinearGaussian.fit(x, 3, SIGMA).rotated(a_rotation(3))
    log_w = log_weights(model, x, x, SIGMA, 2000, torch.Generator().manual_seed(3))
    exact = model.log_likelihood(x)
    one, many = log_w.mean(0), importance_weighted_bound(log_w)
    assert (exact - one).mean() > 0.1
    assert (exact - many).abs().mean() < 0.03


def test_a_dimension_is_off_exactly_below_the_noise(x):
    values, _ = spectrum(x)
    sigma = math.sqrt(float(values[2] + values[3]) / 2)
    kl = LinearGaussian.fit(x, 7, sigma).posterior(x).kl_by_dimension().mean(0)
    expected = 0.5 * (values / sigma**2).log().clamp(min=0)
    torch.testing.assert_close(kl, expected, atol=1e-9, rtol=1e-9)
    assert (kl > 1e-9).tolist() == [True] * 3 + [False] * 4


@pytest.mark.parametrize("rows", [5, 400])
def test_eigenvalues_with_few_and_with_many_rows(x, rows):
    expected, _ = spectrum(x[:rows])
    found = eigenvalues(x[:rows].view(rows, 1, 7))
    torch.testing.assert_close(found, expected[: len(found)], atol=1e-9, rtol=1e-9)
    assert expected[len(found) :].abs().sum() < 1e-9


def test_too_many_dimensions(x):
    with pytest.raises(ValueError, match="8 latent dimensions for data of 7 values"):
        LinearGaussian.fit(x, 8, SIGMA)
