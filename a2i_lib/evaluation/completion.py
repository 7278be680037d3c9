"""What a model makes of pictures it never saw, and of their hidden parts: Attribute2Image, section
5.2, Table 1 and Figure 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from a2i_lib.inference import Inferred, complete, infer, occluded, reconstruct
from a2i_lib.models.vae import LatentImageModel

#: Table 1's columns. Two are reconstructions, the others say what is hidden.
TASKS = {
    "faces": ("full", "foreground", "eye", "mouth", "face", "half"),
    "birds": ("full", "foreground", "8x8", "16x16"),
}


@dataclass(frozen=True)
class Outcome:
    """One column of Table 1 for one model, image by image.

    Attributes:
        squared_error: summed over the region's values, in squared pixel units, (N,).
        values: how many values the region has, three a pixel, (N,).
        picture: the reconstruction or completion, (N, 3, H, W).
        inferred: the descent behind it.
    """

    squared_error: Tensor
    values: Tensor
    picture: Tensor
    inferred: Inferred

    @property
    def row(self) -> dict[str, float]:
        """Means over the images and their standard errors, of the error summed over the region
        and of its mean over the region's values. The paper's entries, by name mean squared
        errors, cannot be plain ones.
        """
        row = {}
        measures = {
            "squared_error": self.squared_error,
            "mean_squared_error": self.squared_error / self.values,
        }
        for name, error in measures.items():
            row[name] = float(error.mean())
            row[f"{name}_se"] = float(error.std() / len(error) ** 0.5)
        return row


def run_tasks(
    model: LatentImageModel,
    x: Tensor,
    y: Tensor,
    mask: Tensor,
    tasks: Sequence[str],
    *,
    sigma: float,
    steps: int = 1000,
    lr: float = 0.3,
    start: str = "prior",
    restarts: int = 1,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, Outcome]:
    """Infers z for each task and measures where the task asks.

    "full" and "foreground" share one descent on the whole picture, and differ in where the error
    is taken. The others hide a region (`occluded`), infer z from the rest and are measured inside
    what was hidden. All models are read by the same rule: what `decode` shows there.

    Args:
        model: with `prior(y)` and `decode(z, y)`.
        x: images, (N, 3, H, W) in [0, 1].
        y: attributes, (N, K).
        mask: (N, 1, H, W), 1 on the person or bird: the region of "foreground".
        tasks: names from `TASKS`.
        sigma, steps, lr, start, restarts, progress: of `infer`.
        seed: of the blocks' places and of the restarts.

    Raises:
        ValueError: an unknown task; and what `infer` raises.
    """
    everything = torch.ones_like(mask)
    descents: dict[str, Inferred] = {}
    outcomes = {}
    for task in tasks:
        whole = task in ("full", "foreground")
        observed = everything if whole else occluded(task, len(x), x.shape[-1], seed).to(mask)
        key = "all" if whole else task
        if key not in descents:
            descents[key] = infer(
                model, x, y, observed, steps, lr, sigma=sigma, start=start, restarts=restarts,
                mask=mask, generator=torch.Generator().manual_seed(seed), progress=progress,
            )  # fmt: skip
        found = descents[key]
        region = (mask > 0.5) if task == "foreground" else everything > 0 if whole else observed < 1
        picture = reconstruct(model, found, y)
        error = ((picture - x).square() * region).flatten(1).sum(1)
        if not whole:
            picture = complete(model, x, y, observed, found)
        values = 3 * region.flatten(1).sum(1)
        outcomes[task] = Outcome(error, values, picture, found)
    return outcomes
