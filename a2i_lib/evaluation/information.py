"""What z knows of y: how many nats of each attribute a simple reader finds in a latent, and, where
the densities are known, how much there is."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from a2i_lib.gaussians import DiagonalGaussian


def readable_information(
    z: Tensor, y: Tensor, penalty: float = 1.0, *, clamp: bool = True
) -> Tensor:
    """A lower bound of the mutual information I(y_k; z) for each binary attribute, (K,) nats.

    I(y_k; z) = H(y_k) - H(y_k | z) >= H(y_k) + E[log r(y_k | z)] for every reader r (Barber &
    Agakov 2003). Here r is a logistic regression, fitted on the first half of the rows and
    measured on the second, so that what it has learned by heart does not count. At most log 2.

    Args:
        z: latents (N, Z), in an order that does not matter.
        y: attributes (N, K), -1/+1.
        penalty: L2 on the reader's weights, for z of unit variance, in nats for all its rows.
        clamp: give 0 where the reader does worse than the base rate. Not for sums and means over
            attributes: chance finds that are kept while chance losses are cut would add up.

    Raises:
        ValueError: fewer than four rows.
    """
    if len(z) < 4:
        raise ValueError(f"{len(z)} rows: at least four are needed, half of them to fit a reader")
    half = len(z) // 2
    mean, deviation = z[:half].mean(0), z[:half].std(0).clamp(min=1e-6)
    known = torch.cat([(z - mean) / deviation, torch.ones_like(z[:, :1])], 1).double()
    shown = (y > 0).double()
    weight = _fit_reader(known[:half], shown[:half], penalty)
    rows = F.binary_cross_entropy_with_logits(known[half:] @ weight, shown[half:], reduction="none")
    rate = shown[half:].mean(0)
    entropy = -(torch.xlogy(rate, rate) + torch.xlogy(1 - rate, 1 - rate))
    found = (entropy - rows.mean(0)).to(z.dtype)
    return found.clamp(min=0) if clamp else found


@torch.no_grad()
def information(q: DiagonalGaussian, generator: torch.Generator | None = None) -> Tensor:
    """log q_i(z_i) - log (1/N) sum_j q_j(z_i) with one z_i ~ q_i for each of N rows, in nats, (N,).

    Its mean is an unbiased estimate of what z tells of the row that it was drawn for, and at most
    log N. With q_i = p(z | y_i) and rows y_i ~ p(y) it bounds I(y; z) from below, on average: the
    rows are a sample of p(y), and the mixture over them resembles q_i more than the true one does
    (Poole et al. 2019). No reader is fitted.
    """
    z = q.rsample(generator)
    each = torch.stack([q[j : j + 1].log_prob(z) for j in range(len(z))], 1)  # N, N
    return q.log_prob(z) - each.logsumexp(1) + math.log(len(z))


def _fit_reader(known: Tensor, shown: Tensor, penalty: float) -> Tensor:
    """Weights (Z + 1, K) of K logistic regressions, by L-BFGS; the last row is not penalised."""
    weight = known.new_zeros(known.shape[1], shown.shape[1], requires_grad=True)
    search = torch.optim.LBFGS([weight], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        wrong = F.binary_cross_entropy_with_logits(known @ weight, shown, reduction="sum")
        total = wrong + penalty * weight[:-1].square().sum()
        total.backward()
        return total

    with torch.enable_grad():
        search.step(loss)
    return weight.detach()
