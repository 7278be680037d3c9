"""The bound under its importance-weighted tightening, and against an exact log-likelihood."""

import math

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from a2i_lib.evaluation.likelihood import importance_weighted_bound, log_weights
from a2i_lib.gaussians import DiagonalGaussian
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


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(6, 3, 2, 2, generator=generator), torch.zeros(6, 1)


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
