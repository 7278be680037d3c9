"""The painter: distances, coverage, compositing, and what every world inherits."""

import math

import pytest
import torch

from a2i_lib.worlds import Factors, get_world
from a2i_lib.worlds.render import (
    Canvas,
    Frame,
    arc,
    box,
    capsule,
    circle,
    ellipse,
    fade,
    hsv,
    oval,
    polygon,
    smooth_subtract,
    smooth_union,
    subtract,
    wave,
)


def frame(n: int = 1, roll: float = 0.0) -> Frame:
    still = torch.zeros(n, dtype=torch.float64)
    return Frame(still, still, still + 1, still + roll)


def points(*xy: tuple[float, float]) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = torch.tensor(xy).T
    return x.clone(), y.clone()


@pytest.mark.parametrize(
    "shape, where, expected",
    [
        (lambda x, y: circle(x, y, 1.0, 0.0, 2.0), (4.0, 4.0), 3.0),
        (lambda x, y: box(x, y, 0.0, 0.0, 2.0, 1.0), (5.0, 5.0), 5.0),
        (lambda x, y: box(x, y, 0.0, 0.0, 2.0, 1.0), (0.0, 0.5), -0.5),
        (lambda x, y: box(x, y, 0.0, 0.0, 2.0, 2.0, 2.0), (3.0, 4.0), 3.0),
        (lambda x, y: capsule(x, y, 0.0, 0.0, 4.0, 0.0, 1.0), (7.0, 4.0), 4.0),
        (lambda x, y: capsule(x, y, 0.0, 0.0, 4.0, 0.0, 1.0), (2.0, 3.0), 2.0),
        (lambda x, y: ellipse(x, y, 0.0, 0.0, 3.0, 1.0), (3.0, 0.0), 0.0),
        (lambda x, y: ellipse(x, y, 0.0, 0.0, 3.0, 1.0), (0.0, 1.0), 0.0),
        (lambda x, y: oval(x, y, 0.0, 0.0, 1.0, 1.0), (0.0, 3.0), 2.0),
        (lambda x, y: arc(x, y, 0.0, 0.0, 1.0, -0.5, 0.1), (1.0, -0.5), -0.1),
        (lambda x, y: arc(x, y, 0.0, 0.0, 1.0, 0.0, 0.1), (0.0, 1.1), 1.0),
        (lambda x, y: polygon(x, y, (0.0, 0.0), (4.0, 0.0), (0.0, 4.0)), (1.0, 1.0), -1.0),
        (lambda x, y: polygon(x, y, (0.0, 0.0), (4.0, 0.0), (0.0, 4.0)), (2.0, -3.0), 3.0),
        (
            lambda x, y: subtract(circle(x, y, 0.0, 0.0, 2.0), circle(x, y, 0.0, 0.0, 1.0)),
            (0.0, 0.5),
            0.5,
        ),
    ],
)
def test_distances_at_points_worked_by_hand(shape, where, expected):
    assert shape(*points(where)).item() == pytest.approx(expected, abs=1e-5)


def test_smooth_joins_touch_only_the_seam():
    a, b = torch.tensor([-1.0, 0.0, 2.0]), torch.tensor([3.0, 0.0, 2.05])
    joined = smooth_union(a.clone(), b.clone(), 0.4)
    assert joined[0] == -1.0  # far from the seam: the plain union
    assert joined[1] == pytest.approx(-0.1)  # on it: pushed out by a quarter of the blend
    cut = smooth_subtract(a.clone(), b.clone(), 0.4)
    assert cut[0] == -1.0 and cut[1] == pytest.approx(0.1)


def test_wave_is_nearly_a_sine_and_fade_a_soft_step():
    t = torch.linspace(-2, 2, 401)
    assert (wave(t) - torch.sin(2 * math.pi * t)).abs().max() < 0.06
    assert fade(torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0])).tolist() == [0, 0, 0.5, 1, 1]


def test_hsv_gives_the_primaries():
    colours = hsv(torch.tensor([0.0, 1 / 3, 2 / 3]), 1.0, 1.0)
    assert torch.allclose(colours, torch.eye(3), atol=1e-6)


@pytest.mark.parametrize("size", [32, 64, 200])
def test_a_painted_disc_has_the_area_of_a_disc(size):
    canvas = Canvas(frame(), size)
    with canvas.window((-0.6, -0.6, 0.6, 0.6)) as w:
        w.paint(w.cover(circle(w.x, w.y, 0.013, -0.02, 0.5)), torch.ones(1, 3, 1, 1))
    area = canvas.mask.sum().item() * (2 / size) ** 2
    assert area == pytest.approx(math.pi * 0.25, rel=0.004)
    edge = (canvas.mask > 0) & (canvas.mask < 1)
    assert edge.any(), "edges are anti-aliased"


def test_a_wider_window_changes_no_pixel():
    pictures = []
    for reach in (0.45, 0.9):
        canvas = Canvas(frame(3, roll=0.2), 48)
        with canvas.window((-reach, -reach, reach, reach)) as w:
            alpha = w.cover(ellipse(w.x, w.y, 0.0, 0.1, 0.3, 0.2))
            w.paint(alpha, torch.full((3, 3, 1, 1), 0.4))
        pictures.append(canvas.layers)
    assert torch.equal(*pictures)


def test_a_window_holds_its_box_in_every_picture():
    turned = Frame(
        *(
            torch.tensor(v, dtype=torch.float64)
            for v in ([0.1, -0.2], [0.0, 0.1], [0.8, 1.1], [-0.3, 0.4])
        )
    )
    left, top, right, bottom = region = (-0.3, 0.1, 0.2, 0.5)
    x, y = turned.coordinates(64)
    inside = (x > left) & (x < right) & (y > top) & (y < bottom)
    y0, y1, x0, x1 = turned.bounds(region, 64)
    assert inside[:, y0:y1, x0:x1].sum() == inside.sum() > 0
    assert (y1 - y0) * (x1 - x0) < 64 * 64 / 3, "and not much more"


def test_layers_follow_the_over_rule():
    canvas = Canvas(frame(), 32)
    red = torch.tensor([1.0, 0.0, 0.0])[None, :, None, None]
    blue = torch.tensor([0.0, 0.0, 1.0])[None, :, None, None]
    with canvas.window((-2, -2, 2, 2)) as w:
        half = torch.full_like(w.x, 0.5)
        w.paint(half.clone(), red)
        w.paint(half.clone(), blue)
    assert torch.allclose(canvas.layers[0, :, 5, 5], torch.tensor([0.25, 0.0, 0.5, 0.75]))
    with canvas.window((-2, -2, 2, 2)) as w:
        w.tint(torch.ones_like(w.x), red)
    assert torch.allclose(canvas.layers[0, :, 5, 5], torch.tensor([0.75, 0.0, 0.0, 0.75]))
    with canvas.window((-2, -2, 2, 2)) as w:
        w.darken(torch.full_like(w.x, 0.5))
        w.lighten(torch.full_like(w.x, 1.0))
    assert torch.allclose(canvas.layers[0, :, 5, 5], torch.full((4,), 0.75))


def test_a_window_paints_only_its_rows():
    canvas = Canvas(frame(3), 32)
    with canvas.window((-0.5, -0.5, 0.5, 0.5), torch.tensor([True, False, True])) as w:
        levels = w.at(torch.tensor([0.1, 0.2, 0.3])[:, None].expand(3, 3))
        w.paint(w.cover(circle(w.x, w.y, 0.0, 0.0, 0.3)), levels)
    assert canvas.mask[:, 0, 16, 16].tolist() == [1, 0, 1]
    assert canvas.colour[:, 0, 16, 16].tolist() == pytest.approx([0.1, 0, 0.3])


def test_an_error_inside_a_window_is_not_swallowed():
    with pytest.raises(KeyError), Canvas(frame(), 32).window((-1, -1, 1, 1)):
        raise KeyError("lost")


def test_an_unknown_world_is_named_with_the_nearest():
    with pytest.raises(ValueError, match="'facess'.*Did you mean 'faces'"):
        get_world("facess")


def test_factors_are_cut_and_joined_row_by_row():
    factors = Factors(torch.arange(12.0).view(4, 3), torch.arange(8.0).view(4, 2))
    joined = Factors.cat([factors[:1], factors[1], factors[[2, 3]]])
    assert len(factors[2]) == 1
    assert torch.equal(joined.attributes, factors.attributes)
    assert torch.equal(joined.nuisance, factors.nuisance)
    with pytest.raises(ValueError, match="4 rows, nuisance 2"):
        Factors(torch.zeros(4, 3), torch.zeros(2, 3))
