"""What several models share: the convolution stacks of Attribute2Image and of CMMA, and the
attribute embedding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class UpConv(nn.Module):
    """2-by-2 nearest upsampling, then a convolution: 5x5 with padding 2 in Attribute2Image
    (appendix B), 3x3 and 5x5 without padding in CMMA (section 4.1).

    Computed without ever building the upsampled image. Four neighbouring outputs read the same few
    inputs, each with a different sum of the weights; so one smaller convolution with four times
    the channels, followed by a pixel shuffle, gives the same numbers with 9 instead of 25
    multiplications (kernel 5), or 4 instead of 9 (kernel 3).

    Shapes: (B, C_in, H, W) -> (B, C_out, 2H + d, 2W + d) with d = 2 padding + 1 - kernel.

    Raises:
        ValueError: an even kernel or an odd padding: the four outputs would not share inputs.
    """

    fold: Tensor

    def __init__(self, c_in: int, c_out: int, kernel: int = 5, padding: int = 2) -> None:
        super().__init__()
        if kernel % 2 == 0 or padding % 2:
            raise ValueError(f"kernel {kernel} must be odd and padding {padding} even")
        plain = nn.Conv2d(c_in, c_out, kernel)
        self.weight, self.bias = plain.weight, plain.bias
        self.padding = padding // 2
        self.register_buffer("fold", _fold(kernel), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        fold = self.fold.to(self.weight.dtype)
        # p, q: phase of row and column; a, b: the few taps; i, j: the kernel's own
        folded = torch.einsum("pai,qbj,ocij->opqcab", fold, fold, self.weight)
        bias = self.bias.repeat_interleave(4) if self.bias is not None else None
        return F.pixel_shuffle(F.conv2d(x, folded.flatten(0, 2), bias, padding=self.padding), 2)


def _fold(kernel: int) -> Tensor:
    """How `kernel` taps on the upsampled image fall on the input's pixels: (2, taps, kernel).

    An output of phase p (even, odd) has its tap t on pixel (p + t) // 2 after its first one.
    """
    fold = torch.zeros(2, kernel // 2 + 1, kernel)
    for p in range(2):
        for t in range(kernel):
            fold[p, (p + t) // 2, t] = 1
    return fold


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


class ValidEncoder(nn.Module):
    """CMMA's convolutions (section 4.1): 5x5, 5x5 and 4x4, none padded, 2x2 max-pooling after the
    first two, a rectifier after each pooling and after the last.

    192, 96 and 48 channels times `width`. A 64x64 image shrinks 64 -> 60 -> 30 -> 26 -> 13 -> 10,
    so that 48 * 10 * 10 = 4,800 features come out: the very number that the decoder starts from.
    In general size / 4 - 6 rows and columns are left.

    Args:
        leak: slope of the rectifiers below 0, as a discriminator likes it; the paper's have none.

    Shapes: (B, 3, size, size) -> (B, features).

    Raises:
        ValueError: a size that is no multiple of 8, or below 32.
    """

    def __init__(self, width: float = 1.0, size: int = 64, leak: float = 0.0) -> None:
        super().__init__()
        require_valid_size(size)
        c1, c2, c3 = (scaled(c, width) for c in (192, 96, 48))
        self.features = c3 * (size // 4 - 6) ** 2
        rectifier = nn.LeakyReLU(leak) if leak else nn.ReLU()
        self.stack = nn.Sequential(
            nn.Conv2d(3, c1, 5), nn.MaxPool2d(2), rectifier,
            nn.Conv2d(c1, c2, 5), nn.MaxPool2d(2), rectifier,
            nn.Conv2d(c2, c3, 4), rectifier,
            nn.Flatten(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.stack(x - 0.5)  # centred: half of a rectifier's inputs should be negative


class ValidDecoder(nn.Module):
    """CMMA's deconvolutions (section 4.1): a linear layer, then 3x3, 3x3 and 5x5 convolutions, none
    padded, each after 2x2 nearest upsampling.

    48, 96 and 192 channels times `width`; with `outputs` channels at the end, where the paper has
    two parallel layers of three (it prints "192 filters of size 3x5x5", which are 3 filters of
    192x5x5). 64x64 images grow 10 -> 20 -> 18 -> 36 -> 34 -> 68 -> 64, from 4,800 = 48 * 10 * 10
    numbers; in general from (size + 16) / 8 rows and columns. Nothing follows the last layer.

    Shapes: (B, inputs) -> (B, outputs, size, size).

    Raises:
        ValueError: a size that is no multiple of 8, or below 32.
    """

    def __init__(
        self, inputs: int, width: float = 1.0, size: int = 64, outputs: int = 6, norm: bool = False
    ) -> None:
        super().__init__()
        require_valid_size(size)
        c1, c2, c3 = (scaled(c, width) for c in (48, 96, 192))
        self.grid = (size + 16) // 8
        self.dense = nn.Linear(inputs, c1 * self.grid**2)
        self.stack = nn.Sequential(
            *hidden(UpConv(c1, c2, 3, 0), norm),
            *hidden(UpConv(c2, c3, 3, 0), norm),
            UpConv(c3, outputs, 5, 0),
        )

    def forward(self, z: Tensor) -> Tensor:
        h = self.dense(z).unflatten(1, (-1, self.grid, self.grid))
        return self.stack(h.contiguous(memory_format=torch.channels_last))


def require_valid_size(size: int) -> None:
    """Raises ValueError for a size that the unpadded convolutions cannot take apart or rebuild."""
    if size < 32 or size % 8:
        raise ValueError(f"size must be a multiple of 8 from 32 on (32, 40, ... 64, ...): {size}")


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
