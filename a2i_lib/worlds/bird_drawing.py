"""How a bird of the drawn world looks: its palette, its anatomy, its layers and what lies behind.

Every bird is placed facing right; pictures of birds that face left are mirrored whole. The bird's
frame has its origin at the feet of a perched bird, and at the middle of a flying one; a large
bird's head and body are about as long as half the picture. All numbers that place a part are
computed in float64 from the factors, one a bird; only sums, products, quotients, roots and
comparisons follow on pixels, so a picture does not depend on its batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from a2i_lib.worlds.base import Rendered
from a2i_lib.worlds.render import (
    Frame,
    Number,
    Part,
    Stack,
    blob,
    capsule,
    circle,
    ellipse,
    half_plane,
    intersect,
    length,
    smooth_union,
    turned,
    union,
)

#: Per group: the names of its members, which one each bird has (B), and how strongly (B).
Choices = dict[str, tuple[list[str], Tensor, Tensor]]
Numbers = dict[str, Tensor]  # nuisance by name, B each, float64
Place = tuple[Tensor, Tensor]  # B each
Plane2 = tuple[Tensor, Tensor]  # coordinates, b h w each
Shape = tuple[Tensor, Tensor, Tensor]  # a distance and two coordinates along it, b h w each

PALETTE = {
    "blue": (0.16, 0.42, 0.84),
    "brown": (0.45, 0.27, 0.14),
    "grey": (0.54, 0.57, 0.62),
    "yellow": (0.99, 0.84, 0.17),
    "green": (0.24, 0.60, 0.27),
    "black": (0.13, 0.12, 0.16),
    "white": (0.97, 0.96, 0.93),
    "red": (0.84, 0.13, 0.15),
    "orange": (0.97, 0.52, 0.10),
    "purple": (0.52, 0.27, 0.68),
    "buff": (0.88, 0.71, 0.50),
}
INK, CREAM, WHITE = (0.14, 0.11, 0.14), (0.99, 0.97, 0.91), (1.0, 1.0, 1.0)

SPOTS = 7  # soft ones, in the background
#: Nuisance -> (low, high), drawn uniformly; facing and flying become signs and 0/1, scene 0, 1, 2.
NUISANCE = {
    "facing": (-1.0, 1.0),
    "flying": (0.0, 1.0),
    "rotation": (-0.16, 0.16),
    "x": (-1.0, 1.0),
    "y": (-1.0, 1.0),
    "scale": (0.97, 1.03),
    "plump": (-1.0, 1.0),
    "upright": (-1.0, 1.0),
    "head_tilt": (-0.16, 0.16),
    "wing_beat": (-0.22, 0.22),
    "scene": (0.0, 3.0),
    "hue": (0.0, 1.0),
    "light": (0.92, 1.0),
    "horizon": (0.1, 0.5),
    "branch_slope": (-0.14, 0.14),
    "branch_width": (0.045, 0.085),
    "branch_leaves": (0.0, 1.0),
    **{f"spot_{axis}{i}": (-1.1, 1.1) for i in range(SPOTS) for axis in "xy"},
    **{f"spot_tint{i}": (0.0, 1.0) for i in range(SPOTS)},
}


def nuisance(noise: np.ndarray) -> np.ndarray:
    """n x M uniform numbers in [0, 1) -> nuisance values, as `NUISANCE` says."""
    low, high = np.array(list(NUISANCE.values())).T
    values = low + noise * (high - low)
    columns = list(NUISANCE)
    facing, flying, scene = (columns.index(name) for name in ("facing", "flying", "scene"))
    values[:, facing] = np.where(values[:, facing] < 0, -1, 1)
    values[:, flying] = values[:, flying] < 0.35
    values[:, scene] = np.floor(values[:, scene])
    return values


# --- from factors to numbers -----------------------------------------------------------------

#: Bill shape -> half its depth at the base, how straight it tapers, bend, hook, flare at the tip.
BILLS = {
    "curved_(up_or_down)": (0.070, 0.55, 0.50, 0.0, 0.0),
    "dagger": (0.120, 0.55, 0.0, 0.0, 0.0),
    "hooked": (0.125, 0.10, 0.0, 0.27, 0.0),
    "needle": (0.030, 0.25, 0.0, 0.0, 0.0),
    "spatulate": (0.060, 0.50, 0.0, 0.0, 0.110),
    "cone": (0.240, 1.00, 0.0, 0.0, 0.0),
}
BILL_LENGTHS = {
    "shorter_than_head": (0.25,),
    "about_the_same_as_head": (0.40,),
    "longer_than_head": (0.57,),
}
#: Tail shape -> length, half its width at the base and at the end, and how far the outer feathers
#: reach beyond the middle ones: linear and quadratic in the place across the tail.
TAILS = {
    "forked_tail": (0.26, 0.06, 0.26, 0.46, 0.0),
    "notched_tail": (0.43, 0.09, 0.22, 0.23, 0.0),
    "rounded_tail": (0.54, 0.11, 0.17, 0.0, -0.18),
    "fan-shaped_tail": (0.52, 0.07, 0.42, 0.0, -0.18),
    "pointed_tail": (0.68, 0.10, 0.10, -0.48, 0.0),
}
#: Size -> scale at strength 1/2 and at strength 1.
SIZES = {
    "small_(5_-_9_in)": (0.75, 0.72), "medium_(9_-_16_in)": (0.84, 0.86),
    "large_(16_-_32_in)": (0.96, 1.00),
}  # fmt: skip


def _rows(table: Mapping[str, tuple[float, ...]], choices: Choices, group: str) -> Tensor:
    """B x columns: each bird's row of `table`."""
    names, member, _ = choices[group]
    return torch.tensor([table[name] for name in names], dtype=torch.float64)[member.long()]


def _shape(
    table: Mapping[str, tuple[float, ...]], choices: Choices, group: str
) -> tuple[Tensor, ...]:
    """Each bird's row of `table`, moved towards the table's mean where the strength is low."""
    strength = choices[group][2]
    mean = torch.tensor(list(table.values()), dtype=torch.float64).mean(0)
    return (
        mean + (_rows(table, choices, group) - mean) * (0.85 + 0.15 * strength)[:, None]
    ).unbind(1)


def _colour(choices: Choices, group: str) -> Tensor:
    """B 3: the palette's colour, greyer where the strength is low."""
    colour = _rows(PALETTE, choices, group)
    grey = colour.mean(1, keepdim=True) * 0.9 + 0.05
    return colour + (grey - colour) * (0.35 * (1 - choices[group][2]))[:, None]


def _contrast(colour: Tensor) -> Tensor:
    """Ink on light colours, cream on dark ones."""
    light = colour @ torch.tensor([0.30, 0.59, 0.11], dtype=colour.dtype) > 0.5
    ink, cream = (torch.tensor(c, dtype=colour.dtype) for c in (INK, CREAM))
    return torch.where(light[:, None], ink, cream)


def _plain(like: Tensor, colour: tuple[float, float, float]) -> Tensor:
    """B 3: one colour for every row of `like`."""
    return torch.tensor(colour, dtype=torch.float64).expand(len(like), 3)


def _numbers(values: Tensor) -> Numbers:
    """B M -> nuisance by name."""
    return dict(zip(NUISANCE, values.double().cpu().unbind(1), strict=True))


@dataclass(frozen=True)
class Pose:
    """Where each bird's parts are: B each, float64, in its frame unless it says otherwise."""

    scale: Tensor
    flying: Tensor
    body_x: Tensor
    body_y: Tensor
    tilt: Tensor  # of the body, radians, positive with the head down
    head_tilt: Tensor
    head_x: Tensor
    head_y: Tensor


HEAD = 0.30  # radius
BODY = (0.42, 0.30)  # half axes
LINE = 0.032  # the width of an outline


def _pose(choices: Choices, n: Numbers) -> Pose:
    flying = n["flying"]
    plain, strong = _rows(SIZES, choices, "has_size").unbind(1)
    strength = choices["has_size"][2]
    tilt = torch.where(flying > 0, -0.14 + 0.05 * n["upright"], -0.56 + 0.10 * n["upright"])
    body_x = torch.where(flying > 0, -0.13, -0.12)
    body_y = torch.where(flying > 0, 0.06, -0.47)
    forward, up = torch.where(flying > 0, 0.40, 0.36), torch.where(flying > 0, -0.20, -0.27)
    cos, sin = tilt.cos(), tilt.sin()
    return Pose(
        scale=(plain + (strong - plain) * (2 * strength - 1)) * n["scale"],
        flying=flying,
        body_x=body_x,
        body_y=body_y,
        tilt=tilt,
        head_tilt=n["head_tilt"] + torch.where(flying > 0, -0.05, 0.0),
        head_x=body_x + forward * cos - up * sin,
        head_y=body_y + forward * sin + up * cos,
    )


def _stand(pose: Pose, n: Numbers) -> Frame:
    """The frame of the bird: a perched one's feet are on the branch."""
    room = torch.where(pose.flying > 0, 0.10, 0.12)
    x = n["x"] * room - 0.06
    perched = _branch_y(n, x) - n["branch_width"]
    return Frame(
        shift_x=x,
        shift_y=torch.where(pose.flying > 0, 0.14 + 0.10 * n["y"], perched),
        scale=pose.scale,
        roll=torch.where(pose.flying > 0, n["rotation"] * 1.3, n["rotation"] * 0.7),
    )


def _branch_y(n: Numbers, x: Tensor) -> Tensor:
    return 0.68 + 0.05 * n["y"] + n["branch_slope"] * x


# --- the parts -------------------------------------------------------------------------------


def from_body(pose: Pose, u: Number, v: Number) -> Place:
    """A place given in the body's coordinates, in the bird's frame."""
    cos, sin = pose.tilt.cos(), pose.tilt.sin()
    return pose.body_x + u * cos - v * sin, pose.body_y + u * sin + v * cos


def shoulder(pose: Pose, n: Numbers, far: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Where a wing begins, in the body's coordinates, and the direction it takes; B each."""
    raised = (2.05 if far else 2.42) + n["wing_beat"]
    angle = torch.where(pose.flying > 0, -raised, math.pi - 0.20)
    x = torch.full_like(angle, 0.20 if far else 0.10)
    y = torch.where(pose.flying > 0, -0.06, -0.03) - 0.06 * far
    return x, y, angle


def wing_middle(pose: Pose, n: Numbers, far: bool = False) -> Place:
    x, y, angle = shoulder(pose, n, far)
    half = torch.where(pose.flying > 0, 0.39, 0.31)
    return from_body(pose, x + half * angle.cos(), y + half * angle.sin())


class Bird:
    """The outlines of a batch of birds in a part of their pictures, as signed distances; b h w."""

    def __init__(self, part: Part, choices: Choices, pose: Pose, n: Numbers) -> None:
        self.part, self.choices, self.pose, self.n = part, choices, pose, n

    def turn(self, x: Tensor, y: Tensor, ox: Tensor, oy: Tensor, angle: Tensor) -> Plane2:
        at = self.part.at
        return turned(x, y, at(ox), at(oy), at(angle.cos()), at(angle.sin()))

    @cached_property
    def body_xy(self) -> Plane2:
        """Coordinates from the middle of the body: forwards, and towards the belly."""
        pose = self.pose
        return self.turn(self.part.x, self.part.y, pose.body_x, pose.body_y, pose.tilt)

    @cached_property
    def head_xy(self) -> Plane2:
        """Coordinates from the middle of the head: forwards, and down."""
        pose = self.pose
        return self.turn(self.part.x, self.part.y, pose.head_x, pose.head_y, pose.head_tilt)

    @cached_property
    def head(self) -> Tensor:
        return circle(*self.head_xy, 0.0, 0.0, HEAD)

    @cached_property
    def body(self) -> Tensor:
        """Trunk and head in one."""
        girth = BODY[1] * (1 + 0.07 * self.n["plump"])
        trunk = egg(*self.body_xy, BODY[0], self.part.at(girth), 0.20)
        return smooth_union(trunk, self.head, 0.16)

    def wing(self, far: bool = False) -> Shape:
        """Distance, and u from the shoulder to the tip, v from the leading to the trailing edge.

        Folded along the back, or raised in flight; the far one shows in flight alone.
        """
        at, fly = self.part.at, self.pose.flying
        u, v = self.turn(*self.body_xy, *shoulder(self.pose, self.n, far))
        v = v.neg_()  # the trailing edge is below on a folded wing, behind on a raised one
        half, width = torch.where(fly > 0, 0.43, 0.35), torch.where(fly > 0, 0.21, 0.165)
        distance = egg(u - at(half - 0.04), v, at(half), at(width), -0.28)
        fingers = (u * 9).frac().sub_(0.5).abs_().mul_(at(0.09 * fly)).mul_(v > 0.02)
        return distance.add_(fingers), u, v

    def belly(self) -> Shape:
        """Distance, and u along the bird, v towards its underside."""
        u, v = turned(*self.body_xy, 0.16, 0.17, math.cos(-0.42), math.sin(-0.42))
        return intersect(ellipse(u, v, 0.0, 0.0, 0.36, 0.215), self.body + 0.035), u, v

    def crown(self) -> Tensor:
        line = half_plane(*self.head_xy, 0.0, -0.115, 0.10, 0.995)
        return intersect(line, self.head + 0.015)

    def crest(self) -> Tensor:
        """A plume from the crown, swept back; far away where there is none."""
        at, strength = self.part.at, self.choices["crest"][2]
        u, v = turned(*self.head_xy, 0.03, -0.17, math.cos(-2.25), math.sin(-2.25))
        reach = at(torch.where(strength > 0, 0.36 + 0.12 * strength, 0.36))
        t = (u / reach).clamp_(0, 1)
        v = v - t * t * 0.10
        long, short = v.abs() - (1 - t) * 0.16, (v + t * 0.11).abs_() - (1 - t * t) * 0.06
        plume = intersect(intersect(union(long, short), (u - reach).mul_(0.9)), -u - 0.02)
        return plume.add_(at(torch.where(strength > 0, 0.0, 9.0)))

    def bill(self) -> Shape:
        """Distance, t from its base (0) to its tip (1), and v across it."""
        at = self.part.at
        base, straight, bend, hook, flare = _shape(BILLS, self.choices, "has_bill_shape")
        (length,) = _rows(BILL_LENGTHS, self.choices, "has_bill_length").unbind(1)
        span = length * (0.94 + 0.08 * self.choices["has_bill_length"][2])
        x, y = self.head_xy
        u = x - (HEAD - 0.045)
        t = (u / at(span)).clamp_(0, 1)
        square, late = t * t, (t - 0.60).clamp_(min=0).mul_(2.5)
        v = (y - 0.035).sub_(square * at(bend * span)).sub_(late.mul_(late).mul_(at(hook)))
        half = (1 - t).mul_(at(straight)).add_((1 - square * square).mul_(at(1 - straight)))
        half.mul_(at(base)).add_(blob(t, t, 0.86, 0.86, 0.99, 0.99).mul_(at(flare)))
        distance = (v.abs() - half).mul_(at(1 / (1 + bend).sqrt()))
        return intersect(intersect(distance, u - at(span)), -u), t, v

    def tail(self) -> Shape:
        """Distance, u from its base backwards, and w across it, from -1 to 1."""
        at = self.part.at
        reach, base, end, outer, curve = _shape(TAILS, self.choices, "has_tail_shape")
        angle = torch.where(self.pose.flying > 0, math.pi, math.pi - 0.12)
        u, v = self.turn(*self.body_xy, torch.full_like(angle, -0.26), 0 * angle, angle)
        full = reach + outer.clamp(min=0)
        width = (u / at(full)).clamp_(0, 1).mul_(at(end - base)).add_(at(base))
        w = v / width
        across = w.abs().clamp_(max=1)
        tip = (across * across).mul_(at(curve)).add_(across.mul_(at(outer))).add_(at(reach))
        end_line = (u - tip).mul_(at(1 / (1 + (outer / end) ** 2).sqrt()))
        side = (v.abs() - width).mul_(at(1 / (1 + ((end - base) / full) ** 2).sqrt()))
        return intersect(intersect(side, end_line), -u), u, w

    def leg(self, ahead: float) -> Tensor:
        """Straight down to toes on the branch, or trailing in flight; `ahead` of the near one."""
        fly, at = self.pose.flying > 0, self.part.at

        def either(flying: float, perched: float) -> Tensor:
            return at(torch.where(fly, flying, perched).double())

        x, y = either(-0.42 + ahead, -0.07 + ahead), either(0.46, 0.0)
        hip = either(-0.20 + ahead, -0.13 + ahead), either(0.28, -0.24 - 0.2 * ahead)
        heel = x + either(-0.12, -0.07), y + either(-0.02, 0.02)
        toe = x + either(0.01, 0.11), y + either(0.09, 0.02)
        shin = capsule(self.part.x, self.part.y, *hip, x, y, 0.030)
        return union(shin, capsule(self.part.x, self.part.y, *heel, *toe, 0.030))


def egg(x: Tensor, y: Tensor, rx: Number, ry: Number, lean: float) -> Tensor:
    """An ellipse about the origin, `lean` thicker towards +x (towards -x if it is negative)."""
    thickness = (x * (lean / rx)).add_(1).clamp_(0.4, 1.6)
    return ellipse(x, y / thickness, 0.0, 0.0, rx, ry)


def stripes(t: Tensor, pitch: float, share: float) -> Tensor:
    """Distance to bands across t, `pitch` apart, covering `share` of it."""
    return (t / pitch).frac().abs_().sub_(0.5).abs_().sub_(share / 2).mul_(pitch)


def dots(u: Tensor, v: Tensor, pitch: float, radius: float) -> Tensor:
    """Distance to round spots, every other row moved by half a pitch."""
    row = (v / pitch).floor()
    x = (u / pitch).add_(row * 0.5).sub_(0.25)
    x = x.sub_(x.floor()).sub_(0.5)
    y = (v / pitch).sub_(row).sub_(0.5)
    return length(x, y).mul_(pitch).sub_(radius)


# --- the picture -----------------------------------------------------------------------------


def draw(choices: Choices, values: Tensor, size: int) -> Rendered:
    """Birds before their background. `values`: B M, nuisance."""
    n = _numbers(values)
    front, back = (
        paint_bird(choices, n, size, values.device),
        paint_background(n, size, values.device),
    )
    x_f, g, x_b = (layer.clamp(0, 1) for layer in (front.colour, front.light, back.colour))
    return Rendered(x=(x_f + g * x_b).clamp_(0, 1), x_f=x_f, x_b=x_b, mask=1 - g)


def paint_bird(choices: Choices, n: Numbers, size: int, device: torch.device) -> Stack:
    """Front to back: head, near wing, trunk, legs, tail, far wing."""
    pose = _pose(choices, n)
    stack = Stack(_stand(pose, n), size, n["facing"] < 0, device)
    primary, wing = _colour(choices, "has_primary_color"), _colour(choices, "has_wing_color")
    flying = pose.flying > 0
    with stack.part((pose.head_x, pose.head_y), 0.34) as part:
        paint_face(Bird(part, choices, pose, n), primary)
    with stack.part((pose.head_x + 0.56, pose.head_y + 0.13), 0.40) as part:
        paint_bill(Bird(part, choices, pose, n))
    with stack.part((pose.head_x - 0.08, pose.head_y - 0.28), 0.48) as part:
        paint_crown(Bird(part, choices, pose, n))
    with stack.part(wing_middle(pose, n), 0.50) as part:
        paint_wing(Bird(part, choices, pose, n), wing)
    with stack.part(from_body(pose, 0.10, -0.06), 0.60) as part:
        paint_trunk(Bird(part, choices, pose, n), primary)
    legs = torch.where(flying, -0.30, 0.02).double(), torch.where(flying, 0.38, -0.10).double()
    with stack.part(legs, 0.30) as part:
        paint_legs(Bird(part, choices, pose, n))
    with stack.part(from_body(pose, -0.60, 0.0), 0.56) as part:
        paint_tail(Bird(part, choices, pose, n), primary)
    with stack.part(wing_middle(pose, n, far=True), 0.50, flying) as part:
        distance, _, _ = Bird(part, choices, pose, n).wing(far=True)
        shape(part, distance, wing * 0.80, outline(wing))
    return stack


def outline(colour: Tensor) -> Tensor:
    return colour * 0.42


def shape(part: Part, distance: Tensor, fill: Tensor, line: Tensor, width: float = LINE) -> None:
    """A filled shape with a line along its edge, inside it."""
    part.lay(part.cover(distance, width), fill)
    part.lay(part.cover(distance), line)


def has(choices: Choices, group: str, member: str) -> Tensor:
    """B: 1 where the bird has that member."""
    names, chosen, _ = choices[group]
    return (chosen == names.index(member)).double()


def bold(choices: Choices, group: str, member: str) -> Tensor:
    """B: how opaque the pattern `member` is, 0 where the bird does not have it."""
    return has(choices, group, member) * (0.7 + 0.3 * choices[group][2])


def pattern(bird: Bird, group: str, u: Tensor, v: Tensor, inside: Tensor, colour: Tensor) -> None:
    """Spots, stripes along the bird or bars across it, where `inside` is covered."""
    part = bird.part
    drawn = {
        "spotted": dots(u, v, 0.15, 0.042),
        "striped": stripes(v, 0.125, 0.42),
        "barred": stripes(u, 0.155, 0.42),
    }
    alpha = torch.zeros_like(u)
    for member, distance in drawn.items():
        alpha += part.cover(distance).mul_(part.at(bold(bird.choices, group, member)))
    part.lay(alpha.mul_(inside), colour)


def paint_face(bird: Bird, primary: Tensor) -> None:
    """Eye and head pattern."""
    part, choices = bird.part, bird.choices
    x, y = bird.head_xy
    ink, white, contrast = _plain(primary, INK), _plain(primary, WHITE), _contrast(primary)
    eye = circle(x, y, 0.095, 0.025, 0.0)
    part.lay(part.cover(circle(x, y, 0.120, -0.007, 0.026)), white)
    part.lay(part.cover(eye, -0.040), ink)
    part.lay(part.cover(eye, -0.098), _colour(choices, "has_eye_color"))
    part.lay(part.cover(eye, -0.115), ink)
    ring, brow, mask = (
        part.at(bold(choices, "has_head_pattern", p)) for p in ("eyering", "eyebrow", "masked")
    )
    part.lay(part.cover(eye, -0.170).mul_(ring), _plain(primary, CREAM))
    part.lay(part.cover(eye, -0.200).mul_(ring), ink)
    inside = bird.body + LINE
    stroke = intersect(capsule(x, y, 0.25, -0.055, -0.27, -0.080, 0.050), inside)
    part.lay(part.cover(stroke).mul_(brow), contrast)
    band = intersect(ellipse(x, y, 0.04, 0.030, 0.34, 0.140), inside)
    dark = primary.mean(1, keepdim=True) < 0.3
    part.lay(part.cover(band).mul_(mask), torch.where(dark, _plain(primary, CREAM), ink))


def paint_bill(bird: Bird) -> None:
    part = bird.part
    distance, _, v = bird.bill()
    colour = _colour(bird.choices, "has_bill_color")
    gape = part.cover(v.abs(), -0.008) * part.cover(distance, 0.02)
    part.lay(gape.mul_(0.5), colour * 0.3)
    shape(part, distance, colour, outline(colour), 0.018)


def paint_crown(bird: Bird) -> None:
    """The cap, and the crest that grows from it."""
    colour = _colour(bird.choices, "has_crown_color")
    shape(bird.part, bird.crown(), colour, outline(colour), 0.022)
    shape(bird.part, bird.crest(), colour, outline(colour))


def paint_wing(bird: Bird, colour: Tensor) -> None:
    """Pattern, quills, shade towards the trailing edge, fill, line."""
    part = bird.part
    distance, u, v = bird.wing()
    inside, line = part.cover(distance, LINE), outline(colour)
    pattern(bird, "has_wing_pattern", u, v, inside, _contrast(colour))
    quills = part.cover(stripes(v + u * 0.12, 0.085, 0.12)).mul_(u > 0.30)
    part.lay(quills.mul_(inside).mul_(0.30), line)
    part.lay((v * 1.4).add_(0.1).clamp_(0, 0.28).mul_(inside), line)
    part.lay(inside, colour)
    part.lay(part.cover(distance), line)


def paint_trunk(bird: Bird, primary: Tensor) -> None:
    """Belly and body, lit from above."""
    part = bird.part
    body = part.cover(bird.body, LINE)
    shade = (bird.body_xy[1] * 0.8).sub_(0.06).clamp_(0, 0.16)
    part.lay(shade.mul_(body), _plain(primary, INK))
    distance, u, v = bird.belly()
    belly, inside = _colour(bird.choices, "has_belly_color"), part.cover(distance)
    pattern(bird, "has_breast_pattern", u, v, inside, _contrast(belly))
    part.lay(inside, belly)
    glow = blob(*bird.head_xy, -0.06, -0.08, 0.32, 0.30)
    part.lay(glow.mul_(body).mul_(0.20), _plain(primary, WHITE))
    part.lay(body, primary)
    part.lay(part.cover(bird.body), outline(primary))


def paint_legs(bird: Bird) -> None:
    colour = _colour(bird.choices, "has_leg_color")
    bird.part.lay(bird.part.cover(bird.leg(0.0)), colour)
    bird.part.lay(bird.part.cover(bird.leg(0.13)), colour * 0.72)


def paint_tail(bird: Bird, primary: Tensor) -> None:
    part = bird.part
    distance, u, w = bird.tail()
    inside, line = part.cover(distance, LINE), outline(primary)
    striped = part.at(bold(bird.choices, "has_tail_pattern", "striped"))
    bands = part.cover(stripes(u, 0.15, 0.42)).mul_(inside).mul_(striped)
    part.lay(bands, _contrast(primary))
    quills = part.cover(stripes(w + 0.25, 0.5, 0.12).mul_(0.2))
    part.lay(quills.mul_(inside).mul_(0.3), line)
    part.lay(inside, primary * 0.88)
    part.lay(part.cover(distance), line)


# --- what lies behind ------------------------------------------------------------------------

SKY, LEAVES, WATER = 0, 1, 2  # the values of "scene"


def _mixed(t: Tensor, *colours: tuple[float, float, float]) -> Tensor:
    """B 3: along a row of colours, t in [0, 1]."""
    table = torch.tensor(colours, dtype=torch.float64)
    place = t.clamp(0, 1) * (len(colours) - 1)
    low = place.floor().clamp(max=len(colours) - 2).long()
    return torch.lerp(table[low], table[low + 1], (place - low)[:, None])


def paint_background(n: Numbers, size: int, device: torch.device) -> Stack:
    """Sky, leaves out of focus, or water; before it a branch where a bird perches."""
    still = torch.zeros_like(n["hue"])
    stack = Stack(Frame(still, still, still + 1, still), size, n["facing"] < 0, device)
    perched = n["flying"] == 0
    for i, (place, side) in enumerate(((-0.72, 1.0), (0.55, -1.0), (0.78, 1.0))):
        x = place + 0.1 * n[f"spot_x{i}"]
        y = _branch_y(n, x) + side * 0.13
        with stack.part((x, y), 0.18, perched & (n["branch_leaves"] > 0.25 * (i + 1))) as part:
            paint_leaf(part, x, y, side)
    with stack.part(rows=perched) as part:
        paint_branch(part, n)
    with stack.part() as part:
        paint_scene(part, n)
    return stack


def paint_leaf(part: Part, x: Tensor, y: Tensor, side: float) -> None:
    u, v = turned(part.x, part.y, part.at(x), part.at(y), 0.80, 0.60 * side)
    green = _plain(x, (0.36, 0.56, 0.26))
    part.lay(part.cover(v.abs(), -0.004) * part.cover(u.abs(), -0.12) * 0.5, green * 0.6)
    shape(part, ellipse(u, v, 0.0, 0.0, 0.16, 0.07), green, green * 0.6, 0.02)


def paint_branch(part: Part, n: Numbers) -> None:
    at, width = part.at, part.at(n["branch_width"])
    across = part.y - part.x * at(n["branch_slope"]) - at(_branch_y(n, torch.zeros_like(n["x"])))
    distance = across.abs() - width
    bark = _mixed(n["spot_tint0"], (0.42, 0.31, 0.22), (0.52, 0.42, 0.34), (0.36, 0.30, 0.26))
    part.lay((across / width).clamp_(0, 0.5).mul_(part.cover(distance)), bark * 0.4)
    shape(part, distance, bark, bark * 0.45, 0.02)


def paint_scene(part: Part, n: Numbers) -> None:
    scene = [(n["scene"] == i).double() for i in range(3)]
    light, leafy = n["light"][:, None], scene[LEAVES][:, None]
    paint_spots(part, n, scene)
    low = (part.y * 0.5).add_(0.5).clamp_(0, 1)
    water = part.cover(part.at(n["horizon"]) - part.y).mul_(part.at(scene[WATER]))
    sea = _mixed(n["hue"], (0.20, 0.50, 0.62), (0.28, 0.56, 0.60), (0.36, 0.48, 0.62))
    part.lay(water.mul_(low * 0.45 + 0.55), sea * light)
    ground = _mixed(n["hue"], (0.70, 0.82, 0.56), (0.60, 0.76, 0.58), (0.84, 0.84, 0.56))
    air = _mixed(n["hue"], (0.90, 0.96, 0.99), (0.99, 0.93, 0.84), (0.96, 0.97, 0.96))
    top = _mixed(n["hue"], (0.48, 0.74, 0.93), (0.63, 0.80, 0.92), (0.72, 0.82, 0.90))
    deep = _mixed(n["hue"], (0.40, 0.62, 0.42), (0.46, 0.66, 0.52), (0.58, 0.68, 0.40))
    part.lay(low, torch.lerp(air, ground, leafy) * light)
    part.lay(torch.ones_like(low), torch.lerp(top, deep, leafy) * light)


def paint_spots(part: Part, n: Numbers, scene: list[Tensor]) -> None:
    """Soft spots: clouds in the sky, leaves out of focus, glints on the water."""
    at, (sky, leaves, water) = part.at, scene
    line, column = part.x[:, :1], part.y[:, :, :1]  # this frame does not roll
    for i in range(SPOTS):
        x, y, tint = n[f"spot_x{i}"], n[f"spot_y{i}"], n[f"spot_tint{i}"]
        y = torch.where(water > 0, n["horizon"] + 0.08 + 0.12 * i, y)
        rx = sky * (0.45 + 0.3 * tint) + leaves * (0.28 + 0.3 * tint) + water * 0.55
        ry = sky * 0.17 + leaves * (0.28 + 0.3 * tint) + water * 0.035
        crisp = 1 + 0.6 * leaves
        across, down = (line - at(x)) * at(crisp / rx), (column - at(y)) * at(crisp / ry)
        spot = (at(crisp * crisp) - across * across - down * down).clamp_(0, 1)
        leaf = _mixed(tint, (0.32, 0.55, 0.30), (0.62, 0.78, 0.42), (0.90, 0.90, 0.62))
        colour = torch.lerp(torch.ones_like(leaf), leaf, leaves[:, None])
        strength = 0.75 * sky + 0.55 * leaves + 0.5 * water
        part.lay((spot * spot).mul_(at(strength)), colour * n["light"][:, None])


# --- where an attribute shows ----------------------------------------------------------------


def region(choices: Choices, values: Tensor, group: str, size: int) -> Tensor:
    """B 1 H W bool: the pixels that a change within `group` may touch."""
    n = _numbers(values)
    pose = _pose(choices, n)
    part = Stack(_stand(pose, n), size, n["facing"] < 0, values.device).part()
    return (_reach(Bird(part, choices, pose, n), group) < part.pixel)[:, None]


def _reach(bird: Bird, group: str) -> Tensor:
    """Distance to all that `group` may touch, whatever its members."""
    x, y = bird.head_xy
    if group == "has_size":
        return torch.full_like(x, -1.0)
    if group in ("has_bill_shape", "has_bill_length", "has_bill_color"):
        return ellipse(x, y, 0.57, 0.14, 0.48, 0.52)
    if group in ("has_head_pattern", "has_eye_color"):
        return circle(x, y, 0.0, 0.0, HEAD)
    if group == "crest":
        return circle(x, y, -0.12, -0.32, 0.44)
    if group == "has_crown_color":
        return union(bird.crown(), bird.crest())
    if group in ("has_belly_color", "has_breast_pattern"):
        return bird.belly()[0]
    if group == "has_leg_color":
        return union(bird.leg(0.0), bird.leg(0.13))
    if group in ("has_tail_shape", "has_tail_pattern"):
        return ellipse(*bird.body_xy, -0.62, 0.0, 0.58, 0.52)
    if group in ("has_wing_color", "has_wing_pattern"):
        far = bird.wing(far=True)[0] + bird.part.at(9.0 * (1 - bird.pose.flying))
        return union(bird.wing()[0], far)
    return union(bird.body, bird.tail()[0])  # the primary colour
