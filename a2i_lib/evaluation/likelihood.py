"""How tight is the bound? Importance-weighted estimates of log p(x | y)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from a2i_lib.models.vae import LatentImageModel
from a2i_lib.objectives import gaussian_nll


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
