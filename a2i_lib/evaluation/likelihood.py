"""How tight is the bound? Importance-weighted estimates of log p(x | y)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from a2i_lib.models.vae import LatentImageModel
from a2i_lib.objectives import gaussian_nll, negative_elbo


@torch.no_grad()
def log_weights(
    model: LatentImageModel,
    x: Tensor,
    y: Tensor,
    sigma: float,
    k: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """log [p(x | z, y) p(z | y) / q(z | x, y)] for k draws z ~ q, shape (k, B), in nats."""
    q, p = model.posterior(x, y), model.prior(y)
    rows = []
    for _ in range(k):
        z = q.rsample(generator)
        log_likelihood = -gaussian_nll(x, model.decode(z, y), sigma)
        rows.append(log_likelihood + p.log_prob(z) - q.log_prob(z))
    return torch.stack(rows)


def importance_weighted_bound(log_w: Tensor) -> Tensor:
    """log (1/k) sum exp(log_w) over the first axis, (k, B) -> (B,): Burda et al. 2016, eq. 8.

    k = 1 is the variational bound; the expectation rises with k to log p(x | y).
    """
    return torch.logsumexp(log_w, 0) - math.log(len(log_w))


@torch.no_grad()
def held_out_bound(
    model: LatentImageModel,
    x: Tensor,
    y: Tensor,
    sigma: float,
    generator: torch.Generator | None = None,
    batch_size: int = 256,
) -> dict[str, float]:
    """Means over images of the bound's terms, one draw of z each, in nats; `mse` is the squared
    error a pixel value. x (N, 3, H, W), y (N, K).
    """
    terms: dict[str, list[Tensor]] = {}
    for part_x, part_y in zip(x.split(batch_size), y.split(batch_size), strict=True):
        q = model.posterior(part_x, part_y)
        x_hat = model.decode(q.rsample(generator), part_y)
        loss = negative_elbo(part_x, x_hat, q, model.prior(part_y), sigma=sigma)
        for name, values in loss.terms.items():
            terms.setdefault(name, []).append(values)
    return {name: float(torch.cat(parts).mean()) for name, parts in terms.items()}
