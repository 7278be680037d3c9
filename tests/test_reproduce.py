"""The stored tables: made by the command they name, on the data they name, by today's recipes."""

import json
import math

import pytest
import torch
from PIL import Image

from a2i_lib import released
from a2i_lib.__main__ import main
from a2i_lib.attributes import Attribute, AttributeSchema
from a2i_lib.data.celeba import ATTRIBUTES
from a2i_lib.data.dataset import AttributeImages
from a2i_lib.evaluation.completion import TASKS
from a2i_lib.evaluation.likelihood import dequantise
from a2i_lib.recipes import BETAS, Recipe, get_recipe
from a2i_lib.reproduce import INFERENCE, PANEL, TABLES, WINDOWS, edited_recipe

STORED = [path for name in TABLES if (path := released.folder() / f"{name}.json").exists()]


def prepare(folder, name, attributes, masks=None, split=""):
    """60 images of noise under a schema, or under binary attributes of these names."""
    generator = torch.Generator().manual_seed(0)
    known = isinstance(attributes, AttributeSchema)
    AttributeImages(
        images=torch.randint(256, (60, 3, 64, 64), generator=generator, dtype=torch.uint8),
        attributes=torch.randn(60, len(attributes), generator=generator).sign(),
        split=torch.tensor([0] * 40 + [1] * 4 + [2] * 16, dtype=torch.int8),
        schema=attributes if known else AttributeSchema([Attribute(a) for a in attributes]),
        masks=masks,
        name=name,
        provenance={"source": "random numbers"},
    ).save(folder / f"{name}{split}-64")


def command(table, folder, profile="smoke"):
    """Everything stays in `folder`: data, runs, and the table in `folder`/out."""
    places = ["--data", folder, "--out", folder / "out", "--runs", folder / "runs"]
    return ["reproduce", table, *map(str, places), "--profile", profile, "--no-progress"]


def test_debbaghs_table_from_data_to_json(tmp_path, capsys):
    prepare(tmp_path, "celeba", ATTRIBUTES)
    prepare(tmp_path, "cub", ["has_wing_color::blue", "has_size::small"])
    out = tmp_path / "out"
    assert main(command("debbagh-table1", tmp_path)) == 0
    assert capsys.readouterr().out.strip() == str(out / "debbagh-table1.json")
    table = json.loads((out / "debbagh-table1.json").read_text())
    assert [(run["data"], run["beta"]) for run in table["runs"]] == [
        (name, beta) for name in ("celeba", "cub") for beta in BETAS
    ]
    for run in table["runs"]:
        assert run["recipe"]["beta"] == run["beta"]
        for split in ("train", "test"):
            assert run[split]["squared_error"] > 0 and run[split]["kl"] >= 0
    grey = table["data"]["cub"]["grey_squared_error"]
    assert grey == pytest.approx(12288 / 12, rel=0.02)  # variance of uniform noise
    assert Image.open(out / "debbagh-table1-celeba.png").size == (8 * 66 + 2, 4 * 66 + 2)


@pytest.fixture(scope="module")
def founding_paper(tmp_path_factory):
    """LFW and CUB as noise, with half of each image marked as the person or bird."""
    folder = tmp_path_factory.mktemp("attribute2image")
    masks = torch.zeros(60, 1, 64, 64, dtype=torch.uint8)
    masks[:, :, :, :32] = 255
    prepare(folder, "lfw", released.load("regressor-lfw").schema, masks)
    prepare(folder, "cub", ["has_wing_color::blue", "has_size::small"], masks)
    return folder


def test_attribute2images_first_table_goes_on_where_it_stopped(founding_paper, monkeypatch):
    monkeypatch.setitem(INFERENCE, "steps", 2)
    assert main(command("attribute2image-table1", founding_paper)) == 0
    path = founding_paper / "out" / "attribute2image-table1.json"
    table = json.loads(path.read_text())
    assert [(run["data"], run["model"]) for run in table["runs"]] == [
        (name, model) for name in ("lfw", "cub") for model in ("vae", "cvae", "discvae")
    ]
    for run in table["runs"]:
        kind = {"lfw": "faces", "cub": "birds"}[run["data"]]
        assert tuple(run["tasks"]) == TASKS[kind]
        full, half = run["tasks"]["full"], run["tasks"]["foreground"]
        assert full["squared_error"] == pytest.approx(12288 * full["mean_squared_error"], rel=1e-4)
        assert 0.3 < half["squared_error"] / full["squared_error"] < 0.7  # the mask is one half
        assert run["images"] == 16 and run["recipe"]["sigma"] == table["inference"]["sigma"]

    def never(*_, **__):
        raise AssertionError("this run was there")

    monkeypatch.setattr(Recipe, "train", never)
    monkeypatch.setattr("a2i_lib.reproduce.run_tasks", never)
    assert main(command("attribute2image-table1", founding_paper)) == 0
    assert json.loads(path.read_text())["runs"] == table["runs"]


def test_attribute2images_second_table_measures_by_the_released_regressor(founding_paper):
    assert main(command("attribute2image-table2", founding_paper)) == 0
    table = json.loads((founding_paper / "out" / "attribute2image-table2.json").read_text())
    assert [run["model"] for run in table["runs"]] == ["cvae", "discvae"]
    one, two = (run["rows"]["published units"] for run in table["runs"])
    assert one["NN"] == two["NN"] and one["model"] != two["model"]
    assert table["references"] == 16 and table["samples_each"] == 10
    assert table["regressor"]["sha256"] == released.load("regressor-lfw").card["sha256"]


@pytest.fixture(scope="module")
def lfw_as_cmma_splits_it(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cmma")
    prepare(folder, "lfw", released.load("regressor-lfw").schema, split="-cmma")
    return folder


def test_cmmas_bounds(lfw_as_cmma_splits_it):
    assert main(command("cmma-table2", lfw_as_cmma_splits_it)) == 0
    table = json.loads((lfw_as_cmma_splits_it / "out" / "cmma-table2.json").read_text())
    assert [run["model"] for run in table["runs"]] == ["cmma", "cmma-y", "matched-cvae"]
    assert [run["recipe"]["settings"]["sees_y"] for run in table["runs"]] == [False, True, False]
    cmma, _, cvae = (run["bound"]["nats"] for run in table["runs"])
    assert table["leads"][0]["nats"] == pytest.approx(cmma - cvae, rel=1e-3, abs=0.1)
    assert table["images"] == 16 and table["values"] == 12288


def test_cmmas_bits_are_those_of_dequantised_faces(lfw_as_cmma_splits_it, monkeypatch):
    """Were the faces measured at their levels, no noise would be asked for."""
    noisy = []

    def watched(x, generator=None):
        noisy.append(dequantise(x, generator))
        return noisy[-1]

    monkeypatch.setattr("a2i_lib.reproduce.dequantise", watched)
    assert main(command("cmma-table2", lfw_as_cmma_splits_it)) == 0
    table = json.loads((lfw_as_cmma_splits_it / "out" / "cmma-table2.json").read_text())
    assert len(noisy) == len(table["runs"]) == 3
    assert all(0 < float((x * 255 - (x * 255).round()).abs().max()) <= 0.5 for x in noisy)
    for bound in (run["bound"] for run in table["runs"]):
        at_levels = (math.log(255) - bound["nats"] / table["values"]) / math.log(2)
        assert bound["bits_per_dimension"] == pytest.approx(at_levels, abs=0.05)
        assert bound["bits_per_dimension"] != pytest.approx(at_levels, abs=1e-9)


def test_cmmas_windows(lfw_as_cmma_splits_it, monkeypatch):
    monkeypatch.setitem(WINDOWS, "windows", 3)
    assert main(command("cmma-table3", lfw_as_cmma_splits_it)) == 0
    table = json.loads((lfw_as_cmma_splits_it / "out" / "cmma-table3.json").read_text())
    assert [run["model"] for run in table["runs"]] == ["cmma", "matched-cvae", "cgan"]
    values = [run["parzen"]["nats"] for run in table["runs"]]
    for lead, gap in zip(
        table["leads"], (values[0] - values[1], values[1] - values[2]), strict=True
    ):
        assert lead["nats"] == pytest.approx(gap, rel=1e-3, abs=0.1)
    assert table["mean face"]["sigma"] == pytest.approx(12**-0.5, rel=0.1)  # uniform noise


def test_edits_are_held_against_the_drawn_truth(tmp_path, monkeypatch):
    monkeypatch.setitem(PANEL, "people", 8)
    monkeypatch.setattr("a2i_lib.reproduce.EDITED", ("Smiling", "Eyeglasses"))
    given, train = [], Recipe.train

    def watched(recipe, images, **options):
        given.append(id(images))
        return train(recipe, images, **options)

    monkeypatch.setattr(Recipe, "train", watched)
    assert main(command("cmma-edits", tmp_path)) == 0
    table = json.loads((tmp_path / "out" / "cmma-edits.json").read_text())
    assert [run["model"] for run in table["runs"]] == ["cmma", "matched-cvae", "discvae"]
    assert len(given) == 3 and len(set(given)) == 1  # the same drawings
    assert len({run["recipe"]["steps"] for run in table["runs"]}) == 1
    assert table["edits"]["+Smiling"] + table["edits"]["-Smiling"] == 8
    cmma, cvae, layered = table["runs"]
    for run in table["runs"]:
        assert set(run["edits"]) == {"all", *table["edits"]}
        pasted = [run["edits"][key]["pasted"]["share"] for key in table["edits"]]
        assert min(pasted) <= run["edits"]["all"]["pasted"]["share"] <= max(pasted)
        assert set(run["rise"]) == set(table["rise of the truth"])
    assert max(cvae["step"].values()) == 0 < min(cmma["step"].values())
    assert table["rise of the truth"]["Eyeglasses"] > 5  # the judge has no doubt
    lead = cmma["bound"]["nats"] - cvae["bound"]["nats"]
    assert table["leads"][0]["nats"] == pytest.approx(lead, rel=1e-3, abs=0.1)
    assert "bound" not in layered


def test_missing_data_and_unknown_tables_are_one_line(tmp_path, capsys):
    assert main(command("debbagh-table1", tmp_path)) == 1
    assert "a2i data celeba --from FILE" in capsys.readouterr().err
    assert main(command("debbagh-table2", tmp_path)) == 1
    assert "did you mean 'debbagh-table1'" in capsys.readouterr().err


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_a_stored_table_is_of_todays_recipes(path):
    table = json.loads(path.read_text())
    assert table["name"] == path.stem
    assert table["command"].startswith(f"a2i reproduce {table['name']}")
    for run in table["runs"]:
        stated = run["recipe"]
        if table["name"] == "cmma-edits":
            today = edited_recipe(run["model"], stated["profile"], stated["seed"])
        else:
            changes = {key: stated[key] for key in ("beta", "seed")}
            today = get_recipe(stated["name"], stated["profile"], **changes)
        assert json.loads(json.dumps(today.to_dict())) == stated
    for data in table["data"].values():
        assert data["provenance"].get("files") or "drawn world" in data["provenance"]["source"]


def test_debbaghs_stored_table_is_whole():
    table = json.loads((released.folder() / "debbagh-table1.json").read_text())
    assert {run["data"] for run in table["runs"]} == {"celeba", "cub"}
    assert {run["beta"] for run in table["runs"]} == set(BETAS)
