"""Do the layers of a model hold what they are called after? Measured where the truth is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from a2i_lib.models.discvae import DisCVAE
from a2i_lib.models.vae import LatentImageModel
from a2i_lib.worlds import Factors, Rendered, World


def intersection_over_union(a: Tensor, b: Tensor) -> Tensor:
    """Of the pixels where a > 1/2 and those where b > 1/2, (B, 1, H, W) each -> (B,).

    Two empty sets agree: 1.
    """
    one, two = (a > 0.5).flatten(1), (b > 0.5).flatten(1)
    joined = (one | two).sum(1)
    return torch.where(joined > 0, (one & two).sum(1) / joined.clamp(min=1), 1.0)


def mean_where(change: Tensor, where: Tensor) -> Tensor:
    """Mean of |change| over channels and the pixels that `where` marks, (B, 3, H, W) -> (B,).

    NaN for an image of which nothing is marked.
    """
    where = where.to(change)
    total = (change.abs() * where).flatten(1).sum(1)
    return total / (where.flatten(1).sum(1) * change.shape[1])


@torch.no_grad()
def encode(model: LatentImageModel, drawn: Rendered, y: Tensor) -> Tensor:
    """The mean of q(z | x, y), with the mask where the model asks for one: (B, Z)."""
    if isinstance(model, DisCVAE):
        return model.posterior(drawn.x, y, drawn.mask).mu
    return model.posterior(drawn.x, y).mu


@torch.no_grad()
def gate_iou(model: DisCVAE, x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    """IoU of the subject in reconstructions, where 1 - g > 1/2, with the true mask: (B,)."""
    layers = model.decode_layers(model.posterior(x, y, mask).mu, y)
    return intersection_over_union(1 - layers.g, mask)


@dataclass(frozen=True)
class Leakage:
    """Mean absolute change of pixels that should stand still, in pixel units, (B,) each.

    Attributes:
        y: of the background, when one attribute changes and z is held.
        z_f: of the background, when z_f is redrawn (layered models and the renderer; else NaN).
        z_b: of the foreground, when z_b is redrawn (likewise).
        wanted: of the pixels that the true attribute changes: what an edit is for.
    """

    y: Tensor
    z_f: Tensor
    z_b: Tensor
    wanted: Tensor


def _apart(before: Rendered, after: Rendered) -> Tensor:
    """Pixels that are wholly background in both pictures, (B, 1, H, W)."""
    return (before.mask < 0.01) & (after.mask < 0.01)


@torch.no_grad()
def leakage(
    model: LatentImageModel,
    world: World,
    factors: Factors,
    attribute: str,
    size: int = 64,
    generator: torch.Generator | None = None,
) -> Leakage:
    """Encodes drawn pictures, changes one thing, and looks where nothing should move.

    Which pixels are background is taken from the truth, before and after the attribute's true
    counterfactual, so that models without layers are measured by the same rule. When z_f is redrawn
    the subject moves, and the model's own gates say what is background in both pictures; when z_b
    is redrawn the foreground is where the gate is shut.

    Raises:
        UnknownAttribute: the world has no such attribute.
    """
    flipped = _flip(world, factors, attribute)
    before, after = world.render(factors, size), world.render(flipped, size)
    y, y_after = world.labels(factors), world.labels(flipped)
    z = encode(model, before, y)
    at_rest = model.decode(z, y)
    change = model.decode(z, y_after) - at_rest
    moved = ((after.x - before.x).abs().amax(1, keepdim=True) > 0.02) & ~_apart(before, after)
    nothing = torch.full((len(z),), torch.nan)
    by_z_f, by_z_b = nothing, nothing
    if isinstance(model, DisCVAE):
        drawn_z = model.prior(y).rsample(generator)
        (z_f, z_b), (other_f, other_b) = model.split(z), model.split(drawn_z)
        rest, moved_f = (
            model.decode_layers(torch.cat([front, z_b], 1), y) for front in (z_f, other_f)
        )
        open_gate = (rest.g > 0.99) & (moved_f.g > 0.99)
        by_z_f = mean_where(moved_f.x - rest.x, open_gate)
        moved_b = model.decode(torch.cat([z_f, other_b], 1), y)
        by_z_b = mean_where(moved_b - at_rest, rest.g < 0.01)
    return Leakage(
        mean_where(change, _apart(before, after)), by_z_f, by_z_b, mean_where(change, moved)
    )


def true_leakage(world: World, factors: Factors, attribute: str, size: int = 64) -> Tensor:
    """`Leakage.y` of the renderer itself, (B,): zero, if the world keeps its word."""
    before = world.render(factors, size)
    after = world.render(_flip(world, factors, attribute), size)
    return mean_where(after.x - before.x, _apart(before, after))


def _flip(world: World, factors: Factors, attribute: str) -> Factors:
    """Each subject with the attribute if it lacks it; without, if it has it and can do without.

    A one-hot member cannot be taken away, only given: subjects that have it keep it.
    """
    position = world.schema.index(attribute)
    has = world.labels(factors)[:, position] > 0
    given = world.counterfactual(factors, attribute, True)
    if world.schema[position].group is not None:
        return given
    taken = world.counterfactual(factors, attribute, False)
    return Factors(torch.where(has[:, None], taken.attributes, given.attributes), factors.nuisance)
