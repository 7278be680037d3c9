"""The book's pictures: grids that say what rows and columns are, curves with units,
colour-blind-safe colours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from a2i_lib.training.loop import History

# Okabe and Ito's palette: told apart with any kind of colour vision, and in grey.
COLOURS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "red": "#D55E00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "yellow": "#F0E442",
    "black": "#000000",
}
CYCLE = [COLOURS[c] for c in ("blue", "orange", "green", "red", "purple", "sky", "black")]


def style() -> None:
    """Sets matplotlib's defaults for a chapter; call once, in the setup cell."""
    plt.rcParams.update(
        {
            "axes.prop_cycle": plt.cycler(color=CYCLE),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "figure.dpi": 110,
            "font.size": 10,
            "image.interpolation": "nearest",
            "legend.frameon": False,
        }
    )


def to_pixels(images: Tensor) -> Tensor:
    """(..., C, H, W) in [0, 1] or uint8, 1 or 3 channels -> (..., H, W, 3) float on the CPU."""
    x = images.detach().cpu()
    x = x.float() / 255 if x.dtype == torch.uint8 else x.float().clamp(0, 1)
    return x.expand(*x.shape[:-3], 3, *x.shape[-2:]).movedim(-3, -1)


def image_grid(
    images: Tensor | Sequence[Tensor],
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    *,
    ncols: int | None = None,
    title: str | None = None,
    scale: float = 1.0,
) -> Figure:
    """Images in a grid, with what each row and column is.

    Args:
        images: (R, C, 3, H, W); or (N, 3, H, W) to be laid out in rows of `ncols`; or a list of
            rows
            (C, 3, H, W) of equal length.
        rows, columns: labels.
        ncols: for (N, 3, H, W): images a row (default 8).
        scale: 1 draws an image 0.85 inches wide.

    Raises:
        ValueError: labels that do not match the grid.
    """
    grid = _as_grid(images, ncols)
    r, c = grid.shape[:2]
    for what, labels, n in (("rows", rows, r), ("columns", columns, c)):
        if labels is not None and len(labels) != n:
            raise ValueError(f"{len(labels)} labels for {n} {what}")
    lines = [line for label in rows or () for line in label.splitlines()]
    margin = 0.085 * max(map(len, lines)) + 0.06 if lines else 0.0
    cell = 0.85 * scale
    top = (0.25 if columns else 0.0) + (0.3 if title else 0.0)
    width, height = c * cell + margin, r * cell + top
    figure = plt.figure(figsize=(width, height))
    axes = figure.add_axes((margin / width, 0, c * cell / width, r * cell / height))
    canvas, (down, across) = _tile(to_pixels(grid))
    axes.imshow(canvas.numpy(), vmin=0, vmax=1, aspect="auto")
    axes.set_axis_off()
    for i, label in enumerate(rows or ()):
        axes.text(-0.06 * across, (i + 0.48) * down, label, ha="right", va="center", size=9)
    for j, label in enumerate(columns or ()):
        axes.text((j + 0.48) * across, -0.05 * down, label, ha="center", va="bottom", size=9)
    if title:
        figure.text(margin / width, 1 - 0.12 / height, title, ha="left", va="center", size=11)
    return figure


def _as_grid(images: Tensor | Sequence[Tensor], ncols: int | None) -> Tensor:
    x = images if isinstance(images, Tensor) else torch.stack(list(images))
    if x.ndim == 5:
        return x
    if x.ndim != 4:
        raise ValueError(f"images of shape {tuple(x.shape)}: expected (N, C, H, W) or (R, C, ...)")
    n = min(ncols or 8, len(x))
    missing = -len(x) % n
    if missing:
        x = torch.cat([x, torch.ones_like(x[:1]).expand(missing, -1, -1, -1)])
    return x.unflatten(0, (-1, n))


def _tile(pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """One picture of all (R, C, H, W, 3), white between them, and the pitch of its cells."""
    height, width = pixels.shape[2:4]
    gap = max(1, round(0.04 * width))
    cells = torch.nn.functional.pad(pixels, (0, 0, 0, gap, 0, gap), value=1.0)
    return cells.permute(0, 2, 1, 3, 4).flatten(0, 1).flatten(1, 2), (height + gap, width + gap)


def curves(
    history: History,
    names: Sequence[str] = ("loss",),
    *,
    labels: Mapping[str, str] | None = None,
    log: bool = False,
) -> Figure:
    """What a run logged, against its steps: one panel a name.

    Args:
        names: columns of the history.
        labels: axis labels with units; default "NAME (nats per image)".
        log: logarithmic vertical axis.
    """
    figure, axes = plt.subplots(1, len(names), figsize=(3.4 * len(names), 2.5), squeeze=False)
    for i, (ax, name) in enumerate(zip(axes[0], names, strict=True)):
        steps = [row["step"] for row in history.rows if name in row]
        ax.plot(steps, history.column(name), color=CYCLE[i % len(CYCLE)])
        ax.set_xlabel("step")
        ax.set_ylabel((labels or {}).get(name, f"{name} (nats per image)"))
        if log:
            ax.set_yscale("log")
    figure.tight_layout()
    return figure


def bars(
    values: Mapping[str, float],
    *,
    xlabel: str,
    reference: float | None = None,
    reference_label: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Horizontal bars, in the order given, top to bottom; a dashed line at `reference`."""
    if ax is None:
        _, ax = plt.subplots(figsize=(5, 0.22 * len(values) + 0.7))
    names = list(values)
    ax.barh(names, [values[n] for n in names], color=COLOURS["blue"], height=0.7)
    ax.invert_yaxis()
    ax.set_xlabel(xlabel)
    ax.grid(axis="y", visible=False)
    if reference is not None:
        ax.axvline(reference, color=COLOURS["red"], linestyle="--", label=reference_label)
        if reference_label:
            ax.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
    figure = ax.get_figure()
    assert isinstance(figure, Figure)
    return figure


def flow(
    ax: Axes,
    boxes: Mapping[str, tuple[float, float]],
    arrows: Iterable[tuple[str, str]],
    dashed: Iterable[tuple[str, str]] = (),
    networks: Iterable[str] = (),
) -> None:
    """Boxes with words in them and arrows from one to another: who tells whom what.

    Args:
        ax: its limits are set so that all boxes are in it, and its frame is taken off.
        boxes: what stands in a box, and where its middle is.
        arrows, dashed: pairs of boxes.
        networks: boxes that are filled: what is learned.

    Raises:
        ValueError: an arrow to or from a box that is not there.
    """
    learned = set(networks)
    drawn = {
        words: ax.text(
            *place, words, ha="center", va="center", fontsize=8.5,
            bbox={
                "boxstyle": "round,pad=0.35",
                "facecolor": "0.87" if words in learned else "white",
                "edgecolor": "0.2",
            },
        )
        for words, place in boxes.items()
    }  # fmt: skip
    for style, pairs in (("-", arrows), ("--", dashed)):
        for start, end in pairs:
            if missing := {start, end} - set(boxes):
                raise ValueError(f"an arrow from {start!r} to {end!r}: no box {missing}")
            patches = {
                "patchA": drawn[start].get_bbox_patch(),
                "patchB": drawn[end].get_bbox_patch(),
            }
            look = {"arrowstyle": "-|>", "linestyle": style, "color": "0.2", "shrinkA": 0}
            ax.annotate("", boxes[end], boxes[start], arrowprops={**look, **patches, "shrinkB": 1})
    across, up = zip(*boxes.values(), strict=True)
    ax.set(xlim=(min(across) - 0.6, max(across) + 0.6), ylim=(min(up) - 0.5, max(up) + 0.5))
    ax.axis("off")
