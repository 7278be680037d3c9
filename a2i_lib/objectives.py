"""Objectives: one value an image, in nats, never reduced. The training loop takes the mean over
the batch, once.

So a weight on a term means the same in every chapter, whatever the batch size, image size or
latent size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from a2i_lib.gaussians import LOG_2PI, DiagonalGaussian


@dataclass(frozen=True)
class Loss:
    """What an update minimises and what it logs.

    Attributes:
        total: (B,) value to minimise for each image.
        terms: named parts, (B,) each, for the log.
    """

    total: Tensor
    terms: dict[str, Tensor]


def squared_error(x: Tensor, x_hat: Tensor) -> Tensor:
    """Squared error summed over channels and pixels, shape (B,)."""
    return (x.float() - x_hat.float()).pow(2).flatten(1).sum(1)


def gaussian_nll(x: Tensor, x_hat: Tensor, sigma: float) -> Tensor:
    """-log N(x; x_hat, sigma^2 I) in nats, shape (B,): the term `recon`.

    sigma is the shared, constant standard deviation of Attribute2Image, section 3.1, in pixel
    units ([0, 1]).

    Raises:
        ValueError: sigma not positive.
    """
    if sigma <= 0:
        raise ValueError(f"sigma must be positive, not {sigma}")
    dimensions = x[0].numel()
    constant = dimensions * (0.5 * LOG_2PI + math.log(sigma))
    return squared_error(x, x_hat) / (2 * sigma**2) + constant


def negative_elbo(
    x: Tensor,
    x_hat: Tensor,
    q: DiagonalGaussian,
    p: DiagonalGaussian | None,
    *,
    sigma: float,
    kl_weight: float = 1.0,
) -> Loss:
    """Attribute2Image eq. 1 with the sign turned: recon + kl_weight * KL(q(z|x,y) || p(z|y)),
    shape (B,).

    With kl_weight = 1 and one sample of z it is an unbiased estimate of an upper bound of -log
    p(x|y), in nats.
    """
    recon = gaussian_nll(x, x_hat, sigma)
    kl = q.kl(p)
    terms = {"recon": recon, "kl": kl, "mse": squared_error(x, x_hat) / x[0].numel()}
    return Loss(recon + kl_weight * kl, terms)


def attribute_loss(prediction: Tensor, y: Tensor, scores: Tensor) -> Loss:
    """Loss of an attribute predictor, summed over attributes, shape (B,).

    Args:
        prediction: (B, K): logits of y = +1 for binary and one-hot entries, values for scores.
        y: (B, K) as in the schema: -1/+1, or standardised scores.
        scores: (K,) bool, True where the attribute is a score.
    """
    prediction = prediction.float()
    binary = F.binary_cross_entropy_with_logits(prediction, (y > 0).float(), reduction="none")
    squared = (prediction - y) ** 2
    total = squared.where(scores, binary).sum(1)
    return Loss(total, {"loss": total})
