"""`a2i data NAME --from PATH`: what is there decides how it is read; from there to a trained model
and a sampled picture.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from layouts import CUB_TABLES, casia, celeba, cub, lfw, own, pack
from parquet_files import picture, write_parquet
from PIL import Image

from a2i_lib.__main__ import main
from a2i_lib.data import AttributeImages, DataError
from a2i_lib.data.readers import READERS, parquet_files


def run(*words):
    return main([str(word) for word in words])


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def prepare(*words):
    assert run("data", *words, "--size", 32, "--workers", 1) == 0


def test_from_the_layout_to_a_sampled_picture(tmp_path, capsys):
    lfw(tmp_path / "lfw", people=8)
    prepare("lfw", "--from", "lfw", "--crop", "lfwcrop", "--attributes", "Male,Middle Aged")
    assert "16 rows read, 16 kept" in capsys.readouterr().out
    data = AttributeImages.load("datasets/lfw-32")
    assert data.schema.names == ["Male", "Middle_Aged"] and data.provenance["report"]["kept"] == 16
    train = ["train", "cvae-lfw", "--dataset", "datasets/lfw-32", "--profile", "smoke"]
    assert run(*train, "--no-progress", "--out", "run") == 0
    assert run("sample", "run/cvae-lfw.json", "--attributes", "Male=1", "--n", 2) == 0
    assert Image.open("samples.png").size[0] > 64


def test_own_pictures_train_a_model_named_after_them(tmp_path, capsys):
    own(tmp_path)
    words = ["--from", "pictures", "--labels", "attributes.csv", "--name", "discs"]
    prepare("own", *words)
    train = ["--dataset", "datasets/discs-32", "--profile", "smoke", "--no-progress"]
    assert run("train", "cvae-lfw", *train) == 0
    card = json.loads((tmp_path / "runs/cvae-discs-smoke/cvae-discs.json").read_text())
    command = "a2i train cvae-lfw --dataset datasets/discs-32 --profile smoke"
    assert card["command"] == command and "as the owner of the pictures allows" in card["use"]
    assert run("train", "regressor-lfw", *train) == 0
    capsys.readouterr()
    judge = "runs/regressor-discs-smoke/regressor-discs.json"
    assert run("evaluate", "runs/cvae-discs-smoke/cvae-discs.json", "--predictor", judge) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["samples"] > 0 and 0 < found["sample_balanced_accuracy"]["mean"] <= 1
    assert run("train", "discvae-lfw", *train) == 1
    assert "learns from masks, and there are none" in capsys.readouterr().err


def test_celeba_from_its_archive_with_seventeen_attributes(tmp_path):
    pack(celeba(tmp_path / "c") / "img_align_celeba")
    prepare("celeba", "--from", "c", "--attributes", "slgan17", "--crop", "acvaegan")
    data = AttributeImages.load("datasets/celeba-slgan17-32")
    assert len(data.schema) == 17 and "148x148" in data.provenance["crop"]


def test_celebas_attributes_are_chosen_from_parquet_as_well(tmp_path):
    from a2i_lib.data.celeba import ATTRIBUTES

    columns = {"image": [picture(i) for i in range(4)], "partition": [0, 0, 1, 2]}
    columns |= {name: [True, False] * 2 for name in ATTRIBUTES}
    write_parquet(tmp_path / "c.parquet", columns)
    source = READERS["celeba"].read(["c.parquet"], attributes=["icgan18"])
    assert len(source.schema) == 18 == source.attributes.shape[1]
    with pytest.raises(DataError, match="--crop is for the data set as it is downloaded"):
        READERS["celeba"].read(["c.parquet"], crop="a2i")


def test_cub_per_image(tmp_path):
    cub(tmp_path / "cub", segmented=True)
    (tmp_path / "cub" / CUB_TABLES["images.txt"] / "attributes.txt").write_bytes(
        (tmp_path / "cub" / "attributes.txt").read_bytes()
    )
    prepare("cub", "--from", "cub/CUB_200_2011", "--per", "image")
    data = AttributeImages.load("datasets/cub-32")
    assert data.masks is not None and data.provenance["attributes"].startswith("per picture")


def test_casia_with_a_released_predictor(tmp_path, capsys):
    casia(tmp_path, people=12)
    prepare("casia", "--from", "CASIA-WebFace", "--attributes", "Smiling,Eyeglasses")
    assert run("data", "show", "datasets/casia-32") == 0
    assert not Path("datasets/casia-32.labels").exists()
    shown = capsys.readouterr().out
    assert "PREDICTED" in shown and shown.count(" predicted\n") == 2
    assert run("data", "casia", "--from", "CASIA-WebFace", "--predictor", "cvae-lfw") == 1
    assert "predicts no attributes" in capsys.readouterr().err


def test_casias_labels_outlive_an_interruption(tmp_path, capsys, monkeypatch):
    casia(tmp_path, people=12)
    from_casia = ["data", "casia", "--from", "CASIA-WebFace", "--size", "32", "--workers", "1"]
    with monkeypatch.context() as patch:
        patch.setattr("a2i_lib.data.cli.prepare", interrupted)
        assert run(*from_casia) == 130
    assert "continues with what is in datasets/casia-32.labels" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setattr("a2i_lib.models.classifier.AttributeClassifier.forward", interrupted)
        assert run(*from_casia) == 0  # nothing is looked at twice
    assert len(AttributeImages.load("datasets/casia-32")) == 24


def interrupted(*_, **__):
    raise KeyboardInterrupt


def test_own_parquet_files(tmp_path):
    columns = {
        "photo": [picture(i, 16, 12) for i in range(20)],
        "name": [f"n{i}" for i in range(20)],
        "round": [i % 2 == 0 for i in range(20)],
        "height": [i / 4 for i in range(20)],
        "split": ["train"] * 16 + ["validation", "test"] * 2,
    }
    write_parquet(tmp_path / "o.parquet", columns)
    prepare("own", "--from", "o.parquet")
    data = AttributeImages.load("datasets/own-32")
    assert [(a.name, a.kind) for a in data.schema] == [("round", "binary"), ("height", "score")]
    assert data.split.tolist() == [0] * 16 + [1, 2] * 2
    np.testing.assert_array_equal(data.images[:, 0, 5, 5], np.arange(20))
    for change, message in (
        ({"height": [None] + [1.0] * 19}, "'height' is null"),
        ({"split": ["train"] * 19 + ["dev2"]}, "row 19: 'split' is 'dev2'"),
        ({"photo": list(range(20))}, "no column holds pictures"),
    ):
        write_parquet(tmp_path / "bad.parquet", columns | change)
        with pytest.raises(DataError, match=message):
            READERS["own"].read(["bad.parquet"])
    with pytest.raises(DataError, match="no column of numbers 'hight'; did you mean 'height'"):
        READERS["own"].read(["o.parquet"], attributes=["hight"])


def test_what_is_there_is_recognised(tmp_path, capsys):
    (tmp_path / "shards").mkdir()
    (tmp_path / "empty").mkdir()
    write_parquet(tmp_path / "shards" / "a.parquet", {"n": [1]})
    assert parquet_files(["shards"]) == ["shards/a.parquet"]
    assert parquet_files(["empty"]) is None and parquet_files(["x-*.parquet"]) == ["x-*.parquet"]
    (tmp_path / "shards" / "a.parquet").rename(tmp_path / "without-suffix")
    assert parquet_files(["without-suffix"]) == ["without-suffix"]
    for words, message in (
        (["lfw", "--from", "empty"], "empty: no lfw_attributes.txt, neither in it nor beside it"),
        (["lfw", "--from", "nowhere"], "nowhere: no such file"),
        (["celeba", "--from", "empty", "shards"], "empty is a folder: give just the one"),
        (["own", "--from", "empty"], "add --labels TABLE.csv"),
        (["lfw", "--from", "empty", "--labels", "binary"], "LFWA+ is in Parquet"),
        (["cub", "--from", "without-suffix", "--per", "image"], "--per is for the data set as it"),
    ):
        assert run("data", *words) == 1
        assert message in capsys.readouterr().err
