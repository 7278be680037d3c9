"""`a2i data ...`."""

import argparse

import pytest
from parquet_files import LFW_NAMES, lfw_columns, write_parquet
from PIL import Image

from a2i_lib.data import AttributeImages, DataError
from a2i_lib.data.cli import add_data_parser


def run(*words):
    parser = argparse.ArgumentParser()
    add_data_parser(parser.add_subparsers())
    arguments = parser.parse_args([str(word) for word in ("data", *words)])
    arguments.run(arguments)


@pytest.fixture
def lfw(tmp_path):
    return write_parquet(tmp_path / "lfw.parquet", lfw_columns(), LFW_NAMES)


def test_lfw_goes_to_its_default_folder(lfw, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run("lfw", "--from", lfw, "--size", 8)
    data = AttributeImages.load("datasets/lfw-8", verify=True)
    assert len(data) == 40 and data.images.shape[-1] == 8
    assert "datasets/lfw-8: lfw: 40 images 8x8" in capsys.readouterr().out


def test_another_split_has_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr("a2i_lib.data.lfw.CMMA_BORDERS", (25, 30))
    path = write_parquet(tmp_path / "lfw.parquet", lfw_columns(), LFW_NAMES)
    monkeypatch.chdir(tmp_path)
    run("lfw", "--from", path, "--size", 8, "--split", "cmma")
    data = AttributeImages.load("datasets/lfw-cmma-8")
    assert data.name == "lfw" and [len(data.subset(s)) for s in ("train", "val", "test")] == [
        25, 5, 10,
    ]  # fmt: skip


def test_limit_labels_and_out(lfw, tmp_path):
    run(
        "lfw",
        "--from",
        lfw,
        "--size",
        8,
        "--limit",
        10,
        "--labels",
        "binary",
        "--out",
        tmp_path / "few",
    )
    data = AttributeImages.load(tmp_path / "few")
    assert len(data) == 10 and set(data.schema.kinds) == {"binary"}


def test_an_existing_folder_is_refused_before_anything_is_decoded(lfw, tmp_path):
    run("lfw", "--from", lfw, "--size", 8, "--out", tmp_path / "o")
    with pytest.raises(DataError, match="exists already"):
        run("lfw", "--from", "no-such-file", "--out", tmp_path / "o")
    run("lfw", "--from", lfw, "--size", 16, "--out", tmp_path / "o", "--overwrite")
    assert AttributeImages.load(tmp_path / "o").images.shape[-1] == 16


def bad_lfw(path, bad):
    columns = lfw_columns()
    for i in bad:
        columns["image"][i] = {"bytes": b"x", "path": "x.jpg"}
    return write_parquet(path, columns, LFW_NAMES)


def test_bad_pictures_are_left_out_and_reported(tmp_path, capsys):
    path = bad_lfw(tmp_path / "bad.parquet", [33])
    run("lfw", "--from", path, "--size", 8, "--workers", 1, "--out", tmp_path / "o")
    assert len(AttributeImages.load(tmp_path / "o")) == 39
    shown = capsys.readouterr().out
    assert "40 rows read, 39 kept" in shown and "bad.parquet, row 33" in shown


def test_too_many_bad_pictures_make_no_folder(tmp_path):
    path = bad_lfw(tmp_path / "bad.parquet", [7, 8, 33])
    command = ["lfw", "--from", path, "--size", 8, "--workers", 1, "--out", tmp_path / "o"]
    with pytest.raises(DataError, match=r"3 of 40 rows .* 5%.*\n.*\n.*bad\.parquet, row 7"):
        run(*command)
    assert not (tmp_path / "o").exists()
    run(*command, "--max-dropped", 0.1)
    assert len(AttributeImages.load(tmp_path / "o")) == 37
    assert {p.name for p in tmp_path.iterdir()} == {"bad.parquet", "o", ".o.lock"}


def test_bad_labels_leave_nothing(tmp_path):
    columns = lfw_columns() | {"view1": ["dev"] * 40}
    path = write_parquet(tmp_path / "bad.parquet", columns, LFW_NAMES)
    with pytest.raises(DataError, match=r"bad\.parquet, row 0: 'view1'"):
        run("lfw", "--from", path, "--out", tmp_path / "out" / "lfw")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.parquet"]


def test_an_interruption_says_how_to_go_on(lfw, tmp_path, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    command = ["lfw", "--from", lfw, "--size", 8, "--workers", 1, "--out", tmp_path / "o"]
    with monkeypatch.context() as patch:
        patch.setattr("a2i_lib.data.prepare.to_pixels", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(*command)
    assert f"continues with what is in {tmp_path / '.o.partial'}" in capsys.readouterr().err
    run(*command)
    assert len(AttributeImages.load(tmp_path / "o")) == 40


def test_show_describes_checks_and_draws(lfw, tmp_path, capsys):
    run("lfw", "--from", lfw, "--size", 8, "--out", tmp_path / "o")
    run("show", tmp_path / "o", "--sheet", tmp_path / "sheet.png")
    shown = capsys.readouterr().out
    assert "ESTIMATES" in shown and "Smiling" in shown and "SHA-256" in shown
    width, height = Image.open(tmp_path / "sheet.png").size
    assert width == 8 * 8 and height % 8 == 0
    with open(tmp_path / "o" / "images.npy", "r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff")
    with pytest.raises(DataError, match=r"images\.npy"):
        run("show", tmp_path / "o")


@pytest.mark.parametrize("world", ["faces", "birds"])
def test_a_drawn_world(world, tmp_path):
    run("world", world, "--n", 20, "--seed", 4, "--size", 32, "--out", tmp_path / world)
    data = AttributeImages.load(tmp_path / world, verify=True)
    assert len(data) == 20 and data.masks is not None and data.provenance["seed"] == 4
    assert set(data.attributes.unique().tolist()) == {-1.0, 1.0}
    assert data.images.float().std() > 10
