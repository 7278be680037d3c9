"""The conditional multimodal autoencoder, and the CVAE that it is compared with: chapters 08, 09.

Pandey & Dukkipati, "Variational methods for conditional multimodal learning" (section 2, 4.1 and
Table 1). CMMA moves the condition into the prior: z ~ p(z | y), then x ~ p(x | z), so that z must
say all that y says about the image. The matched CVAE has the same recognition network h and the
same decoder g; there z ~ N(0, I), and y enters the decoder beside it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from a2i_lib.gaussians import DiagonalGaussian
from a2i_lib.models.layers import UpConv, ValidDecoder, ValidEncoder
from a2i_lib.models.vae import LatentImageModel, zero_linear

START_STD = 0.25  # of a pixel before training: about what pixels vary by


class GaussianPass(NamedTuple):
    """One trip through an auto-encoder that says of each pixel how sure it is."""

    x_hat: Tensor  # (B, 3, H, W), the mean of p(x | z, y)
    log_var: Tensor  # (B, 3, H, W), its log-variance
    z: Tensor  # (B, Z)
    q: DiagonalGaussian  # q(z | x, y)
    p: DiagonalGaussian  # p(z | y)


class GaussianAutoEncoder(LatentImageModel):
    """q(z | x, y) by h and p(x | z, y) = N(g_mu, diag(exp(g_sigma))) by g (Table 1).

    h's two heads start from `ValidEncoder`, g's are the two halves of what `ValidDecoder` puts
    out; the mean passes a sigmoid. The paper calls log-variances f_sigma, g_sigma, h_sigma.

    The variance has a floor: without one a pixel that is met exactly, x = g_mu, would have density
    1 / (sqrt(2 pi) s), which grows without end as s goes to 0, and with it the bound. So
    s^2 = min_std^2 + exp(raw).

    Args:
        attributes: K, the length of y.
        joined: how many of y's entries join z in g: K or none.
        latent: dimensions of z (paper: 500).
        width: multiplies the convolutions' channels.
        size: height and width of images, a multiple of 8 from 32 on (paper: 64).
        sees_y: h sees y beside the image's features. The paper tried both and kept False.
        norm: batch normalisation after g's hidden convolutions (the paper names none).
        min_std: the floor, in pixel units. The default is one step of an 8-bit image: a narrower
            Gaussian would claim to know what the file does not hold.

    Raises:
        ValueError: a size that does not fit; min_std not positive.
    """

    def __init__(
        self,
        attributes: int,
        joined: int,
        latent: int = 500,
        width: float = 1.0,
        size: int = 64,
        sees_y: bool = False,
        norm: bool = False,
        min_std: float = 1 / 255,
    ) -> None:
        super().__init__()
        if min_std <= 0:
            raise ValueError(f"min_std must be positive, not {min_std}: see the class's docstring")
        self.latent, self.size, self.attributes = latent, size, attributes
        self.sees_y, self.min_std = sees_y, min_std
        self.encoder = ValidEncoder(width, size)
        seen = self.encoder.features + (attributes if sees_y else 0)
        self.mu = nn.Linear(seen, latent)
        self.log_var = zero_linear(seen, latent)
        self.decoder = ValidDecoder(latent + joined, width, size, outputs=6, norm=norm)
        last = self.decoder.stack[-1]
        assert isinstance(last, UpConv) and last.bias is not None
        nn.init.constant_(last.bias[3:], 2 * math.log(START_STD))

    def posterior(self, x: Tensor, y: Tensor) -> DiagonalGaussian:
        """q(z | x, y) for images (B, 3, H, W) and attributes (B, K)."""
        h = self.encoder(x)
        if self.sees_y:
            h = torch.cat([h, y.to(h)], 1)
        return DiagonalGaussian(self.mu(h), self.log_var(h))

    def decoder_input(self, z: Tensor, y: Tensor) -> Tensor:
        """What g is told."""
        raise AttributeError(f"{type(self).__name__} does not say what its decoder sees")

    def pixels(self, z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Mean, in [0, 1], and log-variance of p(x | z, y), (B, 3, H, W) each."""
        mean, raw = self.decoder(self.decoder_input(z, y)).float().chunk(2, 1)
        floor = raw.new_full((), 2 * math.log(self.min_std))
        return torch.sigmoid(mean), torch.logaddexp(raw, floor)

    def decode(self, z: Tensor, y: Tensor) -> Tensor:
        """Mean of p(x | z, y), shape (B, 3, H, W) in [0, 1]."""
        return self.pixels(z, y)[0]

    def forward(self, x: Tensor, y: Tensor) -> GaussianPass:  # type: ignore[override]
        """Encode, draw z once by reparameterisation, decode (section 2.3)."""
        q = self.posterior(x, y)
        z = q.rsample()
        return GaussianPass(*self.pixels(z, y), z, q, self.prior(y))


class CMMA(GaussianAutoEncoder):
    """p(x | y) = integral of p(x | z) p(z | y) (eq. 2): y speaks through the prior alone.

    f, from y to mean and log-variance of p(z | y), has one hidden layer of softplus units. Its
    heads start at zero, so that training starts from N(0, I), like the CVAE's. f costs next to
    nothing and keeps its 800 units at any width.

    Args:
        hidden: neurons of f (paper: 800).
        attributes, latent, width, size, sees_y, norm, min_std: as in `GaussianAutoEncoder`.
    """

    def __init__(
        self,
        attributes: int,
        latent: int = 500,
        width: float = 1.0,
        size: int = 64,
        sees_y: bool = False,
        norm: bool = False,
        min_std: float = 1 / 255,
        hidden: int = 800,
    ) -> None:
        super().__init__(attributes, 0, latent, width, size, sees_y, norm, min_std)
        self.embed_prior = nn.Sequential(nn.Linear(attributes, hidden), nn.Softplus())
        self.prior_mu = zero_linear(hidden, latent)
        self.prior_log_var = zero_linear(hidden, latent)

    def prior(self, y: Tensor) -> DiagonalGaussian:
        """p(z | y), (B, K) -> (B, Z) each (Table 1, first row)."""
        h = self.embed_prior(y)
        return DiagonalGaussian(self.prior_mu(h), self.prior_log_var(h))

    def decoder_input(self, z: Tensor, y: Tensor) -> Tensor:
        """z alone: given z, the image depends on y no more (Figure 1)."""
        return z


class MatchedCVAE(GaussianAutoEncoder):
    """The CVAE with CMMA's networks (section 4.2, Figure 3, eq. 13): p(z) = N(0, I), p(x | z, y).

    Args:
        attributes, latent, width, size, sees_y, norm, min_std: as in `GaussianAutoEncoder`.
    """

    def __init__(
        self,
        attributes: int,
        latent: int = 500,
        width: float = 1.0,
        size: int = 64,
        sees_y: bool = False,
        norm: bool = False,
        min_std: float = 1 / 255,
    ) -> None:
        super().__init__(attributes, attributes, latent, width, size, sees_y, norm, min_std)

    def decoder_input(self, z: Tensor, y: Tensor) -> Tensor:
        """z and y, side by side."""
        return torch.cat([z, y.to(z)], 1)
