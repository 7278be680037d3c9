import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from a2i_lib.gaussians import DiagonalGaussian
from a2i_lib.models.cmma import GaussianPass
from a2i_lib.objectives import (
    attribute_loss,
    discriminator_loss,
    gaussian_nll,
    generator_loss,
    implied_sigma,
    kl_weight,
    learned_gaussian_nll,
    learned_negative_elbo,
    negative_elbo,
    squared_error,
    weighted_loss,
)


def images(seed: int) -> torch.Tensor:
    return torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_recon_is_the_exact_negative_log_density():
    x, x_hat = images(0), images(1)
    reference = -Independent(Normal(x_hat.double(), 0.3), 3).log_prob(x.double())
    torch.testing.assert_close(gaussian_nll(x, x_hat, 0.3).double(), reference, rtol=1e-5, atol=0)


def test_terms_are_per_image_and_unreduced():
    x, x_hat = images(0), images(1)
    q = DiagonalGaussian(torch.randn(4, 5), torch.randn(4, 5))
    loss = negative_elbo(x, x_hat, q, None, sigma=0.2, kl_weight=0.5)
    assert loss.total.shape == (4,) and all(v.shape == (4,) for v in loss.terms.values())
    torch.testing.assert_close(loss.total, loss.terms["recon"] + 0.5 * q.kl())
    alone = negative_elbo(x[:1], x_hat[:1], q[:1], None, sigma=0.2, kl_weight=0.5)
    torch.testing.assert_close(alone.total, loss.total[:1])
    torch.testing.assert_close(squared_error(x, x_hat)[2], F.mse_loss(x[2], x_hat[2]) * 3 * 64)


def test_sigma_must_be_positive():
    with pytest.raises(ValueError, match="sigma"):
        gaussian_nll(images(0), images(1), 0.0)


def codes(seed: int = 2) -> DiagonalGaussian:
    generator = torch.Generator().manual_seed(seed)
    return DiagonalGaussian(*torch.randn(2, 4, 5, generator=generator))


@pytest.mark.parametrize("beta", [0.25, 0.5, 0.75, 0.9])
def test_the_weighted_loss_is_equation_9_image_by_image(beta):
    x, x_hat, q, p = images(0), images(1), codes(2), codes(3)
    loss = weighted_loss(x, x_hat, q, p, beta=beta)
    error = (x.double() - x_hat.double()).square().sum((1, 2, 3))
    own, other = (Normal(g.mu.double(), g.sigma.double()) for g in (q, p))
    expected = (1 - beta) * error + beta * kl_divergence(own, other).sum(1)
    torch.testing.assert_close(loss.total.double(), expected, rtol=1e-5, atol=0)
    assert all(term.shape == (4,) for term in loss.terms.values())
    standard = weighted_loss(x, x_hat, q, None, beta=beta).terms["kl"]  # eq. 10
    mu, log_var = q.mu.double(), q.log_var.double()
    printed = -0.5 * (1 + log_var - mu.square() - log_var.exp()).sum(1)
    torch.testing.assert_close(standard.double(), printed, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sigma", [0.1, math.sqrt(0.5), 1.0])
@pytest.mark.parametrize("beta", [0.25, 0.9])
def test_equation_9_is_a_bound_with_a_weight_up_to_factor_and_constant(beta, sigma):
    """Differences between two reconstructions carry no constant."""
    x, q = images(0).double(), codes()
    w = kl_weight(beta, sigma)
    there, here = (
        weighted_loss(x, x_hat, g, None, beta=beta).total.double()
        - (1 - beta)
        * 2
        * sigma**2
        * negative_elbo(x, x_hat, g, None, sigma=sigma, kl_weight=w).total.double()
        for x_hat, g in ((images(1), q), (images(5), codes(6)))
    )
    torch.testing.assert_close(there, here, rtol=0, atol=1e-3)


def test_the_weight_is_relative_to_a_variance():
    assert [round(kl_weight(b), 2) for b in (0.25, 0.5, 0.75, 0.9)] == [0.17, 0.5, 1.5, 4.5]
    assert kl_weight(2 / 3) == pytest.approx(1)  # the plain bound of unit variance
    assert kl_weight(1 / 2, math.sqrt(0.5)) == pytest.approx(1)  # and that of the bare error
    for beta in (0.25, 0.9):
        assert kl_weight(beta, implied_sigma(beta)) == pytest.approx(1)


@pytest.mark.parametrize("beta", [0.0, 1.0, -0.5, 4.0])
def test_beta_lies_between_its_ends(beta):
    with pytest.raises(ValueError, match="beta must lie between 0 and 1"):
        kl_weight(beta)
    with pytest.raises(ValueError, match="beta must lie between 0 and 1"):
        weighted_loss(images(0), images(1), codes(), None, beta=beta)


def test_attribute_loss_takes_each_kind_its_own_way():
    prediction = torch.tensor([[2.0, 1.5]])
    y = torch.tensor([[-1.0, 0.5]])
    loss = attribute_loss(prediction, y, torch.tensor([False, True])).total
    expected = F.softplus(torch.tensor(2.0)) + 1.0
    torch.testing.assert_close(loss, expected[None])


def test_a_learned_variance_has_the_exact_density_with_all_constants():
    x, x_hat = images(0), images(1)
    log_var = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    scale = log_var.double().mul(0.5).exp()
    reference = -Independent(Normal(x_hat.double(), scale), 3).log_prob(x.double())
    ours = learned_gaussian_nll(x, x_hat, log_var)
    torch.testing.assert_close(ours.double(), reference, rtol=1e-5, atol=0)
    flat = torch.full_like(x, 2 * math.log(0.3))
    torch.testing.assert_close(learned_gaussian_nll(x, x_hat, flat), gaussian_nll(x, x_hat, 0.3))


def test_the_best_variance_is_the_squared_residual():
    """And not |r| / sqrt 2, as CMMA's eq. 8 is printed."""
    x, x_hat = images(0).double(), images(1).double()
    log_var = torch.zeros_like(x, requires_grad=True)
    (slope,) = torch.autograd.grad(learned_gaussian_nll(x, x_hat, log_var).sum(), log_var)
    torch.testing.assert_close(slope, 0.5 - 0.5 * (x - x_hat) ** 2)
    best = (x - x_hat).abs().clamp(min=1e-3).log().mul(2)
    least = learned_gaussian_nll(x, x_hat, best)
    for shift in (-0.1, 0.1):
        assert bool((learned_gaussian_nll(x, x_hat, best + shift) > least).all())


def test_cmmas_bound_term_by_term():
    q, p = codes(2), codes(3)
    log_var = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(4))
    made = GaussianPass(images(1), log_var, q.mu, q, p)
    loss = learned_negative_elbo(images(0), made, kl_weight=0.5)
    own, other = (Normal(g.mu.double(), g.sigma.double()) for g in (q, p))
    kl = kl_divergence(own, other).sum(1)
    pixels = Normal(images(1).double(), log_var.double().mul(0.5).exp())
    recon = -pixels.log_prob(images(0).double()).sum((1, 2, 3))
    torch.testing.assert_close(loss.terms["kl"].double(), kl, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(loss.terms["recon"].double(), recon, rtol=1e-5, atol=0)
    torch.testing.assert_close(loss.total.double(), recon + 0.5 * kl, rtol=1e-5, atol=0)
    std = log_var.double().mul(0.5).flatten(1).mean(1).exp()
    torch.testing.assert_close(loss.terms["std"].double(), std, rtol=1e-5, atol=0)
    assert all(term.shape == (4,) for term in loss.terms.values())


def test_both_players_losses_are_log_probabilities():
    real, fake, wrong = torch.randn(3, 6, generator=torch.Generator().manual_seed(0)).double() * 5
    weight = torch.tensor([0.5, 0.5, 0.5, 0.25, 0.0, 0.0]).double()
    no, yes = torch.zeros(6).double(), torch.ones(6).double()
    expected = -(
        Bernoulli(logits=real).log_prob(yes)
        + (1 - weight) * Bernoulli(logits=fake).log_prob(no)
        + weight * Bernoulli(logits=wrong).log_prob(no)
    )
    loss = discriminator_loss(real, fake, wrong, weight)
    torch.testing.assert_close(loss.total, expected)
    right = (real > 0).double() + (fake < 0).double()
    torch.testing.assert_close(loss.terms["accuracy"].double(), right / 2)
    plain = discriminator_loss(real, fake).total
    torch.testing.assert_close(plain[-2:], loss.total[-2:])  # weight 0: no third term
    torch.testing.assert_close(generator_loss(fake).total, -Bernoulli(logits=fake).log_prob(yes))
