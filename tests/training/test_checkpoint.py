"""Files that are whole or absent, and releases that are what their cards say."""

import errno
import json
import pickle

import pytest
import torch
from torch import nn

from a2i_lib import released
from a2i_lib.attributes import Attribute, AttributeSchema
from a2i_lib.training import checkpoint
from a2i_lib.training.checkpoint import (
    CheckpointError,
    load_release,
    read_tensors,
    save_release,
    write_tensors,
    write_whole,
)

SCHEMA = AttributeSchema([Attribute("Smiling"), Attribute("Male")])


@pytest.fixture
def release(tmp_path, monkeypatch):
    """A tiny released VAE in a folder of its own."""
    from a2i_lib.models import build

    recipe = {"model": "cvae", "settings": {"latent": 4, "width": 0.125}, "data": {"size": 16}}
    model = build("cvae", 2, 16, **recipe["settings"])
    path = save_release(tmp_path, "tiny", model, {"recipe": recipe, "schema": SCHEMA.to_dict()})
    monkeypatch.setenv("A2I_CHECKPOINTS", str(tmp_path))
    return path, model


def test_tensors_and_header_come_back(tmp_path):
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"w": torch.arange(6.0).view(2, 3)}, {"step": 7})
    tensors, header = read_tensors(path)
    assert header == {"step": 7} and torch.equal(tensors["w"], torch.arange(6.0).view(2, 3))


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    write_whole(path, b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_pickles_and_halves_are_refused(tmp_path):
    pickled = tmp_path / "a.pt"
    pickled.write_bytes(pickle.dumps({"w": 1}))
    with pytest.raises(CheckpointError, match="safetensors only"):
        read_tensors(pickled)
    whole = tmp_path / "b.safetensors"
    write_tensors(whole, {"w": torch.zeros(100)}, {})
    whole.write_bytes(whole.read_bytes()[:200])
    with pytest.raises(CheckpointError, match=r"b\.safetensors"):
        read_tensors(whole)
    with pytest.raises(CheckpointError, match="no such file"):
        read_tensors(tmp_path / "c.safetensors")


def test_a_release_loads_by_name_and_samples(release):
    _, model = release
    loaded = released.load("tiny", SCHEMA)
    assert torch.equal(loaded.model.mu.weight, model.mu.weight) and not loaded.model.training
    assert loaded.model.sample(loaded.schema.encode("Smiling")[None], 2).shape == (2, 3, 16, 16)


def test_a_wrong_hash_is_told(release):
    path, model = release
    weights = path.with_suffix(".safetensors")
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="SHA-256"):
        released.load("tiny")


def test_another_schema_is_told(release):
    other = AttributeSchema([Attribute("Smiling"), Attribute("Bald")])
    with pytest.raises(CheckpointError, match="attribute 1 is 'Male'.*expected 'Bald'"):
        released.load("tiny", other)


def test_weights_of_another_model_are_told(release):
    path, _ = release
    with pytest.raises(CheckpointError, match="weights of another model"):
        load_release(path, nn.Linear(2, 2))


def test_an_unknown_release_is_answered_with_the_closest(release):
    with pytest.raises(CheckpointError, match="did you mean 'tiny'"):
        released.load("tinny")


def test_a_damaged_card_is_named(release):
    path, _ = release
    path.write_text("{")
    with pytest.raises(CheckpointError, match=r"tiny\.json: not a card"):
        released.load("tiny")


def test_large_weights_are_stored_in_half_precision(tmp_path):
    model = nn.Linear(1500, 1500)
    path = save_release(tmp_path, "large", model, {})
    assert path.with_suffix(".safetensors").stat().st_size < 8 * 2**20
    again = nn.Linear(1500, 1500)
    load_release(path, again)
    torch.testing.assert_close(again.weight, model.weight, atol=1e-4, rtol=1e-3)
    assert json.loads(path.read_text())["weights"] == "large.safetensors"
