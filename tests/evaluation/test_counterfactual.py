"""Edits against true counterfactuals, on a model that knows the truth and one that ignores y."""

import pytest
import torch

from a2i_lib.attributes import UnknownAttribute
from a2i_lib.evaluation.counterfactual import add_attribute, edit_error
from a2i_lib.gaussians import DiagonalGaussian
from a2i_lib.models.vae import LatentImageModel
from a2i_lib.worlds import get_world


@pytest.fixture(scope="module")
def added():
    world = get_world("faces")
    return add_attribute(world, world.sample(12, seed=5), "Wearing_Hat", 32)


class Oracle(LatentImageModel):
    """Knows both pictures of every subject by its row; z holds the row."""

    def __init__(self, added, listens: bool) -> None:
        super().__init__()
        self.latent, self.added, self.listens = 1, added, listens

    def posterior(self, x, y):
        rows = torch.arange(len(x)).float()[:, None]
        return DiagonalGaussian(rows, torch.zeros_like(rows))

    def decode(self, z, y):
        rows = z[:, 0].long()
        asked = (y == self.added.y_true[rows]).all(1)[:, None, None, None]
        return torch.where(asked & self.listens, self.added.x_true[rows], self.added.x[rows])


def test_only_those_without_the_attribute_get_it(added):
    world = get_world("faces")
    k = world.schema.index("Wearing_Hat")
    lacking = int((world.labels(world.sample(12, seed=5))[:, k] < 0).sum())
    assert len(added.x) == lacking and 0 < lacking < 12
    assert (added.y[:, k] == -1).all() and (added.y_true[:, k] == 1).all()
    assert (added.squared_change > 1).all()


def test_excluded_attributes_are_turned_off(added):
    excluded = get_world("faces").schema.index("Bald")
    assert (added.y_true[:, excluded] == -1).all()


def test_a_perfect_edit_has_no_error(added):
    error = edit_error(Oracle(added, listens=True), added)
    assert error.edited.max() == 0 and error.pasted.max() < 1e-6
    assert torch.equal(error.copied, error.redrawn) and error.copied.min() > 0


def test_a_model_that_ignores_y_does_nothing(added):
    error = edit_error(Oracle(added, listens=False), added)
    for found in (error.pasted, error.redrawn, error.edited):
        torch.testing.assert_close(found, error.copied)


def test_what_cannot_be_added_is_named(added):
    world = get_world("faces")
    with pytest.raises(UnknownAttribute, match="Wearing_Hat"):
        add_attribute(world, world.sample(2), "Wearing_Hatt")
    hatted = world.counterfactual(world.sample(3), "Wearing_Hat", True)
    with pytest.raises(ValueError, match="Wearing_Hat: all 3"):
        add_attribute(world, hatted, "Wearing_Hat")
