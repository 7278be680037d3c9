"""The auto-encoder with linear networks: chapter 02's model in which nothing is unknown.

Probabilistic principal component analysis (Tipping & Bishop 1999, "Probabilistic principal
component analysis"). Likelihood, posterior and bound all have closed forms, so that every
estimate of the book can be held against the truth.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from a2i_lib.gaussians import LOG_2PI, DiagonalGaussian
from a2i_lib.models.vae import LatentImageModel


class LinearGaussian(LatentImageModel):
    """p(z) = N(0, I), p(x | z) = N(W z + mean, sigma^2 I), q(z | x) the best diagonal Gaussian.

    `y` is accepted and ignored. x may have any shape (B, ...): it is taken as (B, D).

    Args:
        weight: W, (D, Z).
        mean: (D,).
        sigma: standard deviation of p(x | z).
    """

    weight: Tensor
    mean: Tensor

    def __init__(self, weight: Tensor, mean: Tensor, sigma: float) -> None:
        super().__init__()
        self.latent, self.sigma = weight.shape[1], sigma
        self.register_buffer("weight", weight)
        self.register_buffer("mean", mean)

    @classmethod
    def fit(cls, x: Tensor, latent: int, sigma: float) -> LinearGaussian:
        """The most likely model for images (N, ...) at a given sigma, with eigenvectors as axes.

        Column j of W is sqrt(max(lambda_j - sigma^2, 0)) times the j-th eigenvector of the
        covariance (Tipping & Bishop, eq. 7, with R = I).

        Raises:
            ValueError: more latent dimensions than x has values.
        """
        rows = x.flatten(1)
        if latent > rows.shape[1]:
            raise ValueError(f"{latent} latent dimensions for data of {rows.shape[1]} values")
        mean = rows.mean(0)
        eigenvalues, vectors = spectrum(rows)
        scale = (eigenvalues[:latent] - sigma**2).clamp(min=0).sqrt()
        return cls(vectors[:, :latent] * scale, mean, sigma)

    def rotated(self, rotation: Tensor) -> LinearGaussian:
        """The same p(x) with other axes: W R for an orthogonal R, (Z, Z)."""
        return LinearGaussian(self.weight @ rotation, self.mean, self.sigma)

    def precision(self) -> Tensor:
        """M = W' W / sigma^2 + I, (Z, Z): the inverse covariance of p(z | x), for every
        x alike.
        """
        identity = torch.eye(self.latent, dtype=self.weight.dtype, device=self.weight.device)
        return self.weight.T @ self.weight / self.sigma**2 + identity

    def posterior(self, x: Tensor, y: Tensor | None = None) -> DiagonalGaussian:
        """The diagonal Gaussian closest to p(z | x) in KL(q || p): its mean, and one over its
        precision's diagonal. It is p(z | x) itself where the columns of W are orthogonal.
        """
        precision = self.precision()
        pull = (x.flatten(1) - self.mean) @ self.weight / self.sigma**2
        mu = torch.linalg.solve(precision, pull.T).T
        return DiagonalGaussian(mu, -precision.diagonal().log().expand_as(mu))

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Mean of p(x | z), (B, D)."""
        return z @ self.weight.T + self.mean

    def log_likelihood(self, x: Tensor) -> Tensor:
        """log N(x; mean, W W' + sigma^2 I) in nats, exactly, (B,)."""
        residual = x.flatten(1) - self.mean
        precision = self.precision()
        pull = residual @ self.weight / self.sigma**2
        explained = (pull * torch.linalg.solve(precision, pull.T).T).sum(1)
        mahalanobis = residual.pow(2).sum(1) / self.sigma**2 - explained
        d = residual.shape[1]
        log_det = torch.logdet(precision) + 2 * d * math.log(self.sigma)
        return -0.5 * (mahalanobis + log_det + d * LOG_2PI)


def spectrum(x: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues (D,), largest first, and eigenvectors (D, D), in columns, of the covariance of
    x, (N, ...).
    """
    values, vectors = torch.linalg.eigh(torch.cov(x.flatten(1).T, correction=0))
    return values.flip(0).clamp(min=0), vectors.flip(1)


def eigenvalues(x: Tensor) -> Tensor:
    """The eigenvalues of `spectrum` that are not zero by counting, (min(N, D),): for fewer images
    than values, by way of their N N inner products.
    """
    rows = x.flatten(1) - x.flatten(1).mean(0)
    products = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows
    return torch.linalg.eigvalsh(products / len(rows)).flip(0).clamp(min=0)
