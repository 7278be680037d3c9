"""What batches hold, and that a damaged or half-written folder is never loaded."""

import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from a2i_lib.attributes import Attribute, AttributeSchema
from a2i_lib.data import AttributeImages, Augment, DataError
from a2i_lib.worlds import Factors, Rendered


def rows_of(batch):
    return (batch.x[:, 0, 0, 0] * 255).round().long().tolist()


# ---------------------------------------------------------------------- batches


def test_a_batch_is_what_the_rows_say(toy):
    batch = next(toy.batches("train", 8))
    rows = rows_of(batch)
    torch.testing.assert_close(batch.x, toy.images[rows].float() / 255)
    torch.testing.assert_close(batch.y, toy.attributes[rows])
    torch.testing.assert_close(batch.mask, toy.masks[rows].float() / 255)
    assert batch.x.is_contiguous(memory_format=torch.channels_last)


def test_an_epoch_shows_each_image_once(toy):
    batches = list(toy.batches("train", 8))
    assert [len(b.x) for b in batches] == [8, 8, 4]
    rows = [row for b in batches for row in rows_of(b)]
    assert sorted(rows) == list(range(20)) and rows != sorted(rows)


def test_without_shuffling_rows_come_in_order(toy):
    rows = [row for b in toy.batches("test", 4, shuffle=False) for row in rows_of(b)]
    assert rows == [24, 25, 26, 27, 28, 29]


@pytest.mark.parametrize("batch_size", [8, 20, 33])
def test_endless_batches_are_full_and_show_all_images_equally(toy, batch_size):
    stream = toy.batches("train", batch_size, infinite=True)
    batches = [rows_of(next(stream)) for _ in range(20)]
    assert all(len(rows) == batch_size for rows in batches)
    seen = [row for rows in batches for row in rows]
    epochs = [seen[i : i + 20] for i in range(0, len(seen) - 19, 20)]
    assert all(sorted(epoch) == list(range(20)) for epoch in epochs)
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("infinite", [True, False])
@pytest.mark.parametrize("start", [0, 1, 2])
def test_start_resumes_bit_for_bit(toy, start, infinite):
    options = {"seed": 5, "augment": Augment.cub(16), "infinite": infinite}
    whole = toy.batches("train", 8, **options)
    for _ in range(start):
        next(whole)
    resumed = toy.batches("train", 8, **options, start=start)
    for _ in range(3 - start):
        a, b = next(whole), next(resumed)
        assert torch.equal(a.x, b.x) and torch.equal(a.y, b.y) and torch.equal(a.mask, b.mask)


def test_start_far_ahead_costs_no_batches(toy):
    stream = toy.batches("train", 8, infinite=True, start=10**9)
    assert len(next(stream).x) == 8
    assert list(toy.batches("train", 8, start=3)) == []


def test_seeds_differ_and_repeat(toy):
    order = [rows_of(next(toy.batches("train", 20, seed=s))) for s in (0, 0, 1)]
    assert order[0] == order[1] != order[2]


def test_streaming_gives_the_same_as_resident(toy):
    pairs = zip(
        toy.batches("train", 8, resident=True), toy.batches("train", 8, resident=False), strict=True
    )
    assert all(torch.equal(a.x, b.x) and torch.equal(a.y, b.y) for a, b in pairs)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("resident", [None, False])
def test_batches_on_the_gpu_equal_those_on_the_cpu(toy, resident):
    options = {"augment": Augment.cub(16), "infinite": True}
    here = toy.batches("train", 8, **options)
    there = toy.batches("train", 8, "cuda", **options, resident=resident)
    for _ in range(5):
        a, b = next(here), next(there)
        assert b.x.is_cuda and b.x.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(a.x, b.x.cpu(), atol=1e-4, rtol=0)
        torch.testing.assert_close(a.y, b.y.cpu())


def test_images_without_masks(toy):
    batch = next(replace(toy, masks=None).batches("val", 4, augment=Augment.lfw()))
    assert batch.mask is None


def test_unknown_and_empty_splits_are_refused_at_once(toy):
    with pytest.raises(DataError, match="'trian'.*did you mean 'train'"):
        toy.batches("trian", 8)
    with pytest.raises(DataError, match="toy: split 'val' is empty"):
        replace(toy, split=torch.zeros(30, dtype=torch.int8)).batches("val", 8)
    with pytest.raises(ValueError, match="batch_size 0"):
        toy.batches("train", 0)


def test_tensors_gives_a_whole_split(toy):
    x, y, masks = toy.tensors("val")
    assert x.dtype == torch.uint8 and x.shape == (4, 3, 16, 16)
    assert torch.equal(y, toy.attributes[20:24]) and torch.equal(masks, toy.masks[20:24])


# ---------------------------------------------------------------------- what is refused


def test_a_score_that_is_not_finite_names_row_and_attribute(toy):
    attributes = toy.attributes.clone()
    attributes[7, 2] = float("nan")
    with pytest.raises(DataError, match="toy: row 7, 'Age' is nan"):
        replace(toy, attributes=attributes)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("images", torch.zeros(30, 1, 16, 16, dtype=torch.uint8)),
        ("attributes", torch.zeros(30, 2)),
        ("masks", torch.zeros(30, 1, 8, 8, dtype=torch.uint8)),
        ("split", torch.zeros(29, dtype=torch.int8)),
    ],
)
def test_shapes_that_do_not_fit_name_the_field(toy, field, value):
    with pytest.raises(DataError, match=f"toy: {field} is .* expected"):
        replace(toy, **{field: value})


def test_other_split_numbers_are_refused(toy):
    with pytest.raises(DataError, match="split has values other than"):
        replace(toy, split=torch.full((30,), 3, dtype=torch.int8))


# ---------------------------------------------------------------------- files


def same(a, b):
    return (
        torch.equal(a.images, b.images)
        and torch.equal(a.attributes, b.attributes)
        and torch.equal(a.split, b.split)
        and (a.masks is b.masks or torch.equal(a.masks, b.masks))
        and (a.schema, a.name, a.provenance) == (b.schema, b.name, b.provenance)
    )


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("masks", [True, False])
def test_saved_and_loaded_is_the_same(toy, tmp_path, mmap, masks):
    data = toy if masks else replace(toy, masks=None)
    folder = data.save(tmp_path / "deep" / "toy")
    loaded = AttributeImages.load(folder, mmap=mmap, verify=True)
    assert same(loaded, data)
    a, b = next(data.batches("train", 8)), next(loaded.batches("train", 8))
    assert torch.equal(a.x, b.x) and b.x.is_contiguous(memory_format=torch.channels_last)


def test_writing_to_a_mapped_data_set_does_not_reach_the_file(toy, tmp_path):
    folder = toy.save(tmp_path / "toy")
    AttributeImages.load(folder).images.zero_()
    assert same(AttributeImages.load(folder, verify=True), toy)


def test_an_existing_folder_is_only_replaced_when_asked(toy, tmp_path):
    folder = toy.save(tmp_path / "toy")
    other = replace(toy, name="other")
    with pytest.raises(DataError, match="exists already"):
        other.save(folder)
    assert AttributeImages.load(folder).name == "toy"
    other.save(folder, overwrite=True)
    assert AttributeImages.load(folder).name == "other"
    assert os.listdir(tmp_path) == ["toy"]


def test_a_folder_of_something_else_is_never_replaced(toy, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("years of work")
    with pytest.raises(DataError, match="not a data set of this library"):
        toy.save(tmp_path / "thesis", overwrite=True)
    assert (tmp_path / "thesis" / "chapter1.tex").exists()


def test_a_full_disk_leaves_nothing(toy, tmp_path, monkeypatch):
    write, calls = np.save, []

    def full(file, array, **options):
        calls.append(1)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(file, array, **options)

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="No space left"):
        toy.save(tmp_path / "toy")
    assert len(calls) == 2 and os.listdir(tmp_path) == []


KILLED = """
import os, sys, time
import numpy as np, torch
from a2i_lib.attributes import Attribute, AttributeSchema
from a2i_lib.data import AttributeImages

write = np.save
def slow(file, array, **options):
    write(file, array, **options)
    print("writing", flush=True)
    time.sleep(60)
np.save = slow
images, split = torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.zeros(4, dtype=torch.int8)
schema = AttributeSchema([Attribute("A")])
AttributeImages(images, torch.zeros(4, 1), split, schema).save(sys.argv[1])
"""


def test_a_kill_while_writing_leaves_nothing_that_loads(toy, tmp_path):
    target = tmp_path / "toy"
    writer = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(target)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout.readline().strip() == "writing"
    writer.send_signal(signal.SIGKILL)
    assert writer.wait() == -signal.SIGKILL
    writer.stdout.close()
    leftovers = list(tmp_path.iterdir())
    assert leftovers and not target.exists()
    for folder in [target, *leftovers]:
        with pytest.raises(DataError, match=r"no dataset\.json"):
            AttributeImages.load(folder)
    assert same(AttributeImages.load(toy.save(target)), toy)


def test_a_truncated_file_is_named(toy, tmp_path):
    folder = toy.save(tmp_path / "toy")
    with open(folder / "images.npy", "r+b") as file:
        file.truncate(1000)
    with pytest.raises(DataError, match=r"images\.npy has 1,000 bytes, dataset\.json says"):
        AttributeImages.load(folder)


def test_a_changed_byte_is_found_by_verify(toy, tmp_path):
    folder = toy.save(tmp_path / "toy")
    with open(folder / "masks.npy", "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x07")
    AttributeImages.load(folder)
    with pytest.raises(DataError, match=r"masks\.npy: its SHA-256"):
        AttributeImages.load(folder, verify=True)


def test_a_missing_file_is_named(toy, tmp_path):
    folder = toy.save(tmp_path / "toy")
    (folder / "split.npy").unlink()
    with pytest.raises(DataError, match=r"split\.npy is missing"):
        AttributeImages.load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.update(version=99), "field 'version' is 99"),
        (lambda h: h.update(format="zip"), "field 'format'"),
        (lambda h: h.pop("schema"), "no field 'schema'"),
        (lambda h: h["files"].pop("split.npy"), r"no field 'split\.npy'"),
        (
            lambda h: h["files"]["images.npy"].update(dtype="float32"),
            r"images\.npy: uint8 of shape",
        ),
        (
            lambda h: h["schema"]["attributes"].append(h["schema"]["attributes"][0]),
            "duplicate attribute name 'Smiling'",
        ),
    ],
)
def test_a_damaged_header_names_the_field(toy, tmp_path, change, message):
    path = toy.save(tmp_path / "toy") / "dataset.json"
    header = json.loads(path.read_text())
    change(header)
    path.write_text(json.dumps(header))
    with pytest.raises(DataError, match=message):
        AttributeImages.load(tmp_path / "toy")


def test_a_header_that_is_not_json(toy, tmp_path):
    path = toy.save(tmp_path / "toy") / "dataset.json"
    path.write_text(path.read_text()[:100])
    with pytest.raises(DataError, match=r"dataset\.json is not JSON"):
        AttributeImages.load(tmp_path / "toy")


# ---------------------------------------------------------------------- worlds


class Patches:
    """A world of grey squares: one attribute, the shade; the mask covers the left half."""

    name = "patches"
    schema = AttributeSchema([Attribute("Light")])

    def sample(self, n, seed=0, *, correlated=True):
        shade = torch.linspace(0, 1, n)[:, None]
        return Factors(shade, torch.zeros(n, 0))

    def render(self, factors, size=64):
        x = factors.attributes[:, :, None, None].expand(-1, 3, size, size)
        mask = torch.zeros(len(factors), 1, size, size)
        mask[..., : size // 2] = 1
        return Rendered(x, x * mask, x, mask)

    def labels(self, factors):
        return torch.where(factors.attributes > 0.5, 1.0, -1.0)


def test_from_world_keeps_pixels_labels_and_shares():
    data = AttributeImages.from_world(
        Patches(), 300, seed=3, size=8, splits=(0.5, 0.2, 0.3), progress=False
    )
    assert [len(data.subset(s)) for s in ("train", "val", "test")] == [150, 60, 90]
    shade = torch.linspace(0, 1, 300)
    wanted = (shade * 255).round().to(torch.uint8)[:, None, None, None].expand(-1, 3, 8, 8)
    assert torch.equal(data.images, wanted)
    assert torch.equal(data.attributes[:, 0], torch.where(shade > 0.5, 1.0, -1.0))
    assert (data.masks[..., :4] == 255).all() and (data.masks[..., 4:] == 0).all()
    assert data.provenance["seed"] == 3


def test_from_world_refuses_shares_that_do_not_add_up():
    with pytest.raises(ValueError, match="add up to 1"):
        AttributeImages.from_world(Patches(), 10, splits=(0.5, 0.2, 0.2))
