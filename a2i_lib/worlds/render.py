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

from dataclasses import dataclass
from types import TracebackType
from typing import Self

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
    """A stroke along y = cy + bend * t^2, t = (x - cx) / half in [-1, 1], with a pen of radius `pen`.

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
        """The subject-frame x and y of each pixel's centre: B H W each, float64 on the CPU's terms."""
        line = (torch.arange(size, dtype=torch.float64) + 0.5) * (2 / size) - 1
        cos, sin = self.roll.cos() / self.scale, self.roll.sin() / self.scale
        px = line[None, None, :] - self.shift_x[:, None, None]
        py = line[None, :, None] - self.shift_y[:, None, None]
        cos, sin = cos[:, None, None], sin[:, None, None]
        return px * cos + py * sin, py * cos - px * sin

    def bounds(self, region: Box, size: int) -> tuple[int, int, int, int]:
        """The rows and columns [top, bottom) x [left, right) that hold `region` in every picture."""
        left, top, right, bottom = region
        corners = torch.tensor(
            [[left, top], [right, top], [right, bottom], [left, bottom]], dtype=torch.float64
        )
        cos, sin = (self.roll.cos() * self.scale)[:, None], (self.roll.sin() * self.scale)[:, None]
        px = corners[:, 0] * cos - corners[:, 1] * sin + self.shift_x[:, None]
        py = corners[:, 0] * sin + corners[:, 1] * cos + self.shift_y[:, None]
        if not px.numel():
            return 0, 0, 0, 0
        to_pixel = size / 2
        first = [int((p.min().item() + 1) * to_pixel) for p in (py, px)]
        last = [int((p.max().item() + 1) * to_pixel) + 1 for p in (py, px)]
        y0, x0 = (min(max(v, 0), size) for v in first)
        y1, x1 = (min(max(v, 0), size) for v in last)
        return y0, max(y1, y0), x0, max(x1, x0)


class Canvas:
    """A batch of pictures being painted, back to front.

    `layers`: B 4 H W, premultiplied red, green, blue, and coverage. `x`, `y`: B H W, coordinates
    in the subject's frame; `pixel`: B 1 1, the size of a pixel in that frame.
    """

    def __init__(self, frame: Frame, size: int, device: torch.device | str = "cpu") -> None:
        self.frame, self.size, self.device = frame, size, torch.device(device)
        x, y = frame.coordinates(size)
        self.x = x.to(device=self.device, dtype=torch.float32)
        self.y = y.to(device=self.device, dtype=torch.float32)
        self.pixel = self.send(2 / size / frame.scale)[:, None, None]
        self.layers = torch.zeros(len(x), 4, size, size, device=self.device)

    def send(self, values: Tensor) -> Tensor:
        """`values` as float32 on the canvas's device."""
        return values.to(device=self.device, dtype=torch.float32)

    def window(self, region: Box, rows: Tensor | None = None) -> Window:
        """The part of the canvas that holds `region`, on all rows or on those where `rows` (B bool)."""
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

    def cover(self, distance: Tensor, soft: Number = 0.0) -> Tensor:
        """Coverage b h w in [0, 1] of a distance, which it consumes.

        The edge is one pixel wide, or `soft` (in the subject's units) where that is more.
        """
        width = torch.clamp(self.pixel, min=soft) if isinstance(soft, float) else self.pixel + soft
        return distance.div_(width).neg_().add_(0.5).clamp_(0, 1)

    def paint(self, alpha: Tensor, colour: Tensor) -> None:
        """Lays `colour` (b 3 1 1, or b 3 h w) over what is there, where `alpha` (b h w)."""
        alpha = alpha[:, None]
        self.patch[:, :3].lerp_(colour, alpha)
        self.patch[:, 3:].lerp_(alpha.new_ones(1), alpha)

    def tint(self, alpha: Tensor, colour: Tensor) -> None:
        """Like `paint`, on what is covered already: coverage does not grow."""
        self.patch[:, :3].lerp_(colour * self.patch[:, 3:], alpha[:, None])

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
    """A batch of pictures laid front to back, one colour a layer.

    Each layer takes its share of the light that the layers before it let through; a layer costs
    two passes over one plane, and one matrix product at the end turns shares into colours. Good
    for a subject of many small patches of one colour each. `x`, `y`: B H W, coordinates in the
    subject's frame; `pixel`: B 1 1, the size of a pixel there; `light`: B H W, what is let through.
    """

    def __init__(self, frame: Frame, size: int, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.x, self.y = (self.send(plane) for plane in frame.coordinates(size))
        self.pixel = self.send(2 / size / frame.scale)[:, None, None]
        self.light = torch.ones_like(self.x)
        self.shares: list[Tensor] = []
        self.colours: list[Tensor] = []

    def send(self, values: Tensor) -> Tensor:
        """`values` as float32 on the stack's device."""
        return values.to(device=self.device, dtype=torch.float32)

    def at(self, values: Tensor) -> Tensor:
        """A value a picture, B, as B 1 1."""
        return self.send(values)[:, None, None]

    def cover(self, distance: Tensor) -> Tensor:
        """Coverage B H W in [0, 1] of a distance: an edge one pixel wide."""
        return (distance / self.pixel).neg_().add_(0.5).clamp_(0, 1)

    def lay(self, alpha: Tensor, colour: Tensor) -> None:
        """Adds a layer of `colour` (B 3), of opacity `alpha` (B H W), behind all layers so far."""
        share = self.light * alpha
        self.light = self.light - share
        self.shares.append(share)
        self.colours.append(self.send(colour))

    def flatten(self) -> tuple[Tensor, Tensor]:
        """The layers' colour, premultiplied (B 3 H W), and the light they let through (B 1 H W)."""
        shares, colours = torch.stack(self.shares, 1), torch.stack(self.colours, 2)
        picture = torch.bmm(colours, shares.flatten(2)).unflatten(2, shares.shape[2:])
        return picture.clamp_(0, 1), self.light[:, None]
