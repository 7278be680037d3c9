"""Nested stacks: pictures drawn beforehand, among which the browser chooses by itself.

So a widget made of them works in a rendered page, where there is no Python.
"""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets as widgets
from torch import Tensor

from a2i_lib.widgets.latents import encode


def nest(
    controls: Sequence[widgets.Widget],
    leaves: Sequence[widgets.Widget],
    links: list[widgets.Widget],
) -> widgets.Widget:
    """Stacks within stacks, of which the browser shows the leaf that the controls choose.

    Args:
        controls: with `options` and an `index`; the first one changes slowest along `leaves`.
        leaves: one for each combination of the controls' options.
        links: the links made are appended here.

    Raises:
        ValueError: another number of leaves than of combinations.
    """
    if not controls:
        if len(leaves) != 1:
            raise ValueError(f"{len(leaves)} leaves for one combination of the controls")
        return leaves[0]
    first, *rest = controls
    share, left = divmod(len(leaves), len(first.options))
    if left:
        raise ValueError(f"{len(leaves)} leaves cannot be shared by {len(first.options)} options")
    parts = [leaves[i * share : (i + 1) * share] for i in range(len(first.options))]
    stack = widgets.Stack(
        [nest(rest, part, links) for part in parts],
        selected_index=first.index,
        layout=leaves[0].layout,
    )
    links.append(widgets.jslink((first, "index"), (stack, "selected_index")))
    return stack


def buttons(
    name: str, options: Sequence[str], width: str = "6em", label: str = "5em"
) -> widgets.ToggleButtons:
    """A row of buttons, one for each option, the first one pressed.

    Args:
        width, label: of a button and of the name before them.
    """
    return widgets.ToggleButtons(
        options=list(options),
        index=0,
        description=name,
        style={"button_width": width, "description_width": label},
    )


def strip_chooser(
    controls: Sequence[widgets.ToggleButtons],
    strips: Sequence[Tensor],
    parts: Sequence[str],
    width: int,
) -> widgets.VBox:
    """Rows of buttons above the strip that they choose, and a word under each part of it.

    Args:
        controls: the first one changes slowest along `strips`.
        strips: (3, H, W) in [0, 1], one for each combination of the controls' options.
        parts: what the equally wide parts of a strip are.
        width: of a strip on the page at most, in pixels.
    """
    shown = widgets.Layout(width="100%", max_width=f"{width}px")
    leaves = [widgets.Image(value=encode(x), format="jpeg", layout=shown) for x in strips]
    words = "".join(f"<span>{part}</span>" for part in parts)
    style = f"display:flex;max-width:{width}px;justify-content:space-around"
    caption = widgets.HTML(f'<div style="{style}">{words}</div>')
    return widgets.VBox([*controls, nest(controls, leaves, []), caption])
