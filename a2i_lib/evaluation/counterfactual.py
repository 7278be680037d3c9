"""Does changing y do what the attribute does? Edits held against a world's true counterfactuals."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from a2i_lib.models.vae import LatentImageModel
from a2i_lib.worlds import Factors, World


@dataclass(frozen=True)
class Addition:
    """Subjects without an attribute, and the same subjects with it.

    Attributes:
        x, y: images (N, 3, H, W) in [0, 1] and labels (N, K) before.
        x_true, y_true: after. An attribute that excludes others turns them off, in both.
    """

    x: Tensor
    y: Tensor
    x_true: Tensor
    y_true: Tensor

    @property
    def squared_change(self) -> Tensor:
        """Squared difference that the attribute makes, summed over channels and pixels, (N,)."""
        return (self.x_true - self.x).pow(2).flatten(1).sum(1)


def add_attribute(world: World, factors: Factors, attribute: str, size: int = 64) -> Addition:
    """Draws those of the subjects that lack `attribute`, without and with it.

    Raises:
        UnknownAttribute: the world has no such attribute.
        ValueError: every subject has it already.
    """
    lacking = world.labels(factors)[:, world.schema.index(attribute)] < 0
    if not bool(lacking.any()):
        raise ValueError(f"{attribute}: all {len(factors)} subjects have it already")
    before = factors[lacking]
    after = world.counterfactual(before, attribute, True)
    return Addition(
        world.render(before, size).x, world.labels(before),
        world.render(after, size).x, world.labels(after),
    )  # fmt: skip


@dataclass(frozen=True)
class EditError:
    """Mean absolute difference from the true counterfactual, in pixel units, (N,) each.

    Attributes:
        copied: of the input itself: what doing nothing costs.
        pasted: of the input plus what the model changed, decode(z, y_true) - decode(z, y).
        redrawn: of the reconstruction decode(z, y): doing nothing, seen through the model.
        edited: of decode(z, y_true): encode, change y, decode.
    """

    copied: Tensor
    pasted: Tensor
    redrawn: Tensor
    edited: Tensor


@torch.no_grad()
def edit_error(model: LatentImageModel, added: Addition) -> EditError:
    """How far a model's edit lands from the truth; z is the mean of q(z | x, y) throughout."""
    z = model.posterior(added.x, added.y).mu
    before, after = model.decode(z, added.y), model.decode(z, added.y_true)
    candidates = added.x, (added.x + after - before).clamp(0, 1), before, after
    return EditError(*((c - added.x_true).abs().flatten(1).mean(1) for c in candidates))
