"""Sets that no memory holds: mapped, asked for ahead of time, and shared between processes."""

import ctypes
import json
import os
import resource

import numpy as np
import pytest
import torch

from a2i_lib import memory
from a2i_lib.attributes import Attribute, AttributeSchema
from a2i_lib.data import AttributeImages
from a2i_lib.data import dataset as module
from a2i_lib.data.augment import Augment


def test_a_mapped_folder_stays_on_the_disk(toy, tmp_path):
    data = AttributeImages.load(toy.save(tmp_path / "toy"))
    next(data.batches("train", 4))
    pixels, _, masks = data._on_device[torch.device("cpu")]
    assert pixels.data_ptr() == data.images.data_ptr() and masks.data_ptr() == data.masks.data_ptr()
    maps = open("/proc/self/maps").read() if os.path.exists("/proc/self/maps") else "images.npy"
    assert "images.npy" in maps


def larger_than_memory(folder) -> int:
    """A folder whose images are one hole in a file half as large again as the memory; how many."""
    side = 256
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    n = 3 * memory_bytes // 2 // (3 * side**2)
    small = {
        "attributes.npy": np.ones((n, 1), np.float32),
        "split.npy": np.zeros(n, np.int8),
    }
    folder.mkdir()
    for name, array in small.items():
        np.save(folder / name, array)
    shape = (n, side, side, 3)
    with open(folder / "images.npy", "wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + n * 3 * side**2)
    shapes = {name: (array.shape, str(array.dtype)) for name, array in small.items()}
    files = {
        name: {"bytes": (folder / name).stat().st_size, "shape": list(s), "dtype": t, "sha256": ""}
        for name, (s, t) in (shapes | {"images.npy": (shape, "uint8")}).items()
    }
    header = {
        "format": module.FORMAT, "version": module.VERSION, "name": "huge", "provenance": {},
        "schema": AttributeSchema([Attribute("A")]).to_dict(), "files": files,
    }  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(header))
    return n


@pytest.mark.skipif(not hasattr(os, "sysconf"), reason="the size of the memory is not known here")
def test_a_set_larger_than_the_memory_gives_batches(tmp_path):
    try:
        n = larger_than_memory(tmp_path / "huge")
    except OSError as error:
        pytest.skip(f"this disk takes no file of that size, not even an empty one: {error}")
    data = AttributeImages.load(tmp_path / "huge")
    assert len(data) == n and data.images.device.type == "cpu"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    batches = data.batches("train", 32, infinite=True)
    for _ in range(4):
        assert next(batches).x.shape == (32, 3, 256, 256)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # KiB
    assert grown < 400 * 1024


def test_each_batch_is_asked_for_while_the_one_before_is_used(toy, tmp_path, monkeypatch):
    data = AttributeImages.load(toy.save(tmp_path / "toy"))
    events = []
    kinds = {data.images.data_ptr(): "images", data.masks.data_ptr(): "masks"}

    def note(array, rows):
        events.append((kinds[array.data_ptr()], rows.tolist()))

    monkeypatch.setattr(module, "read_ahead", note)
    for batch in data.batches("train", 8, seed=2):
        events.append(("used", (batch.x[:, 0, 0, 0] * 255).round().int().tolist()))
    asked = [rows for what, rows in events if what == "images"]
    used = [rows for what, rows in events if what == "used"]
    assert asked == used and [rows for what, rows in events if what == "masks"] == asked
    two = ["images", "masks"]
    assert [what for what, _ in events] == [*two, *two, "used", *two, "used", "used"]


def test_the_system_is_asked_for_whole_pages_of_the_rows(monkeypatch):
    asked = []
    monkeypatch.setattr(memory, "_madvise", lambda: lambda *call: asked.append(call))
    array = torch.zeros(10, 5, 5, 3, dtype=torch.uint8)
    memory.read_ahead(array, torch.tensor([7, 2]))
    for row, (page, length, _) in zip((7, 2), asked, strict=True):
        start = array[row].data_ptr()
        assert page % memory.mmap.PAGESIZE == 0 and page <= start < page + memory.mmap.PAGESIZE
        assert page + length == start + 75


def test_asking_changes_nothing_and_may_be_impossible(toy, tmp_path, monkeypatch):
    data = AttributeImages.load(toy.save(tmp_path / "toy"))
    expected = [batch.x for batch in data.batches("train", 8)]
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    memory._madvise.cache_clear()
    found = [batch.x for batch in data.batches("train", 8)]
    memory._madvise.cache_clear()
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))


@pytest.mark.parametrize("n", [2, 3])
def test_shares_are_the_batches_image_for_image(toy, n):
    """None twice and none left out, with the augmentation that it has in one process."""
    options = {"seed": 4, "augment": Augment.lfw(), "infinite": True, "start": 2}
    whole = toy.batches("train", 6, **options)
    shares = [toy.batches("train", 6, share=(r, n), **options) for r in range(n)]
    for _ in range(7):
        batch, parts = next(whole), [next(share) for share in shares]
        for name in ("x", "y", "mask"):
            together = torch.stack([getattr(part, name) for part in parts], 1).flatten(0, 1)
            assert torch.equal(together, getattr(batch, name))


def test_an_epoch_over_all_processes_has_each_image_once(toy):
    seen = []
    for r in range(4):
        for batch in toy.batches("train", 8, seed=1, share=(r, 4)):
            seen += (batch.x[:, 0, 0, 0] * 255).round().int().tolist()
    assert sorted(seen) == list(range(20))
