"""Attribute2Image's five augmentations (section 5), a batch at a time, on the batch's device.

    1 flip      mirror left and right with probability 0.5
    2 gain      multiply each colour channel by a number in [0.97, 1.03]
    3 residual  x + s (x - blur(x)), s in [0, 1.5]
    4 rotation  about the centre of the crop, in [-0.08, 0.08] radians       (CUB only)
    5 crop      rescale to 72x72, keep a random 64x64                        (CUB only)

The paper's third, "augmenting the image with its residual with a random tradeoff s", does not say
residual to what. Read literally, the residual is *added* (s = 0 leaves the image alone), and the
authors' published code does just that with a 5x5 box blur: a sharpening, never a softening. This
module does the same; at the border the box averages the pixels that exist, where the published
code pads with black and so brightens the rim.

They are meant to leave the attributes alone. Flipping does not for an attribute that has a side
("hair parted on the left"): set `flip=0` for such data. None of LFW's, CelebA's or CUB's
attributes has one.

A mask goes wherever its image goes: the same flip, the same crop, the same rotation.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

BLUR = 5  # side of the box whose mean the residual is taken against


@dataclass(frozen=True)
class Draw:
    """The random numbers of one batch, drawn on the CPU: the same on every device."""

    flip: Tensor  # B      uniform in [0, 1): flipped where it is below the probability
    gain: Tensor  # B 3    uniform in [-1, 1]
    residual: Tensor  # B  uniform in [0, 1]
    rotation: Tensor  # B  uniform in [-1, 1]
    crop: Tensor  # B 2    uniform in [0, 1): x and y of the crop's corner
    soften: Tensor  # B    uniform in [0, 1]

    def __getitem__(self, rows: slice) -> Draw:
        return Draw(*(getattr(self, f.name)[rows] for f in fields(self)))


@dataclass(frozen=True)
class Augment:
    """Which augmentations, and how far. The default does nothing; see `lfw()` and `cub()`.

    Args:
        flip: probability of a mirror image.
        gain: each channel is multiplied by a number in [1 - gain, 1 + gain].
        residual: largest s in x + s (x - blur(x)).
        soften: largest t in two passes of x - t (x - blur(x)). Not among the paper's: a predictor
            trained with it judges what an image shows, and not how sharp it is.
        rotation: largest angle, in radians, to either side.
        crop: (R, S): rescale to R x R, then keep a random S x S. Images already R x R are only
            cropped.
        mask_threshold: cut the moved mask to 0 and 1 here; None leaves the soft edge that
            resampling makes.
    """

    flip: float = 0.0
    gain: float = 0.0
    residual: float = 0.0
    soften: float = 0.0
    rotation: float = 0.0
    crop: tuple[int, int] | None = None
    mask_threshold: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.flip <= 1:
            raise ValueError(f"flip is a probability, not {self.flip}")
        if self.crop is not None and not 0 < self.crop[1] <= self.crop[0]:
            raise ValueError(
                f"crop {self.crop}: cannot keep {self.crop[1]} of {self.crop[0]} pixels"
            )

    @classmethod
    def lfw(cls) -> Augment:
        """Attribute2Image's for faces: flip, gain and residual."""
        return cls(flip=0.5, gain=0.03, residual=1.5)

    @classmethod
    def cub(cls, size: int = 64) -> Augment:
        """Attribute2Image's for birds: all five. `size` is the side of the result, 64 there."""
        return cls(0.5, 0.03, 1.5, rotation=0.08, crop=(size * 9 // 8, size), mask_threshold=0.5)

    def draw(self, n: int, generator: torch.Generator) -> Draw:
        """Numbers for `n` images, used or not: switching one off leaves the others as they were."""
        u = torch.rand(n, 9, generator=generator)
        return Draw(u[:, 0], u[:, 1:4] * 2 - 1, u[:, 4], u[:, 5] * 2 - 1, u[:, 6:8], u[:, 8])

    def __call__(
        self, x: Tensor, mask: Tensor | None, generator: torch.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """Augments images x (B, 3, H, W) in [0, 1] and their masks (B, 1, H, W), None for none."""
        return self.apply(x, mask, self.draw(len(x), generator))

    def apply(self, x: Tensor, mask: Tensor | None, draw: Draw) -> tuple[Tensor, Tensor | None]:
        """As `__call__`, with numbers already drawn; in [0, 1] and channels-last."""
        if self.flip:
            flipped = (draw.flip < self.flip).to(x.device)
            x = mirror(x, flipped)
            mask = None if mask is None else mirror(mask, flipped)
        if self.rotation or self.crop:
            x, mask = self._move(x, mask, draw)
        if self.gain:
            x = tint(x, (1 + self.gain * draw.gain).to(x.device))
        if self.residual:
            x = sharpen(x, (self.residual * draw.residual).to(x.device))
        for _ in range(2 if self.soften else 0):
            x = sharpen(x, -(self.soften * draw.soften).to(x.device))
        if self.gain or self.residual:
            x = x.clamp_(0, 1)  # no longer the caller's: `tint` and `sharpen` made a new one
        return x.contiguous(memory_format=torch.channels_last), mask

    def _move(self, x: Tensor, mask: Tensor | None, draw: Draw) -> tuple[Tensor, Tensor | None]:
        """Rescale, crop and rotate in one bilinear look-up: softened once, not three times."""
        scale_to, side = self.crop or (x.shape[-1], x.shape[-1])
        offset = (draw.crop * (scale_to - side + 1)).floor()  # B 2, in pixels of the rescaled image
        grid = sampling_grid(self.rotation * draw.rotation, offset, scale_to, side).to(x.device)
        x = look_up(x, grid)
        if mask is not None:
            mask = look_up(mask, grid)
            if self.mask_threshold is not None:
                mask = (mask > self.mask_threshold).to(mask.dtype)
        return x, mask


def mirror(x: Tensor, where: Tensor) -> Tensor:
    """x (B, C, H, W) with the images named by `where` (B booleans) mirrored left to right."""
    return torch.where(where[:, None, None, None], x.flip(-1), x)


def tint(x: Tensor, gain: Tensor) -> Tensor:
    """x (B, C, H, W) with each channel multiplied by its own gain (B, C).

    Works on rows of whole pixels, W C numbers at a time: with three channels innermost,
    multiplying by a B C 1 1 tensor takes twice as long on a CPU.
    """
    b, c, h, w = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(b, h, w * c) * gain[:, None].repeat(1, 1, w)
    return rows.view(b, h, w, c).permute(0, 3, 1, 2)


def sharpen(x: Tensor, s: Tensor) -> Tensor:
    """x + s (x - blur(x)) for x (B, C, H, W), one s an image (B), and the mean of a 5x5 box.

    A convolution and a division by the number of pixels in the box: `avg_pool2d`, which could do
    both, is ten times slower on a CPU.
    """
    c = x.shape[1]
    box = x.new_ones(c, 1, BLUR, BLUR)
    one = torch.ones_like(x[:1], memory_format=torch.channels_last)
    count = F.conv2d(one, box, padding=BLUR // 2, groups=c)  # 1 C H W: 25, fewer at the border
    blurred = F.conv2d(x, box, padding=BLUR // 2, groups=c).div_(count)
    return blurred.lerp_(x, 1 + s[:, None, None, None])


def sampling_grid(angle: Tensor, offset: Tensor, scale_to: int, side: int) -> Tensor:
    """Where the pixels of the result come from, for `grid_sample`: (B, side, side, 2).

    A pixel of the result is turned by `angle` (B, radians, counter-clockwise as seen) about the
    centre of the crop, moved to the crop's place `offset` (B, 2: x, y) in an image of scale_to x
    scale_to, and put in [-1, 1].
    """
    steps = torch.arange(side) - (side - 1) / 2
    v, u = torch.meshgrid(steps, steps, indexing="ij")  # side side
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    x = cos * u - sin * v + offset[:, 0, None, None] + side / 2
    y = sin * u + cos * v + offset[:, 1, None, None] + side / 2
    return torch.stack([x, y], dim=-1) * (2 / scale_to) - 1


def look_up(x: Tensor, grid: Tensor) -> Tensor:
    """Bilinear look-up that repeats the border: no black corners after a rotation."""
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)
