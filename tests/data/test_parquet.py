"""Parquet files: what is read from them, and that bad ones say where they are bad."""

import pickle
import sys

import numpy as np
import pytest
from parquet_files import encoded, picture, write_parquet

from a2i_lib.attributes import Attribute, AttributeSchema
from a2i_lib.data import DataError
from a2i_lib.data.parquet import ParquetImages, ParquetSource
from a2i_lib.data.pictures import to_pixels

NOISE = np.random.default_rng(0).integers(0, 256, (16, 16, 3))


def source_of(table, **options):
    """Without labels: the pictures are what is looked at."""
    n = len(table)
    labels = np.zeros((n, 1), dtype=np.float32), np.zeros(n, dtype=np.int8)
    return ParquetSource(table, "toy", AttributeSchema([Attribute("A")]), *labels, {}, **options)


def images(table, size):
    source = source_of(table)
    return np.stack([to_pixels(source.picture(i), size) for i in range(len(table))])


def test_columns_and_images_come_in_order(tmp_path):
    path = write_parquet(
        tmp_path / "a.parquet", {"image": [picture(i) for i in range(20)], "n": list(range(20))}
    )
    table = ParquetImages(path)
    assert len(table) == 20 and table.column("n") == list(range(20))
    pixels = images(table, 16)
    assert pixels.dtype == np.uint8 and pixels.shape == (20, 16, 16, 3)
    np.testing.assert_array_equal(pixels[:, 3, 4, 1], np.arange(20))


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_images_in_any_order_and_in_another_process(tmp_path, monkeypatch, batch):
    monkeypatch.setattr("a2i_lib.data.parquet.BATCH", batch)  # row groups have 7 rows
    for k in range(2):
        cells = [picture(20 * k + i) for i in range(20)]
        write_parquet(tmp_path / f"{k}.parquet", {"image": cells})
    table = ParquetImages(str(tmp_path / "*.parquet"))
    source = pickle.loads(pickle.dumps(source_of(table)))
    order = np.random.default_rng(0).integers(0, 40, 200).tolist()
    assert [source.picture(i).getpixel((0, 0))[0] for i in order] == order


def test_plain_bytes_are_read_too(tmp_path):
    cells = [picture(i)["bytes"] for i in range(3)]
    table = ParquetImages(write_parquet(tmp_path / "a.parquet", {"image": cells}))
    np.testing.assert_array_equal(images(table, 8)[:, 0, 0, 0], [0, 1, 2])


def test_resizing_averages_instead_of_skipping(tmp_path):
    stripes = np.zeros((64, 64, 3))
    stripes[:, ::2] = 200
    path = write_parquet(tmp_path / "a.parquet", {"image": [encoded(stripes)]})
    inner = images(ParquetImages(path), 16)[0, 4:12, 4:12]
    assert np.abs(inner.astype(float) - 100).max() < 5


def test_shards_by_pattern_and_by_list(tmp_path):
    for k in range(3):
        write_parquet(tmp_path / f"part-{k}.parquet", {"n": list(range(10 * k, 10 * k + 10))})
    by_pattern = ParquetImages(str(tmp_path / "part-*.parquet"))
    assert by_pattern.column("n") == list(range(30))
    assert by_pattern.where(13) == f"{tmp_path / 'part-1.parquet'}, row 3"
    by_list = ParquetImages([tmp_path / "part-2.parquet", tmp_path / "part-0.parquet"])
    assert by_list.column("n") == [*range(20, 30), *range(10)]
    assert by_list.shard_of_rows().tolist() == [0] * 10 + [1] * 10


def test_limit_takes_an_even_sample_of_all_files(tmp_path):
    columns = [{"image": [picture(i) for i in r], "n": list(r)} for r in (range(25), range(25, 40))]
    paths = [write_parquet(tmp_path / f"{k}.parquet", c) for k, c in enumerate(columns)]
    table = ParquetImages(paths, limit=10)
    assert table.column("n") == list(range(0, 40, 4))
    np.testing.assert_array_equal(images(table, 16)[:, 0, 0, 0], np.arange(0, 40, 4))
    assert table.where(9) == f"{paths[1]}, row 11"
    assert len(ParquetImages(paths, limit=1000)) == 40


@pytest.mark.parametrize("values", [[True, False], [1, 0], [1, -1], [1.0, 0.0]])
def test_signs_of_booleans_and_numbers(tmp_path, values):
    table = ParquetImages(write_parquet(tmp_path / "a.parquet", {"Smiling": values}))
    assert table.signs(["Smiling"]).tolist() == [[1], [-1]]


def read(path, **columns):
    return ParquetImages(write_parquet(path, columns))


def test_a_missing_column_names_those_that_are_there(tmp_path):
    table = read(tmp_path / "a.parquet", image=[picture(0)], Smiling=[True])
    with pytest.raises(
        DataError, match=r"a\.parquet: no column 'Smilling'; did you mean 'Smiling'"
    ):
        table.signs(["Smilling"])
    with pytest.raises(DataError, match="no column 'identity'; there are: image, Smiling"):
        table.require("image", "identity")


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ({"bytes": b"not a picture", "path": "0007.jpg"}, "bytes that are no image"),
        ({"bytes": None, "path": "0007.jpg"}, "no image bytes; the file may only point"),
        ({"bytes": b"", "path": "0007.jpg"}, "no image bytes"),
        ({"bytes": encoded(NOISE)["bytes"][:400], "path": "0007.jpg"}, "truncated"),
    ],
)
def test_a_bad_image_names_its_column_and_spoils_no_other(tmp_path, cell, message):
    cells = [picture(i) for i in range(9)] + [cell, picture(10)]
    source = source_of(read(tmp_path / "a.parquet", image=cells))
    assert source.where(9) == f"{tmp_path / 'a.parquet'}, row 9"
    for _ in range(2):
        with pytest.raises(ValueError, match=f"'image': {message}"):
            source.picture(9)
        assert source.picture(10).getpixel((0, 0)) == (10, 10, 10)


def test_a_mask_of_another_size_than_its_image(tmp_path):
    masks = [encoded(np.zeros((16, 16))), encoded(np.zeros((8, 8)))]
    table = read(tmp_path / "a.parquet", image=[picture(0), picture(1)], mask=masks)
    source = source_of(table, mask_column="mask")
    assert source.has_masks and source.mask(0).mode == "L"
    with pytest.raises(ValueError, match="'mask': 8x8 pixels, but its image 16x16"):
        source.mask(1)
    with pytest.raises(DataError, match=r"a\.parquet: no column 'masks'; did you mean 'mask'"):
        source_of(table, mask_column="masks")


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ([0.5, float("nan")], r"row 2: 'scores\[Male\]' = nan is not a finite number"),
        ([0.5, None], r"row 2: 'scores\[Male\]' = nan"),
        ([float("inf"), 1.0], r"row 2: 'scores\[Smiling\]' = inf"),
        ([0.5], "row 2: 'scores' has 1 values for 2 attributes"),
        (None, "row 2: 'scores' is null"),
    ],
)
def test_a_bad_score_names_row_and_attribute(tmp_path, cell, message):
    table = read(tmp_path / "a.parquet", scores=[[0.0, 1.0], [1.0, 2.0], cell])
    with pytest.raises(DataError, match=message):
        table.vectors("scores", ["Smiling", "Male"])


def test_a_column_that_holds_no_lists(tmp_path):
    table = read(tmp_path / "a.parquet", scores=["high", "low"])
    with pytest.raises(DataError, match="row 0: 'scores' is no list of numbers"):
        table.vectors("scores", ["Smiling"])


@pytest.mark.parametrize(("value", "shown"), [(7, "7"), ("yes", "nan")])
def test_a_label_that_is_none(tmp_path, value, shown):
    good = 1 if value == 7 else "1"
    table = read(tmp_path / "a.parquet", Smiling=[good, value])
    with pytest.raises(DataError, match=f"row 1: 'Smiling' = {shown} is none of true/false"):
        table.signs(["Smiling"])


def test_attribute_names_twice_or_missing(tmp_path):
    twice = write_parquet(tmp_path / "a.parquet", {"n": [1]}, names=["Male", "Bald", "Male"])
    with pytest.raises(DataError, match=r"a\.parquet: field 'attribute_names' has 'Male' twice"):
        ParquetImages(twice).attribute_names()
    none = write_parquet(tmp_path / "b.parquet", {"n": [1]})
    with pytest.raises(
        DataError, match=r"b\.parquet: metadata 'a2i' has no field 'attribute_names'"
    ):
        ParquetImages(none).attribute_names()


def test_columns_of_the_same_name(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["Male", "Male"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet: two columns are named 'Male'"):
        ParquetImages(tmp_path / "a.parquet")


def test_files_that_are_not_parquet_missing_or_empty(tmp_path):
    (tmp_path / "text.parquet").write_text("hello, hello, hello")
    with pytest.raises(DataError, match=r"text\.parquet is not a readable Parquet file"):
        ParquetImages(tmp_path / "text.parquet")
    (tmp_path / "zero.parquet").touch()
    with pytest.raises(DataError, match=r"zero\.parquet is not a readable Parquet file"):
        ParquetImages(tmp_path / "zero.parquet")
    with pytest.raises(DataError, match=r"nowhere\.parquet: no such file"):
        ParquetImages(tmp_path / "nowhere.parquet")
    with pytest.raises(DataError, match=r"none\.parquet: no rows"):
        ParquetImages(write_parquet(tmp_path / "none.parquet", {"n": []}))
    with pytest.raises(DataError, match="limit 0"):
        ParquetImages(write_parquet(tmp_path / "one.parquet", {"n": [1]}), limit=0)


def test_shards_with_other_columns(tmp_path):
    write_parquet(tmp_path / "a.parquet", {"n": [1], "m": [1]})
    write_parquet(tmp_path / "b.parquet", {"n": [1]})
    with pytest.raises(DataError, match=r"b\.parquet: no column 'm', which the first file has"):
        ParquetImages(str(tmp_path / "*.parquet"))


def test_without_pyarrow_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(
        ModuleNotFoundError, match=r"needs pyarrow: pip install \"a2i-lib\[data\]\""
    ):
        ParquetImages(tmp_path / "a.parquet")
