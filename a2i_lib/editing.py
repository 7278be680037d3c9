"""Changing what an image says: attribute progression and interpolation between latents."""

from __future__ import annotations

import torch
from torch import Tensor

from a2i_lib.attributes import AttributeSchema
from a2i_lib.models.vae import LatentImageModel


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
