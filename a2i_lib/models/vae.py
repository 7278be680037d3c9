"""The variational auto-encoder (Kingma & Welling 2014) in Attribute2Image's architecture: chapter
02.

The paper's unconditional baseline (section 5, "Baselines"): the networks of the CVAE without its
attribute stream.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from a2i_lib.gaussians import DiagonalGaussian
from a2i_lib.models.layers import ImageDecoder, ImageEncoder


class Pass(NamedTuple):
    """One trip through an auto-encoder: what every objective needs."""

    x_hat: Tensor  # (B, 3, H, W), the mean of p(x | z, y)
    z: Tensor  # (B, Z)
    q: DiagonalGaussian  # q(z | x, y)
    p: DiagonalGaussian  # p(z | y)


class LatentImageModel(nn.Module):
    """What inference, editing, evaluation and widgets ask of a model with latent variables.

    A subclass defines `posterior(x, y)` and `decode(z, y)`; `prior(y)` is N(0, I) unless it says
    otherwise.
    """

    latent: int  # dimensions of z
    size: int  # height and width of images, in pixels

    def posterior(self, x: Tensor, y: Tensor) -> DiagonalGaussian:
        """q(z | x, y) for images (B, 3, H, W) and attributes (B, K)."""
        raise AttributeError(f"{type(self).__name__} has no recognition model")

    def decode(self, z: Tensor, y: Tensor) -> Tensor:
        """Mean of p(x | z, y), shape (B, 3, H, W) in [0, 1]."""
        raise AttributeError(f"{type(self).__name__} has no decoder")

    def prior(self, y: Tensor) -> DiagonalGaussian:
        """p(z | y), here N(0, I) (Attribute2Image, section 3.1)."""
        return DiagonalGaussian.standard(len(y), self.latent, like=y)

    def encode(self, x: Tensor, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """The mean of q(z | x, y), (B, Z). A model whose recognition sees masks needs `mask`,
        (B, 1, H, W); others pass it by.
        """
        return self.posterior(x, y).mu

    def forward(self, x: Tensor, y: Tensor) -> Pass:
        """Encode, draw z once by reparameterisation, decode."""
        q = self.posterior(x, y)
        z = q.rsample()
        return Pass(self.decode(z, y), z, q, self.prior(y))

    @torch.no_grad()
    def sample(
        self,
        y: Tensor,
        n: int = 1,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """n images for each row of y: z ~ p(z | y), then the mean of p(x | z, y). (B * n, 3, H,
        W), row by row.
        """
        y = y.repeat_interleave(n, 0)
        return self.decode(self.prior(y).rsample(generator, temperature), y)


class VAE(LatentImageModel):
    """p(z) = N(0, I), p(x | z) = N(decode(z), sigma^2), q(z | x) diagonal Gaussian. `y` is
    accepted and ignored.

    Args:
        latent: dimensions of z (the paper fixes 256 at full width).
        width: multiplies every layer of appendix B.
        size: height and width of images, a multiple of 16.
        dropout: on the encoder's features (paper: 0.5).
        norm: batch normalisation after hidden convolutions (the paper names none).
        dense: multiplies the decoder's first layer instead of `width`.
    """

    def __init__(
        self,
        latent: int = 256,
        width: float = 1.0,
        size: int = 64,
        dropout: float = 0.5,
        norm: bool = False,
        dense: float | None = None,
    ) -> None:
        super().__init__()
        self.latent, self.size = latent, size
        self.encoder = ImageEncoder(width, size, dropout, norm)
        self.mu = nn.Linear(self.encoder.features, latent)
        self.log_var = zero_linear(self.encoder.features, latent)
        self.decoder = ImageDecoder(latent, width, size, norm=norm, dense=dense)

    def posterior(self, x: Tensor, y: Tensor | None = None) -> DiagonalGaussian:
        """q(z | x) for images (B, 3, H, W)."""
        h = self.encoder(x)
        return DiagonalGaussian(self.mu(h), self.log_var(h))

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Mean of p(x | z), shape (B, 3, H, W) in [0, 1]."""
        return self.decoder(z)


def zero_linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer that starts at zero: a log-variance head that begins at the prior's."""
    layer = nn.Linear(inputs, outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
