"""Recipes and the command line, as a user would type it."""

import json

import pytest
import torch
from PIL import Image

from a2i_lib.__main__ import main
from a2i_lib.models import build
from a2i_lib.recipes import PROFILES, RECIPES, Prepared, get_recipe
from a2i_lib.training.checkpoint import read_tensors
from a2i_lib.training.updates import AdversarialUpdate, Game, LearnedElboUpdate


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("profile", PROFILES)
def test_every_recipe_is_complete_and_plain(name, profile):
    recipe = get_recipe(name, profile)
    assert (recipe.name, recipe.profile) == (name, profile)
    json.dumps(recipe.to_dict())
    with torch.device("meta"):
        build(recipe.model, 5, recipe.data.size, **recipe.settings)


def test_releases_are_the_same_network_as_what_a_chapter_trains():
    """But for the least deviation of a pixel, which is no size (chapter 08, section 12)."""

    def network(recipe):
        settings = {k: v for k, v in recipe.settings.items() if k != "min_std"}
        return recipe.model, settings, recipe.sigma

    other_floors = set()
    for name in RECIPES:
        live, release = get_recipe(name, "cpu"), get_recipe(name, "release")
        assert network(live) == network(release)
        if live.settings != release.settings:
            other_floors.add(name)
    drawn = {
        f"{kind}-{w}" for kind in ("cmma", "cmma-y", "matched-cvae") for w in ("faces", "birds")
    }
    assert other_floors == drawn


@pytest.mark.parametrize("network", ["shallow", "deep", "prior"])
def test_beta_reaches_the_loss(network):
    recipe = get_recipe(f"{network}-beta-faces", "smoke", beta=0.75)
    data = recipe.load_data(progress=False)
    update = recipe.build_update(data)
    batch = next(data.batches("train", 8))
    terms = update.loss(batch)
    expected = 0.25 * terms.terms["squared_error"] + 0.75 * terms.terms["kl"]
    torch.testing.assert_close(terms.total, expected)


def test_beta_and_sigma_exclude_each_other():
    with pytest.raises(ValueError, match="beta already says"):
        get_recipe("cvae-faces", beta=0.5)


def test_unknown_names_are_answered_with_the_closest():
    with pytest.raises(ValueError, match="did you mean cvae-faces"):
        get_recipe("cvae-face")
    with pytest.raises(ValueError, match="unknown profile 'gpus'; did you mean gpu"):
        get_recipe("cvae-faces", "gpus")


def test_missing_data_says_how_to_prepare_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="a2i data lfw --from FILE"):
        Prepared("lfw").load(tmp_path)
    wanted = "lfw-cmma-64 is not there; .*--size 64 --split cmma --out"
    with pytest.raises(FileNotFoundError, match=wanted):
        get_recipe("cmma-lfw").load_data(tmp_path)


def test_the_compared_models_are_trained_alike():
    recipes = [get_recipe(f"{name}-lfw", "gpu") for name in ("cmma", "matched-cvae", "cgan")]
    for a in recipes:
        assert (a.data, a.steps, a.batch_size, a.augment) == (
            recipes[0].data, recipes[0].steps, recipes[0].batch_size, recipes[0].augment,
        )  # fmt: skip
        assert a.settings["width"] == 1.0 and a.settings["norm"] == recipes[0].settings["norm"]
    assert get_recipe("cmma-y-faces").settings["sees_y"]
    assert not get_recipe("cmma-faces").settings["sees_y"]


def test_objectives_follow_the_models():
    data = get_recipe("cgan-faces", "smoke").load_data(progress=False)

    def update(name, **changes):
        return get_recipe(name, "smoke", **changes).build_update(data)

    for name in ("cmma-faces", "matched-cvae-faces"):
        made = update(name, kl_weight=0.5)
        assert isinstance(made, LearnedElboUpdate) and made.kl_weight == 0.5
        assert made.adam == get_recipe(name).adam
    game = Game(mismatch=0.5, skip_above=0.8)
    made, again = (update("cgan-faces", game=game) for _ in range(2))
    assert isinstance(made, AdversarialUpdate) and made.game == game
    for one, other in zip(made.modules.values(), again.modules.values(), strict=True):
        assert all(
            torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True)
        )
    with pytest.raises(TypeError, match="recipe cmma-faces: CMMA has no discriminator"):
        update("cmma-faces", game=game)


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    """A classifier's card."""
    out = tmp_path_factory.mktemp("judge")
    main(["train", "classifier-faces", "--profile", "smoke", "--out", str(out), "--no-progress"])
    return out / "classifier-faces.json"


@pytest.mark.parametrize("name", ["cmma-faces", "cgan-faces"])
def test_other_models_train_sample_and_are_measured(name, tmp_path, capsys, judge):
    assert main(["train", name, "--profile", "smoke", "--out", str(tmp_path), "--no-progress"]) == 0
    card, png = tmp_path / f"{name}.json", tmp_path / "samples.png"
    assert main(["sample", str(card), "--n", "2", "--out", str(png)]) == 0
    with Image.open(png) as drawn:
        assert len(set(drawn.getdata())) > 10
    capsys.readouterr()
    assert main(["evaluate", str(card), "--n", "32", "--predictor", str(judge)]) == 0
    metrics = json.loads(capsys.readouterr().out)
    assert 0 <= metrics["sample_balanced_accuracy"]["mean"] <= 1
    if name == "cgan-faces":
        assert metrics["leakage"] is None and "no recognition model" in metrics["not measured"]
    else:
        assert metrics["leakage"]["y"] == 0  # z held, y reaches nothing in CMMA


def test_train_sample_evaluate(tmp_path, capsys, judge):
    out = tmp_path / "run"
    train = ["train", "cvae-faces", "--profile", "smoke", "--out", str(out), "--no-progress"]
    assert main(train) == 0
    card = json.loads((out / "cvae-faces.json").read_text())
    assert card["recipe"]["steps"] == 6 and card["curve"] and card["hardware"]
    first, _ = read_tensors(out / "cvae-faces.safetensors")
    assert main(train) == 1 and "--resume" in capsys.readouterr().err
    assert main([*train, "--resume"]) == 0
    again, _ = read_tensors(out / "cvae-faces.safetensors")
    assert again.keys() == first.keys() and all(torch.equal(again[k], first[k]) for k in first)

    png = tmp_path / "samples.png"
    sample = ["sample", str(out / "cvae-faces.json"), "--n", "3", "--out", str(png)]
    assert main([*sample, "--attributes", "Smiling, not Male"]) == 0
    with Image.open(png) as drawn:
        assert drawn.height >= 32 and drawn.width >= 3 * 32 and len(set(drawn.getdata())) > 10
    assert main([*sample, "--attributes", "Smilling"]) == 1
    assert "did you mean Smiling" in capsys.readouterr().err

    capsys.readouterr()
    arguments = ["evaluate", str(out / "cvae-faces.json"), "--n", "64", "--write"]
    assert main([*arguments, "--predictor", str(judge)]) == 0
    metrics = json.loads(capsys.readouterr().out)
    assert 0 <= metrics["sample_balanced_accuracy"]["mean"] <= 1
    assert json.loads((out / "cvae-faces.json").read_text())["metrics"] == metrics


def test_mistakes_are_one_line(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["train", "cvae-faces", "--device", "cuda"]) == 1
    assert "sees no GPU" in capsys.readouterr().err
    assert main(["train", "cvae-cats"]) == 1
    assert "known: " in capsys.readouterr().err
