"""What z knows of y: how many nats of each attribute a simple reader finds in a latent."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def readable_information(z: Tensor, y: Tensor, penalty: float = 1.0) -> Tensor:
    """A lower bound of the mutual information I(y_k; z) for each binary attribute, (K,) nats.

    I(y_k; z) = H(y_k) - H(y_k | z) >= H(y_k) + E[log r(y_k | z)] for every reader r (Barber &
    Agakov 2003). Here r is a logistic regression, fitted on the first half of the rows and
    measured on the second, so that what it has learned by heart does not count. At most log 2;
    0 where the reader does worse than the base rate.

    Args:
        z: latents (N, Z), in an order that does not matter.
        y: attributes (N, K), -1/+1.
        penalty: L2 on the reader's weights, for z of unit variance, in nats for all its rows.

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
    return (entropy - rows.mean(0)).clamp(min=0).to(z.dtype)


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
