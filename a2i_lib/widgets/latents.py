"""The latent explorer of chapter 02: a slider for each of a few latent dimensions.

Every picture is drawn beforehand, and the links between sliders and pictures run in the browser:
it is as alive in the rendered page, without a kernel, as in a notebook.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import product

import ipywidgets as widgets
import torch
from PIL import Image
from torch import Tensor

from a2i_lib.models.vae import LatentImageModel


def latent_explorer(
    model: LatentImageModel,
    z: Tensor,
    dimensions: Mapping[str, tuple[int, Sequence[float]]],
    y: Tensor | None = None,
    *,
    width: int = 224,
) -> widgets.HBox:
    """Sliders that move z along single dimensions, beside the image that the model decodes.

    Args:
        model: decodes z (with y, where it takes attributes).
        z: the starting point, (Z,).
        dimensions: a label -> (dimension, the values it may take), one slider each; a slider
            starts at the value in the middle. The images are as many as the combinations.
        y: attributes, (K,), for a model that takes them.
        width: of the picture on the page, in pixels.

    Raises:
        ValueError: no dimension, one without values, or one that the model does not have.
    """
    if not dimensions:
        raise ValueError("latent_explorer needs at least one dimension")
    for label, (dimension, values) in dimensions.items():
        if not 0 <= dimension < model.latent or not len(values):
            raise ValueError(
                f"{label!r}: dimension {dimension} of {model.latent}, {len(values)} values"
            )
    images = decode_grid(model, z, list(dimensions.values()), y)
    return explorer(images, {k: values for k, (_, values) in dimensions.items()}, width)


@torch.no_grad()
def decode_grid(
    model: LatentImageModel,
    z: Tensor,
    dimensions: Sequence[tuple[int, Sequence[float]]],
    y: Tensor | None = None,
) -> Tensor:
    """Decoded images for every combination of values, (n_1, ..., n_S, 3, H, W)."""
    combinations = torch.tensor(list(product(*(values for _, values in dimensions))))
    moved = z.repeat(len(combinations), 1)
    moved[:, [dimension for dimension, _ in dimensions]] = combinations.to(moved)
    y = moved[:, :0] if y is None else y.expand(len(moved), -1)
    parts = zip(moved.split(128), y.split(128), strict=True)
    images = torch.cat([model.decode(some, attributes) for some, attributes in parts])
    return images.unflatten(0, [len(values) for _, values in dimensions])


def explorer(
    images: Tensor, sliders: Mapping[str, Sequence[float]], width: int = 224
) -> widgets.HBox:
    """Sliders by label, one for each leading axis of `images` (n_1, ..., n_S, 3, H, W) in [0, 1].

    Equal pictures are stored once.
    """
    picture = widgets.Layout(width=f"{width}px", height=f"{width}px")
    frame = widgets.Layout(width=f"{width}px", height=f"{width}px", overflow="hidden")
    stored: dict[bytes, widgets.Image] = {}

    def image(x: Tensor) -> widgets.Image:
        data = encode(x)
        if data not in stored:
            stored[data] = widgets.Image(value=data, format="jpeg", layout=picture)
        return stored[data]

    def stack(x: Tensor, below: Sequence[widgets.SelectionSlider]) -> widgets.Widget:
        if not below:
            return image(x)
        made = widgets.Stack([stack(part, below[1:]) for part in x], layout=frame)
        made.selected_index = below[0].index
        widgets.jslink((below[0], "index"), (made, "selected_index"))
        return made

    controls = [_slider(label, values) for label, values in sliders.items()]
    shown = stack(images, controls)
    panel = widgets.VBox(controls, layout=widgets.Layout(justify_content="center"))
    return widgets.HBox([shown, panel], layout=widgets.Layout(flex_flow="row wrap"))


def _slider(label: str, values: Sequence[float]) -> widgets.SelectionSlider:
    options = [(f"{value:+.3g}" if value else "0", i) for i, value in enumerate(values)]
    return widgets.SelectionSlider(
        options=options,
        index=len(options) // 2,
        description=label,
        style={"description_width": "initial"},
        layout=widgets.Layout(width="330px"),
    )


def encode(x: Tensor, quality: int = 88) -> bytes:
    """A JPEG of one image, (3, H, W) in [0, 1]: a third of a PNG's size for a smooth picture."""
    pixels = (x.detach().cpu() * 255).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=0)
    return file.getvalue()
