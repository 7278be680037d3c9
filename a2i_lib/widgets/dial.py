"""The dial of several chapters: a slider along beta, the number of tries, the noise or the strength
of an edit, and switches for what to look at.

Every strip is drawn beforehand and linked in the browser, so the page needs no Python.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ipywidgets as widgets
import torch
from torch import Tensor

from a2i_lib.widgets.latents import encode
from a2i_lib.widgets.stacks import buttons, nest


def dial(
    strips: Mapping[str, Mapping[str, Sequence[Tensor]]],
    stops: Sequence[str],
    notes: Mapping[str, Sequence[str]],
    *,
    name: str = "beta",
    switches: tuple[str, str] = ("network", "picture"),
    width: int = 640,
) -> widgets.VBox:
    """A slider over `stops`; for each stop a strip of images and a line of text.

    Args:
        strips: model -> view -> one strip (N, 3, H, W) in [0, 1] for each stop; every model has
            the same views.
        stops: what the slider says.
        notes: model -> one line (HTML) for each stop.
        name: of the slider.
        switches: what the buttons of the models and of the views are called.
        width: of a strip on the page at most, in pixels.

    Raises:
        ValueError: a view without a strip, or a model without a note, for each stop.
    """
    models, views = list(strips), list(next(iter(strips.values())))
    for model in models:
        counts = [len(strips[model][view]) for view in views] + [len(notes[model])]
        if set(counts) != {len(stops)}:
            raise ValueError(f"{model}: {counts} strips and notes for {len(stops)} stops")
    slider = widgets.SelectionSlider(
        options=list(stops), index=0, description=name, style={"description_width": "5em"}
    )
    which, view = buttons(switches[0], models), buttons(switches[1], views)
    shown = widgets.Layout(width="100%", max_width=f"{width}px")
    pictures = [
        widgets.Image(value=encode(torch.cat(list(strip), -1)), format="jpeg", layout=shown)
        for model in models
        for v in views
        for strip in strips[model][v]
    ]
    texts = [
        widgets.HTML(text, layout=widgets.Layout(width="100%"))
        for model in models
        for text in notes[model]
    ]
    row = widgets.Layout(flex_flow="row wrap")
    return widgets.VBox(
        [
            slider,
            nest([which, view, slider], pictures, []),
            nest([which, slider], texts, []),
            widgets.HBox([which, view], layout=row),
        ]
    )
