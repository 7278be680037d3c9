"""Who, what is hidden, which model: truth, hidden and completed pictures, the widget of chapter 06.

Every strip is drawn beforehand and put at the leaves of nested stacks, which the browser switches
by itself: it works in a rendered page, where there is no Python.
"""

from __future__ import annotations

from collections.abc import Mapping

import ipywidgets as widgets
import torch
from torch import Tensor

from a2i_lib.widgets.latents import encode
from a2i_lib.widgets.samples import nest

GREY = 0.5  # what is drawn where nothing may be seen; 0 on the paper's scale, which is [-1, 1]


def hide(x: Tensor, observed: Tensor) -> Tensor:
    """Images (N, 3, H, W) in [0, 1] with grey where `observed`, (N, 1, H, W), is 0."""
    return torch.where(observed > 0, x, GREY)


def completions(
    x: Tensor,
    observed: Mapping[str, Tensor],
    pictures: Mapping[str, Mapping[str, Tensor]],
) -> widgets.VBox:
    """Three rows of buttons above a strip: the truth, what may be seen of it, what a model adds.

    Args:
        x: the truth, (N, 3, H, W) in [0, 1]; N subjects to choose from.
        observed: what is hidden -> (N, 1, H, W), 1 where a model may look.
        pictures: model -> what is hidden -> completions, (N, 3, H, W). N strips are stored for
            each combination.

    Raises:
        ValueError: a model without completions for each thing hidden, or of other shapes than x.
    """
    for model, made in pictures.items():
        wrong = [task for task in observed if task not in made or made[task].shape != x.shape]
        if wrong:
            raise ValueError(f"{model}: no completions of shape {tuple(x.shape)} for {wrong}")
    strips = [
        torch.cat([x[i], hide(x[i], seen[i]), pictures[model][task][i]], -1)
        for i in range(len(x))
        for task, seen in observed.items()
        for model in pictures
    ]
    wide = widgets.Layout(width="100%", max_width=f"{WIDTH}px")
    leaves = [widgets.Image(value=encode(strip), format="jpeg", layout=wide) for strip in strips]
    controls = [
        _buttons("subject", [str(i + 1) for i in range(len(x))]),
        _buttons("hidden", list(observed)),
        _buttons("model", list(pictures)),
    ]
    return widgets.VBox([*controls, nest(controls, leaves, []), widgets.HTML(CAPTION)])


WIDTH = 480
CAPTION = (
    f'<div style="display:flex;max-width:{WIDTH}px;justify-content:space-around">'
    "<span>truth</span><span>hidden</span><span>completed</span></div>"
)


def _buttons(name: str, options: list[str]) -> widgets.ToggleButtons:
    return widgets.ToggleButtons(
        options=options,
        index=0,
        description=name,
        style={"button_width": "5.5em", "description_width": "5em"},
    )
