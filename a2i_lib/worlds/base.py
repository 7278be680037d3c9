"""What every drawn world offers: factors that can be sampled, changed one at a time, and drawn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from a2i_lib.attributes import AttributeSchema
from a2i_lib.memory import keep_freed_memory

SIZES = (32, 256)  # the smallest and the largest picture a world draws, in pixels


@dataclass(frozen=True)
class Factors:
    """All that decides a picture.

    `attributes`: B K, real-valued strengths; `nuisance`: B M, what no attribute names
    (pose, light, background, shape). Indexing keeps the batch axis: `factors[3]` has length 1.
    """

    attributes: Tensor
    nuisance: Tensor

    def __post_init__(self) -> None:
        if self.attributes.shape[:1] != self.nuisance.shape[:1]:
            raise ValueError(
                f"attributes has {len(self.attributes)} rows, nuisance {len(self.nuisance)}"
            )

    def __len__(self) -> int:
        return len(self.attributes)

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> Factors:
        if isinstance(index, int):
            index = [index]
        return Factors(self.attributes[index], self.nuisance[index])

    def to(self, device: torch.device | str) -> Factors:
        return Factors(self.attributes.to(device), self.nuisance.to(device))

    @staticmethod
    def cat(parts: Sequence[Factors]) -> Factors:
        """The factors of several batches, one after another."""
        return Factors(
            torch.cat([part.attributes for part in parts]),
            torch.cat([part.nuisance for part in parts]),
        )


@dataclass(frozen=True)
class Rendered:
    """A picture and its layers, all in [0, 1], with ``x == x_f + g * x_b``.

    `x`, `x_f` (premultiplied foreground) and `x_b` (background): B 3 H W;
    `mask`: B 1 H W, 1 on the subject; `g` = 1 - mask, 1 where the background shows.
    """

    x: Tensor
    x_f: Tensor
    x_b: Tensor
    mask: Tensor

    @property
    def g(self) -> Tensor:
        return 1 - self.mask

    @staticmethod
    def cat(parts: Sequence[Rendered]) -> Rendered:
        names = ("x", "x_f", "x_b", "mask")
        return Rendered(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


class World(ABC):
    """A stateless object that samples factors and draws them.

    A world writes `sample`, `counterfactual`, `region` and `paint`; the rest is here.
    Row i of everything depends on the seed and on i alone, never on the size of the batch.
    """

    name: str
    schema: AttributeSchema
    nuisance_names: tuple[str, ...]
    chunk: int = 192  # pictures of 64x64 painted at a time: fewer calls, planes still in the cache

    @abstractmethod
    def sample(self, n: int, seed: int = 0, *, correlated: bool = True) -> Factors:
        """`n` factors; `sample(100, s)[:10]` equals `sample(10, s)`. See `correlations`."""

    @abstractmethod
    def counterfactual(self, factors: Factors, attribute: str, value: float | bool) -> Factors:
        """The same subjects with one attribute changed and nothing else."""

    @abstractmethod
    def region(self, factors: Factors, attribute: str, size: int = 64) -> Tensor:
        """B 1 H W bool: the pixels that changing `attribute` may touch."""

    @abstractmethod
    def paint(self, factors: Factors, size: int) -> Rendered:
        """Draws one chunk of factors."""

    @property
    @abstractmethod
    def correlations(self) -> Tensor:
        """K K: the stated correlations between the attributes' latent scores."""

    def render(self, factors: Factors, size: int = 64) -> Rendered:
        """Draws `factors` at `size` x `size` pixels, on the factors' device.

        Raises ValueError for a size outside 32..256.
        """
        low, high = SIZES
        if not low <= size <= high:
            raise ValueError(f"size must be between {low} and {high} pixels, not {size}")
        keep_freed_memory()
        chunk = max(self.chunk * 64**2 // size**2, 1)
        with torch.inference_mode():
            starts = range(0, max(len(factors), 1), chunk)
            parts = [self.paint(factors[start : start + chunk], size) for start in starts]
            return parts[0] if len(parts) == 1 else Rendered.cat(parts)

    def labels(self, factors: Factors) -> Tensor:
        """B K: each attribute as -1 or +1."""
        return torch.where(factors.attributes > 0, 1.0, -1.0)

    def strengths(self, factors: Factors) -> Tensor:
        """B K: each attribute as a real number; its sign is the label."""
        return factors.attributes


def uniforms(n: int, columns: int, seed: int) -> np.ndarray:
    """n x `columns` numbers in [0, 1), float64; row i depends on the seed and i alone."""
    return np.random.default_rng(seed).random((n, columns))
