"""Do the layers of a model hold what they are called after? Measured where the truth is drawn."""

from __future__ import annotations

import torch
from torch import Tensor

from a2i_lib.evaluation.counterfactual import Counterfactual, mean_where
from a2i_lib.models.discvae import DisCVAE
from a2i_lib.models.vae import LatentImageModel


def intersection_over_union(a: Tensor, b: Tensor) -> Tensor:
    """Of the pixels where a > 1/2 and those where b > 1/2, (B, 1, H, W) each -> (B,).

    Two empty sets agree: 1.
    """
    one, two = (a > 0.5).flatten(1), (b > 0.5).flatten(1)
    joined = (one | two).sum(1)
    return torch.where(joined > 0, (one & two).sum(1) / joined.clamp(min=1), 1.0)


@torch.no_grad()
def gate_iou(model: DisCVAE, x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    """IoU of the subject in reconstructions, where 1 - g > 1/2, with the true mask: (B,)."""
    layers = model.decode_layers(model.encode(x, y, mask), y)
    return intersection_over_union(1 - layers.g, mask)


@torch.no_grad()
def edit_leakage(model: LatentImageModel, added: Counterfactual) -> tuple[Tensor, Tensor]:
    """What switching an attribute on moves, z held: mean absolute change, in pixel units.

    Which pixels are background is taken from the truth, before and after, so that models with and
    without layers are measured by one rule. The renderer's own answers are those of
    ``added.x_true - added.x``.

    Returns:
        Of the background, where nothing should move; and of the pixels that the attribute truly
        changes, without which the first means nothing. (N,) each.
    """
    z = model.encode(added.x, added.y, added.mask)
    change = model.decode(z, added.y_true) - model.decode(z, added.y)
    return mean_where(change, added.background), mean_where(change, added.changed)


@torch.no_grad()
def latent_leakage(
    model: DisCVAE, x: Tensor, y: Tensor, mask: Tensor, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """How much one layer moves when the latent of the other is redrawn from the prior.

    With z_f the figure itself moves, so the model's own gate says where background is, before and
    after; and where the foreground is.

    Returns:
        Mean absolute change, in pixel units, (N,) each: of the background by z_f, of the
        foreground by z_b.
    """
    z_f, z_b = model.split(model.encode(x, y, mask))
    other_f, other_b = model.split(model.prior(y).rsample(generator))
    rest, by_f, by_b = (
        model.decode_layers(torch.cat(z, 1), y)
        for z in ((z_f, z_b), (other_f, z_b), (z_f, other_b))
    )
    open_gate = (rest.g > 0.99) & (by_f.g > 0.99)
    return mean_where(by_f.x - rest.x, open_gate), mean_where(by_b.x - rest.x, rest.g < 0.01)
