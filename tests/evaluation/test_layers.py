"""Measures of layers, on examples counted by hand and on the renderer, which has no leaks."""

import pytest
import torch

from a2i_lib.evaluation.layers import (
    gate_iou,
    intersection_over_union,
    leakage,
    mean_where,
    true_leakage,
)
from a2i_lib.gaussians import DiagonalGaussian
from a2i_lib.models import CVAE, DisCVAE
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
    assert float(true_leakage(drawn, drawn.sample(6, 1), attribute, 32).nan_to_num().max()) < 1e-5


class Bright(LatentImageModel):
    """Adds a grey level to the whole picture with the first attribute: all of it leaks."""

    latent = 2

    def posterior(self, x, y):
        return DiagonalGaussian(torch.zeros(len(x), 2), torch.zeros(len(x), 2))

    def decode(self, z, y):
        return (0.5 + 0.1 * y[:, :1, None, None]).expand(-1, 3, 32, 32)


def test_a_model_that_changes_everything_leaks_what_it_changes():
    world = get_world("faces")
    attribute = world.schema.names[0]
    found = leakage(Bright(), world, world.sample(5, 2), attribute, 32)
    torch.testing.assert_close(found.y, torch.full((5,), 0.2))
    assert bool(found.z_f.isnan().all()) and bool(found.z_b.isnan().all())


def test_a_layered_model_is_measured_in_all_three_ways():
    torch.manual_seed(0)
    world = get_world("faces")
    model = DisCVAE(len(world.schema), latent_f=4, latent_b=4, width=0.125, size=32).eval()
    drawn = world.render(world.sample(4, 3), 32)
    y = world.labels(world.sample(4, 3))
    iou = gate_iou(model, drawn.x, y, drawn.mask)
    assert iou.shape == (4,) and bool(((iou >= 0) & (iou <= 1)).all())
    # a gate that is open everywhere: y and z_f cannot touch anything but the foreground's rest
    model.decoder_f.stack[-1].bias.data = torch.tensor([-20.0, -20.0, -20.0, 20.0])
    found = leakage(model, world, world.sample(4, 3), "Eyeglasses", 32)
    assert float(found.y.max()) < 1e-4 and float(found.z_f.max()) < 1e-4
    plain = CVAE(len(world.schema), latent=4, width=0.125, size=32).eval()
    assert bool(leakage(plain, world, world.sample(4, 3), "Eyeglasses", 32).z_f.isnan().all())
