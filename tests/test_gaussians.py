"""Against torch.distributions, an independent implementation, in float64."""

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from a2i_lib.gaussians import DiagonalGaussian


def pair(seed: int) -> tuple[DiagonalGaussian, Independent]:
    generator = torch.Generator().manual_seed(seed)
    mu, log_var = torch.randn(2, 5, 7, dtype=torch.float64, generator=generator)
    return DiagonalGaussian(mu, log_var), Independent(Normal(mu, (0.5 * log_var).exp()), 1)


def test_log_prob_matches_torch_distributions():
    ours, theirs = pair(0)
    z = torch.randn(5, 7, dtype=torch.float64)
    torch.testing.assert_close(ours.log_prob(z), theirs.log_prob(z), rtol=1e-12, atol=1e-12)


def test_kl_matches_torch_distributions():
    (q, q_ref), (p, p_ref) = pair(1), pair(2)
    torch.testing.assert_close(q.kl(p), kl_divergence(q_ref, p_ref), rtol=1e-12, atol=1e-12)
    zero = torch.zeros(5, 7, dtype=torch.float64)
    standard = Independent(Normal(zero, zero + 1), 1)
    torch.testing.assert_close(q.kl(), kl_divergence(q_ref, standard), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(q.kl_by_dimension(p).sum(1), q.kl(p))


def test_kl_matches_monte_carlo():
    (q, _), (p, _) = pair(3), pair(4)
    wide = DiagonalGaussian(q.mu.expand(100_000, 5, 7), q.log_var.expand(100_000, 5, 7))
    z = wide.rsample(torch.Generator().manual_seed(0))
    ratios = wide.log_prob(z) - p.log_prob(z)
    error = ratios.std(0) / len(ratios) ** 0.5
    assert bool(((ratios.mean(0) - q.kl(p)).abs() < 5 * error).all())


def test_samples_carry_gradients_and_have_the_stated_moments():
    mu = torch.tensor([[1.0, -2.0]], requires_grad=True)
    log_var = torch.tensor([[0.0, 2.0]], requires_grad=True)
    z = DiagonalGaussian(mu.expand(200_000, 2), log_var.expand(200_000, 2)).rsample(
        torch.Generator().manual_seed(0)
    )
    torch.testing.assert_close(z.mean(0), mu[0], atol=0.03, rtol=0)
    torch.testing.assert_close(z.var(0), log_var[0].exp(), atol=0.1, rtol=0)
    z.sum().backward()
    assert mu.grad is not None and log_var.grad is not None
    torch.testing.assert_close(mu.grad, torch.full((1, 2), 200_000.0))


def test_temperature_zero_gives_the_mean():
    q, _ = pair(5)
    assert torch.equal(q.rsample(temperature=0.0), q.mu)


def test_low_precision_inputs_are_widened_and_shapes_checked():
    half = torch.zeros(2, 3, dtype=torch.bfloat16)
    assert DiagonalGaussian(half, half).kl().dtype == torch.float32
    with pytest.raises(ValueError, match="differ"):
        DiagonalGaussian(torch.zeros(2, 3), torch.zeros(2, 4))
