"""Who, what is hidden, which model: truth, hidden and completed pictures, the widget of chapter 06.

Every strip is drawn beforehand and put at the leaves of nested stacks, which the browser switches
by itself: it works in a rendered page, where there is no Python.
"""

from __future__ import annotations

from collections.abc import Mapping

import ipywidgets as widgets
import torch
from torch import Tensor

from a2i_lib.inference import hide
from a2i_lib.widgets.stacks import buttons, strip_chooser


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
    controls = [
        buttons("subject", [str(i + 1) for i in range(len(x))]),
        buttons("hidden", list(observed)),
        buttons("model", list(pictures)),
    ]
    return strip_chooser(controls, strips, ("truth", "hidden", "completed"), width=480)
