"""The stored tables: made by the command they name, on the data they name, by today's recipes."""

import json

import pytest
import torch
from PIL import Image

from a2i_lib import released
from a2i_lib.__main__ import main
from a2i_lib.attributes import Attribute, AttributeSchema
from a2i_lib.data.celeba import ATTRIBUTES
from a2i_lib.data.dataset import AttributeImages
from a2i_lib.recipes import BETAS, get_recipe
from a2i_lib.reproduce import TABLES

TABLE = released.folder() / "debbagh-table1.json"


def prepare(folder, name, attributes):
    generator = torch.Generator().manual_seed(0)
    AttributeImages(
        images=torch.randint(256, (60, 3, 64, 64), generator=generator, dtype=torch.uint8),
        attributes=torch.randn(60, len(attributes), generator=generator).sign(),
        split=torch.tensor([0] * 40 + [1] * 4 + [2] * 16, dtype=torch.int8),
        schema=AttributeSchema([Attribute(a) for a in attributes]),
        masks=None,
        name=name,
        provenance={"source": "random numbers"},
    ).save(folder / f"{name}-64")


def test_debbaghs_table_from_data_to_json(tmp_path, capsys):
    prepare(tmp_path, "celeba", ATTRIBUTES)
    prepare(tmp_path, "cub", ["has_wing_color::blue", "has_size::small"])
    out = tmp_path / "out"
    command = ["reproduce", "debbagh-table1", "--data", str(tmp_path), "--profile", "smoke"]
    assert main([*command, "--out", str(out)]) == 0
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


def test_missing_data_and_unknown_tables_are_one_line(tmp_path, capsys):
    out = ["--data", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(["reproduce", "debbagh-table1", *out]) == 1
    assert "a2i data celeba --from FILE" in capsys.readouterr().err
    assert main(["reproduce", "debbagh-table2", *out]) == 1
    assert "did you mean 'debbagh-table1'?" in capsys.readouterr().err


@pytest.mark.skipif(not TABLE.exists(), reason="the stored run is not there")
def test_the_stored_table_is_todays_recipes():
    table = json.loads(TABLE.read_text())
    assert table["name"] in TABLES and table["command"].startswith(f"a2i reproduce {table['name']}")
    for run in table["runs"]:
        stated = run["recipe"]
        changes = {"beta": run["beta"], "seed": run["seed"]}
        today = get_recipe(stated["name"], stated["profile"], **changes)
        now = json.loads(json.dumps(today.to_dict()))
        younger = {key: value for key, value in now.items() if key not in stated}
        assert stated == {key: now[key] for key in stated} and not any(younger.values())
        assert table["data"][run["data"]]["provenance"]["files"]
    assert {run["data"] for run in table["runs"]} == {"celeba", "cub"}
    assert {run["beta"] for run in table["runs"]} == set(BETAS)
