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
from a2i_lib.models.cmma import GaussianPass
from a2i_lib.models.discvae import LayeredPass


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
    shape (B,). (Eq. 1 has p(z), N(0, I): p = None.)

    With kl_weight = 1 and one sample of z it is an unbiased estimate of an upper bound of -log
    p(x|y), in nats.
    """
    recon = gaussian_nll(x, x_hat, sigma)
    kl = q.kl(p)
    terms = {"recon": recon, "kl": kl, "mse": squared_error(x, x_hat) / x[0].numel()}
    return Loss(recon + kl_weight * kl, terms)


def learned_gaussian_nll(x: Tensor, x_hat: Tensor, log_var: Tensor) -> Tensor:
    """-log N(x; x_hat, diag(exp(log_var))) in nats, shape (B,): CMMA's eq. 8 as it is meant.

    1/2 sum [(x - x_hat)^2 exp(-log_var) + log_var] + (m / 2) log 2 pi over all m values of an
    image. Printed is sum exp(g_sigma) instead of the last two terms, without the 1/2: that is
    least at a variance of |x - x_hat| / sqrt(2), where a density has its best fit at
    (x - x_hat)^2.

    Args:
        x, x_hat, log_var: (B, 3, H, W) each.
    """
    return -DiagonalGaussian(x_hat.flatten(1), log_var.flatten(1)).log_prob(x.flatten(1).float())


def learned_negative_elbo(x: Tensor, made: GaussianPass, *, kl_weight: float = 1.0) -> Loss:
    """CMMA eq. 6 with the sign turned, recon + kl_weight * KL(q(z|x,y) || p(z|y)), shape (B,); and
    its eq. 13 where p(z|y) is N(0, I).

    The variance of p(x | z, y) is the model's own. The KL is eq. 7 with the -1 per dimension that
    is missing there. With kl_weight = 1 and one sample of z it is an unbiased estimate of an upper
    bound of -log p(x|y), in nats; the paper's "minimisation of a lower bound" maximises it.

    The terms also name `std`, the geometric mean of a pixel's standard deviation.
    """
    recon, kl = learned_gaussian_nll(x, made.x_hat, made.log_var), made.q.kl(made.p)
    terms = {
        "recon": recon, "kl": kl, "mse": squared_error(x, made.x_hat) / x[0].numel(),
        "std": (0.5 * made.log_var.flatten(1).mean(1)).exp(),
    }  # fmt: skip
    return Loss(recon + kl_weight * kl, terms)


def layered_negative_elbo(
    x: Tensor, mask: Tensor, made: LayeredPass, *, sigma: float, gate_weight: float = 1.0
) -> Loss:
    """Attribute2Image eq. 7 (eq. 14) with the sign turned, shape (B,): of the image and of its
    layers, ``-log p(x, x_f, g | y)``.

    recon + recon_f + gate_weight * gate + kl_f + kl_b, where x_f = mask * x, recon and recon_f are
    Gaussian with the same sigma, and gate is the cross-entropy of g = 1 - mask. With gate_weight =
    1 it is an unbiased estimate of an upper bound, in nats; with any other value a weighted
    objective and no bound, since p(g)^lambda does not normalise.

    Args:
        x: images (B, 3, H, W).
        mask: (B, 1, H, W), 1 on the person or bird.
        made: what the model made of them.
        sigma: standard deviation of p(x | z, y) and p(x_f | z_f, y), in pixel units.
        gate_weight: lambda_g (the authors' code: 0.3).
    """
    layers = made.layers
    recon = gaussian_nll(x, layers.x, sigma)
    recon_f = gaussian_nll(mask * x, layers.x_f, sigma)
    crossed = F.binary_cross_entropy(layers.g.float(), 1 - mask.float(), reduction="none")
    gate = crossed.flatten(1).sum(1)
    kl_f, kl_b = made.q_f.kl(made.p_f), made.q_b.kl(made.p_b)
    terms = {
        "recon": recon, "recon_f": recon_f, "gate": gate, "kl_f": kl_f, "kl_b": kl_b,
        "mse": squared_error(x, layers.x) / x[0].numel(),
    }  # fmt: skip
    return Loss(recon + recon_f + gate_weight * gate + kl_f + kl_b, terms)


def weighted_loss(
    x: Tensor, x_hat: Tensor, q: DiagonalGaussian, p: DiagonalGaussian | None, *, beta: float
) -> Loss:
    """Debbagh eq. 9: (1 - beta) * |x - x_hat|^2 + beta * KL(q(z|x,y) || p(z|y)), shape (B,).

    The squared error is summed over channels and pixels. For every sigma the loss equals
    (1 - beta) * 2 sigma^2 * [recon + w * kl] plus a constant, with recon as in `gaussian_nll` and
    w = `kl_weight(beta, sigma)`: the objective of a beta-VAE. It has no unit of its own: squared
    pixel values and nats are added.

    Args:
        p: None for N(0, I), which is eq. 10.
        beta: between 0 and 1, neither included.

    Raises:
        ValueError: beta outside.
    """
    _require_beta(beta)
    error, kl = squared_error(x, x_hat), q.kl(p)
    terms = {"squared_error": error, "kl": kl, "mse": error / x[0].numel()}
    return Loss((1 - beta) * error + beta * kl, terms)


def kl_weight(beta: float, sigma: float = 1.0) -> float:
    """The weight w for which Debbagh's eq. 9 has the minimisers of recon + w * kl.

    w = beta / (2 sigma^2 (1 - beta)), where recon = |x - x_hat|^2 / (2 sigma^2) + const is that of
    a Gaussian with standard deviation sigma. Relative to unit variance that is
    beta / (2 (1 - beta)), and w = 1, the plain bound, sits at beta = 2/3; relative to
    sigma^2 = 1/2, where recon is the bare squared error, it is beta / (1 - beta), and the plain
    bound sits at 1/2.

    Raises:
        ValueError: beta not between 0 and 1, or sigma not positive.
    """
    _require_beta(beta)
    if sigma <= 0:
        raise ValueError(f"sigma must be positive, not {sigma}")
    return beta / (2 * sigma**2 * (1 - beta))


def implied_sigma(beta: float) -> float:
    """The standard deviation of p(x | z, y) for which Debbagh's eq. 9 *is* the plain bound:
    sqrt(beta / (2 (1 - beta))), in pixel units. `kl_weight(beta, implied_sigma(beta))` is 1.
    """
    return math.sqrt(kl_weight(beta))


def _require_beta(beta: float) -> None:
    if not 0 < beta < 1:
        raise ValueError(f"beta must lie between 0 and 1, not {beta}")


def discriminator_loss(
    real: Tensor, fake: Tensor, wrong: Tensor | None = None, mismatch: Tensor | float = 0.0
) -> Loss:
    """What the discriminator of a conditional GAN minimises, in nats, shape (B,):

    -log D(x, y) - (1 - mismatch) log(1 - D(G(z, y), y)) - mismatch log(1 - D(x, y')).

    The third term, real images with the attributes y' of others, is from Reed et al. 2016, and
    icGAN's with mismatch = 1/2; Mirza & Osindero have none. True pairs weigh as much as the rest
    together, whatever the mismatch.

    Args:
        real, fake, wrong: logits of D(x, y), of D(G(z, y), y) and of D(x, y'), (B,).
        mismatch: between 0 and 1; (B,) where it is 0 for rows in which y' happens to be y.

    Returns:
        With the term `accuracy`: the share of a row's first two answers that are right.
    """
    total = F.softplus(-real) + (1 - mismatch) * F.softplus(fake)
    if wrong is not None:
        total = total + mismatch * F.softplus(wrong)
    return Loss(total, {"accuracy": ((real > 0).float() + (fake < 0).float()) / 2})


def generator_loss(fake: Tensor) -> Loss:
    """-log D(G(z, y), y) in nats, (B,) logits -> (B,): the non-saturating loss (Goodfellow et al.
    2014, section 3), whose gradient is largest where the discriminator is surest.
    """
    return Loss(F.softplus(-fake), {})


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
