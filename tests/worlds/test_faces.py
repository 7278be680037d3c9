"""The faces world: its contracts, each of which a change to the drawing could break."""

import pytest
import torch

from a2i_lib.attributes import UnknownAttribute
from a2i_lib.worlds import Factors, get_world
from a2i_lib.worlds.faces import EXCLUSIONS, NAMES, RATES, WEAKEST, FacesWorld, excluded_by

OWN_NAMES = {"Long_Hair", "Sunglasses"}  # what CelebA has no name for
CELEBA = """
5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair
Blond_Hair Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair
Heavy_Makeup High_Cheekbones Male Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face
Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks Sideburns Smiling Straight_Hair Wavy_Hair
Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace Wearing_Necktie Young
""".split()


@pytest.fixture(scope="module")
def world() -> FacesWorld:
    return get_world("faces")


@pytest.fixture(scope="module")
def many(world) -> Factors:
    return world.sample(20_000, seed=7)


def column(world: FacesWorld, factors: Factors, name: str) -> torch.Tensor:
    return world.labels(factors)[:, world.schema.index(name)]


def test_the_attributes_are_celebas_but_for_two():
    assert len(NAMES) >= 26
    assert set(NAMES) - set(CELEBA) == OWN_NAMES


@pytest.mark.parametrize("size, n", [(32, 24), (64, 48), (101, 8), (256, 3)])
def test_the_layers_make_the_picture(world, size, n):
    r = world.render(world.sample(n, seed=3), size)
    assert r.x.shape == (n, 3, size, size) and r.mask.shape == (n, 1, size, size)
    assert (r.x - (r.x_f + r.g * r.x_b)).abs().max() <= 1e-5
    for layer in (r.x, r.x_f, r.x_b, r.mask):
        assert layer.min() >= 0 and layer.max() <= 1
    assert (r.x_f <= r.mask + 1e-5).all(), "the foreground is premultiplied"
    share = r.mask.mean((1, 2, 3))
    assert (share > 0.25).all() and (share < 0.8).all(), (
        "a head and shoulders, neither lost nor filling"
    )


def test_a_picture_does_not_depend_on_its_batch(world):
    factors = world.sample(64, seed=11)
    whole = world.render(factors).x
    for size, n in ((1, 12), (7, 64)):
        parts = torch.cat(
            [world.render(factors[i : min(i + size, n)]).x for i in range(0, n, size)]
        )
        assert (parts - whole[:n]).abs().max() <= 1e-6
        assert torch.equal((parts * 255).round().byte(), (whole[:n] * 255).round().byte())


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
    assert strengths.abs().min() >= WEAKEST - 1e-6 and strengths.abs().max() <= 1


def test_no_sampled_face_has_two_that_exclude_each_other(world, many):
    for a, b in EXCLUSIONS:
        both = (column(world, many, a) > 0) & (column(world, many, b) > 0)
        assert not both.any(), (a, b)


@pytest.mark.parametrize("correlated", [True, False])
def test_attributes_are_on_as_often_as_stated(world, correlated):
    factors = world.sample(20_000, seed=1, correlated=correlated)
    rates = (world.labels(factors) > 0).float().mean(0)
    assert (rates > 0.08).all() and (rates < 0.92).all()
    for name, stated in RATES.items():
        rate = rates[world.schema.index(name)].item()
        if excluded_by(name):
            assert rate < stated + 0.015, name
        else:
            assert rate == pytest.approx(stated, abs=0.015), name


def test_attributes_go_together_as_stated_or_not_at_all(world, many):
    stated = world.correlations
    assert torch.linalg.eigvalsh(stated).min() > 0 and torch.equal(stated, stated.T)
    free = [NAMES.index(name) for name in NAMES if not excluded_by(name)]
    expected = stated[free][:, free]
    # for two dichotomised normals a correlation keeps its sign and shrinks
    seen = torch.corrcoef(world.labels(many)[:, free].T.double())
    strong = expected.abs() > 0.2
    assert (seen[strong].sign() == expected[strong].sign()).all()
    assert (seen.abs() < expected.abs() + 0.03).all()
    alone = world.sample(20_000, seed=7, correlated=False)
    seen = torch.corrcoef(world.labels(alone)[:, free].T.double())
    assert (seen - torch.eye(len(free))).abs().max() < 0.03


@pytest.mark.parametrize("name", NAMES)
def test_a_counterfactual_changes_one_attribute_and_the_pixels_it_owns(world, name):
    factors = world.sample(12, seed=21)
    off, on = (world.counterfactual(factors, name, value) for value in (False, True))
    assert (column(world, off, name) == -1).all() and (column(world, on, name) == 1).all()
    for changed, forced in ((off, ()), (on, excluded_by(name))):
        assert torch.equal(changed.nuisance, factors.nuisance)
        same = [k for k, other in enumerate(NAMES) if other != name and other not in forced]
        assert torch.equal(changed.attributes[:, same], factors.attributes[:, same])
    for other in excluded_by(name):
        assert (column(world, on, other) == -1).all()
    with_it, without = world.render(on), world.render(off)
    region = world.region(factors, name)
    assert torch.equal(with_it.x_b, without.x_b)
    for layer in ("x", "x_f", "mask"):
        differs = getattr(with_it, layer) != getattr(without, layer)
        assert not (differs & ~region).any(), layer
    seen = ((with_it.x - without.x).abs().amax(1) > 0.1).sum((1, 2))
    assert (seen >= 4).all(), f"{name} shows on every face: {seen.tolist()}"


def test_a_counterfactual_takes_a_strength(world):
    factors = world.sample(4, seed=2)
    weak, strong = (world.counterfactual(factors, "Smiling", s) for s in (0.1, 1))
    k = world.schema.index("Smiling")
    assert world.strengths(weak)[:, k].tolist() == pytest.approx([0.1] * 4)
    assert not torch.equal(world.render(weak).x, world.render(strong).x)


def test_bad_requests_are_explained(world):
    factors = world.sample(2)
    with pytest.raises(UnknownAttribute, match="Smiling"):
        world.counterfactual(factors, "Smilling", True)
    with pytest.raises(ValueError, match=r"Smiling.*\[-1, 1\], not 2"):
        world.counterfactual(factors, "Smiling", 2.0)
    with pytest.raises(ValueError, match="between 32 and 256 pixels, not 300"):
        world.render(factors, 300)
