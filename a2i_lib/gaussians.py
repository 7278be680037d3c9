"""Diagonal Gaussians: the only place in the book where a log-density or a KL divergence is written
down.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LOG_2PI = math.log(2.0 * math.pi)


class DiagonalGaussian:
    """A batch of Gaussians N(mu, diag(exp(log_var))), shape (B, Z) each.

    Statistics are kept in at least float32, whatever autocast does around them.

    Raises:
        ValueError: `mu` and `log_var` of different shapes.
    """

    def __init__(self, mu: Tensor, log_var: Tensor) -> None:
        if mu.shape != log_var.shape:
            raise ValueError(f"mu {tuple(mu.shape)} and log_var {tuple(log_var.shape)} differ")
        wide = torch.float64 if mu.dtype == torch.float64 else torch.float32
        self.mu, self.log_var = mu.to(wide), log_var.to(wide)

    @classmethod
    def standard(cls, batch: int, dim: int, *, like: Tensor | None = None) -> DiagonalGaussian:
        """N(0, I) for `batch` rows of `dim` dimensions, on the device of `like`."""
        device = like.device if like is not None else None
        zeros = torch.zeros(batch, dim, device=device)
        return cls(zeros, zeros)

    @property
    def sigma(self) -> Tensor:
        """Standard deviation, shape (B, Z)."""
        return torch.exp(0.5 * self.log_var)

    def rsample(self, generator: torch.Generator | None = None, temperature: float = 1.0) -> Tensor:
        """mu + temperature * sigma * epsilon with epsilon ~ N(0, I): differentiable in mu and
        log_var. (B, Z)
        """
        epsilon = torch.randn(
            self.mu.shape, generator=generator, device=self.mu.device, dtype=self.mu.dtype
        )
        return self.mu + temperature * self.sigma * epsilon

    def log_prob(self, z: Tensor) -> Tensor:
        """log N(z; mu, diag(sigma^2)) in nats, summed over dimensions, shape (B,) (or (..., B))."""
        squared = (z - self.mu) ** 2 * torch.exp(-self.log_var)
        return -0.5 * (squared + self.log_var + LOG_2PI).sum(-1)

    def kl_by_dimension(self, other: DiagonalGaussian | None = None) -> Tensor:
        """KL(self || other) in nats by dimension, (B, Z); `other` defaults to N(0, I)."""
        if other is None:
            return 0.5 * (self.mu**2 + self.log_var.exp() - 1.0 - self.log_var)
        gap = self.log_var - other.log_var
        squared = (self.mu - other.mu) ** 2 * torch.exp(-other.log_var)
        return 0.5 * (gap.exp() + squared - 1.0 - gap)

    def kl(self, other: DiagonalGaussian | None = None) -> Tensor:
        """KL(self || other) in nats, summed over dimensions, shape (B,) (Kingma & Welling 2014,
        appendix B).
        """
        return self.kl_by_dimension(other).sum(-1)

    def __getitem__(self, rows) -> DiagonalGaussian:  # type: ignore[no-untyped-def]
        return DiagonalGaussian(self.mu[rows], self.log_var[rows])

    def __len__(self) -> int:
        return self.mu.shape[0]

    def __repr__(self) -> str:
        return f"DiagonalGaussian(batch={tuple(self.mu.shape[:-1])}, dim={self.mu.shape[-1]})"
