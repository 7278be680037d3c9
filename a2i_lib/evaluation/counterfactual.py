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
        x, y, mask: images (N, 3, H, W) in [0, 1], labels (N, K) and masks (N, 1, H, W) before.
        x_true, y_true, mask_true: after. An attribute that excludes others turns them off.
    """

    x: Tensor
    y: Tensor
    mask: Tensor
    x_true: Tensor
    y_true: Tensor
    mask_true: Tensor

    @property
    def background(self) -> Tensor:
        """Pixels that are wholly background before and after, (N, 1, H, W): nothing moves there."""
        return (self.mask < 0.01) & (self.mask_true < 0.01)

    @property
    def changed(self) -> Tensor:
        """Pixels that the attribute changes, by more than 0.02 in a channel, (N, 1, H, W)."""
        return (self.x_true - self.x).abs().amax(1, keepdim=True) > 0.02

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
    drawn, redrawn = world.render(before, size), world.render(after, size)
    return Addition(
        drawn.x, world.labels(before), drawn.mask, redrawn.x, world.labels(after), redrawn.mask
    )


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
    z = model.encode(added.x, added.y, added.mask)
    before, after = model.decode(z, added.y), model.decode(z, added.y_true)
    candidates = added.x, (added.x + after - before).clamp(0, 1), before, after
    return EditError(*((c - added.x_true).abs().flatten(1).mean(1) for c in candidates))
