"""A batched painter: signed-distance shapes, composited with the "over" rule.

Every picture of a batch is painted at once. A `Canvas` holds the pictures and, for each of its
pixels, coordinates in the subject's own frame (a `Frame` shifts, scales and rolls each picture).
A feature is painted in a window of the canvas, on the rows that have it::

    with canvas.window((-0.5, -0.5, 0.5, 0.5), rows) as w:
        alpha = w.cover(circle(w.x, w.y, 0.0, 0.0, w.at(radius)))
        w.paint(alpha, w.at(colour))

A shape is a function of coordinates that returns a distance: negative inside, zero on the edge.
Its coverage is zero, exactly, a pixel away from it, so a window larger than its shape changes
nothing outside it. Only sums, products, quotients, roots and comparisons are used on pixels: their
results do not depend on how a batch is split.

Coordinates: x to the right, y down; the picture spans [-1, 1] both ways before its frame.
Inspired by Inigo Quilez, "2D distance functions"; compositing after Porter and Duff (1984).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Self

import numpy as np
import torch
from torch import Tensor

Number = Tensor | float
Box = tuple[float, float, float, float]  # left, top, right, bottom, in the subject's frame


# --- shapes: distances, negative inside ------------------------------------------------------


def circle(x: Tensor, y: Tensor, cx: Number, cy: Number, radius: Number) -> Tensor:
    return length(x - cx, y - cy).sub_(radius)


def ellipse(x: Tensor, y: Tensor, cx: Number, cy: Number, rx: Number, ry: Number) -> Tensor:
    """First-order distance to an ellipse: exact on its edge, good for a few pixels around."""
    px, py = (x - cx).div_(rx), (y - cy).div_(ry)
    norm = length(px, py)
    slope = length(px.div_(rx), py.div_(ry)).add_(1e-6)
    return (norm - 1).mul_(norm).div_(slope)


def oval(x: Tensor, y: Tensor, cx: Number, cy: Number, rx: Number, ry: Number) -> Tensor:
    """A cheaper `ellipse` for one that is nearly a circle."""
    return length((x - cx).div_(rx), (y - cy).div_(ry)).sub_(1).mul_(rx)


def box(
    x: Tensor, y: Tensor, cx: Number, cy: Number, hx: Number, hy: Number, corner: Number = 0.0
) -> Tensor:
    """A box of half-sizes `hx`, `hy` with corners rounded by `corner`."""
    dx = (x - cx).abs_().sub_(hx - corner)
    dy = (y - cy).abs_().sub_(hy - corner)
    inside = torch.maximum(dx, dy).clamp_(max=0)
    return length(dx.clamp_(min=0), dy.clamp_(min=0)).add_(inside).sub_(corner)


def capsule(
    x: Tensor, y: Tensor, x0: Number, y0: Number, x1: Number, y1: Number, radius: Number
) -> Tensor:
    """A segment from (x0, y0) to (x1, y1) drawn with a round pen."""
    ux, uy = x1 - x0, y1 - y0
    px, py = x - x0, y - y0
    along = (px * ux).add_(py * uy).div_(ux * ux + uy * uy).clamp_(0, 1)
    return length(px.sub_(along * ux), py.sub_(along * uy)).sub_(radius)


def arc(
    x: Tensor,
    y: Tensor,
    cx: Number,
    cy: Number,
    half: Number,
    bend: Number,
    pen: Number,
    taper: Number = 0.0,
) -> Tensor:
    """A stroke along y = cy + bend * t^2, t = (x - cx) / half in [-1, 1], of half-width `pen`.

    Positive `bend` turns the ends down (a frown), negative up (a smile). `taper` in [0, 1] thins
    the ends.
    """
    t = (x - cx).div_(half)
    inside = t.clamp(-1, 1)
    square = inside * inside
    beyond = (t.sub_(inside)).mul_(half)
    slope = (inside.mul_(bend)).mul_(2.0).div_(half)
    rise = (y - cy).sub_(square * bend).div_((slope * slope).add_(1).sqrt_())
    return length(rise, beyond).sub_(square.mul_(taper).neg_().add_(1).mul_(pen))


def half_plane(x: Tensor, y: Tensor, px: Number, py: Number, nx: Number, ny: Number) -> Tensor:
    """What lies behind (px, py), against the unit normal (nx, ny)."""
    return (x - px).mul_(nx).add_((y - py).mul_(ny))


def polygon(x: Tensor, y: Tensor, *corners: tuple[Number, Number]) -> Tensor:
    """A convex polygon, its corners clockwise on the screen; exact inside and beside its edges."""
    distance: Tensor | None = None
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
        ex, ey = bx - ax, by - ay
        norm = (ex * ex + ey * ey) ** 0.5
        side = half_plane(x, y, ax, ay, ey / norm, -ex / norm)
        distance = side if distance is None else torch.maximum(distance, side)
    assert distance is not None, "a polygon has corners"
    return distance


def union(a: Tensor, b: Tensor) -> Tensor:
    return torch.minimum(a, b)


def intersect(a: Tensor, b: Tensor) -> Tensor:
    return torch.maximum(a, b)


def subtract(a: Tensor, b: Tensor) -> Tensor:
    """`a` without `b`."""
    return torch.maximum(a, -b)


def smooth_union(a: Tensor, b: Tensor, blend: Number) -> Tensor:
    """The union of two shapes with their seam filled over a length `blend`."""
    h = (a - b).abs_().neg_().add_(blend).clamp_(min=0)
    return torch.minimum(a, b).sub_(h.mul_(h).div_(4 * blend))


def smooth_subtract(a: Tensor, b: Tensor, blend: Number) -> Tensor:
    """`a` without `b`, the new edge rounded over a length `blend`."""
    return smooth_union(-a, b, blend).neg_()


# --- soft things -----------------------------------------------------------------------------


def length(x: Tensor, y: Tensor) -> Tensor:
    return (x * x + y * y).sqrt_()


def fade(t: Tensor) -> Tensor:
    """3 t^2 - 2 t^3 for t clamped to [0, 1], in place: a soft step."""
    t.clamp_(0, 1)
    return (3 - 2 * t).mul_(t).mul_(t)


def blob(x: Tensor, y: Tensor, cx: Number, cy: Number, rx: Number, ry: Number) -> Tensor:
    """A soft spot: 1 in the middle, falling to 0, exactly, on the ellipse and beyond it."""
    px, py = (x - cx).div_(rx), (y - cy).div_(ry)
    bump = (px.mul_(px) + py.mul_(py)).neg_().add_(1).clamp_(min=0)
    return bump.mul_(bump)


def wave(t: Tensor) -> Tensor:
    """A smooth wave in [-1, 1] of period 1, like sin(2 pi t), from parabolas."""
    t = t - t.round()
    return t.mul_(t.abs().sub_(0.5)).mul_(-16)


def mix(a: Tensor, b: Tensor, t: Number) -> Tensor:
    """a where t = 0, b where t = 1."""
    return (b - a) * t + a


def hsv(hue: Tensor, saturation: Number, value: Number) -> Tensor:
    """Colours B 3 from hue (turns), saturation and value, each B or a number."""
    offsets = torch.tensor([0.0, 2 / 3, 1 / 3], dtype=hue.dtype, device=hue.device)
    ramp = (((hue[:, None] + offsets) % 1.0) * 6 - 3).abs().sub(1).clamp(0, 1)
    s = torch.as_tensor(saturation, dtype=hue.dtype, device=hue.device).reshape(-1, 1)
    v = torch.as_tensor(value, dtype=hue.dtype, device=hue.device).reshape(-1, 1)
    return v * (1 - s * (1 - ramp))


# --- the canvas ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Frame:
    """Where the subject stands in each picture: all B, float64, on the CPU.

    `shift_x`, `shift_y` in half picture widths; `scale` 1 for life size; `roll` in radians,
    positive clockwise on the screen.
    """

    shift_x: Tensor
    shift_y: Tensor
    scale: Tensor
    roll: Tensor

    def coordinates(self, size: int) -> tuple[Tensor, Tensor]:
        """The x and y of each pixel's centre in the subject's frame: B H W each, float32."""
        line = ((torch.arange(size) + 0.5) * (2 / size) - 1)[None]
        cos, sin = self.roll.cos() / self.scale, self.roll.sin() / self.scale
        along, across = cos.float()[:, None], sin.float()[:, None]
        px = line - self.shift_x.float()[:, None]
        py = line - self.shift_y.float()[:, None]
        x = (px * along)[:, None, :] + (py * across)[:, :, None]
        y = (py * along)[:, :, None] - (px * across)[:, None, :]
        return x, y

    def bounds(self, region: Box, size: int) -> tuple[int, int, int, int]:
        """Pixels (top, bottom, left, right), ends excluded, that hold `region` in every picture."""
        left, top, right, bottom = region
        if not len(self.scale):
            return 0, 0, 0, 0
        cos, sin, dx, dy = self._turn
        xs = np.stack([left * cos, right * cos]), np.stack([-top * sin, -bottom * sin])
        ys = np.stack([left * sin, right * sin]), np.stack([top * cos, bottom * cos])
        pixels = []
        for (one, two), shift in ((ys, dy), (xs, dx)):
            low = float((one.min(0) + two.min(0) + shift).min())
            high = float((one.max(0) + two.max(0) + shift).max())
            first = min(max(int((low + 1) * size / 2), 0), size)
            last = min(max(int((high + 1) * size / 2) + 1, first), size)
            pixels += [first, last]
        return pixels[0], pixels[1], pixels[2], pixels[3]

    @cached_property
    def _turn(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        turned_x, turned_y = self.roll.cos() * self.scale, self.roll.sin() * self.scale
        parts = (turned_x, turned_y, self.shift_x, self.shift_y)
        cos, sin, dx, dy = (part.numpy() for part in parts)
        return cos, sin, dx, dy


class Canvas:
    """A batch of pictures being painted, back to front.

    `layers`: B 4 H W, premultiplied red, green, blue, and coverage. `x`, `y`: B H W, coordinates
    in the subject's frame; `pixel`: B 1 1, the size of a pixel in that frame.
    """

    def __init__(self, frame: Frame, size: int, device: torch.device | str = "cpu") -> None:
        self.frame, self.size, self.device = frame, size, torch.device(device)
        x, y = frame.coordinates(size)
        self.x, self.y = self.send(x), self.send(y)
        self.pixel = self.send(2 / size / frame.scale)[:, None, None]
        self.layers = torch.zeros(len(x), 4, size, size, device=self.device)

    def send(self, values: Tensor) -> Tensor:
        """`values` as float32 on the canvas's device."""
        return values.to(device=self.device, dtype=torch.float32)

    def window(self, region: Box, rows: Tensor | None = None) -> Window:
        """The part of the canvas that holds `region`, for all rows or where `rows` (B bool)."""
        return Window(self, region, rows)

    @property
    def colour(self) -> Tensor:
        return self.layers[:, :3]

    @property
    def mask(self) -> Tensor:
        return self.layers[:, 3:]


class Window:
    """A patch of a canvas, written back on leaving its `with`. Shapes: b rows, h x w pixels."""

    def __init__(self, canvas: Canvas, region: Box, rows: Tensor | None) -> None:
        self.canvas = canvas
        y0, y1, x0, x1 = canvas.frame.bounds(region, canvas.size)
        self.slices = (slice(y0, y1), slice(x0, x1))
        self.rows = None if rows is None else rows.nonzero()[:, 0].to(canvas.device)
        self.x = self._cut(canvas.x)
        self.y = self._cut(canvas.y)
        self.pixel = canvas.pixel if self.rows is None else canvas.pixel[self.rows]
        self.patch = self._cut(canvas.layers)

    def _cut(self, plane: Tensor) -> Tensor:
        part = plane[(..., *self.slices)]
        return part.contiguous() if self.rows is None else part.index_select(0, self.rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            target = self.canvas.layers[(..., *self.slices)]
            if self.rows is None:
                target.copy_(self.patch)
            else:
                target.index_copy_(0, self.rows, self.patch)

    def at(self, values: Tensor) -> Tensor:
        """A value a picture, B, as b 1 1; a colour a picture, B 3, as b 3 1 1."""
        values = self.canvas.send(values)
        if self.rows is not None:
            values = values.index_select(0, self.rows)
        return values[(..., None, None)]

    def cover(self, distance: Tensor, soft: float = 0.0) -> Tensor:
        """Coverage b h w in [0, 1] of a distance, which it consumes.

        The edge is one pixel wide, or `soft` (in the subject's units) where that is more.
        """
        width = self.pixel.clamp(min=soft) if soft else self.pixel
        return distance.div_(-width).add_(0.5).clamp_(0, 1)

    def paint(self, alpha: Tensor, colour: Tensor) -> None:
        """Lays `colour` (b 3 1 1, or b 3 h w) over what is there, where `alpha` (b h w)."""
        alpha = alpha[:, None]
        self.patch[:, :3].lerp_(colour, alpha)
        self.patch[:, 3:].lerp_(alpha.new_ones(1), alpha)

    def tint(self, alpha: Tensor, colour: Tensor) -> None:
        """Like `paint`, on what is covered already: coverage does not grow."""
        self.patch[:, :3].lerp_(colour * self.patch[:, 3:], alpha[:, None])

    def ink(self, alpha: Tensor, colour: Tensor) -> None:
        """Like `paint`, where everything under `alpha` is covered fully already."""
        self.patch[:, :3].lerp_(colour, alpha[:, None])

    def darken(self, amount: Tensor) -> None:
        """Multiplies the colour by 1 - `amount` (b h w, 0..1)."""
        self.patch[:, :3].mul_((1 - amount)[:, None])

    def lighten(self, amount: Tensor) -> None:
        """Moves the colour towards white by `amount` (b h w, 0..1)."""
        self.patch[:, :3].lerp_(self.patch[:, 3:], amount[:, None])


# --- many materials at once ------------------------------------------------------------------


def turned(
    x: Tensor, y: Tensor, ox: Number, oy: Number, cos: Number, sin: Number
) -> tuple[Tensor, Tensor]:
    """Coordinates in a frame at (ox, oy) whose x axis points along (cos, sin)."""
    px, py = x - ox, y - oy
    return (px * cos).add_(py * sin), (py.mul_(cos)).sub_(px.mul_(sin))


class Stack:
    """A batch of pictures laid front to back, part by part, one colour a layer.

    Each layer takes its share of the light that the layers before it let through; a layer costs
    two passes over one plane, and one matrix product a part turns shares into colours. Good for a
    subject of many small patches of one colour each. A part has its own place in each picture::

        with stack.part((x, y), half=0.3) as part:
            part.lay(part.cover(circle(part.x, part.y, 0.0, 0.0, 0.1)), colour)

    `layers`: B 4 H W, premultiplied red, green, blue, and the light that is let through.
    Pictures where `mirrored` (B bool) is true are drawn left for right.
    """

    def __init__(
        self, frame: Frame, size: int, mirrored: Tensor, device: torch.device | str = "cpu"
    ) -> None:
        self.frame, self.size, self.device = frame, size, torch.device(device)
        self.hand = torch.where(mirrored.cpu(), -1.0, 1.0).double()
        self.layers = torch.zeros(len(self.hand), 4, size, size, device=self.device)
        self.layers[:, 3] = 1

    def part(
        self,
        centre: tuple[Tensor, Tensor] | None = None,
        half: float = 1.0,
        rows: Tensor | None = None,
    ) -> Part:
        """A square about `centre` (B, B) of half-side `half`, in the subject's frame; or the whole.

        Only the pictures where `rows` (B bool) is true are touched.
        """
        return Part(self, centre, half, rows)

    @property
    def colour(self) -> Tensor:
        return self.layers[:, :3]

    @property
    def light(self) -> Tensor:
        return self.layers[:, 3:]


class Part:
    """A square of each picture of a stack, written back on leaving its `with`.

    `x`, `y`: b h w, coordinates in the subject's frame; `pixel`: b 1 1, the size of a pixel there.
    """

    def __init__(
        self,
        stack: Stack,
        centre: tuple[Tensor, Tensor] | None,
        half: float,
        rows: Tensor | None,
    ) -> None:
        self.stack = stack
        self.rows = None if rows is None else rows.cpu().nonzero()[:, 0]
        frame = stack.frame
        shift_x, shift_y = self._pick(frame.shift_x), self._pick(frame.shift_y)
        scale, roll, hand = (self._pick(v) for v in (frame.scale, frame.roll, stack.hand))
        cos, sin = roll.cos(), roll.sin()
        self.left = self.top = torch.zeros(len(scale), dtype=torch.long)
        self.side = stack.size
        if centre is not None and len(scale):
            cx, cy = (self._pick(c) for c in centre)
            reach = half * float(scale.max()) * stack.size / 2
            self.side = min(stack.size, 2 * math.ceil(reach) + 2)
            self.left = self._corner(hand * (shift_x + (cx * cos - cy * sin) * scale))
            self.top = self._corner(shift_y + (cx * sin + cy * cos) * scale)
        px = (self._line(self.left) * hand[:, None] - shift_x[:, None]) / scale[:, None]
        py = (self._line(self.top) - shift_y[:, None]) / scale[:, None]
        cos, sin = cos[:, None], sin[:, None]
        self.x = self._send(px * cos)[:, None, :] + self._send(py * sin)[:, :, None]
        self.y = self._send(py * cos)[:, :, None] - self._send(px * sin)[:, None, :]
        self.pixel = self._send(2 / stack.size / scale)[:, None, None]
        self._steep = -1 / self.pixel
        self._patch = self._cut()
        self._light = self._patch[:, 3].contiguous()
        self._shares = self._light.new_empty(len(scale), self.LAYERS, self.side, self.side)
        self._colours: list[Tensor] = []

    LAYERS = 12  # kept until they are turned into colours

    def _pick(self, values: Tensor) -> Tensor:
        """The rows that the part has."""
        return values if self.rows is None else values[self.rows]

    def _send(self, values: Tensor) -> Tensor:
        return values.to(device=self.stack.device, dtype=torch.float32)

    def _corner(self, centre: Tensor) -> Tensor:
        """The first pixel of a side about `centre` (in half pictures), kept inside the picture."""
        middle = ((centre + 1) * (self.stack.size / 2)).round().long()
        return (middle - self.side // 2).clamp(0, self.stack.size - self.side)

    def _line(self, first: Tensor) -> Tensor:
        """The places of the pixels' centres, from -1 to 1 over the picture: b side."""
        pixels = first[:, None] + torch.arange(self.side) + 0.5
        return pixels.double() * (2 / self.stack.size) - 1

    def _cut(self) -> Tensor:
        """b 4 side side: a copy of the part, or the very layers where it is all of them."""
        layers, device = self.stack.layers, self.stack.device
        if self.side == self.stack.size:
            return layers if self.rows is None else layers[self.rows.to(device)]
        views = layers.unfold(2, self.side, 1).unfold(3, self.side, 1)
        rows = torch.arange(len(layers)) if self.rows is None else self.rows
        return views[rows.to(device), :, self.top.to(device), self.left.to(device)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None or not len(self._patch):
            return
        self._colour_in()
        self._patch[:, 3] = self._light
        if self._patch is self.stack.layers:
            return
        wholes = self._pick(torch.arange(len(self.stack.layers))).tolist()
        corners = zip(wholes, self.top.tolist(), self.left.tolist(), strict=True)
        for patch, (row, top, left) in zip(self._patch.unbind(), corners, strict=True):
            whole = self.stack.layers[row, :, top : top + self.side, left : left + self.side]
            whole.copy_(patch)

    def _colour_in(self) -> None:
        """Turns the shares kept so far into colours."""
        if not self._colours:
            return
        shares, colours = self._shares[:, : len(self._colours)], torch.stack(self._colours, 2)
        colour = torch.bmm(colours, shares.flatten(2))
        self._patch[:, :3] += colour.unflatten(2, self._light.shape[1:])
        self._colours.clear()

    def at(self, values: Tensor) -> Tensor:
        """A value a picture, B, as b 1 1."""
        return self._send(self._pick(values))[:, None, None]

    def cover(self, distance: Tensor, inset: float = 0.0) -> Tensor:
        """Coverage b h w in [0, 1] of a distance: an edge one pixel wide, moved in by `inset`."""
        middle = self._steep * inset + 0.5
        return (distance * self._steep).add_(middle).clamp_(0, 1)

    def lay(self, alpha: Tensor, colour: Tensor) -> None:
        """Adds a layer of `colour` (B 3), of opacity `alpha` (b h w), behind all layers so far."""
        if len(self._colours) == self.LAYERS:
            self._colour_in()
        share = torch.mul(self._light, alpha, out=self._shares[:, len(self._colours)])
        self._light -= share
        self._colours.append(self._send(self._pick(colour)))
