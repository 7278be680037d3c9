"""LFW, CelebA and CUB: from Parquet to `AttributeImages`; on the real files where they are."""

import hashlib

import numpy as np
import pytest
import torch
from parquet_files import LFW_NAMES, encoded, lfw_columns, picture, write_parquet
from sources import in_memory

from a2i_lib.data import DataError, lfw
from a2i_lib.data.celeba import ATTRIBUTES, read_celeba
from a2i_lib.data.cub import read_cub
from a2i_lib.data.lfw import one_in_ten, read_lfw


def lfw_file(tmp_path, **changes):
    return write_parquet(tmp_path / "lfw.parquet", lfw_columns() | changes, LFW_NAMES)


# ---------------------------------------------------------------------- LFW


def test_lfw_scores_are_standardised_on_the_training_split_and_can_be_undone(tmp_path):
    data = in_memory(read_lfw(lfw_file(tmp_path)), 8)
    train = data.attributes[data.subset("train")]
    torch.testing.assert_close(train.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(train.std(0, correction=0), torch.ones(3), atol=1e-5, rtol=0)
    mean = torch.tensor([a.mean for a in data.schema])
    deviation = torch.tensor([a.deviation for a in data.schema])
    raw = torch.tensor(lfw_columns()["scores_estimated"], dtype=torch.float32)
    torch.testing.assert_close(mean + deviation * data.attributes, raw, atol=1e-4, rtol=1e-4)
    low = torch.tensor([a.low for a in data.schema])
    torch.testing.assert_close(low, train.min(0).values)
    assert data.schema.names == LFW_NAMES and set(data.schema.kinds) == {"score"}
    assert "ESTIMATES" in data.provenance["attributes"]


def test_lfw_binary_labels(tmp_path):
    data = in_memory(read_lfw(lfw_file(tmp_path), labels="binary"), 8)
    wanted = torch.tensor(lfw_columns()["attributes"]) * 2.0 - 1
    assert torch.equal(data.attributes, wanted) and set(data.schema.kinds) == {"binary"}


def test_lfw_masks_belong_to_their_images(tmp_path):
    data = in_memory(read_lfw(lfw_file(tmp_path)), 8)
    assert torch.equal(data.images[:, 0, 0, 0], torch.arange(40).to(torch.uint8))
    wanted = (torch.arange(40) % 2 * 255).to(torch.uint8)[:, None, None, None]
    assert torch.equal(data.masks, wanted.expand(-1, 1, 8, 8))


def test_lfw_split_keeps_people_together_and_follows_the_stated_rule(tmp_path):
    columns = lfw_columns(400)
    path = write_parquet(tmp_path / "big.parquet", columns, LFW_NAMES)
    data = in_memory(read_lfw(path), 8)
    assert (data.split[-10:] == 2).all() and (data.split[:-10] < 2).all()
    people = np.array(columns["person"])
    val, train = (set(people[data.subset(s).numpy()]) for s in ("val", "train"))
    assert val and not val & train
    for person in val | train:
        number = int(hashlib.sha256(person.encode()).hexdigest()[:16], 16)
        assert (person in val) == (number % 10 == 0)


def test_cmmas_split_goes_by_the_order_of_the_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(lfw, "CMMA_BORDERS", (25, 30))
    path = lfw_file(tmp_path)
    data = in_memory(read_lfw(path, split="cmma"), 8)
    assert data.split.tolist() == [0] * 25 + [1] * 5 + [2] * 10
    assert "first 10,000" in data.provenance["split"]
    train = data.attributes[:25]
    torch.testing.assert_close(train.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    few = in_memory(read_lfw(path, split="cmma", limit=8), 8)  # rows 0, 5, ..., 35
    assert few.split.tolist() == [0, 0, 0, 0, 0, 1, 2, 2]
    monkeypatch.setattr(lfw, "CMMA_BORDERS", (25, 40))
    with pytest.raises(DataError, match="row 39 is the last: the split 'cmma' tests on rows from"):
        read_lfw(path, split="cmma")
    with pytest.raises(DataError, match="split 'view2': choose one of view1, cmma"):
        read_lfw(path, split="view2")


def test_one_in_ten_is_about_a_tenth():
    share = np.mean([one_in_ten(f"Person_{i}".encode()) for i in range(5000)])
    assert 0.085 < share < 0.115


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"view1": ["train"] * 39 + ["dev"]}, r"row 39: 'view1' is 'dev', expected"),
        ({"person": [None] * 40}, "row 0: 'person' is null"),
        ({"view1": ["test"] * 40}, "no training rows"),
    ],
)
def test_lfw_bad_columns(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        read_lfw(lfw_file(tmp_path, **changes))


def test_lfw_missing_column_and_unknown_labels(tmp_path):
    columns = lfw_columns()
    del columns["scores_estimated"]
    path = write_parquet(tmp_path / "a.parquet", columns, LFW_NAMES)
    with pytest.raises(DataError, match="no column 'scores_estimated'; there are: image, mask"):
        read_lfw(path)
    with pytest.raises(DataError, match="labels 'raw': choose one of scores, binary"):
        read_lfw(path, labels="raw")


# ---------------------------------------------------------------------- CelebA


def celeba_columns(n, cell=picture, kind=bool):
    """Image i is of shade i; it has the attributes whose number divides i."""
    columns = {"image": [cell(i) for i in range(n)]}
    for k, name in enumerate(ATTRIBUTES, 1):
        has = [i % k == 0 for i in range(n)]
        columns[name] = has if kind is bool else [1 if h else -1 for h in has]
    return columns


def test_celeba_with_a_partition_column(tmp_path):
    columns = celeba_columns(12) | {"partition": [0] * 8 + [1, 1, 2, 2], "celeb_id": [1] * 12}
    data = in_memory(read_celeba(write_parquet(tmp_path / "c.parquet", columns)), 8)
    assert len(data.schema) == 40 and data.masks is None
    assert data.split.tolist() == columns["partition"]
    for k, name in enumerate(ATTRIBUTES, 1):
        column = data.attributes[:, data.schema.index(name)]
        assert column.tolist() == [1.0 if i % k == 0 else -1.0 for i in range(12)]


def test_celeba_mirror_of_aligned_pictures_in_shards(tmp_path):
    def aligned(shade):  # rows 20 to 198 grey, the rest white
        pixels = np.full((218, 178, 3), 255)
        pixels[20:198] = shade
        return encoded(pixels)

    for name, n in (
        ("train-00000-of-00002", 3),
        ("train-00001-of-00002", 2),
        ("valid-00000", 1),
        ("test-00000", 2),
    ):
        write_parquet(tmp_path / f"{name}.parquet", celeba_columns(n, aligned, kind=int))
    data = in_memory(read_celeba(str(tmp_path / "*.parquet")), 16)
    assert data.split.tolist() == [2] * 2 + [0] * 5 + [1]
    shades = torch.tensor([0, 1, 0, 1, 2, 0, 1, 0]).to(torch.uint8)[:, None, None, None]
    assert torch.equal(data.images, shades.expand(-1, 3, 16, 16))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (celeba_columns(2), "no column 'partition', and the name does not start with train"),
        (celeba_columns(2) | {"partition": [0, 5]}, "row 1: 'partition' is 5, expected 0, 1 or 2"),
        (
            {k.lower(): v for k, v in celeba_columns(2).items()},
            "no column '5_o_Clock_Shadow'; did you mean '5_o_clock_shadow'",
        ),
    ],
)
def test_celeba_bad_files(tmp_path, columns, message):
    with pytest.raises(DataError, match=message):
        read_celeba(write_parquet(tmp_path / "c.parquet", columns))


def test_celeba_pictures_of_another_shape_are_not_squeezed(tmp_path):
    columns = celeba_columns(2, lambda i: picture(i, 20, 30)) | {"partition": [0, 0]}
    source = read_celeba(write_parquet(tmp_path / "c.parquet", columns))
    with pytest.raises(ValueError, match="'image': 30x20 pixels, expected 178x218"):
        source.picture(0)


# ---------------------------------------------------------------------- CUB

CUB_NAMES = ["has_bill_shape::dagger", "has_bill_shape::hooked", "has_size::small_(5_-_9_in)"]


def cub_columns(n=200):
    return {
        "image": [picture(i) for i in range(n)],
        "mask": [encoded(np.full((16, 16), 255)) for _ in range(n)],
        "class_id": [i // 50 for i in range(n)],
        "split": ["train" if i % 2 else "test" for i in range(n)],
        "class_attributes_percent": [[49.9, 50.0, float(i // 50) * 30] for i in range(n)],
    }


def test_cub_attributes_are_cut_at_fifty_percent_and_grouped(tmp_path):
    path = write_parquet(tmp_path / "cub.parquet", cub_columns(), CUB_NAMES)
    data = in_memory(read_cub(path), 8)
    assert data.attributes[[0, 60, 110]].tolist() == [[-1, 1, -1], [-1, 1, -1], [-1, 1, 1]]
    assert data.schema.groups == {"has_bill_shape": [0, 1], "has_size": [2]}
    counts = [len(data.subset(s)) for s in ("train", "val", "test")]
    assert sum(counts) == 200 and counts[2] == 100 and 2 <= counts[1] <= 20
    assert (data.masks == 255).all()


def test_cub_split_of_a_row_does_not_depend_on_the_limit(tmp_path):
    path = write_parquet(tmp_path / "cub.parquet", cub_columns(), CUB_NAMES)
    whole = in_memory(read_cub(path), 8)
    part = in_memory(read_cub(path, limit=67), 8)
    rows = part.images[:, 0, 0, 0].long()
    assert torch.equal(part.split, whole.split[rows])


def test_cub_unknown_split(tmp_path):
    columns = cub_columns(3) | {"split": ["train", "test", "validation"]}
    with pytest.raises(DataError, match="row 2: 'split' is 'validation'"):
        read_cub(write_parquet(tmp_path / "c.parquet", columns, CUB_NAMES))


# ---------------------------------------------------------------------- the real ones


@pytest.mark.parametrize(
    ("name", "read", "rows", "attributes", "masks"),
    [
        ("lfw", read_lfw, 13_143, 73, True),
        ("celeba", read_celeba, 41_791, 40, False),
        ("cub", read_cub, 6_212, 312, True),
    ],
)
def test_the_real_files(shared_data, name, read, rows, attributes, masks):
    pq = pytest.importorskip("pyarrow.parquet")
    path = shared_data / f"{name}.parquet"
    assert pq.ParquetFile(path).metadata.num_rows == rows
    data = in_memory(read(path, limit=150), 32)
    assert data.images.shape == (150, 3, 32, 32) and len(data.schema) == attributes
    assert (data.masks is not None) == masks
    assert all(len(data.subset(split)) for split in ("train", "test"))
    assert data.images.float().std() > 30  # pictures, not blanks
    if masks:
        assert 0.1 < (data.masks == 255).float().mean() < 0.9
