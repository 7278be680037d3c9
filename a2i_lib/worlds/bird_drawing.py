"""How a bird of the drawn world looks: its palette, its anatomy, its layers and what lies behind.

Every bird is drawn facing right; pictures of birds that face left are mirrored whole. The bird's
frame has its origin at the feet of a perched bird, and at the middle of a flying one; a large
bird's head and body are about as long as half the picture. All numbers that place a part are
computed in float64 from the factors, one a bird; only sums, products, quotients, roots and
comparisons follow on pixels, so a picture does not depend on its batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from a2i_lib.worlds.base import Rendered
from a2i_lib.worlds.render import (
    Frame,
    Number,
    Stack,
    blob,
    capsule,
    circle,
    ellipse,
    half_plane,
    intersect,
    smooth_union,
    turned,
    union,
)

#: Per group: the names of its members, which one each bird has (B), and how strongly (B).
Choices = dict[str, tuple[list[str], Tensor, Tensor]]

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
INK, CREAM = (0.14, 0.11, 0.14), (0.99, 0.97, 0.91)

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
    **{f"blob_{axis}{i}": (-1.1, 1.1) for i in range(7) for axis in "xy"},
    **{f"blob_tint{i}": (0.0, 1.0) for i in range(7)},
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
    "curved_(up_or_down)": (0.055, 0.60, 0.42, 0.0, 0.0),
    "dagger": (0.075, 0.80, 0.0, 0.0, 0.0),
    "hooked": (0.090, 0.15, 0.0, 0.13, 0.0),
    "needle": (0.030, 0.35, 0.0, 0.0, 0.0),
    "spatulate": (0.075, 0.62, 0.0, 0.0, 0.085),
    "cone": (0.125, 1.00, 0.0, 0.0, 0.0),
}
BILL_LENGTHS = {
    "shorter_than_head": 0.19, "about_the_same_as_head": 0.33, "longer_than_head": 0.48,
}  # fmt: skip
#: Tail shape -> length, half its width at the base and at the end, and how far the outer feathers
#: reach beyond the middle ones: linear and quadratic in the place across the tail.
TAILS = {
    "forked_tail": (0.30, 0.07, 0.20, 0.34, 0.0),
    "notched_tail": (0.44, 0.08, 0.15, 0.13, 0.0),
    "rounded_tail": (0.52, 0.08, 0.14, 0.0, -0.10),
    "fan-shaped_tail": (0.50, 0.07, 0.34, 0.0, -0.16),
    "pointed_tail": (0.60, 0.09, 0.10, -0.42, 0.0),
}
#: Size -> scale at strength 1/2 and at strength 1.
SIZES = {
    "small_(5_-_9_in)": (0.69, 0.65), "medium_(9_-_16_in)": (0.82, 0.85),
    "large_(16_-_32_in)": (0.99, 1.04),
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
    return (mean + (_rows(table, choices, group) - mean) * (0.7 + 0.3 * strength)[:, None]).unbind(
        1
    )


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


@dataclass(frozen=True)
class Pose:
    """Where the parts of each bird are: B each, float64, in the bird's frame unless it says else."""

    scale: Tensor
    flying: Tensor
    body_x: Tensor
    body_y: Tensor
    tilt: Tensor  # of the body, radians, positive with the head down
    head_tilt: Tensor
    head_x: Tensor
    head_y: Tensor


HEAD = 0.235  # radius
BODY = (0.42, 0.30)  # half axes


def _pose(choices: Choices, n: dict[str, Tensor]) -> Pose:
    flying = n["flying"]
    plain, strong = _rows(SIZES, choices, "has_size").unbind(1)
    strength = choices["has_size"][2]
    tilt = torch.where(flying > 0, -0.14 + 0.05 * n["upright"], -0.56 + 0.10 * n["upright"])
    body_x = torch.where(flying > 0, -0.06, -0.10)
    body_y = torch.where(flying > 0, 0.06, -0.47)
    forward, up = torch.where(flying > 0, 0.40, 0.35), torch.where(flying > 0, -0.15, -0.21)
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


def _stand(pose: Pose, n: dict[str, Tensor]) -> Frame:
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


def _branch_y(n: dict[str, Tensor], x: Tensor) -> Tensor:
    return 0.68 + 0.05 * n["y"] + n["branch_slope"] * x


# --- the parts -------------------------------------------------------------------------------


class Bird:
    """The outlines of a batch of birds on a stack, as signed distances; B H W each."""

    def __init__(self, stack: Stack, choices: Choices, pose: Pose, n: dict[str, Tensor]) -> None:
        self.stack, self.choices, self.pose, self.n = stack, choices, pose, n
        at = stack.at
        self.body_xy = self.turn(stack.x, stack.y, pose.body_x, pose.body_y, pose.tilt)
        self.head_xy = self.turn(stack.x, stack.y, pose.head_x, pose.head_y, pose.head_tilt)
        u, v = self.body_xy
        girth = BODY[1] * (1 + 0.07 * n["plump"])
        trunk = egg(u, v, BODY[0], at(girth), 0.20)
        self.head = circle(*self.head_xy, 0.0, 0.0, HEAD)
        self.body = smooth_union(trunk, self.head, 0.16)

    def turn(
        self, x: Tensor, y: Tensor, ox: Number, oy: Number, angle: Tensor
    ) -> tuple[Tensor, Tensor]:
        at = self.stack.at
        ox, oy = (at(o) if isinstance(o, Tensor) else o for o in (ox, oy))
        return turned(x, y, ox, oy, at(angle.cos()), at(angle.sin()))

    def wing(self, far: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Distance, and u from the shoulder to the tip, v from the leading to the trailing edge.

        Folded along the back, or raised in flight; the far one shows in flight alone.
        """
        at, fly = self.stack.at, self.pose.flying
        raised = (2.05 if far else 2.42) + self.n["wing_beat"]
        angle = torch.where(fly > 0, -raised, math.pi - 0.20)
        x, y = torch.where(fly > 0, 0.10, 0.10), torch.where(fly > 0, -0.06, -0.03)
        u, v = self.turn(*self.body_xy, x + 0.10 * far, y - 0.06 * far, angle)
        v = -v  # the trailing edge: below on a folded wing, behind on a raised one
        half, width = torch.where(fly > 0, 0.43, 0.35), torch.where(fly > 0, 0.21, 0.165)
        distance = egg(u - at(half - 0.04), v, at(half), at(width), -0.28)
        fingers = (u * 9).frac().sub_(0.5).abs_().mul_(0.09)
        notch = fingers * at(fly) * (v > 0.02)
        return distance + notch, u, v

    def belly(self) -> tuple[Tensor, Tensor, Tensor]:
        """Distance, and u along the bird, v towards its underside."""
        angle = torch.full_like(self.pose.tilt, -0.42)
        u, v = self.turn(*self.body_xy, 0.16, 0.17, angle)
        inside = self.body + 0.035
        return intersect(ellipse(u, v, 0.0, 0.0, 0.36, 0.215), inside), u, v

    def crown(self) -> Tensor:
        x, y = self.head_xy
        line = half_plane(x, y, 0.0, -0.065, 0.10, 0.995)
        return intersect(line, self.head + 0.015)

    def crest(self) -> Tensor:
        """A plume from the crown, swept back; far away where there is none."""
        at, strength = self.stack.at, self.choices["crest"][2]
        u, v = self.turn(*self.head_xy, 0.03, -0.12, torch.full_like(strength, -2.25))
        reach = torch.where(strength > 0, 0.30 + 0.12 * strength, 0.30)
        t = (u / at(reach)).clamp_(0, 1)
        v = v - t * t * 0.10
        plume = union(v.abs() - (1 - t) * 0.13, (v + t * 0.09).abs_() - (1 - t * t) * 0.05)
        plume = intersect(plume, (u - at(reach)).mul_(0.9))
        plume = intersect(plume, -u - 0.02)
        return plume + at(torch.where(strength > 0, 0.0, 9.0))

    def bill(self) -> tuple[Tensor, Tensor, Tensor]:
        """Distance, t from its base (0) to its tip (1), and v across it."""
        at = self.stack.at
        base, straight, bend, hook, flare = _shape(BILLS, self.choices, "has_bill_shape")
        names, member, strength = self.choices["has_bill_length"]
        lengths = torch.tensor([BILL_LENGTHS[m] for m in names], dtype=torch.float64)
        span = lengths[member.long()] * (0.94 + 0.08 * strength)
        x, y = self.head_xy
        u, v = x - (HEAD - 0.045), y - 0.035
        t = (u / at(span)).clamp_(0, 1)
        late = (t - 0.60).clamp_(min=0).mul_(2.5)
        v = v - t * t * at(bend * span) - late * late * at(hook)
        rest = t * t
        half = (1 - t).mul_(at(straight)) + (1 - rest * rest).mul_(at(1 - straight))
        half = half * at(base) + blob(t, t, 0.86, 0.86, 0.75, 0.75) * at(flare)
        distance = (v.abs() - half) * at(1 / (1 + bend).sqrt())
        distance = intersect(distance, u - at(span))
        return intersect(distance, -u), t, v

    def tail(self) -> tuple[Tensor, Tensor, Tensor]:
        """Distance, u from its base backwards, and w across it, from -1 to 1."""
        at = self.stack.at
        reach, base, end, outer, curve = _shape(TAILS, self.choices, "has_tail_shape")
        angle = torch.where(self.pose.flying > 0, math.pi, math.pi - 0.12)
        u, v = self.turn(*self.body_xy, -0.26, 0.0, angle)
        full = reach + outer.clamp(min=0)
        width = (u / at(full)).clamp_(0, 1) * at(end - base) + at(base)
        w = v / width
        across = w.abs().clamp_(max=1)
        tip = across * at(outer) + across * across * at(curve) + at(reach)
        slope = at(1 / (1 + (outer / end) ** 2).sqrt())
        side = (v.abs() - width).mul_(at(1 / (1 + ((end - base) / full) ** 2).sqrt()))
        return intersect(intersect(side, (u - tip) * slope), -u), u, w

    def legs(self) -> tuple[Tensor, Tensor]:
        """Distances to the near and the far leg: straight down to the toes, or trailing in flight."""
        return self.leg(0.0), self.leg(0.13)

    def leg(self, ahead: float) -> Tensor:
        fly, at = self.pose.flying > 0, self.stack.at
        hip_x = torch.where(fly, -0.20, -0.13) + ahead
        hip_y = torch.where(fly, 0.28, -0.24 - ahead * 0.2)
        foot_x, foot_y = torch.where(fly, -0.42, -0.07) + ahead, torch.where(fly, 0.46, 0.0)
        heel_x, heel_y = (
            foot_x + torch.where(fly, -0.12, -0.07),
            foot_y + torch.where(fly, -0.02, 0.02),
        )
        toe_x, toe_y = foot_x + torch.where(fly, 0.01, 0.11), foot_y + torch.where(fly, 0.09, 0.02)
        shin = (at(p) for p in (hip_x, hip_y, foot_x, foot_y))
        foot = (at(p) for p in (heel_x, heel_y, toe_x, toe_y))
        return union(self.pen(*shin), self.pen(*foot))

    def pen(self, x0: Tensor, y0: Tensor, x1: Tensor, y1: Tensor) -> Tensor:
        return capsule(self.stack.x, self.stack.y, x0, y0, x1, y1, 0.030)


def egg(x: Tensor, y: Tensor, rx: Number, ry: Number, lean: float) -> Tensor:
    """An ellipse about the origin, thicker towards +x by `lean` (towards -x where it is negative)."""
    thickness = (x * (lean / rx)).add_(1).clamp_(0.4, 1.6)
    return ellipse(x, y / thickness, 0.0, 0.0, rx, ry)


def stripes(t: Tensor, pitch: float, share: float) -> Tensor:
    """Distance to bands across t, `pitch` apart, covering `share` of it."""
    return (t / pitch).frac().abs_().sub_(0.5).abs_().sub_(share / 2).mul_(pitch)


def dots(u: Tensor, v: Tensor, pitch: float, radius: float) -> Tensor:
    """Distance to round spots, every other row moved by half a pitch."""
    row = (v / pitch).floor()
    x = (u / pitch + row * 0.5).sub_(0.25)
    x = (x - x.floor()).sub_(0.5)
    y = (v / pitch - row).sub_(0.5)
    return (x * x).add_(y * y).sqrt_().mul_(pitch).sub_(radius)


# --- the picture -----------------------------------------------------------------------------


def draw(choices: Choices, values: Tensor, size: int) -> Rendered:
    """Birds before their background. `values`: B M, nuisance."""
    n = dict(zip(NUISANCE, values.double().cpu().unbind(1), strict=True))
    pose = _pose(choices, n)
    stack = Stack(_stand(pose, n), size, values.device)
    paint_bird(Bird(stack, choices, pose, n))
    x_f, g = stack.flatten()
    x_b = paint_background(n, size, values.device)
    left = values[:, list(NUISANCE).index("facing")] < 0
    for plane in (x_f, g, x_b):
        plane[left] = plane[left].flip(3)
    return Rendered(x=(x_f + g * x_b).clamp_(0, 1), x_f=x_f, x_b=x_b, mask=1 - g)


LINE = 0.032  # the outline's width


def paint_bird(bird: Bird) -> None:
    choices, stack = bird.choices, bird.stack
    count = len(stack.x)
    fixed = {
        name: torch.tensor(colour, dtype=torch.float64).expand(count, 3)
        for name, colour in (("ink", INK), ("cream", CREAM), ("white", (1.0, 1.0, 1.0)))
    }
    primary, wing = _colour(choices, "has_primary_color"), _colour(choices, "has_wing_color")
    paint_face(bird, primary, fixed)
    paint_bill(bird)
    crown = _colour(choices, "has_crown_color")
    shape(stack, bird.crown(), crown, outline(crown), 0.022)
    shape(stack, bird.crest(), crown, outline(crown))
    paint_wing(bird, wing)
    paint_trunk(bird, primary, fixed)
    legs = _colour(choices, "has_leg_color")
    near, far = bird.legs()
    stack.lay(stack.cover(near), legs)
    stack.lay(stack.cover(far), legs * 0.72)
    paint_tail(bird, primary)
    distance, _, _ = bird.wing(far=True)
    distance = distance + stack.at(9.0 * (1 - bird.pose.flying))
    shape(stack, distance, wing * 0.80, outline(wing))


def outline(colour: Tensor) -> Tensor:
    return colour * 0.42


def shape(stack: Stack, distance: Tensor, fill: Tensor, line: Tensor, width: float = LINE) -> None:
    """A filled shape with a line along its edge, inside it."""
    stack.lay(stack.cover(distance + width), fill)
    stack.lay(stack.cover(distance), line)


def has(choices: Choices, group: str, member: str) -> Tensor:
    """B: 1 where the bird has that member."""
    names, chosen, _ = choices[group]
    return (chosen == names.index(member)).double()


def pattern(
    stack: Stack, choices: Choices, group: str, u: Tensor, v: Tensor, inside: Tensor, colour: Tensor
) -> None:
    """Spots, stripes along the bird or bars across it, where `inside` is covered."""
    drawn = {
        "spotted": dots(u, v, 0.15, 0.042),
        "striped": stripes(v, 0.125, 0.42),
        "barred": stripes(u, 0.155, 0.42),
    }
    bold = 0.7 + 0.3 * choices[group][2]
    alpha = torch.zeros_like(u)
    for member, distance in drawn.items():
        alpha = alpha + stack.cover(distance) * stack.at(has(choices, group, member) * bold)
    stack.lay(alpha * inside, colour)


def paint_face(bird: Bird, primary: Tensor, fixed: dict[str, Tensor]) -> None:
    stack, choices = bird.stack, bird.choices
    x, y = bird.head_xy
    eye = circle(x, y, 0.075, 0.005, 0.0)
    stack.lay(stack.cover(circle(x, y, 0.098, -0.022, 0.024)), fixed["white"])
    colour = _colour(choices, "has_eye_color")
    stack.lay(stack.cover(eye - 0.036), fixed["ink"])
    stack.lay(stack.cover(eye - 0.072), colour)
    contrast = _contrast(primary)
    ring = stack.at(has(choices, "has_head_pattern", "eyering"))
    stack.lay(stack.cover(eye - 0.125) * ring, contrast)
    stack.lay(stack.cover(eye - 0.088), fixed["ink"])
    brow = capsule(x, y, 0.20, -0.035, -0.17, -0.075, 0.034)
    brow = intersect(brow, bird.body + LINE)
    stack.lay(stack.cover(brow) * stack.at(has(choices, "has_head_pattern", "eyebrow")), contrast)
    mask = intersect(ellipse(x, y, 0.06, 0.01, 0.25, 0.088), bird.body + LINE)
    stack.lay(
        stack.cover(mask) * stack.at(has(choices, "has_head_pattern", "masked")),
        torch.where(primary.mean(1, keepdim=True) < 0.3, fixed["cream"], fixed["ink"]),
    )


def paint_bill(bird: Bird) -> None:
    stack = bird.stack
    distance, t, v = bird.bill()
    colour = _colour(bird.choices, "has_bill_color")
    gape = stack.cover(v.abs() - 0.008) * stack.cover(distance + 0.02)
    stack.lay(gape * 0.5, colour * 0.3)
    shape(stack, distance, colour, outline(colour), 0.018)


def paint_wing(bird: Bird, colour: Tensor) -> None:
    """The near wing: pattern, quills, shade towards its trailing edge, fill, line."""
    stack = bird.stack
    distance, u, v = bird.wing()
    inside = stack.cover(distance + LINE)
    pattern(stack, bird.choices, "has_wing_pattern", u, v, inside, _contrast(colour))
    quills = stack.cover(stripes(v + u * 0.12, 0.085, 0.12)) * (u > 0.30)
    stack.lay(quills * inside * 0.30, outline(colour))
    stack.lay((v * 1.4 + 0.1).clamp_(0, 0.28) * inside, outline(colour))
    stack.lay(inside, colour)
    stack.lay(stack.cover(distance), outline(colour))


def paint_trunk(bird: Bird, primary: Tensor, fixed: dict[str, Tensor]) -> None:
    """Belly and body, lit from above."""
    stack = bird.stack
    u, v = bird.body_xy
    body = stack.cover(bird.body + LINE)
    shade = (v * 0.8 - 0.06).clamp_(0, 0.16)
    stack.lay(shade * body, fixed["ink"])
    distance, bu, bv = bird.belly()
    belly = _colour(bird.choices, "has_belly_color")
    inside = stack.cover(distance)
    pattern(stack, bird.choices, "has_breast_pattern", bu, bv, inside, _contrast(belly))
    stack.lay(inside, belly)
    stack.lay(blob(*bird.head_xy, -0.05, -0.06, 0.26, 0.24) * body * 0.20, fixed["white"])
    stack.lay(body, primary)
    stack.lay(stack.cover(bird.body), outline(primary))


def paint_tail(bird: Bird, primary: Tensor) -> None:
    stack, choices = bird.stack, bird.choices
    distance, u, w = bird.tail()
    inside = stack.cover(distance + LINE)
    bands = stack.cover(stripes(u, 0.15, 0.42)) * inside
    bold = has(choices, "has_tail_pattern", "striped") * (
        0.7 + 0.3 * choices["has_tail_pattern"][2]
    )
    stack.lay(bands * stack.at(bold), _contrast(primary))
    quills = stack.cover((w.frac().abs_() * 2.5).frac().sub_(0.5).abs_().sub_(0.06).mul_(0.08))
    stack.lay(quills * inside * 0.3, outline(primary))
    stack.lay(inside, primary * 0.88)
    stack.lay(stack.cover(distance), outline(primary))


# --- what lies behind ------------------------------------------------------------------------

SKY, LEAVES, WATER = 0, 1, 2


def _mixed(t: Tensor, *colours: tuple[float, float, float]) -> Tensor:
    """B 3: along a row of colours, t in [0, 1]."""
    table = torch.tensor(colours, dtype=torch.float64)
    place = t.clamp(0, 1) * (len(colours) - 1)
    low = place.floor().clamp(max=len(colours) - 2).long()
    return torch.lerp(table[low], table[low + 1], (place - low)[:, None])


def paint_background(n: dict[str, Tensor], size: int, device: torch.device) -> Tensor:
    """Sky, leaves out of focus, or water under sky; a branch before it where a bird perches. B 3 H W."""
    still = torch.zeros_like(n["hue"])
    stack = Stack(Frame(still, still, still + 1, still), size, device)
    scene = [(n["scene"] == i).double() for i in range(3)]
    light = n["light"][:, None]
    paint_branch(stack, n)
    paint_blobs(stack, n, scene, light)
    at, x, y = stack.at, stack.x, stack.y
    low = (y * 0.5 + 0.5).clamp_(0, 1)
    stack.lay(
        stack.cover(at(n["horizon"]) - y) * at(scene[WATER]) * (0.55 + 0.45 * low),
        _mixed(n["hue"], (0.20, 0.50, 0.62), (0.28, 0.56, 0.60), (0.36, 0.48, 0.62)) * light,
    )
    ground = _mixed(n["hue"], (0.70, 0.82, 0.56), (0.60, 0.76, 0.58), (0.84, 0.84, 0.56))
    air = _mixed(n["hue"], (0.90, 0.96, 0.99), (0.99, 0.93, 0.84), (0.96, 0.97, 0.96))
    top = _mixed(n["hue"], (0.48, 0.74, 0.93), (0.63, 0.80, 0.92), (0.72, 0.82, 0.90))
    leafy = scene[LEAVES][:, None]
    stack.lay(low, (air + (ground - air) * leafy) * light)
    deep = _mixed(n["hue"], (0.40, 0.62, 0.42), (0.46, 0.66, 0.52), (0.58, 0.68, 0.40))
    stack.lay(torch.ones_like(low), (top + (deep - top) * leafy) * light)
    return stack.flatten()[0]


def paint_blobs(stack: Stack, n: dict[str, Tensor], scene: list[Tensor], light: Tensor) -> None:
    """Seven soft spots: clouds in the sky, leaves out of focus, glints on the water."""
    at = stack.at
    for i in range(7):
        cx, cy, tint = n[f"blob_x{i}"], n[f"blob_y{i}"], n[f"blob_tint{i}"]
        wet = scene[WATER]
        cy = cy * (1 - wet) + wet * (n["horizon"] + 0.08 + 0.12 * i)
        rx = scene[SKY] * (0.45 + 0.3 * tint) + scene[LEAVES] * (0.28 + 0.3 * tint) + wet * 0.55
        ry = scene[SKY] * 0.17 + scene[LEAVES] * (0.28 + 0.3 * tint) + wet * 0.035
        spot = blob(stack.x, stack.y, at(cx), at(cy), at(rx), at(ry))
        spot = (spot * at(1 + 1.5 * scene[LEAVES])).clamp_(max=1)
        leaf = _mixed(tint, (0.32, 0.55, 0.30), (0.62, 0.78, 0.42), (0.90, 0.90, 0.62))
        white = torch.ones_like(leaf)
        colour = leaf * scene[LEAVES][:, None] + white * (1 - scene[LEAVES])[:, None]
        strength = 0.75 * scene[SKY] + 0.55 * scene[LEAVES] + 0.5 * wet
        stack.lay(spot * at(strength), colour * light)


def paint_branch(stack: Stack, n: dict[str, Tensor]) -> None:
    at, x, y = stack.at, stack.x, stack.y
    perched = at(1 - n["flying"])
    across = y - x * at(n["branch_slope"]) - at(_branch_y(n, torch.zeros_like(n["x"])))
    width = at(n["branch_width"])
    distance = across.abs() - width
    for i, (place, side) in enumerate(((-0.72, 1.0), (0.55, -1.0), (0.78, 1.0))):
        shown = at((n["branch_leaves"] > 0.25 * (i + 1)).double()) * perched
        cx = place + 0.1 * at(n[f"blob_x{i}"])
        lx, ly = x - cx, across - side * 0.15
        cos, sin = 0.80, 0.60 * side
        leaf = ellipse(*turned(lx, ly, 0.0, 0.0, cos, sin), 0.0, 0.0, 0.17, 0.075)
        count = len(stack.x)
        green = torch.tensor((0.36, 0.56, 0.26), dtype=torch.float64).expand(count, 3)
        stack.lay(stack.cover(leaf + 0.02) * shown, green)
        stack.lay(stack.cover(leaf) * shown, green * 0.6)
    bark = _mixed(n["blob_tint0"], (0.42, 0.31, 0.22), (0.52, 0.42, 0.34), (0.36, 0.30, 0.26))
    stack.lay((across / width).clamp_(0, 0.5) * stack.cover(distance) * perched, bark * 0.4)
    stack.lay(stack.cover(distance + 0.02) * perched, bark)
    stack.lay(stack.cover(distance) * perched, bark * 0.45)


# --- where an attribute shows ----------------------------------------------------------------


def region(choices: Choices, values: Tensor, group: str, size: int) -> Tensor:
    """B 1 H W bool: the pixels that a change within `group` may touch."""
    n = dict(zip(NUISANCE, values.double().cpu().unbind(1), strict=True))
    pose = _pose(choices, n)
    stack = Stack(_stand(pose, n), size, values.device)
    touched = _reach(Bird(stack, choices, pose, n), group) < stack.pixel
    left = values[:, list(NUISANCE).index("facing")] < 0
    touched[left] = touched[left].flip(2)
    return touched[:, None]


def _reach(bird: Bird, group: str) -> Tensor:
    """Distance to all that `group` may touch, whatever its members."""
    x, y = bird.head_xy
    if group == "has_size":
        return torch.full_like(x, -1.0)
    if group in ("has_bill_shape", "has_bill_length", "has_bill_color"):
        return ellipse(x, y, 0.45, 0.14, 0.38, 0.34)
    if group in ("has_head_pattern", "has_eye_color"):
        return circle(x, y, 0.0, 0.0, HEAD)
    if group == "crest":
        return circle(x, y, -0.10, -0.25, 0.36)
    if group == "has_crown_color":
        return union(bird.crown(), bird.crest())
    if group in ("has_belly_color", "has_breast_pattern"):
        return bird.belly()[0]
    if group == "has_leg_color":
        return union(*bird.legs())
    if group in ("has_tail_shape", "has_tail_pattern"):
        u, v = bird.body_xy
        return ellipse(u, v, -0.60, 0.0, 0.55, 0.46)
    near = bird.wing()[0]
    if group in ("has_wing_color", "has_wing_pattern"):
        far = bird.wing(far=True)[0] + bird.stack.at(9.0 * (1 - bird.pose.flying))
        return union(near, far)
    return union(bird.body, bird.tail()[0])  # the primary colour
