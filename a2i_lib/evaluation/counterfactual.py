"""Does changing y do what the attribute does? Edits held against a world's true counterfactuals.

An editor is any function of (x, y, y_new, mask) that gives edited images. What it made is compared
with the same subject as the world draws it, apart in the pixels that the attribute truly changes
and in all others, where nothing should have moved; and a judge, a classifier that never saw an
edit, says how far it reads the change, and what else it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from a2i_lib.evaluation.attributes import predict
from a2i_lib.models.vae import LatentImageModel
from a2i_lib.worlds import Factors, World

#: x (N, 3, H, W), y (N, K), y_new (N, K), mask (N, 1, H, W) -> edited images (N, 3, H, W)
Editor = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Counterfactual:
    """Subjects before a change of attributes, and the same subjects after it.

    Attributes:
        x, y, mask: images (N, 3, H, W) in [0, 1], labels (N, K) and masks (N, 1, H, W) before.
        x_true, y_true, mask_true: after. An attribute that excludes others turns them off.
        asked: (K,) bool, True for the attributes that were asked to change.
        before, after: the factors that these pictures are drawn from.
        subjects: (N,) int, which of the given subjects these are.
    """

    x: Tensor
    y: Tensor
    mask: Tensor
    x_true: Tensor
    y_true: Tensor
    mask_true: Tensor
    asked: Tensor
    before: Factors
    after: Factors
    subjects: Tensor

    @property
    def background(self) -> Tensor:
        """Pixels that are wholly background before and after, (N, 1, H, W): nothing moves there."""
        return (self.mask < 0.01) & (self.mask_true < 0.01)

    @property
    def touched(self) -> Tensor:
        """Pixels that the change touches at all, (N, 1, H, W). Outside them x_true equals x."""
        return (self.x_true != self.x).any(1, keepdim=True)

    @property
    def changed(self) -> Tensor:
        """Pixels that the change makes differ by more than 0.02 in a channel, (N, 1, H, W)."""
        return (self.x_true - self.x).abs().amax(1, keepdim=True) > 0.02

    @property
    def squared_change(self) -> Tensor:
        """Squared difference that the change makes, summed over channels and pixels, (N,)."""
        return (self.x_true - self.x).pow(2).flatten(1).sum(1)


def counterfactual(
    world: World, factors: Factors, wanted: Mapping[str, bool], size: int = 64
) -> Counterfactual:
    """Draws those of the subjects of whom nothing that is wanted is true, before and after.

    Args:
        wanted: attribute names with True (add) or False (remove); several change together. Of a
            group whose members exclude each other, such as a bird's colours, ask for another
            member.

    Raises:
        UnknownAttribute: the world has no such attribute.
        ValueError: no subject is left; or the attributes exclude each other.
    """
    k = [world.schema.index(name) for name in wanted]
    signs = torch.tensor([1.0 if on else -1.0 for on in wanted.values()])
    lacking = (world.labels(factors)[:, k] != signs).all(1)
    words = ", ".join(name if on else f"not {name}" for name, on in wanted.items())
    if not bool(lacking.any()):
        raise ValueError(f"{words}: all {len(factors)} subjects have it already, or a part of it")
    before = after = factors[lacking]
    for name, on in wanted.items():
        after = world.counterfactual(after, name, on)
    y_true = world.labels(after)
    if bool((y_true[:, k] != signs).any()):
        raise ValueError(f"{words}: one excludes another")
    asked = torch.zeros(len(world.schema), dtype=torch.bool)
    asked[k] = True
    drawn, redrawn = world.render(before, size), world.render(after, size)
    labels = world.labels(before)
    return Counterfactual(
        drawn.x, labels, drawn.mask, redrawn.x, y_true, redrawn.mask, asked, before, after,
        lacking.nonzero()[:, 0],
    )  # fmt: skip


def add_attribute(world: World, factors: Factors, attribute: str, size: int = 64) -> Counterfactual:
    """`counterfactual` for those who lack one attribute and get it."""
    return counterfactual(world, factors, {attribute: True}, size)


# ---------------------------------------------------------------- how good is an edit?


@dataclass(frozen=True)
class EditScore:
    """What became of each subject, (N,) each.

    Attributes:
        inside: mean absolute difference from the truth over the pixels that the attribute truly
            changes, in pixel units; NaN where it changes none.
        outside: the same over all other pixels, where the truth is the input: what changed that
            should not have.
        logit: by how much the judge's logits of the attributes asked for moved the way asked, from
            those of the input; their mean, in nats. None without a judge.
        others: mean absolute movement of its logits of those attributes that should have stayed.
        subjects: whose edit it is. Several edits of one subject have much in common, and count as
            one where standard errors are asked for. None: all are different subjects.
    """

    inside: Tensor
    outside: Tensor
    logit: Tensor | None = None
    others: Tensor | None = None
    subjects: Tensor | None = None

    @property
    def row(self) -> dict[str, float]:
        """Means over subjects and their standard errors; NaN is left out."""
        row = {}
        for name in ("inside", "outside", "logit", "others"):
            values = getattr(self, name)
            if values is not None:
                row[name], row[f"{name}_se"] = mean_and_error(values, self.subjects)
        return row

    @staticmethod
    def cat(parts: Iterable[EditScore]) -> EditScore:
        """The scores of several attributes or batches of the same subjects, one after another.

        What not all parts have is left out.
        """
        parts = list(parts)
        columns = {}
        for name in ("inside", "outside", "logit", "others", "subjects"):
            known = [v for p in parts if (v := getattr(p, name)) is not None]
            if len(known) == len(parts):
                columns[name] = torch.cat(known)
        return EditScore(**columns)


def score_edit(x_new: Tensor, change: Counterfactual, judge: nn.Module | None = None) -> EditScore:
    """Edited images (N, 3, H, W) against the truth; `judge` gives logits (N, K) for images."""
    gap, touched = x_new - change.x_true, change.touched
    inside, outside = mean_where(gap, touched), mean_where(gap, ~touched)
    if judge is None:
        return EditScore(inside, outside, subjects=change.subjects)
    moved = predict(judge, x_new) - predict(judge, change.x)
    logit = (moved * (change.y_true - change.y).sign())[:, change.asked].mean(1)
    stays = (change.y_true == change.y).float()
    others = (moved.abs() * stays).sum(1) / stays.sum(1)
    return EditScore(inside, outside, logit, others, change.subjects)


@torch.no_grad()
def candidates(editor: Editor, change: Counterfactual, batch_size: int = 128) -> dict[str, Tensor]:
    """What an editor has to offer, and what it costs to do nothing, (N, 3, H, W) each.

    Returns:
        "copied": the input itself. "redrawn": the editor, asked for what is there already; an
        auto-encoder's reconstruction. "edited": asked for the change. "pasted": the input plus what
        the request changed, edited - redrawn: an edit without the auto-encoder's blur.
    """
    redrawn, edited = (
        torch.cat([editor(*part) for part in zip(*columns, strict=True)])
        for columns in (
            [t.split(batch_size) for t in (change.x, change.y, y_new, change.mask)]
            for y_new in (change.y, change.y_true)
        )
    )
    pasted = (change.x + edited - redrawn).clamp(0, 1)
    return {"copied": change.x, "redrawn": redrawn, "edited": edited, "pasted": pasted}


def score_editor(
    editor: Editor, change: Counterfactual, judge: nn.Module | None = None, batch_size: int = 128
) -> dict[str, EditScore]:
    """`score_edit` of each of an editor's `candidates`; and of the "truth", what a perfect editor
    would get: nothing but 0 for the pixels, and the judge's own reading of the change.
    """
    made = candidates(editor, change, batch_size) | {"truth": change.x_true}
    return {name: score_edit(x, change, judge) for name, x in made.items()}


def accomplished(score: EditScore, nothing: EditScore) -> tuple[float, float]:
    """Share of the wanted change that an edit brought about, and its standard error.

    1 - (error inside) / (error inside of doing nothing), a ratio of means over subjects: 1 is
    perfect, 0 no better than doing nothing, below 0 worse. The error is that of a ratio estimate,
    to first order, edits of one subject taken together.

    Args:
        nothing: the same subjects' "copied".
    """
    known = ~nothing.inside.isnan()
    left, whole = score.inside[known], nothing.inside[known]
    ratio = left.mean() / whole.mean()
    subjects = None if nothing.subjects is None else nothing.subjects[known]
    error = _error_of_mean(left - ratio * whole, subjects) / whole.mean()
    return float(1 - ratio), float(error)


def mean_and_error(values: Tensor, subjects: Tensor | None = None) -> tuple[float, float]:
    """Mean and standard error of (N,) values, those that are NaN left out.

    Args:
        subjects: (N,) int, whose values they are; default: each another's.
    """
    known = ~values.isnan()
    whose = None if subjects is None else subjects[known]
    return float(values[known].mean()), float(_error_of_mean(values[known], whose))


def _error_of_mean(values: Tensor, subjects: Tensor | None = None) -> Tensor:
    """Standard error of the mean of (N,) values; NaN for fewer than two subjects.

    Only subjects are drawn independently, so deviations are added up within each before they are
    squared. With one value each that is the usual deviation / sqrt(N).
    """
    strays = values - values.mean()
    if subjects is not None:
        each, rows = subjects.unique(return_inverse=True)
        strays = strays.new_zeros(len(each)).index_add(0, rows, strays)
    groups = len(strays)
    if groups < 2:
        return values.new_full((), torch.nan)
    return (groups / (groups - 1) * strays.square().sum()).sqrt() / len(values)


def mean_where(change: Tensor, where: Tensor) -> Tensor:
    """Mean of |change| over channels and the pixels that `where` marks, (B, C, H, W) -> (B,).

    NaN for an image of which nothing is marked.
    """
    where = where.to(change)
    total = (change.abs() * where).flatten(1).sum(1)
    return total / (where.flatten(1).sum(1) * change.shape[1])


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
def edit_error(model: LatentImageModel, added: Counterfactual) -> EditError:
    """How far a model's edit lands from the truth; z is the mean of q(z | x, y) throughout."""
    z = model.encode(added.x, added.y, added.mask)
    before, after = model.decode(z, added.y), model.decode(z, added.y_true)
    made = added.x, (added.x + after - before).clamp(0, 1), before, after
    return EditError(*((x - added.x_true).abs().flatten(1).mean(1) for x in made))
