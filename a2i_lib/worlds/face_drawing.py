"""How the `faces` world draws: a portrait, back to front, in windows of a canvas.

Lengths are in half picture widths; the head spans about -0.66 (crown) to 0.48 (chin). Features
are drawn in `u`, x less the shift that turning the head gives them: more for what stands out
(nose), less for what lies back (hairline), the other way for the ears.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from a2i_lib.worlds.base import Factors, Rendered
from a2i_lib.worlds.render import (
    Box,
    Canvas,
    Frame,
    Window,
    arc,
    blob,
    box,
    capsule,
    circle,
    ellipse,
    fade,
    hsv,
    intersect,
    length,
    oval,
    polygon,
    smooth_subtract,
    smooth_union,
    subtract,
    union,
    wave,
)

NUISANCE = (
    "shift_x",
    "shift_y",
    "scale",
    "roll",
    "yaw",
    "light",
    "skin_tone",
    "face_width",
    "face_length",
    "eye_spacing",
    "eye_colour",
    "gaze",
    "parting",
    "hair_volume",
    "hair_shade",
    "makeup_colour",
    "lip_colour",
    "cloth_style",
    "cloth_colour",
    "accent_colour",
    "hat_style",
    "hat_colour",
    "glasses_style",
    "background_kind",
    "background_hue",
    "background_contrast",
    "background_angle",
    "background_scale",
)

SKIN = ((0.97, 0.79, 0.65), (0.91, 0.68, 0.51), (0.78, 0.53, 0.37), (0.60, 0.39, 0.27))
PALE = (1.0, 0.93, 0.89)
HAIR = {
    "Black_Hair": (0.11, 0.10, 0.13),
    "Brown_Hair": (0.40, 0.23, 0.13),
    "Blond_Hair": (0.95, 0.79, 0.42),
    "Gray_Hair": (0.74, 0.75, 0.78),
}
RED_HAIR = (0.80, 0.34, 0.12)
EYES = ((0.30, 0.18, 0.10), (0.22, 0.42, 0.62), (0.25, 0.48, 0.32), (0.45, 0.35, 0.20))
CLOTH = (
    (0.20, 0.30, 0.48),
    (0.80, 0.36, 0.30),
    (0.93, 0.72, 0.35),
    (0.26, 0.52, 0.48),
    (0.55, 0.38, 0.56),
    (0.90, 0.88, 0.83),
    (0.35, 0.40, 0.30),
    (0.88, 0.55, 0.58),
)
ACCENT = (
    (0.78, 0.14, 0.18),
    (0.12, 0.35, 0.65),
    (0.14, 0.50, 0.32),
    (0.48, 0.20, 0.52),
    (0.85, 0.45, 0.10),
)
HATS = (
    (0.75, 0.25, 0.22),
    (0.20, 0.38, 0.55),
    (0.85, 0.62, 0.20),
    (0.30, 0.48, 0.34),
    (0.45, 0.30, 0.48),
)
SHADOWS = ((0.45, 0.25, 0.70), (0.10, 0.50, 0.65), (0.15, 0.55, 0.40))
LIPSTICKS = ((0.80, 0.05, 0.15), (0.68, 0.03, 0.28), (0.90, 0.15, 0.10))
FRAMES = ((0.10, 0.09, 0.11), (0.42, 0.20, 0.10), (0.62, 0.10, 0.14), (0.10, 0.20, 0.40))

# Where an attribute may change pixels: boxes in the sitter's frame; no entry means anywhere.
_HEAD: Box = (-0.85, -1.3, 0.85, 0.72)
_HAIR: Box = (-0.85, -1.3, 0.85, 1.3)
_EYES: Box = (-0.64, -0.32, 0.64, 0.22)
BOXES: dict[str, Box] = {
    "Young": (-0.46, -0.46, 0.46, 0.44),
    "Smiling": (-0.36, 0.10, 0.36, 0.54),
    "Mouth_Slightly_Open": (-0.36, 0.10, 0.36, 0.54),
    "Big_Lips": (-0.36, 0.10, 0.36, 0.54),
    "Wearing_Lipstick": (-0.36, 0.10, 0.36, 0.54),
    "Bald": _HAIR,
    "Receding_Hairline": (-0.62, -1.0, 0.62, 0.2),
    "Bangs": (-0.62, -1.0, 0.62, 0.2),
    "Wavy_Hair": _HAIR,
    "Long_Hair": _HAIR,
    "Black_Hair": _HAIR,
    "Brown_Hair": _HAIR,
    "Blond_Hair": _HAIR,
    "Gray_Hair": _HAIR,
    "Wearing_Hat": _HEAD,
    "No_Beard": (-0.62, -0.12, 0.62, 0.66),
    "Goatee": (-0.25, 0.28, 0.25, 0.66),
    "Mustache": (-0.34, 0.08, 0.34, 0.40),
    "Bushy_Eyebrows": (-0.44, -0.40, 0.44, -0.04),
    "Arched_Eyebrows": (-0.44, -0.40, 0.44, -0.04),
    "Narrow_Eyes": _EYES,
    "Bags_Under_Eyes": _EYES,
    "Heavy_Makeup": _EYES,
    "Eyeglasses": _EYES,
    "Sunglasses": _EYES,
    "Big_Nose": (-0.34, -0.16, 0.34, 0.30),
    "Rosy_Cheeks": (-0.48, -0.02, 0.48, 0.36),
    "Wearing_Earrings": (-0.68, 0.02, 0.68, 0.40),
    "Wearing_Necklace": (-0.45, 0.42, 0.45, 1.3),
    "Wearing_Necktie": (-1.3, 0.45, 1.3, 1.6),
}


def boxes(attributes: Iterable[str]) -> list[Box] | None:
    """The boxes of several attributes; None where one of them may change anything."""
    found = [BOXES.get(name) for name in attributes]
    return None if None in found else [b for b in found if b is not None]


def inside(sitter: Sitter, regions: list[Box] | None, size: int) -> Tensor:
    """B 1 H W bool: pixels in one of the regions; all where that is None."""
    canvas = Canvas(sitter.frame, size, sitter.device)
    if regions is None:
        return torch.ones_like(canvas.mask, dtype=torch.bool)
    found = torch.zeros_like(canvas.x, dtype=torch.bool)
    for left, top, right, bottom in regions:
        found |= (canvas.x > left) & (canvas.x < right) & (canvas.y > top) & (canvas.y < bottom)
    return found[:, None]


def between(low: float, high: float, t: Tensor) -> Tensor:
    """From `low` at t = -1 to `high` at t = 1."""
    return low + (high - low) * (t + 1) / 2


def pick(palette: tuple[tuple[float, ...], ...], u: Tensor) -> Tensor:
    """B 3: one of the colours, evenly."""
    return torch.tensor(palette, dtype=u.dtype)[(u * len(palette)).long()]


def ramp(palette: tuple[tuple[float, ...], ...], u: Tensor) -> Tensor:
    """B 3: the colour at u in [0, 1] along the palette."""
    colours = torch.tensor(palette, dtype=u.dtype)
    place = u * (len(palette) - 1)
    index = place.long().clamp(max=len(palette) - 2)
    return torch.lerp(colours[index], colours[index + 1], (place - index)[:, None])


class Sitter:
    """Everything a drawing needs to know of a batch of faces: B each, float32, on the CPU."""

    def __init__(self, factors: Factors, names: tuple[str, ...]) -> None:
        self.device = factors.attributes.device
        attributes = factors.attributes.detach().cpu()
        nuisance = factors.nuisance.detach().cpu()
        self.s = {name: attributes[:, k] for k, name in enumerate(names)}
        self.on = {name: strength > 0 for name, strength in self.s.items()}
        self.n = {name: nuisance[:, k] for k, name in enumerate(NUISANCE)}
        self._pose()
        self._shape()
        self._colours()

    def spread(self, name: str, low: float, high: float) -> Tensor:
        """A nuisance mapped from [0, 1] to [low, high]."""
        return low + (high - low) * self.n[name]

    def size(self, name: str, small: float, large: float) -> Tensor:
        """A size that grows with an attribute's strength above 0."""
        return small + (large - small) * self.s[name].clamp(min=0)

    def _pose(self) -> None:
        self.frame = Frame(
            self.spread("shift_x", -0.05, 0.05).double(),
            self.spread("shift_y", -0.02, 0.05).double(),
            self.spread("scale", 0.94, 1.04).double(),
            self.spread("roll", -0.12, 0.12).double(),
        )
        self.yaw = self.spread("yaw", -0.045, 0.045)
        self.light = self.spread("light", -1, 1)

    def _shape(self) -> None:
        s = self.s
        chubby, male = (s["Chubby"] + 1) / 2, (s["Male"] + 1) / 2
        self.width = self.spread("face_width", 0.405, 0.425) + 0.095 * chubby
        self.jaw = self.width - 0.085 + 0.04 * male + 0.045 * chubby
        self.corner = self.jaw * (0.98 - 0.38 * male + 0.15 * male * chubby)
        self.taper = 0.55 - 0.40 * male - 0.25 * chubby
        self.chin = self.spread("face_length", 0.46, 0.49)
        self.neck = 0.15 + 0.09 * male + 0.03 * chubby
        self.shoulders = 0.58 + 0.24 * male + 0.06 * chubby
        wavy = 0.03 * s["Wavy_Hair"].gt(0)
        self.hair_rx = self.width + self.spread("hair_volume", 0.035, 0.070) + wavy
        self.hair_ends = torch.where(self.on["Male"], 0.0, 0.09) + 3 * wavy
        self.hair_ry = self.spread("hair_volume", 0.53, 0.57)

    def _colours(self) -> None:
        pale = ((self.s["Pale_Skin"] + 0.3) / 0.6).clamp(0, 1)[:, None]
        tone = ramp(SKIN, self.n["skin_tone"])
        pallor = torch.tensor(PALE, dtype=tone.dtype) - 0.04 * self.n["skin_tone"][:, None]
        self.skin = torch.lerp(tone, pallor, pale)
        warm = torch.tensor((0.80, 0.66, 0.62), dtype=tone.dtype)
        self.skin_shade = self.skin * warm
        self.skin_line = self.skin * torch.tensor((0.62, 0.44, 0.40), dtype=tone.dtype)
        hair = torch.tensor(RED_HAIR, dtype=tone.dtype).expand(len(tone), 3).clone()
        for name, colour in HAIR.items():
            hair[self.on[name]] = torch.tensor(colour, dtype=tone.dtype)
        self.hair = hair * self.spread("hair_shade", 0.92, 1.04)[:, None]
        self.hair_dark = self.hair * 0.68
        self.hair_light = self.hair + (1 - self.hair) * 0.22
        self.brow = self._against_skin(0.60)
        self.whiskers = self._against_skin(0.75)
        self.iris = pick(EYES, self.n["eye_colour"])
        self.cloth = pick(CLOTH, self.n["cloth_colour"])
        self.accent = pick(ACCENT, self.n["accent_colour"])
        self.hat = pick(HATS, self.n["hat_colour"])
        self.frame_colour = pick(FRAMES, (self.n["glasses_style"] * 7) % 1)

    def _against_skin(self, darker: float) -> Tensor:
        """The hair's colour as it is or made darker, whichever stands out more from the skin."""
        grey = torch.tensor((0.30, 0.55, 0.15))
        skin, hair = (self.skin * grey).sum(1), (self.hair * grey).sum(1)
        plain = (hair - skin).abs() > (hair * darker - skin).abs()
        return self.hair * torch.where(plain, 1.0, darker)[:, None]


def portrait(factors: Factors, names: tuple[str, ...], size: int) -> Rendered:
    """Draws the faces, back to front. Shapes: see `Rendered`."""
    sitter = Sitter(factors, names)
    canvas = Canvas(sitter.frame, size, sitter.device)
    for draw in (
        hair_behind,
        torso,
        necktie,
        ears,
        head,
        cheeks,
        age_lines,
        beard,
        mustache,
        mouth,
        nose,
        eyes,
        hair_front,
        bangs,
        brows,
        necklace,
        earrings,
        glasses,
        sunglasses,
        hat,
    ):
        draw(canvas, sitter)
    x_b = background(canvas, sitter)
    x_f, mask = canvas.colour.clamp(0, 1), canvas.mask.clamp(0, 1)
    x = (x_f + (1 - mask) * x_b).clamp_(0, 1)
    return Rendered(x, x_f, x_b, mask)


# --- the background --------------------------------------------------------------------------


def background(canvas: Canvas, sitter: Sitter) -> Tensor:
    """B 3 H W: a gradient, stripes or soft spots between two colours of any hue."""
    hue, contrast = sitter.n["background_hue"], sitter.n["background_contrast"]
    one = hsv(hue, 0.22 + 0.28 * contrast, 0.96 - 0.12 * contrast)
    two = hsv((hue + 0.04 + 0.12 * contrast) % 1.0, 0.42 + 0.18 * contrast, 0.86 - 0.28 * contrast)
    kind = (sitter.n["background_kind"] * 3).long()
    t = torch.empty_like(canvas.x)
    for k, draw in enumerate((_gradient, _stripes, _spots)):
        rows = (kind == k).nonzero()[:, 0]
        if len(rows):
            t[rows.to(canvas.device)] = draw(canvas, sitter, rows)
    first, second = canvas.send(one)[..., None, None], canvas.send(two)[..., None, None]
    return torch.lerp(first, second, t[:, None])


def _along(canvas: Canvas, sitter: Sitter, rows: Tensor) -> Tensor:
    """b H W: the distance of each pixel along the background's own direction."""
    line = (torch.arange(canvas.size, device=canvas.device) + 0.5) * (2 / canvas.size) - 1
    angle = sitter.n["background_angle"][rows].double() * torch.pi
    cos, sin = canvas.send(angle.cos())[:, None, None], canvas.send(angle.sin())[:, None, None]
    return line[None, None, :] * cos + line[None, :, None] * sin


def _gradient(canvas: Canvas, sitter: Sitter, rows: Tensor) -> Tensor:
    return fade(_along(canvas, sitter, rows).mul_(0.4).add_(0.5))


def _stripes(canvas: Canvas, sitter: Sitter, rows: Tensor) -> Tensor:
    period = canvas.send(sitter.spread("background_scale", 0.25, 0.55)[rows])[:, None, None]
    sharp = period * (canvas.size / 16)  # pixels a period, over the wave's slope at its zeros
    height = wave(_along(canvas, sitter, rows).div_(period))
    return height.mul_(sharp).add_(0.5).clamp_(0, 1)


def _spots(canvas: Canvas, sitter: Sitter, rows: Tensor) -> Tensor:
    line = ((torch.arange(canvas.size, device=canvas.device) + 0.5) * (2 / canvas.size) - 1)[None]
    x, y = line[:, None, :], line[:, :, None]
    t = torch.zeros(len(rows), canvas.size, canvas.size, device=canvas.device)
    for k in range(3):
        turn = (sitter.n["background_angle"][rows].double() + k / 3) * 2 * torch.pi
        cx, cy = (
            canvas.send(0.75 * turn.cos())[:, None, None],
            canvas.send(0.75 * turn.sin())[:, None, None],
        )
        radius = canvas.send(sitter.spread("background_scale", 0.6, 1.0)[rows])[:, None, None]
        t += blob(x, y, cx, cy, radius, radius)
    return t.clamp_(0, 1)


# --- shared shapes ---------------------------------------------------------------------------


def head_shape(w: Window, sitter: Sitter) -> Tensor:
    """b h w: distance to the outline of the head, without ears and hair."""
    skull = oval(w.x, w.y, 0.0, -0.17, w.at(sitter.width), 0.49)
    x = w.y.clamp(min=0).mul_(w.at(sitter.taper)).add_(1).mul_(w.x)
    top = -0.24
    half = (sitter.chin - top) / 2
    jaw = box(
        x, w.y, 0.0, w.at(sitter.chin - half), w.at(sitter.jaw), w.at(half), w.at(sitter.corner)
    )
    return smooth_union(skull, jaw, 0.12)


def halo(w: Window, sitter: Sitter) -> tuple[Tensor, Tensor]:
    """The outline of the hair about the head, and how far its waves push it out: b h w each."""
    amount = w.at(sitter.size("Wavy_Hair", 0.024, 0.046) * sitter.on["Wavy_Hair"])
    curls = (wave(w.x * 2.6 + 0.25) + wave(w.y * 2.6)).mul_(amount)
    return halo_shape(w, sitter), curls


def halo_shape(w: Window, sitter: Sitter) -> Tensor:
    return oval(w.x, w.y, 0.0, -0.19, w.at(sitter.hair_rx), w.at(sitter.hair_ry))


def lit(w: Window, sitter: Sitter) -> Tensor:
    """b h w: 0 where the light falls, 1 on the far side."""
    return (w.x * w.at(-0.65 * sitter.light)).add_(w.y * 0.40).add_(0.45).clamp_(0, 1)


def shaded(w: Window, bright: Tensor, dark: Tensor, t: Tensor) -> Tensor:
    """b 3 h w: from `bright` to `dark` (b 3 1 1) with t."""
    return torch.lerp(bright, dark, t[:, None])


def mirrored(w: Window, sitter: Sitter, depth: float) -> tuple[Tensor, Tensor]:
    """u shifted as a feature at `depth`, and its distance from the middle line."""
    u = w.x - w.at(sitter.yaw * depth)
    return u, u.abs()


# --- behind the face -------------------------------------------------------------------------


def long_hair(w: Window, sitter: Sitter) -> tuple[Tensor, Tensor]:
    """The outline of hair that falls to the shoulders, and its waves: b h w each."""
    round_head, curls = halo(w, sitter)
    half = w.at(sitter.size("Long_Hair", 0.30, 0.52))
    fall = box(w.x, w.y, 0.0, half - 0.1, w.at(sitter.hair_rx + 0.02), half, 0.18)
    return smooth_union(round_head, fall, 0.1).sub_(curls), curls


def hair_behind(canvas: Canvas, sitter: Sitter) -> None:
    """Long hair behind the neck; at the sides, hair in front of the face takes over."""
    with canvas.window((-0.42, 0.2, 0.42, 1.1), sitter.on["Long_Hair"]) as w:
        between_locks = box(w.x, w.y, 0.0, 0.65, 0.41, 0.44)
        shape = intersect(long_hair(w, sitter)[0], between_locks)
        w.paint(w.cover(shape), w.at(sitter.hair_dark))


def torso(canvas: Canvas, sitter: Sitter) -> None:
    """Shoulders, neck, and clothes in three cuts for each of the two kinds of wardrobe."""
    with canvas.window((-0.92, 0.52, 0.92, 1.5)) as w:
        shoulders = box(w.x, w.y, 0.0, 1.36, w.at(sitter.shoulders), 0.66, 0.34)
        slope = box(w.x, w.y, 0.0, 0.95, w.at(sitter.neck + 0.12), 0.3, 0.1)
        cover = w.cover(smooth_union(shoulders, slope, 0.22))
        t = lit(w, sitter)
        w.paint(cover, shaded(w, w.at(sitter.cloth), w.at(sitter.cloth * 0.74), t))
    style = (sitter.n["cloth_style"] * 3).long()
    male = sitter.on["Male"]
    with canvas.window((-0.54, 0.28, 0.54, 1.04)) as w:
        depth = torch.where(male, 0.10, torch.tensor([0.16, 0.22, 0.05])[style])
        spread = torch.where(male, 0.05, torch.tensor([0.16, 0.06, 0.20])[style])
        neck = box(w.x, w.y, 0.0, 0.54, w.at(sitter.neck), 0.19, 0.05)
        neckline = ellipse(w.x, w.y, 0.0, 0.70, w.at(sitter.neck + spread), w.at(depth))
        skin = smooth_union(neck, neckline, 0.06)
        shade = blob(w.x, w.y, 0.0, 0.46, 0.46, 0.30).mul_(1.6).clamp_(max=1)
        trim = w.cover(skin - 0.035)
        w.tint(trim, w.at(sitter.cloth * 0.62))
        w.paint(
            w.cover(skin),
            shaded(w, w.at(sitter.skin * 0.97), w.at(sitter.skin_shade * 0.86), shade),
        )
    collared = male & (style == 1)
    with canvas.window((-0.5, 0.5, 0.5, 1.25), collared) as w:
        collar(w, sitter, w.at(sitter.cloth + (1 - sitter.cloth) * 0.35))
    hooded = male & (style == 2)
    with canvas.window((-0.5, 0.5, 0.5, 1.25), hooded) as w:
        side = w.x.abs()
        d = capsule(side, w.y, 0.12, 0.76, 0.10, 1.0, 0.018)
        w.tint(w.cover(d), w.at(sitter.cloth + (1 - sitter.cloth) * 0.7))


def collar(w: Window, sitter: Sitter, colour: Tensor) -> None:
    """Two points of a shirt collar, and the placket between them."""
    side = w.x.abs()
    inner = w.at(sitter.neck)
    wing = polygon(side, w.y, (0.0, 0.74), (inner, 0.60), (inner + 0.09, 0.66), (inner, 0.90))
    w.paint(w.cover(wing - 0.03), colour * 0.72)
    w.paint(w.cover(wing), colour)


def necktie(canvas: Canvas, sitter: Sitter) -> None:
    """A jacket, a white shirt, and the tie."""
    with canvas.window((-1.3, 0.5, 1.3, 1.55), sitter.on["Wearing_Necktie"]) as w:
        side = w.x.abs()
        inner = w.at(sitter.neck)
        white = w.at(torch.full_like(sitter.cloth, 0.97))
        front = polygon(
            w.x,
            w.y,
            (-inner - 0.06, 0.60),
            (inner + 0.06, 0.60),
            (inner * 0.1, 1.5),
            (-inner * 0.1, 1.5),
        )
        neck = circle(w.x, w.y, 0.0, 0.50, inner + 0.02)
        w.tint(w.cover(subtract(front - 0.05, neck)), w.at(sitter.cloth * 0.55))
        w.tint(w.cover(subtract(front, neck)), white)
        colour = w.at(sitter.accent)
        half = w.at(sitter.size("Wearing_Necktie", 0.075, 0.105))
        blade = polygon(
            w.x,
            w.y,
            (-half * 0.55, 0.80),
            (half * 0.55, 0.80),
            (half * 1.25, 1.5),
            (-half * 1.25, 1.5),
        )
        w.tint(w.cover(blade), shaded(w, colour, colour * 0.7, wave((w.x + w.y) * 5).clamp_(0, 1)))
        knot = polygon(
            w.x, w.y, (-half, 0.70), (half, 0.70), (half * 0.55, 0.82), (-half * 0.55, 0.82)
        )
        w.tint(w.cover(knot - 0.012), colour * 0.82)
        wing = polygon(
            side,
            w.y,
            (0.015, 0.715),
            (inner - 0.02, 0.58),
            (inner + 0.07, 0.64),
            (inner - 0.02, 0.86),
        )
        w.tint(w.cover(wing - 0.022), w.at(torch.full_like(sitter.cloth, 0.66)))
        w.tint(w.cover(wing), white)


def ears(canvas: Canvas, sitter: Sitter) -> None:
    with canvas.window((-0.72, -0.2, 0.72, 0.2), ~sitter.on["Long_Hair"]) as w:
        side = (w.x + w.at(sitter.yaw * 0.5)).abs()
        place = w.at(sitter.width)
        ear = ellipse(side, w.y, place, 0.0, 0.075, 0.115)
        w.paint(w.cover(ear), w.at(sitter.skin * torch.tensor((0.95, 0.88, 0.86))))
        w.tint(
            w.cover(ellipse(side, w.y, place + 0.018, 0.0, 0.035, 0.065)).mul_(0.7),
            w.at(sitter.skin_shade),
        )


# --- the face --------------------------------------------------------------------------------


def head(canvas: Canvas, sitter: Sitter) -> None:
    with canvas.window((-0.54, -0.68, 0.54, 0.51)) as w:
        distance = head_shape(w, sitter)
        rim = (distance / 0.16).add_(1).clamp_(0, 1)
        t = lit(w, sitter).mul_(0.75).add_(rim.mul_(rim).mul_(0.45)).clamp_(max=1)
        w.paint(w.cover(distance), shaded(w, w.at(sitter.skin), w.at(sitter.skin_shade), t))


def cheeks(canvas: Canvas, sitter: Sitter) -> None:
    with canvas.window((-0.48, -0.02, 0.48, 0.36), sitter.on["Rosy_Cheeks"]) as w:
        _, side = mirrored(w, sitter, 1.0)
        glow = blob(side, w.y, 0.265, 0.155, 0.165, 0.135).mul_(1.7).clamp_(max=1)
        red = torch.tensor((0.96, 0.28, 0.32)).expand_as(sitter.skin)
        w.tint(glow.mul_(w.at(sitter.size("Rosy_Cheeks", 0.45, 0.75))), w.at(red))


def age_lines(canvas: Canvas, sitter: Sitter) -> None:
    """What a face that is not Young shows: forehead, crow's feet, folds beside the mouth."""
    with canvas.window((-0.46, -0.46, 0.46, 0.44), ~sitter.on["Young"]) as w:
        u, side = mirrored(w, sitter, 1.0)
        pen = w.at(0.012 + 0.009 * (-sitter.s["Young"]).clamp(min=0))
        lines = arc(u, w.y, 0.0, -0.34, 0.19, 0.02, pen, 0.6)
        lines = union(lines, arc(u, w.y, 0.0, -0.275, 0.22, 0.02, pen, 0.6))
        lines = union(lines, capsule(side, w.y, 0.12, 0.13, 0.215, 0.27, pen))
        lines = union(lines, capsule(side, w.y, 0.215, 0.27, 0.215, 0.34, pen * 0.8))
        lines = union(lines, capsule(side, w.y, 0.315, -0.03, 0.360, -0.065, pen))
        lines = union(lines, capsule(side, w.y, 0.315, 0.0, 0.360, 0.015, pen))
        w.tint(w.cover(lines).mul_(0.8), w.at(sitter.skin_line))


def beard(canvas: Canvas, sitter: Sitter) -> None:
    """A full beard (No_Beard and Goatee both off), or a goatee."""
    full = ~sitter.on["No_Beard"] & ~sitter.on["Goatee"]
    with canvas.window((-0.62, -0.1, 0.62, 0.66), full) as w:
        longest = w.at(0.01 + 0.05 * (-sitter.s["No_Beard"]).clamp(min=0))
        outline = head_shape(w, sitter).sub_(longest * w.y.clamp(0, 0.5).mul_(2))
        u = w.x - w.at(sitter.yaw)
        bare = box(u, w.y, 0.0, 0.02, w.at(sitter.width - 0.085), 0.34, 0.22)
        shape = torch.maximum(smooth_subtract(outline, bare, 0.06), -0.06 - w.y)
        _hairy(w, sitter, shape)
    with canvas.window((-0.25, 0.28, 0.25, 0.66), sitter.on["Goatee"]) as w:
        u = w.x - w.at(sitter.yaw)
        half = w.at(sitter.size("Goatee", 0.11, 0.15))
        _hairy(w, sitter, box(u, w.y, 0.0, w.at(sitter.chin - 0.025), half, 0.095, 0.085))


def _hairy(w: Window, sitter: Sitter, shape: Tensor) -> None:
    strands = wave(w.x.abs() * 9 - w.y * 3).mul_(0.5).add_(0.5)
    colour = shaded(w, w.at(sitter.whiskers), w.at(sitter.whiskers * 0.75), strands)
    w.paint(w.cover(shape), colour)


def mustache(canvas: Canvas, sitter: Sitter) -> None:
    with canvas.window((-0.32, 0.12, 0.32, 0.36), sitter.on["Mustache"]) as w:
        _, side = mirrored(w, sitter, 1.1)
        pen = w.at(sitter.size("Mustache", 0.040, 0.052))
        _hairy(w, sitter, arc(side, w.y, 0.08, 0.220, 0.14, 0.04, pen, 0.6))


def mouth(canvas: Canvas, sitter: Sitter) -> None:
    s, on = sitter.s, sitter.on
    with canvas.window((-0.30, 0.12, 0.30, 0.54)) as w:
        u = w.x - w.at(sitter.yaw * 1.1)
        half = w.at(between(0.13, 0.19, s["Smiling"]))
        bend = w.at(between(0.008, -0.105, s["Smiling"]))
        gap = w.at(sitter.size("Mouth_Slightly_Open", 0.04, 0.065) * on["Mouth_Slightly_Open"])
        fullness = between(0.016, 0.072, s["Big_Lips"]) + 0.006 * (1 - s["Male"]) / 2
        lip = w.at(fullness)
        t = (u / half).clamp_(-1.3, 1.3)
        y = (w.y - 0.285).sub_(t.mul_(t).mul_(bend)).sub_(bend * -0.35)
        outer = ellipse(u, y, 0.0, lip * 0.15, half, lip + gap + 0.012)
        natural = sitter.skin * torch.tensor((0.72, 0.50, 0.52)) + torch.tensor((0.12, 0.04, 0.06))
        painted = pick(LIPSTICKS, sitter.n["lip_colour"])
        colour = torch.where(on["Wearing_Lipstick"][:, None], painted, natural)
        upper = y.mul(14).add_(0.5).clamp_(0, 1)
        w.ink(w.cover(outer), shaded(w, w.at(colour * 0.82), w.at(colour), upper))
        shine = blob(u, y, 0.0, gap + lip * 0.75 + 0.004, half * 0.5, lip * 0.5 + 0.01)
        w.lighten(shine.mul_(w.at(torch.where(on["Wearing_Lipstick"], 0.45, 0.22))))
        w.ink(w.cover(y.abs().sub_(0.011).maximum(u.abs() - half * 0.88)), w.at(colour * 0.42))
        _open_mouth(w, u, y, half, gap)


def _open_mouth(w: Window, u: Tensor, y: Tensor, half: Tensor, gap: Tensor) -> None:
    """The dark of the mouth, the tongue, and the upper teeth; nothing where `gap` is 0."""
    shown = (gap > 0).float()
    hole = ellipse(u, y, 0.0, 0.0, half * 0.86, gap + 0.004)
    cover = w.cover(hole).mul_(shown)
    dark = torch.tensor((0.30, 0.06, 0.09), device=u.device)[None, :, None, None]
    tongue = torch.tensor((0.85, 0.38, 0.38), device=u.device)[None, :, None, None]
    t = (y / (gap + 0.01)).sub_(0.2).mul_(2).clamp_(0, 1)
    w.ink(cover, shaded(w, dark, tongue, t))
    teeth = (y.neg() / w.pixel).add_(0.5).clamp_(0, 1).mul_(cover)
    w.ink(teeth, torch.full_like(dark, 0.98))


def nose(canvas: Canvas, sitter: Sitter) -> None:
    with canvas.window((-0.32, -0.16, 0.32, 0.28)) as w:
        u = w.x - w.at(sitter.yaw * 1.8)
        big = sitter.s["Big_Nose"]
        size = w.at(between(0.046, 0.108, big))
        wings = w.at(between(0.036, 0.110, big))
        y0 = w.at(between(0.115, 0.105, big))
        ball = ellipse(u, w.y, 0.0, y0, size, size * 0.85)
        sides = circle(u.abs(), w.y, wings, y0 + 0.015, size * 0.55)
        shape = smooth_union(ball, sides, 0.04)
        bridge = capsule(u, w.y, 0.0, -0.06, 0.0, 0.06, size * 0.55)
        shape = smooth_union(shape, bridge, 0.06)
        side = (u * w.at(-2.0 * sitter.light)).mul_(4).add_(0.35).add_((w.y - y0) * 6).clamp_(0, 1)
        w.ink(w.cover(shape, 0.05).mul_(side).mul_(0.9), w.at(sitter.skin_shade * 0.78))
        holes = ellipse(
            u.abs(), w.y, wings * 0.62, y0 + size * 0.62, size * 0.30 + 0.006, size * 0.16 + 0.006
        )
        w.ink(w.cover(holes).mul_(0.85), w.at(sitter.skin_line * 0.8))
        w.lighten(
            blob(u, w.y, w.at(sitter.light * 0.015), y0 - size * 0.25, size * 0.6, size * 0.5).mul_(
                0.5
            )
        )


def eyes(canvas: Canvas, sitter: Sitter) -> None:
    s, on = sitter.s, sitter.on
    spacing = sitter.spread("eye_spacing", 0.170, 0.185)
    with canvas.window((-0.46, -0.24, 0.46, 0.20)) as w:
        u, side = mirrored(w, sitter, 1.0)
        e = side - w.at(spacing)  # towards the temple
        y = w.y + 0.03
        tall = w.at(between(0.086, 0.028, s["Narrow_Eyes"]))
        _bags_and_makeup(w, sitter, e, y)
        shape = ellipse(e, y, 0.0, 0.0, 0.108, tall)
        cover = w.cover(shape.clone())
        w.ink(cover, w.at(torch.full_like(sitter.skin, 0.98)))
        gaze = w.at(sitter.spread("gaze", -0.014, 0.014) + sitter.yaw * 0.3)
        eye_u = torch.where(u > 0, e, -e) - gaze
        iris = length(eye_u, y)
        w.ink(w.cover(iris - 0.062).mul_(cover), w.at(sitter.iris))
        w.ink(w.cover(iris - 0.030).mul_(cover), w.at(sitter.iris * 0.15))
        shine = circle(eye_u, y, w.at(-0.024 * torch.sign(sitter.light)), -0.022, 0.022)
        w.ink(w.cover(shine).mul_(cover), w.at(torch.ones_like(sitter.skin)))
        upper = shape.abs_().sub_(w.at(torch.where(on["Male"], 0.016, 0.022)))
        lid = intersect(upper, y + tall * 0.15)
        lashes = ~on["Male"] | on["Heavy_Makeup"]
        flick = capsule(
            e,
            y,
            0.085,
            tall * -0.3,
            0.150,
            tall * -0.55 - 0.035,
            w.at(0.017 * lashes - 0.05 * ~lashes),
        )
        w.tint(w.cover(union(lid, flick)), w.at(torch.full_like(sitter.skin, 0.11)))


def _bags_and_makeup(w: Window, sitter: Sitter, e: Tensor, y: Tensor) -> None:
    on = sitter.on
    crescent = subtract(
        ellipse(e, y, 0.0, 0.045, 0.115, 0.085), ellipse(e, y, 0.0, 0.0, 0.125, 0.088)
    )
    bags = w.at(sitter.size("Bags_Under_Eyes", 0.7, 1.0) * on["Bags_Under_Eyes"])
    violet = sitter.skin * torch.tensor((0.56, 0.38, 0.50))
    w.ink(w.cover(crescent, 0.02).mul_(bags), w.at(violet))
    powder = ellipse(e, y, 0.015, -0.035, 0.145, 0.105)
    made = w.at(sitter.size("Heavy_Makeup", 0.75, 1.0) * on["Heavy_Makeup"])
    lid = intersect(powder, y - 0.005)
    w.tint(w.cover(lid, 0.03).mul_(made), w.at(pick(SHADOWS, sitter.n["makeup_colour"])))


# --- hair ------------------------------------------------------------------------------------


def hair_front(canvas: Canvas, sitter: Sitter) -> None:
    on = sitter.on
    with canvas.window((-0.74, -0.92, 0.74, 0.22), ~on["Bald"] & ~on["Long_Hair"]) as w:
        round_head, curls = halo(w, sitter)
        shape = torch.maximum(round_head - curls, w.y - w.at(sitter.hair_ends))
        _lay_hair(w, sitter, shape, curls)
    with canvas.window((-0.76, -0.92, 0.76, 1.1), on["Long_Hair"]) as w:
        _lay_hair(w, sitter, *long_hair(w, sitter))
    shining = ~on["Bald"] & ~on["Receding_Hairline"] & ~on["Wearing_Hat"]
    with canvas.window((-0.48, -0.76, 0.48, -0.36), shining) as w:
        band = (halo_shape(w, sitter) + 0.12).abs_().div_(-0.05).add_(1).clamp_(min=0)
        across = blob(w.x, w.y, w.at(-0.16 * sitter.light), -0.56, 0.32, 0.20)
        w.tint(band.mul_(across), w.at(sitter.hair_light))
    with canvas.window((-0.62, -0.42, 0.62, 0.05), on["Bald"]) as w:
        rim = head_shape(w, sitter).sub_(0.02)
        bare = w.x.abs() - w.at(sitter.width - 0.075)
        fringe = torch.maximum(subtract(rim, bare), (w.y + 0.19).abs_().sub_(0.19))
        w.paint(w.cover(fringe, 0.04), w.at(sitter.hair))


def opening(w: Window, sitter: Sitter) -> Tensor:
    """The face as the hair leaves it free: hairline, and two bays where it recedes."""
    u = w.x - w.at(sitter.yaw * 0.6)
    tilt = w.at(sitter.spread("parting", -0.28, 0.28))
    y = w.y + u * tilt
    receding = sitter.on["Receding_Hairline"]
    hairline = torch.where(receding, -0.47, -0.40)
    face = box(u, y, 0.0, w.at(hairline + 1.2), w.at(sitter.width - 0.055), 1.2, 0.22)
    depth = torch.where(receding, sitter.size("Receding_Hairline", 0.11, 0.17), -0.3)
    bays = circle(u.abs(), w.y, 0.20, -0.45, w.at(depth))
    return smooth_union(face, bays, 0.05)


def _lay_hair(w: Window, sitter: Sitter, shape: Tensor, curls: Tensor) -> None:
    """Paints hair in front of the face, with its shadow and strands; flat under a hat."""
    shape = smooth_subtract(shape, opening(w, sitter), 0.03)
    shape = under_hat(w, sitter, shape)
    w.tint(w.cover(shape - 0.035, 0.07).mul_(0.30), w.at(sitter.skin_line))
    strands = wave((w.x * 4).add_(curls.mul_(7))).mul_(0.35)
    t = lit(w, sitter).mul_(0.7).add_(strands).clamp_(0, 1)
    w.paint(w.cover(shape), shaded(w, w.at(sitter.hair), w.at(sitter.hair_dark), t))


def under_hat(w: Window, sitter: Sitter, shape: Tensor) -> Tensor:
    """`shape`, cut off above the brim where a hat is worn."""
    top = w.at(torch.where(sitter.on["Wearing_Hat"], -0.50, -9.0))
    return torch.maximum(shape, top - w.y)


def bangs(canvas: Canvas, sitter: Sitter) -> None:
    with canvas.window((-0.60, -0.95, 0.60, 0.0), sitter.on["Bangs"]) as w:
        u = w.x - w.at(sitter.yaw * 0.8)
        cap = ellipse(
            w.x, w.y, 0.0, -0.19, w.at(sitter.hair_rx - 0.02), w.at(sitter.hair_ry - 0.06)
        )
        scallop = wave(u * 4.5 + w.at(sitter.n["parting"])).mul_(0.022)
        fringe = w.at(sitter.size("Bangs", -0.30, -0.27))
        low = (w.y - fringe).add_((u * u).mul_(-0.15)).add_(scallop)
        shape = torch.maximum(cap, low)
        shape = under_hat(w, sitter, shape)
        w.tint(w.cover(shape - 0.03, 0.06).mul_(0.3), w.at(sitter.skin_line))
        strands = wave(u * 9).mul_(0.3).add_((w.y + 0.55).mul_(1.2)).clamp_(0, 1)
        w.paint(w.cover(shape), shaded(w, w.at(sitter.hair), w.at(sitter.hair_dark), strands))


def brows(canvas: Canvas, sitter: Sitter) -> None:
    s = sitter.s
    male = (s["Male"] + 1) / 2
    with canvas.window((-0.42, -0.38, 0.42, -0.06)) as w:
        _, side = mirrored(w, sitter, 1.0)
        place = w.at(-0.178 - 0.012 * (1 - male) - 0.025 * (s["Arched_Eyebrows"] + 1) / 2)
        bend = w.at(between(-0.005, 0.075, s["Arched_Eyebrows"]))
        pen = w.at(between(0.015, 0.046, s["Bushy_Eyebrows"]) + 0.005 * male)
        shape = arc(side, w.y, 0.185, place, 0.125, bend, pen, 0.5)
        w.paint(w.cover(shape), w.at(sitter.brow))


# --- what is worn ----------------------------------------------------------------------------


def necklace(canvas: Canvas, sitter: Sitter) -> None:
    """A string of pearls with a pendant."""
    with canvas.window((-0.45, 0.45, 0.45, 1.0), sitter.on["Wearing_Necklace"]) as w:
        half = w.at(sitter.neck + 0.04)
        pearl = w.at(sitter.size("Wearing_Necklace", 0.028, 0.036))
        string = arc(w.x, w.y, 0.0, 0.79, half, -0.19, pearl)
        w.paint(
            w.cover(string - 0.012),
            w.at(torch.tensor((0.55, 0.38, 0.12)).expand_as(sitter.skin)),
        )
        beads = wave(w.x * 7).abs_()
        gold = torch.tensor((0.86, 0.64, 0.22)).expand_as(sitter.skin)
        cream = torch.tensor((1.0, 0.96, 0.84)).expand_as(sitter.skin)
        w.paint(w.cover(string), shaded(w, w.at(gold), w.at(cream), beads))
        w.paint(w.cover(circle(w.x, w.y, 0.0, 0.85, 0.055)), w.at(gold * 0.8))
        w.paint(w.cover(circle(w.x, w.y, 0.0, 0.85, 0.038)), w.at(sitter.accent))


def earrings(canvas: Canvas, sitter: Sitter) -> None:
    with canvas.window((-0.70, 0.02, 0.70, 0.42), sitter.on["Wearing_Earrings"]) as w:
        side = (w.x + w.at(sitter.yaw * 0.5)).abs()
        place = w.at(sitter.width + 0.025)
        radius = w.at(sitter.size("Wearing_Earrings", 0.055, 0.075))
        drop = union(
            circle(side, w.y, place, 0.13 + radius, radius), circle(side, w.y, place, 0.115, 0.03)
        )
        gold = torch.tensor((0.98, 0.78, 0.22)).expand_as(sitter.skin)
        w.paint(w.cover(drop - 0.014), w.at(gold * 0.55))
        w.paint(w.cover(drop), w.at(gold))
        w.paint(
            w.cover(circle(side, w.y, place - 0.018, 0.11 + radius, radius * 0.38)),
            w.at(torch.ones_like(gold)),
        )


def _lenses(
    w: Window, sitter: Sitter, hx: Tensor, hy: Tensor, corner: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """u, and distances to the lenses and to the bridge and arms of the frame."""
    u, side = mirrored(w, sitter, 1.15)
    lens = box(side, w.y, 0.19, -0.02, hx, hy, corner)
    arms = box(side, w.y, 0.45, -0.05, 0.45 - 0.19 - hx, 0.014)
    bridge = arc(u, w.y, 0.0, -0.06, 0.19 - hx, 0.01, 0.016)
    return u, lens, union(torch.maximum(arms, side - w.at(sitter.width) - 0.01), bridge)


def glasses(canvas: Canvas, sitter: Sitter) -> None:
    with canvas.window((-0.60, -0.24, 0.60, 0.19), sitter.on["Eyeglasses"]) as w:
        size = sitter.size("Eyeglasses", 0.138, 0.152)
        squareness = torch.where(sitter.n["glasses_style"] < 0.5, 1.0, 0.5)
        u, lens, bars = _lenses(
            w, sitter, w.at(size), w.at(size * 0.95), w.at(size * 0.95 * squareness)
        )
        glass = w.cover(lens.clone())
        w.lighten(glass.mul(0.16))
        glare = (u + w.y * 0.6).add_(w.at(0.0 * size))
        glare = (glare.abs_().sub_(0.17)).abs_().sub_(0.025)
        w.lighten(w.cover(glare).mul_(glass).mul_(0.35))
        rims = union(lens.abs_().sub_(0.019), bars)
        w.paint(w.cover(rims), w.at(sitter.frame_colour))


def sunglasses(canvas: Canvas, sitter: Sitter) -> None:
    with canvas.window((-0.60, -0.24, 0.60, 0.20), sitter.on["Sunglasses"]) as w:
        size = sitter.size("Sunglasses", 0.140, 0.155)
        squareness = torch.where(sitter.n["glasses_style"] < 0.5, 0.95, 0.45)
        u, lens, bars = _lenses(
            w, sitter, w.at(size), w.at(size * 0.86), w.at(size * 0.86 * squareness)
        )
        w.paint(w.cover(union(lens - 0.016, bars)), w.at(torch.full_like(sitter.skin, 0.06)))
        t = (w.y * 3.2).add_(0.45).clamp_(0, 1)
        top = w.at(torch.tensor((0.10, 0.10, 0.14)).expand_as(sitter.skin))
        bottom = w.at(torch.tensor((0.30, 0.27, 0.34)).expand_as(sitter.skin))
        inside = w.cover(lens)
        w.paint(inside, shaded(w, top, bottom, t))
        glare = ((u + w.y * 0.7).abs_().sub_(0.20)).abs_().sub_(0.02)
        w.lighten(w.cover(glare).mul_(inside).mul_(0.45))


def hat(canvas: Canvas, sitter: Sitter) -> None:
    """A knitted cap with a bobble, or a brimmed hat with a ribbon."""
    knitted = sitter.n["hat_style"] < 0.5
    wide = sitter.width + 0.075
    with canvas.window((-0.75, -1.3, 0.75, -0.2), sitter.on["Wearing_Hat"] & knitted) as w:
        colour, cream = sitter.hat, torch.full_like(sitter.hat, 0.94)
        height = w.at(sitter.size("Wearing_Hat", 0.44, 0.50))
        w.paint(w.cover(circle(w.x, w.y, 0.0, -0.40 - height, 0.115)), w.at(cream * 0.92))
        dome = ellipse(w.x, w.y, 0.0, -0.40, w.at(wide), height)
        t = wave(w.x * 5).mul_(0.22).add_(lit(w, sitter)).clamp_(0, 1)
        w.paint(
            w.cover(torch.maximum(dome, w.y + 0.38)),
            shaded(w, w.at(colour), w.at(colour * 0.68), t),
        )
        band = box(w.x, w.y, 0.0, -0.40, w.at(wide + 0.025), 0.085, 0.06)
        ribs = wave(w.x * 8).mul_(0.5).add_(0.5)
        w.paint(w.cover(band), shaded(w, w.at(cream), w.at(cream * 0.80), ribs))
    with canvas.window((-0.95, -1.3, 0.95, -0.2), sitter.on["Wearing_Hat"] & ~knitted) as w:
        colour = sitter.hat
        height = w.at(sitter.size("Wearing_Hat", 0.24, 0.29))
        crown = box(
            w.x * (1 - 0.25 * (w.y + 0.4)),
            w.y,
            0.0,
            -0.36 - height,
            w.at(wide - 0.05),
            height,
            0.16,
        )
        t = lit(w, sitter)
        w.paint(w.cover(crown.clone()), shaded(w, w.at(colour), w.at(colour * 0.7), t))
        ribbon = torch.maximum(crown, (w.y + 0.46).abs_().sub_(0.07))
        w.paint(w.cover(ribbon), w.at(colour * 0.38))
        brim = ellipse(w.x, w.y, 0.0, -0.375, w.at(wide + 0.24), 0.075)
        w.paint(
            w.cover(brim),
            shaded(w, w.at(colour), w.at(colour * 0.62), (w.y + 0.42).mul_(9).clamp_(0, 1)),
        )
