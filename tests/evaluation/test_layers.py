"""Measures of layers, on examples counted by hand and on the renderer, which has no leaks."""

import pytest
import torch

from a2i_lib.evaluation.counterfactual import add_attribute
from a2i_lib.evaluation.layers import (
    edit_leakage,
    gate_iou,
    intersection_over_union,
    latent_leakage,
    mean_where,
)
from a2i_lib.gaussians import DiagonalGaussian
from a2i_lib.models import DisCVAE
from a2i_lib.models.vae import LatentImageModel
from a2i_lib.worlds import get_world


def test_intersection_over_union_by_hand():
    a = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1.0]]).view(3, 1, 2, 2)
    b = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1.0]]).view(3, 1, 2, 2)
    torch.testing.assert_close(intersection_over_union(a, b), torch.tensor([1 / 3, 1.0, 1.0]))


def test_mean_where_by_hand():
    change = torch.zeros(2, 3, 2, 2)
    change[0, :, 0, 0], change[0, :, 1, 1] = -0.5, 9.0
    where = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0]], dtype=torch.bool).view(2, 1, 2, 2)
    found = mean_where(change, where)
    assert float(found[0]) == pytest.approx(0.25)
    assert bool(found[1].isnan())


@pytest.mark.parametrize(
    ("world", "attribute"),
    [("faces", "Eyeglasses"), ("faces", "Male"), ("birds", "has_wing_color::blue")],
)
def test_the_renderer_leaks_nothing(world, attribute):
    drawn = get_world(world)
    added = add_attribute(drawn, drawn.sample(12, 1), attribute, 32)
    change = added.x_true - added.x
    assert float(mean_where(change, added.background).nan_to_num().max()) < 1e-5
    assert float(mean_where(change, added.changed).min()) > 0.01


class Bright(LatentImageModel):
    """Adds a grey level to the whole picture with the first attribute: all of it leaks."""

    latent = 2

    def posterior(self, x, y):
        return DiagonalGaussian(torch.zeros(len(x), 2), torch.zeros(len(x), 2))

    def decode(self, z, y):
        return (0.5 + 0.1 * y[:, :1, None, None]).expand(-1, 3, 32, 32)


def test_a_model_that_changes_everything_leaks_what_it_changes():
    world = get_world("faces")
    added = add_attribute(world, world.sample(5, 2), world.schema.names[0], 32)
    background, wanted = edit_leakage(Bright(), added)
    torch.testing.assert_close(background, torch.full_like(background, 0.2))
    torch.testing.assert_close(wanted, torch.full_like(wanted, 0.2))


@pytest.fixture
def layered():
    """A model of the faces world, and drawings with their labels."""
    torch.manual_seed(0)
    world = get_world("faces")
    model = DisCVAE(len(world.schema), latent_f=4, latent_b=4, width=0.125, size=32).eval()
    factors = world.sample(4, 3)
    return model, world.render(factors, 32), world.labels(factors)


def test_the_gates_overlap_is_a_share(layered):
    model, drawn, y = layered
    iou = gate_iou(model, drawn.x, y, drawn.mask)
    assert iou.shape == (4,) and bool(((iou >= 0) & (iou <= 1)).all())


def test_an_open_gate_and_a_black_figure_leave_nothing_to_leak(layered):
    model, drawn, y = layered
    model.decoder_f.stack[-1].bias.data = torch.tensor([-20.0, -20.0, -20.0, 20.0])
    world = get_world("faces")
    added = add_attribute(world, world.sample(4, 3), "Eyeglasses", 32)
    assert float(edit_leakage(model, added)[0].max()) < 1e-4
    by_z_f, by_z_b = latent_leakage(model, drawn.x, y, drawn.mask)
    assert float(by_z_f.max()) < 1e-4 and bool(by_z_b.isnan().all())


def test_a_shut_gate_hides_whatever_the_background_does(layered):
    model, drawn, y = layered
    model.decoder_f.stack[-1].bias.data = torch.tensor([0.0, 0.0, 0.0, -20.0])
    model.decoder_b.stack[-1].weight.data.mul_(100)  # a background that z_b moves a lot
    by_z_f, by_z_b = latent_leakage(model, drawn.x, y, drawn.mask)
    assert float(by_z_b.max()) < 1e-4 and bool(by_z_f.isnan().all())
