"""Changing what an image says: modification of a given image, generation without noise, attribute
progression, and interpolation between latents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from a2i_lib.attributes import AttributeSchema
from a2i_lib.models.vae import LatentImageModel

Request = str | Mapping[str, bool | float]  # as `AttributeSchema.encode` reads it


@torch.no_grad()
def modify(
    model: LatentImageModel,
    x: Tensor,
    y: Tensor,
    y_new: Tensor,
    mask: Tensor | None = None,
    strength: float = 1.0,
    seen: Tensor | None = None,
) -> Tensor:
    """The images x with their attributes moved from y to y_new, (B, 3, H, W) (CMMA, section 4.5.2).

    z' = h(x, y_new) + f(y_new) - f(y), then the mean of p(x | z', y_new), without noise: h is the
    posterior's mean and f the prior's. A prior that knows no y has f(y_new) = f(y), and nothing is
    added; a decoder that knows no y sees the change in z' alone.

    Args:
        x, y, mask: images (B, 3, H, W), what they show (B, K), and masks (B, 1, H, W) where the
            model's recognition asks for them.
        y_new: what they are to show, (B, K).
        strength: alpha. y_new is replaced by (1 - alpha) y + alpha y_new, and of f(y_new) - f(y)
            the share alpha is added: 0 reconstructs, 1 is the paper, more exaggerates.
        seen: the attributes that h is given, (B, K); default those of y_new, as in the paper.
    """
    asked = torch.lerp(y, y_new, strength)
    z = model.encode(x, asked if seen is None else seen, mask)
    step = model.prior(y_new).mu - model.prior(y).mu
    return model.decode(z + strength * step, asked)


@torch.no_grad()
def redecode(
    model: LatentImageModel,
    x: Tensor,
    y: Tensor,
    y_new: Tensor,
    mask: Tensor | None = None,
    strength: float = 1.0,
) -> Tensor:
    """The CVAE's own way to modify images: encode with y, decode the same z with y_new.

    All that y does not say is in z and stays. A model whose decoder knows no y gives the
    reconstruction. Arguments as in `modify`.
    """
    z = model.encode(x, y, mask)
    return model.decode(z, torch.lerp(y, y_new, strength))


def single_changes(
    schema: AttributeSchema,
    pair: tuple[str, str],
    changes: Sequence[Request],
    base: Tensor | None = None,
    levels: tuple[bool | float, bool | float] = (False, True),
) -> Tensor:
    """Attribute vectors for CMMA's Figure 4, (4, 1 + len(changes), K).

    Rows: two attributes in all combinations, in the paper's order (the second alone, neither,
    both, the first alone). Columns: no change, then one change at a time.

    Args:
        pair: names of the two; the paper takes Male and Asian.
        changes: what each further column asks for.
        base: everything else, (K,); default as in `AttributeSchema.encode`.
        levels: what the pair's "off" and "on" send: bools for the ends of an attribute's range, or
            numbers in the units of y.

    Raises:
        UnknownAttribute: a name that is not in the schema.
    """
    (first, second), (off, on) = pair, levels
    rows = []
    for one, two in ((off, on), (off, off), (on, on), (on, off)):
        row = schema.encode({first: one, second: two}, base)
        rows.append(torch.stack([row, *(schema.encode(change, row) for change in changes)]))
    return torch.stack(rows)


def progression_targets(
    schema: AttributeSchema, y: Tensor, attribute: str, steps: int = 7
) -> Tensor:
    """y with one attribute moved from its lowest to its highest value, (K,) -> (steps, K).

    Attribute2Image, section 5.1 and Fig. 4: y_alpha = (1 - alpha) y_min + alpha y_max, the rest
    fixed.
    """
    position = schema.index(attribute)
    targets = y.repeat(steps, 1)
    targets[:, position] = torch.linspace(schema[position].low, schema[position].high, steps)
    return targets


@torch.no_grad()
def progression(
    model: LatentImageModel,
    schema: AttributeSchema,
    y: Tensor,
    attribute: str,
    z: Tensor,
    steps: int = 7,
) -> Tensor:
    """Images for `progression_targets`, z held fixed: (K,), (Z,) -> (steps, 3, H, W)."""
    targets = progression_targets(schema, y, attribute, steps)
    return model.decode(z.expand(steps, -1), targets)


def linear_path(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """Points on the straight line from a to b, (Z,), (Z,) -> (steps, Z)."""
    t = torch.linspace(0, 1, steps, device=a.device)[:, None]
    return (1 - t) * a + t * b


def spherical_path(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """Points on the arc from a to b, (Z,), (Z,) -> (steps, Z): lengths stay those of samples from
    N(0, I).
    """
    t = torch.linspace(0, 1, steps, device=a.device)[:, None]
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=0).clamp(-1 + 1e-6, 1 - 1e-6)
    angle = torch.arccos(cosine)
    return (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)
