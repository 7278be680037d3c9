"""Rate and distortion of an auto-encoder: how many nats z carries, and what error they leave."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from a2i_lib.models.vae import LatentImageModel
from a2i_lib.objectives import squared_error


@dataclass(frozen=True)
class RateDistortion:
    """One value an image, shape (N,) each.

    Attributes:
        squared_error: |x - decode(z, y)|^2 for one draw z ~ q(z | x, y), summed over pixels: the
            distortion.
        kl: KL(q(z | x, y) || p(z | y)) in nats: the rate.
    """

    squared_error: Tensor
    kl: Tensor

    @property
    def row(self) -> dict[str, float]:
        """Means and standard errors over images, for a table."""
        n = len(self.kl) ** 0.5
        return {
            "squared_error": float(self.squared_error.mean()),
            "squared_error_se": float(self.squared_error.std() / n),
            "kl": float(self.kl.mean()),
            "kl_se": float(self.kl.std() / n),
        }


@torch.no_grad()
def rate_distortion(
    model: LatentImageModel,
    x: Tensor,
    y: Tensor,
    generator: torch.Generator | None = None,
    batch_size: int = 256,
) -> RateDistortion:
    """Measures images (N, 3, H, W), uint8 or in [0, 1], with attributes (N, K)."""
    errors, rates = [], []
    for some, attributes in zip(x.split(batch_size), y.split(batch_size), strict=True):
        images = some.float() / 255 if some.dtype == torch.uint8 else some
        q = model.posterior(images, attributes)
        errors.append(squared_error(images, model.decode(q.rsample(generator), attributes)))
        rates.append(q.kl(model.prior(attributes)))
    return RateDistortion(torch.cat(errors), torch.cat(rates))


def linear_curve(x: Tensor, y: Tensor, weights: Tensor, q: int = 192) -> tuple[Tensor, Tensor]:
    """Mean squared error and KL of the best *linear* CVAE under |x - x_hat|^2 + w * KL.

    The optimum is known (Tipping & Bishop 1999; Lucas et al. 2019): regress x on y, then keep of
    the residuals' eigenvalues l those above sigma^2 = w / 2. Each of these leaves an error of
    sigma^2 and costs log(l / sigma^2) / 2 nats; each of the others leaves l and costs nothing.

    Args:
        x: images (N, 3, H, W) in [0, 1]; y: attributes (N, K).
        weights: w, (W,); for Debbagh's eq. 9, beta / (1 - beta).
        q: eigenvalues computed; the rest count as below every sigma^2.

    Returns:
        Squared error and KL an image, in nats, (W,) each, over the images given.
    """
    flat = x.flatten(1)
    known = torch.cat([y, torch.ones(len(y), 1)], 1)
    residual = flat - known @ torch.linalg.lstsq(known, flat, driver="gelsd").solution
    rank = min(q, *residual.shape)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)  # svd_lowrank draws its first guess
        singular = torch.svd_lowrank(residual, rank, niter=4)[1]
    levels = singular.double() ** 2 / len(x)
    rest = (residual.double().pow(2).sum() / len(x) - levels.sum()).clamp(min=0)
    water = weights.double()[:, None] / 2
    error = torch.minimum(levels, water).sum(1) + rest
    return error, 0.5 * (levels / water).log().clamp(min=0).sum(1)
