"""Foreground of one, background of another, attributes of a third: the widget of chapter 05.

Every combination is drawn beforehand and put at the leaves of nested stacks, which the browser
switches by itself: it works in a rendered page, where there is no Python.
"""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets as widgets
import torch
from torch import Tensor

from a2i_lib.models.discvae import DisCVAE
from a2i_lib.widgets.stacks import buttons, strip_chooser

PARTS = ("foreground z_f of", "background z_b of", "attributes y of")
LAYERS = ("image x", "foreground x_f", "gate g", "background x_b")


@torch.no_grad()
def swapped_strips(model: DisCVAE, z: Tensor, y: Tensor) -> Tensor:
    """x, x_f, g and x_b side by side, (N, N, N, 3, H, 4 W), for z (N, Z) and y (N, K).

    Entry [i, j, k] has z_f of subject i, z_b of j and the attributes of k.
    """
    z_f, z_b = model.split(z)
    n = len(z)
    i, j, k = torch.cartesian_prod(*[torch.arange(n)] * 3).T
    both = torch.cat([z_f[i], z_b[j]], 1)
    layers = model.decode_layers(both, y[k])
    gate = layers.g.expand_as(layers.x_f)
    strips = torch.cat([layers.x.clamp(max=1), layers.x_f, gate, layers.x_b], -1)
    return strips.unflatten(0, (n, n, n))


def layer_swaps(
    model: DisCVAE, z: Tensor, y: Tensor, names: Sequence[str] | None = None
) -> widgets.VBox:
    """Three rows of buttons, one for each thing that makes a picture, above its four layers.

    Args:
        model: whose latent has a foreground's and a background's part.
        z: latents of N subjects, (N, Z); N^3 strips are stored.
        y: their attributes, (N, K).
        names: of the subjects, for the buttons; default 1 to N.

    Raises:
        ValueError: fewer than two subjects, or z, y and names of different lengths.
    """
    names = [str(i + 1) for i in range(len(z))] if names is None else list(names)
    if not 2 <= len(z) == len(y) == len(names):
        raise ValueError(
            f"{len(z)} latents, {len(y)} attribute vectors and {len(names)} names: "
            "give as many of each, two at least"
        )
    controls = [buttons(part, names, "4.5em", "10em") for part in PARTS]
    strips = list(swapped_strips(model, z, y).flatten(0, 2))
    return strip_chooser(controls, strips, LAYERS, width=640)
