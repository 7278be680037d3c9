"""The disentangling, layered CVAE of Attribute2Image (section 3.2, appendices A and B): chapter 05.

An image is laid from a foreground and a background, ``x = x_f + g * x_b`` (eq. 4). The foreground
and the gate g, which is 1 where the background shows, come from z_f and y; the background comes
from z_b alone.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from a2i_lib.gaussians import DiagonalGaussian
from a2i_lib.models.layers import AttributeEmbedding, ImageDecoder, ImageEncoder, scaled
from a2i_lib.models.vae import LatentImageModel, zero_linear


class Layers(NamedTuple):
    """What a layered model draws."""

    x_f: Tensor  # (B, 3, H, W) in [0, 1], the foreground, dark where the background shows
    g: Tensor  # (B, 1, H, W) in [0, 1], the gate
    x_b: Tensor  # (B, 3, H, W) in [0, 1], the whole background

    @property
    def x(self) -> Tensor:
        """(B, 3, H, W): eq. 4, as it stands. A sum of two layers may pass 1."""
        return self.x_f + self.g * self.x_b


class LayeredPass(NamedTuple):
    """One trip through a layered auto-encoder: what its objective needs."""

    layers: Layers
    q_f: DiagonalGaussian  # q(z_f | x_f, g, y)
    q_b: DiagonalGaussian  # q(z_b | z_f, x_f, g, x, y), at the z_f that was drawn
    p_f: DiagonalGaussian
    p_b: DiagonalGaussian


class DisCVAE(LatentImageModel):
    """p(x, x_f, g, z_f, z_b | y) as in eq. 5, q(z_f, z_b | x_f, g, x, y) as in eq. 6.

    Four networks (appendix B): an encoder and a decoder for each layer, those of the background
    with fewer channels. z is the pair [z_f, z_b], one after the other, so that everything that
    takes a z takes it whole. As in the authors' code the mean of q sees the attributes and its
    log-variance the picture only, and the gate reaches the encoder through x_f, which is black
    outside it.

    Args:
        attributes: K, the length of y.
        latent_f, latent_b: dimensions of z_f and z_b (paper: 192 and 64 on LFW, 128 each on CUB).
        width: multiplies every layer.
        background: share of the width that the background's networks have (the paper says
            "fewer" channels; open).
        size: height and width of images, a multiple of 16.
        dropout: on the encoders' image features (paper: 0.5).
        norm: batch normalisation after hidden convolutions (the paper names none).
        dense: multiplies the attribute embeddings and the foreground decoder's first layer instead
            of `width`.
    """

    def __init__(
        self,
        attributes: int,
        latent_f: int = 192,
        latent_b: int = 64,
        width: float = 1.0,
        background: float = 0.5,
        size: int = 64,
        dropout: float = 0.5,
        norm: bool = False,
        dense: float | None = None,
    ) -> None:
        super().__init__()
        self.latent_f, self.latent_b = latent_f, latent_b
        self.latent, self.size, self.attributes = latent_f + latent_b, size, attributes
        embedded, narrow = scaled(192, dense or width), width * background
        self.encoder_f = ImageEncoder(width, size, dropout, norm)
        self.embed_f = AttributeEmbedding(attributes, embedded)
        self.mu_f = nn.Linear(self.encoder_f.features + embedded, latent_f)
        self.log_var_f = zero_linear(self.encoder_f.features, latent_f)
        self.encoder_b = ImageEncoder(narrow, size, dropout, norm)
        self.embed_b = AttributeEmbedding(attributes + latent_f, embedded)
        self.mu_b = nn.Linear(self.encoder_b.features + embedded, latent_b)
        self.log_var_b = zero_linear(self.encoder_b.features, latent_b)
        self.embed_decoder = AttributeEmbedding(attributes, embedded)
        # three channels of foreground and one of gate part at the last convolution
        self.decoder_f = ImageDecoder(
            latent_f + embedded, width, size, channels=4, norm=norm, dense=dense
        )
        self.decoder_b = ImageDecoder(latent_b, narrow, size, norm=norm)

    def split(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """z_f (B, latent_f) and z_b (B, latent_b) of z (B, latent)."""
        z_f, z_b = z.split([self.latent_f, self.latent_b], -1)
        return z_f, z_b

    def posterior_f(self, x_f: Tensor, y: Tensor) -> DiagonalGaussian:
        """q(z_f | x_f, g, y): (B, latent_f)."""
        h = self.encoder_f(x_f)
        return DiagonalGaussian(self.mu_f(torch.cat([h, self.embed_f(y)], 1)), self.log_var_f(h))

    def posterior_b(self, z_f: Tensor, x: Tensor, y: Tensor) -> DiagonalGaussian:
        """q(z_b | z_f, x_f, g, x, y): (B, latent_b). The gradient of its KL reaches z_f."""
        h = self.encoder_b(x)
        joined = torch.cat([h, self.embed_b(torch.cat([y, z_f], 1))], 1)
        return DiagonalGaussian(self.mu_b(joined), self.log_var_b(h))

    def posterior(self, x: Tensor, y: Tensor, mask: Tensor | None = None) -> DiagonalGaussian:
        """[z_f, z_b] with z_b's part taken at the mean of z_f's, (B, latent).

        Args:
            x: images, (B, 3, H, W).
            y: attributes, (B, K).
            mask: (B, 1, H, W), 1 on the person or bird.

        Raises:
            ValueError: no mask; the recognition model sees the foreground.
        """
        if mask is None:
            raise ValueError(
                "disCVAE's recognition model sees the foreground: give posterior(x, y, mask) a "
                "mask, or find z without one by a2i_lib.inference.infer"
            )
        q_f = self.posterior_f(mask * x, y)
        q_b = self.posterior_b(q_f.mu, x, y)
        return DiagonalGaussian(
            torch.cat([q_f.mu, q_b.mu], 1), torch.cat([q_f.log_var, q_b.log_var], 1)
        )

    def encode(self, x: Tensor, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """The mean of `posterior`, (B, latent)."""
        return self.posterior(x, y, mask).mu

    def decode_layers(self, z: Tensor, y: Tensor) -> Layers:
        """The layers that z (B, latent) and y (B, K) stand for (section 3.2, steps 2 and 3)."""
        z_f, z_b = self.split(z)
        front = self.decoder_f(torch.cat([z_f, self.embed_decoder(y)], 1))
        return Layers(front[:, :3], front[:, 3:], self.decoder_b(z_b))

    def decode(self, z: Tensor, y: Tensor) -> Tensor:
        """The picture of eq. 4, (B, 3, H, W) in [0, 1]: the mean of p(x | z, y), cut off at 1 where
        the layers add up to more.
        """
        return self.decode_layers(z, y).x.clamp(max=1)

    def forward(self, x: Tensor, y: Tensor, mask: Tensor) -> LayeredPass:  # type: ignore[override]
        """Encode, draw z_f and then z_b by reparameterisation, draw the layers."""
        q_f = self.posterior_f(mask * x, y)
        z_f = q_f.rsample()
        q_b = self.posterior_b(z_f, x, y)
        layers = self.decode_layers(torch.cat([z_f, q_b.rsample()], 1), y)
        p_f, p_b = (
            DiagonalGaussian.standard(len(y), latent, like=y)
            for latent in (self.latent_f, self.latent_b)
        )
        return LayeredPass(layers, q_f, q_b, p_f, p_b)
