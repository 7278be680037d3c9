"""The birds world: its contracts, each of which a change to the drawing could break."""

import pytest
import torch

from a2i_lib.attributes import UnknownAttribute
from a2i_lib.worlds import Factors, get_world
from a2i_lib.worlds.birds import FOLLOWS, MEMBERS, BirdsWorld

GROUPS = [group for group in MEMBERS if group != "crest"]
CREST = "has_head_pattern::crested"
WEAKEST = 0.5


@pytest.fixture(scope="module")
def world() -> BirdsWorld:
    return get_world("birds")


@pytest.fixture(scope="module")
def many(world) -> Factors:
    return world.sample(20_000, seed=7)


def rates(world: BirdsWorld, factors: Factors) -> torch.Tensor:
    return (world.labels(factors) > 0).double().mean(0)


def members(group: str) -> list[str]:
    return [f"{group}::{member}" for member in MEMBERS[group]]


def test_attributes_are_many_grouped_and_sparse(world, many):
    assert len(world.schema) >= 60
    assert list(world.schema.groups) == GROUPS
    for group, columns in world.schema.groups.items():
        assert [world.schema.names[c] for c in columns] == members(group)
        assert ((world.labels(many)[:, columns] > 0).sum(1) == 1).all(), group
        assert sum(MEMBERS[group].values()) == pytest.approx(1)
    assert rates(world, many).mean() < 0.25


@pytest.mark.parametrize("size, n", [(32, 24), (64, 48), (101, 8), (256, 3)])
def test_the_layers_make_the_picture(world, size, n):
    r = world.render(world.sample(n, seed=3), size)
    assert r.x.shape == (n, 3, size, size) and r.mask.shape == (n, 1, size, size)
    assert (r.x - (r.x_f + r.g * r.x_b)).abs().max() <= 1e-5
    for layer in (r.x, r.x_f, r.x_b, r.mask):
        assert layer.min() >= 0 and layer.max() <= 1
    assert (r.x_f <= r.mask + 1e-5).all(), "the foreground is premultiplied"
    share = r.mask.mean((1, 2, 3))
    assert (share > 0.07).all() and (share < 0.5).all(), "a bird, neither lost nor filling"


def test_a_picture_does_not_depend_on_its_batch(world):
    factors = world.sample(15, seed=11)
    whole = world.render(factors).x
    for size in (1, 7):
        parts = torch.cat([world.render(factors[i : i + size]).x for i in range(0, 15, size)])
        assert (parts - whole).abs().max() <= 1e-6
        assert torch.equal((parts * 255).round().byte(), (whole * 255).round().byte())


def test_a_sample_is_the_start_of_a_longer_one(world):
    for correlated in (True, False):
        short = world.sample(10, 5, correlated=correlated)
        long = world.sample(100, 5, correlated=correlated)[:10]
        assert torch.equal(short.attributes, long.attributes)
        assert torch.equal(short.nuisance, long.nuisance)
    assert not torch.equal(world.sample(10, 5).nuisance, world.sample(10, 6).nuisance)


def test_a_strength_has_the_sign_of_its_label_and_keeps_clear_of_zero(world, many):
    strengths = world.strengths(many)
    assert torch.equal(world.labels(many), strengths.sign())
    assert strengths.abs().min() >= WEAKEST and strengths.abs().max() <= 1


def test_attributes_go_together_as_stated_or_not_at_all(world, many):
    seen = torch.corrcoef(world.labels(many).T)
    assert (seen - world.correlations).abs().max() < 0.035
    assert set(FOLLOWS) <= set(MEMBERS)
    free = world.sample(20_000, seed=7, correlated=False)
    stated = torch.tensor(
        [p for g in GROUPS for p in MEMBERS[g].values()] + [MEMBERS["crest"][CREST]]
    )
    assert (rates(world, free) - stated).abs().max() < 0.015
    seen = torch.corrcoef(world.labels(free).T)
    for columns in world.schema.groups.values():
        for column in columns:
            seen[column, columns] = 0  # members of one group exclude each other
    seen.fill_diagonal_(0)
    assert seen.abs().max() < 0.035


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_moves_alone_and_touches_only_its_own_pixels(world, group):
    factors = world.sample(6, seed=21, correlated=False)
    region = world.region(factors, members(group)[0])
    others = [k for k in range(len(world.schema)) if k not in world.schema.groups[group]]
    pictures = []
    for name in members(group):
        changed = world.counterfactual(factors, name, True)
        assert (world.labels(changed)[:, world.schema.index(name)] == 1).all()
        columns = world.schema.groups[group]
        assert ((world.labels(changed)[:, columns] > 0).sum(1) == 1).all()
        assert torch.equal(changed.nuisance, factors.nuisance)
        assert torch.equal(changed.attributes[:, others], factors.attributes[:, others])
        pictures.append(world.render(changed))
    for first in range(len(pictures)):
        for second in range(first):
            a, b = pictures[first], pictures[second]
            assert torch.equal(a.x_b, b.x_b)
            for layer in ("x", "x_f", "mask"):
                differs = getattr(a, layer) != getattr(b, layer)
                assert not (differs & ~region).any(), (members(group)[first], layer)
            seen = ((a.x - b.x).abs().amax(1) > 0.1).sum((1, 2))
            assert (seen >= 2).all(), (members(group)[first], members(group)[second], seen.tolist())


def test_the_crest_comes_and_goes_alone(world):
    factors = world.sample(12, seed=4)
    off, on = (world.counterfactual(factors, CREST, value) for value in (False, True))
    k = world.schema.index(CREST)
    assert (world.labels(off)[:, k] == -1).all() and (world.labels(on)[:, k] == 1).all()
    assert torch.equal(on.attributes[:, :k], off.attributes[:, :k])
    a, b = world.render(on), world.render(off)
    assert not ((a.x != b.x) & ~world.region(factors, CREST)).any()
    assert ((a.mask - b.mask).clamp(min=0).sum((1, 2, 3)) > 4).all(), "a crest adds to the outline"


def test_a_counterfactual_takes_a_strength(world):
    factors = world.sample(4, seed=2)
    for name in ("has_belly_color::red", CREST):
        weak, strong = (world.counterfactual(factors, name, s) for s in (0.5, 1.0))
        k = world.schema.index(name)
        assert world.strengths(weak)[:, k].tolist() == [0.5] * 4
        assert not torch.equal(world.render(weak).x, world.render(strong).x)


def test_a_bird_that_turns_round_is_its_mirror_image(world):
    factors = world.sample(6, seed=8)
    nuisance = factors.nuisance.clone()
    nuisance[:, world.nuisance_names.index("facing")] *= -1
    turned = world.render(Factors(factors.attributes, nuisance))
    assert torch.equal(turned.x, world.render(factors).x.flip(3))


def test_bad_requests_are_explained(world):
    factors = world.counterfactual(world.sample(2), "has_belly_color::red", True)
    with pytest.raises(UnknownAttribute, match="has_belly_color::red"):
        world.counterfactual(factors, "has_belly_colour::red", True)
    with pytest.raises(ValueError, match="has_belly_color::red: name what to have instead.*white"):
        world.counterfactual(factors, "has_belly_color::red", False)
    same = world.counterfactual(factors, "has_belly_color::blue", False)
    assert torch.equal(same.attributes, factors.attributes)
    with pytest.raises(ValueError, match="is not 0, not 2"):
        world.counterfactual(factors, "has_belly_color::red", 2.0)
    with pytest.raises(ValueError, match="between 32 and 256 pixels, not 300"):
        world.render(factors, 300)
