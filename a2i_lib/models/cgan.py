"""The conditional generative adversarial network: chapters 08 and 09.

Mirza & Osindero 2014 ("Conditional generative adversarial nets"), with convolutions as in Gauthier
2014. As CMMA's paper compares them (section 4.2), the generator mirrors its decoder g and the
discriminator its recognition network h.

A GAN has samples alone. It never asks which z made an image, and given z and y its image is a
point, not a density: there is no posterior, no likelihood, and nothing for inference to descend.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from a2i_lib.gaussians import DiagonalGaussian
from a2i_lib.models.layers import ValidDecoder, ValidEncoder

LACKING = {
    "posterior": "a GAN has no recognition model and never learns which z made an image",
    "encode": "a GAN has no recognition model and never learns which z made an image",
    "decode": "a GAN's image is no mean of a p(x | z, y), which it does not have; it has `sample`",
    "prior": "a GAN's noise is not inferred from images; it has `sample`",
}


class SampleOnly(nn.Module):
    """A model with `sample` and nothing else: what it lacks, it says.

    `model.posterior`, `encode`, `decode` and `prior` raise AttributeError with the reason, so
    `hasattr` finds them missing.
    """

    latent: int  # dimensions of z
    size: int  # height and width of images, in pixels

    def __getattr__(self, name: str) -> Any:
        if name in LACKING:
            raise AttributeError(f"{type(self).__name__} has no {name!r}: {LACKING[name]}")
        return super().__getattr__(name)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """The image of noise z (B, Z) and attributes y (B, K): (B, 3, H, W) in [0, 1]."""
        raise AttributeError(f"{type(self).__name__} draws nothing")

    def noise(
        self, y: Tensor, generator: torch.Generator | None = None, temperature: float = 1.0
    ) -> Tensor:
        """z ~ N(0, temperature^2 I) for each row of y, (B, Z)."""
        standard = DiagonalGaussian.standard(len(y), self.latent, like=y)
        return standard.rsample(generator, temperature)

    @torch.no_grad()
    def sample(
        self,
        y: Tensor,
        n: int = 1,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """n images for each row of y, (B * n, 3, H, W), row by row."""
        y = y.repeat_interleave(n, 0)
        return self(self.noise(y, generator, temperature), y)


class CGAN(SampleOnly):
    """The generator G(z, y), and by `discriminator()` its opponent.

    Args:
        attributes: K, the length of y.
        latent: dimensions of z (Gauthier: 100).
        width: multiplies the convolutions' channels, those of the discriminator too.
        size: height and width of images, a multiple of 8 from 32 on.
        norm: batch normalisation after the generator's hidden convolutions.
        dropout: on the discriminator's features.
        spectral: as in `Discriminator`.
    """

    def __init__(
        self,
        attributes: int,
        latent: int = 100,
        width: float = 1.0,
        size: int = 64,
        norm: bool = True,
        dropout: float = 0.5,
        spectral: bool = False,
    ) -> None:
        super().__init__()
        self.latent, self.size, self.attributes = latent, size, attributes
        self.width, self.dropout, self.spectral = width, dropout, spectral
        self.decoder = ValidDecoder(latent + attributes, width, size, outputs=3, norm=norm)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """The image of noise z (B, Z) and attributes y (B, K): (B, 3, H, W) in [0, 1]."""
        return torch.sigmoid(self.decoder(torch.cat([z, y.to(z)], 1)).float())

    def discriminator(self) -> Discriminator:
        """A fresh opponent of this generator's size."""
        return Discriminator(self.attributes, self.width, self.size, self.dropout, self.spectral)


class Discriminator(nn.Module):
    """D(x, y): is x a real image with the attributes y? (B, 3, H, W), (B, K) -> logits (B,).

    The image's features and y meet in a hidden layer, or D could only add up what each of them
    says by itself: that this is a face, and that this is a request, but not that they fit.
    No batch normalisation: while the generator learns, D sees drawn images alone, and the
    statistics that it keeps would follow them.

    Args:
        attributes: K, the length of y.
        width: multiplies the convolutions' channels.
        size: height and width of images, a multiple of 8 from 32 on.
        dropout: on the hidden layer.
        spectral: divide each layer's weights by their largest singular value, so that D, whose
            rectifiers are no steeper than 1, cannot rise faster than its input (Miyato et al.
            2018). The paper has no such thing.
    """

    def __init__(
        self,
        attributes: int,
        width: float = 1.0,
        size: int = 64,
        dropout: float = 0.5,
        spectral: bool = False,
    ) -> None:
        super().__init__()
        self.attributes, self.size = attributes, size
        self.encoder = ValidEncoder(width, size, leak=0.2)
        hidden = 2 * attributes + 64
        self.judge = nn.Sequential(
            nn.Linear(self.encoder.features + attributes, hidden), nn.LeakyReLU(0.2),
            nn.Dropout(dropout),
            nn.Linear(hidden, 1),
        )  # fmt: skip
        if spectral:
            for layer in [m for m in self.modules() if isinstance(m, nn.Conv2d | nn.Linear)]:
                spectral_norm(layer)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = self.encoder(x)
        return self.judge(torch.cat([h, y.to(h)], 1)).float()[:, 0]
