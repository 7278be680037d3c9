"""What several models share: Attribute2Image's convolution stacks and the attribute embedding."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Rows: phase of the output pixel (even, odd); columns: how the five taps fall on three input
# pixels.
_FOLD_5 = torch.tensor(
    [[[1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1]],
     [[1, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 1, 1]]],
    dtype=torch.float32,
)  # fmt: skip


class UpConv(nn.Module):
    """2-by-2 nearest upsampling, then a 5x5 convolution with padding 2 (Attribute2Image, appendix
    B).

    Computed without ever building the upsampled image. Four neighbouring outputs read the same 3x3
    inputs, each with a different sum of the 25 weights; so one 3x3 convolution with four times the
    channels, followed by a pixel shuffle, gives the same numbers with 9 instead of 25
    multiplications.

    Shapes: (B, C_in, H, W) -> (B, C_out, 2H, 2W).
    """

    fold: Tensor

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        plain = nn.Conv2d(c_in, c_out, 5, padding=2)
        self.weight, self.bias = plain.weight, plain.bias
        self.register_buffer("fold", _FOLD_5, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        fold = self.fold.to(self.weight.dtype)
        # p, q: phase of row and column; a, b: the 3x3 taps; i, j: the 5x5 taps
        folded = torch.einsum("pai,qbj,ocij->opqcab", fold, fold, self.weight)
        bias = self.bias.repeat_interleave(4) if self.bias is not None else None
        return F.pixel_shuffle(F.conv2d(x, folded.flatten(0, 2), bias, padding=1), 2)


class ImageEncoder(nn.Module):
    """Five convolutions and a fully-connected layer (Attribute2Image, section 5 and appendix B).

    64, 128, 256, 256, 1024 channels times `width`; kernels 5, 5, 3, 3 with stride 2, then one that
    covers what is left (4x4 for 64x64 images). Dropout 0.5 on the result, before attributes join
    (section 5).

    Shapes: (B, 3, size, size) -> (B, features).

    Raises:
        ValueError: size not a positive multiple of 16.
    """

    def __init__(
        self, width: float = 1.0, size: int = 64, dropout: float = 0.5, norm: bool = False
    ) -> None:
        super().__init__()
        if size < 16 or size % 16:
            raise ValueError(f"size must be a positive multiple of 16, not {size}")
        c1, c2, c3, c4, c5 = (scaled(c, width) for c in (64, 128, 256, 256, 1024))
        self.features = c5
        self.stack = nn.Sequential(
            *hidden(nn.Conv2d(3, c1, 5, 2, 2), norm),
            *hidden(nn.Conv2d(c1, c2, 5, 2, 2), norm),
            *hidden(nn.Conv2d(c2, c3, 3, 2, 1), norm),
            *hidden(nn.Conv2d(c3, c4, 3, 2, 1), norm),
            *hidden(nn.Conv2d(c4, c5, size // 16), norm),
            nn.Flatten(),
            nn.Linear(c5, c5), nn.ReLU(),
            nn.Dropout(dropout),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.stack(x - 0.5)  # centred: half of a rectifier's inputs should be negative


class ImageDecoder(nn.Module):
    """Two fully-connected layers, then five convolutions with three upsamplings (Attribute2Image,
    appendix B).

    256 and 8*8*256 neurons, then 256, 256, 128, 64 and 3 channels with kernels 3, 5, 5, 5, 5,
    times `width`, but for the first layer's 256, which are multiplied by `dense` where that is
    given. The paper speaks of upsampling at each convolution; 8 -> 64 leaves room for three.
    Output through a sigmoid, in [0, 1].

    Shapes: (B, inputs) -> (B, channels, size, size).
    """

    def __init__(
        self,
        inputs: int,
        width: float = 1.0,
        size: int = 64,
        channels: int = 3,
        norm: bool = False,
        dense: float | None = None,
    ) -> None:
        super().__init__()
        c0 = scaled(256, dense or width)
        c1, c2, c3, c4 = (scaled(c, width) for c in (256, 256, 128, 64))
        self.grid = size // 8
        self.dense = nn.Sequential(
            nn.Linear(inputs, c0), nn.ReLU(),
            nn.Linear(c0, c1 * self.grid**2), nn.ReLU(),
        )  # fmt: skip
        self.stack = nn.Sequential(
            *hidden(nn.Conv2d(c1, c1, 3, padding=1), norm),
            *hidden(UpConv(c1, c2), norm),
            *hidden(UpConv(c2, c3), norm),
            *hidden(UpConv(c3, c4), norm),
            nn.Conv2d(c4, channels, 5, padding=2),
        )  # fmt: skip

    def forward(self, z: Tensor) -> Tensor:
        h = self.dense(z).unflatten(1, (-1, self.grid, self.grid))
        return torch.sigmoid(self.stack(h.contiguous(memory_format=torch.channels_last)).float())


class AttributeEmbedding(nn.Sequential):
    """Linear + ReLU, (B, K) -> (B, features): the attribute stream (Attribute2Image's code)."""

    def __init__(self, attributes: int, features: int) -> None:
        super().__init__(nn.Linear(attributes, features), nn.ReLU())
        self.features = features


def hidden(layer: nn.Conv2d | UpConv, norm: bool) -> list[nn.Module]:
    """A hidden convolution with what follows it: batch normalisation if asked for, then ReLU.

    The paper names no normalisation. With it, few steps go much further (see the recipes).
    """
    return [layer, nn.BatchNorm2d(layer.weight.shape[0]), nn.ReLU()] if norm else [layer, nn.ReLU()]


def scaled(channels: int, width: float) -> int:
    """`channels * width`, rounded, at least 4."""
    return max(4, round(channels * width))
