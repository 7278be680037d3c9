"""The conditional variational auto-encoder: chapters 03 and 04.

`CVAE` is Attribute2Image's base model (section 3.1) in its own architecture (section 5, appendix
B); `ShallowCVAE` is Debbagh's two-layer variant (beta-weighted CVAE, section 4), and
`ConditionalPriorCVAE` the same with the prior that Debbagh's eq. 5 has.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from a2i_lib.gaussians import DiagonalGaussian
from a2i_lib.models.layers import AttributeEmbedding, ImageDecoder, ImageEncoder, scaled
from a2i_lib.models.vae import LatentImageModel, zero_linear


class CVAE(LatentImageModel):
    """p(x | z, y) = N(decode(z, y), sigma^2), p(z) = N(0, I), q(z | x, y) diagonal Gaussian (eq.
    1).

    The attribute stream joins the image stream at the end of the encoder; as in the authors' code
    the mean of q sees x and y, its log-variance x only.

    Args:
        attributes: K, the length of y.
        latent: dimensions of z (paper: 256).
        width: multiplies every layer.
        size: height and width of images, a multiple of 16.
        dropout: on the encoder's image features (paper: 0.5).
        norm: batch normalisation after hidden convolutions (the paper names none).
        dense: multiplies the attribute embeddings and the decoder's first layer instead of
            `width`. They cost next to nothing, and what y says must pass through them.
    """

    def __init__(
        self,
        attributes: int,
        latent: int = 256,
        width: float = 1.0,
        size: int = 64,
        dropout: float = 0.5,
        norm: bool = False,
        dense: float | None = None,
    ) -> None:
        super().__init__()
        self.latent, self.size, self.attributes = latent, size, attributes
        embedded = scaled(192, dense or width)
        self.encoder = ImageEncoder(width, size, dropout, norm)
        self.embed_posterior = AttributeEmbedding(attributes, embedded)
        self.mu = nn.Linear(self.encoder.features + embedded, latent)
        self.log_var = zero_linear(self.encoder.features, latent)
        self.embed_decoder = AttributeEmbedding(attributes, embedded)
        self.decoder = ImageDecoder(latent + embedded, width, size, norm=norm, dense=dense)

    def posterior(self, x: Tensor, y: Tensor) -> DiagonalGaussian:
        """q(z | x, y) for images (B, 3, H, W) and attributes (B, K)."""
        h = self.encoder(x)
        mu = self.mu(torch.cat([h, self.embed_posterior(y)], 1))
        return DiagonalGaussian(mu, self.log_var(h))

    def decode(self, z: Tensor, y: Tensor) -> Tensor:
        """Mean of p(x | z, y), shape (B, 3, H, W) in [0, 1]."""
        return self.decoder(torch.cat([z, self.embed_decoder(y)], 1))


class ShallowCVAE(LatentImageModel):
    """Debbagh's CVAE: two convolutions with max-pooling, one linear layer, two transposed
    convolutions.

    y is tiled over the image and joined to its channels; joined to z in the decoder. In the
    encoder it is divided by K, in the decoder by sqrt(K): Adam moves K weights in step, and what
    CUB's 312 attributes have in common, most of them -1 in every image, would push each rectifier
    of the first layer below zero for good. Weights start as in Kaiming's initialisation, biases at
    0 (section 4), but for three places where that costs hundreds of steps: see `_start_well`.
    Channels and latent size are not in the paper: 32, 64 and `latent` here.

    Args:
        attributes: K, the length of y.
        latent: dimensions of z.
        width: multiplies 32 and 64 channels.
        size: height and width of images, a multiple of 4.
    """

    def __init__(
        self, attributes: int, latent: int = 128, width: float = 1.0, size: int = 64
    ) -> None:
        super().__init__()
        if size < 4 or size % 4:
            raise ValueError(f"size must be a positive multiple of 4, not {size}")
        self.latent, self.size, self.attributes = latent, size, attributes
        c1, c2 = scaled(32, width), scaled(64, width)
        self.encoder = nn.Sequential(
            nn.Conv2d(3 + attributes, c1, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(c1, c2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(),
        )  # fmt: skip
        grid = size // 4
        self.mu = nn.Linear(c2 * grid**2, latent)
        self.log_var = nn.Linear(c2 * grid**2, latent)
        self.decoder = nn.Sequential(
            nn.Linear(latent + attributes, c2 * grid**2), nn.ReLU(),
            nn.Unflatten(1, (c2, grid, grid)),
            nn.ConvTranspose2d(c2, c1, 4, 2, 1), nn.ReLU(),
            nn.ConvTranspose2d(c1, 3, 4, 2, 1), nn.Sigmoid(),
        )  # fmt: skip
        self.apply(_kaiming)
        self._start_well()

    @torch.no_grad()
    def _start_well(self) -> None:
        """Where plain Kaiming drowns the image: K planes beside three of 0.25 spread in the first
        layer; a noise picture from the last; a z of pure noise from a wide q.
        """
        first, last = self.encoder[0], self.decoder[-2]
        assert isinstance(first, nn.Conv2d) and isinstance(last, nn.ConvTranspose2d)
        nn.init.kaiming_normal_(first.weight[:, :3], nonlinearity="relu")  # as if alone
        last.weight *= 0.2
        nn.init.normal_(self.log_var.weight, std=1e-3)  # else exp(log_var) overflows at once
        nn.init.constant_(self.log_var.bias, -3.0)

    def posterior(self, x: Tensor, y: Tensor) -> DiagonalGaussian:
        """q(z | x, y) for images (B, 3, H, W) and attributes (B, K)."""
        first, rest = self.encoder[0], self.encoder[1:]
        assert isinstance(first, nn.Conv2d)
        h = rest(convolve_tiled(first, x - 0.5, y / self.attributes))
        return DiagonalGaussian(self.mu(h), self.log_var(h))

    def decode(self, z: Tensor, y: Tensor) -> Tensor:
        """Mean of p(x | z, y), shape (B, 3, H, W) in [0, 1]."""
        return self.decoder(torch.cat([z, y / self.attributes**0.5], 1)).float()


class ConditionalPriorCVAE(ShallowCVAE):
    """Debbagh's eq. 5 taken at its word: p(z | y) = N(mu(y), diag(sigma^2(y))) from a network.

    One hidden layer; mean and log-variance start at zero, so training starts from N(0, I).

    Args:
        attributes, latent, width, size: as in `ShallowCVAE`.
        hidden: neurons of the prior network (the paper describes none).
    """

    def __init__(
        self,
        attributes: int,
        latent: int = 128,
        width: float = 1.0,
        size: int = 64,
        hidden: int = 64,
    ) -> None:
        super().__init__(attributes, latent, width, size)
        self.embed_prior = AttributeEmbedding(attributes, hidden)
        self.prior_mu = zero_linear(hidden, latent)
        self.prior_log_var = zero_linear(hidden, latent)

    def prior(self, y: Tensor) -> DiagonalGaussian:
        """p(z | y) for attributes (B, K)."""
        h = self.embed_prior(y)
        return DiagonalGaussian(self.prior_mu(h), self.prior_log_var(h))


def convolve_tiled(layer: nn.Conv2d, x: Tensor, y: Tensor) -> Tensor:
    """`layer` applied to x (B, C, H, W) joined by y (B, K) tiled over H x W, without the tiling.

    A 3x3 kernel with padding 1 sees a constant tile in nine ways: whole, or cut by one of four
    edges or corners. Nine products replace H * W: with CUB's 312 attributes, nearly all the work.
    """
    channels = x.shape[1]
    told = F.conv2d(y[:, :, None, None].expand(-1, -1, 3, 3), layer.weight[:, channels:], padding=1)
    rows, columns = (_edge_middle_edge(n, x.device) for n in x.shape[-2:])
    seen = F.conv2d(x, layer.weight[:, :channels], layer.bias, padding=1)
    return seen + told[:, :, rows][:, :, :, columns]


def _edge_middle_edge(n: int, device: torch.device) -> Tensor:
    """0, 1, ..., 1, 2: which of three positions each of n pixels is like."""
    where = torch.ones(n, dtype=torch.long, device=device)
    where[0], where[-1] = 0, 2
    return where


def _kaiming(module: nn.Module) -> None:
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
