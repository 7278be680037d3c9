"""Edits against true counterfactuals: what must be 0 by construction, and what by hand."""

import math
import warnings
from functools import partial

import pytest
import torch
from torch import nn

from a2i_lib.attributes import UnknownAttribute
from a2i_lib.evaluation.counterfactual import (
    EditScore,
    accomplished,
    add_attribute,
    candidates,
    counterfactual,
    edit_error,
    mean_and_error,
    score_edit,
    score_editor,
)
from a2i_lib.gaussians import DiagonalGaussian
from a2i_lib.models.vae import LatentImageModel
from a2i_lib.worlds import get_world

SEED = 5


@pytest.fixture(scope="module")
def world():
    return get_world("faces")


@pytest.fixture(scope="module")
def people(world):
    return world.sample(12, seed=SEED)


@pytest.fixture(scope="module")
def added(world, people):
    return add_attribute(world, people, "Wearing_Hat", 32)


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


class Reader(nn.Module):
    """A judge by hand: attribute k's logit is 10 times the mean of column k of the picture."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k

    def forward(self, x):
        return 10 * x.mean((1, 2)).repeat(1, 3)[:, : self.k]


def renderer(change, x, y, y_new, mask):
    """The true program as an editor: it knows its sitters by their pictures."""
    rows = [int((change.x == one).flatten(1).all(1).nonzero()[0]) for one in x]
    return torch.where((y_new == y).all(1)[:, None, None, None], x, change.x_true[rows])


def nothing(x, y, y_new, mask):
    return x


def test_only_those_without_the_attribute_get_it(world, people, added):
    k = world.schema.index("Wearing_Hat")
    lacking = int((world.labels(people)[:, k] < 0).sum())
    assert len(added.x) == lacking and 0 < lacking < 12
    assert (added.y[:, k] == -1).all() and (added.y_true[:, k] == 1).all()
    assert (added.squared_change > 1).all()


def test_excluded_attributes_are_turned_off(world, added):
    excluded = world.schema.index("Bald")
    assert (added.y_true[:, excluded] == -1).all()


def test_an_attribute_can_be_taken_away(world, people, added):
    taken = counterfactual(world, people, {"Wearing_Hat": False}, 32)
    k = world.schema.index("Wearing_Hat")
    assert len(taken.x) + len(added.x) == 12
    assert (taken.y[:, k] == 1).all() and (taken.y_true[:, k] == -1).all()
    bare = world.counterfactual(people, "Wearing_Hat", False)
    expected = world.render(bare[world.labels(people)[:, k] > 0], 32).x
    assert torch.equal(taken.x_true, expected)
    assert torch.equal(world.render(taken.before, 32).x, taken.x)
    assert torch.equal(world.render(taken.after, 32).x, taken.x_true)


def test_several_attributes_change_together(world, people):
    change = counterfactual(world, people, {"Smiling": True, "Male": False}, 32)
    smiling, male = (world.schema.index(name) for name in ("Smiling", "Male"))
    labels = world.labels(people)
    assert len(change.x) == int(((labels[:, smiling] < 0) & (labels[:, male] > 0)).sum()) > 0
    assert change.asked.nonzero()[:, 0].tolist() == sorted((smiling, male))
    assert ((change.y != change.y_true).sum(1) == 2).all()


def test_what_excludes_itself_is_refused(world):
    people = world.sample(40, seed=SEED)
    with pytest.raises(ValueError, match="Eyeglasses, Sunglasses: one excludes another"):
        counterfactual(world, people, {"Eyeglasses": True, "Sunglasses": True}, 32)


def test_what_is_touched_lies_where_the_world_says(world, people):
    change = add_attribute(world, people, "Eyeglasses", 32)
    k = world.schema.index("Eyeglasses")
    region = world.region(people[world.labels(people)[:, k] < 0], "Eyeglasses", 32)
    assert not (change.touched & ~region).any() and change.touched.any()
    assert (change.touched | ~change.changed).all()


# ---------------------------------------------------------------- bounds known by construction


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("faces", {"Eyeglasses": True}),
        ("faces", {"Eyeglasses": False}),
        ("faces", {"Smiling": True, "Male": True}),
        ("birds", {"has_wing_color::blue": True}),
    ],
)
def test_the_renderer_is_perfect_and_doing_nothing_leaves_all_else_alone(name, wanted):
    drawn = get_world(name)
    change = counterfactual(drawn, drawn.sample(30, seed=SEED), wanted, 32)
    judge = Reader(len(drawn.schema))
    true = score_editor(partial(renderer, change), change, judge)
    for found in (true["edited"], true["truth"]):
        assert float(found.inside.max()) == 0 and float(found.outside.max()) == 0
    assert float(true["pasted"].inside.max()) < 1e-6  # x + (x_true - x), rounded
    idle = score_editor(nothing, change, judge)
    for found in (idle["edited"], idle["copied"], idle["redrawn"], true["redrawn"]):
        assert float(found.outside.max()) == 0 and float(found.inside.min()) > 0
        assert float(found.logit.abs().max()) == 0 and float(found.others.max()) == 0
    assert accomplished(true["edited"], true["copied"]) == (1, 0)
    assert accomplished(idle["edited"], idle["copied"]) == (0, 0)


def test_scores_by_hand(added):
    """An editor that adds 0.1 everywhere: 0.1 outside, and every logit moves by 1."""
    k = added.y.shape[1]
    score = score_edit(added.x + 0.1, added, Reader(k))
    torch.testing.assert_close(score.outside, torch.full_like(score.outside, 0.1))
    sign = (added.y_true - added.y)[:, added.asked].sign()[:, 0]
    torch.testing.assert_close(score.logit, sign, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(score.others, torch.ones_like(sign), rtol=1e-3, atol=1e-3)
    gap = (added.x + 0.1 - added.x_true).abs()[0]
    where = (added.x != added.x_true)[0].any(0)
    assert float(score.inside[0]) == pytest.approx(float(gap[:, where].mean()), rel=1e-5)


def test_removal_counts_the_other_way(world, people):
    """Brighter pictures raise all logits: right for adding, wrong for taking away."""
    taken = counterfactual(world, people, {"Wearing_Hat": False}, 32)
    assert float(score_edit(taken.x + 0.1, taken, Reader(33)).logit.max()) < -0.9


def test_candidates_come_in_batches(added):
    editor = partial(renderer, added)
    whole, parts = (candidates(editor, added, batch_size=b) for b in (128, 2))
    for name in ("copied", "redrawn", "edited", "pasted"):
        assert torch.equal(whole[name], parts[name])


def test_means_and_errors_leave_out_what_was_not_measured():
    inside = torch.tensor([0.1, 0.3, torch.nan])
    half = EditScore(inside, torch.zeros(3))
    assert half.row["inside"] == pytest.approx(0.2)
    assert half.row["inside_se"] == pytest.approx(0.1)
    assert "logit" not in half.row
    both = EditScore.cat([half, half])
    assert len(both.inside) == 6 and both.logit is None
    whole = EditScore(torch.tensor([0.2, 0.6, torch.nan]), torch.zeros(3))
    assert accomplished(half, whole) == pytest.approx((0.5, 0))


def test_the_error_of_a_share_is_the_bootstraps():
    generator = torch.Generator().manual_seed(0)
    whole = torch.rand(400, generator=generator) + 0.5
    left = 0.3 * whole + 0.2 * torch.rand(400, generator=generator)
    _, error = accomplished(EditScore(left, left), EditScore(whole, whole))
    rows = torch.randint(400, (2000, 400), generator=generator)
    again = 1 - left[rows].mean(1) / whole[rows].mean(1)
    assert error == pytest.approx(float(again.std()), rel=0.1)


def test_many_edits_of_one_subject_are_worth_one():
    """Asked twice, everybody answers the same: the errors must not shrink."""
    generator = torch.Generator().manual_seed(1)
    left, whole = torch.rand(2, 50, generator=generator) + 0.5
    who = torch.arange(50)
    once, idle = EditScore(left, left, subjects=who), EditScore(whole, whole, subjects=who)
    twice, idle_twice = EditScore.cat([once, once]), EditScore.cat([idle, idle])
    assert accomplished(twice, idle_twice) == pytest.approx(accomplished(once, idle), rel=1e-5)
    assert twice.row["inside_se"] == pytest.approx(once.row["inside_se"], rel=1e-5)
    assert once.row["inside_se"] == pytest.approx(float(left.std()) / 50**0.5, rel=1e-5)
    strangers = EditScore(left.repeat(2), left.repeat(2))
    assert strangers.row["inside_se"] < 0.75 * once.row["inside_se"]


def test_the_error_of_edits_is_a_bootstraps_over_subjects():
    generator = torch.Generator().manual_seed(2)
    who = torch.arange(60).repeat_interleave(4)
    values = torch.randn(60, generator=generator)[who] + torch.randn(240, generator=generator)
    _, error = mean_and_error(values, who)
    rows = torch.randint(60, (3000, 60), generator=generator)
    again = values.view(60, 4)[rows].mean((1, 2))
    assert error == pytest.approx(float(again.std()), rel=0.1)


def test_a_score_knows_whose_it_is(world, people, added):
    lacking = world.labels(people)[:, world.schema.index("Wearing_Hat")] < 0
    assert torch.equal(added.subjects, lacking.nonzero()[:, 0])
    for judge in (None, Reader(len(world.schema))):
        assert torch.equal(score_edit(added.x, added, judge).subjects, added.subjects)
    nameless = EditScore(added.x.mean((1, 2, 3)), added.x.mean((1, 2, 3)))
    assert EditScore.cat([nameless, score_edit(added.x, added)]).subjects is None


# ---------------------------------------------------------------- chapter 03's measure


def test_a_perfect_edit_has_no_error(added):
    error = edit_error(Oracle(added, listens=True), added)
    assert error.edited.max() == 0 and error.pasted.max() < 1e-6
    assert torch.equal(error.copied, error.redrawn) and error.copied.min() > 0


def test_a_model_that_ignores_y_does_nothing(added):
    error = edit_error(Oracle(added, listens=False), added)
    for found in (error.pasted, error.redrawn, error.edited):
        torch.testing.assert_close(found, error.copied)


def test_what_cannot_be_added_is_named(world):
    with pytest.raises(UnknownAttribute, match="Wearing_Hat"):
        add_attribute(world, world.sample(2), "Wearing_Hatt")
    hatted = world.counterfactual(world.sample(3), "Wearing_Hat", True)
    with pytest.raises(ValueError, match="Wearing_Hat: all 3"):
        add_attribute(world, hatted, "Wearing_Hat")
    with pytest.raises(ValueError, match="not Wearing_Hat: all 3"):
        counterfactual(
            world,
            world.counterfactual(hatted, "Wearing_Hat", False),
            {"Wearing_Hat": False},
        )


def test_one_subject_has_a_mean_and_no_error():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mean, error = mean_and_error(torch.tensor([0.25, torch.nan]))
    assert mean == 0.25 and math.isnan(error)
