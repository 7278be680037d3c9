"""Reads images and their labels from Parquet files.

The layout is the one the `datasets` library writes, and so that of most mirrors on dataset hubs: a
column of images as `struct<bytes, path>` (plain bytes are read as well), beside columns of labels;
one file or many shards. Needs pyarrow: `pip install "a2i-lib[data]"`.
"""

from __future__ import annotations

import glob
import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from a2i_lib.attributes import AttributeSchema
from a2i_lib.data.dataset import DataError, did_you_mean, file_sha256
from a2i_lib.data.pictures import open_picture
from a2i_lib.data.source import Report

Box = tuple[int, int, int, int]
# (width, height) -> left, upper, right, lower of the part to keep; None: the whole picture
Crop = Callable[[int, int], Box | None]


LARGEST = 1e30  # what a float32 and its square's mean in float64 hold with ease
BATCH = 64  # rows of images in memory, of each column
BUFFER = 1 << 20  # bytes of a file


class ParquetImages:
    """The rows of one or several Parquet files, or of an even sample of them.

    Args:
        files: a path, a pattern ("train-*.parquet"), or several of either; shards are read in the
            order of their names.
        limit: take only that many rows, evenly spaced over all files so that each split has its
            share.

    Raises:
        DataError: no file, a file that is not Parquet or has no rows, a column named twice, shards
            that differ.
        ModuleNotFoundError: pyarrow is not installed; says how to install it.
    """

    def __init__(self, files: str | Path | Sequence[str | Path], limit: int | None = None) -> None:
        pq = _pyarrow_parquet()
        self.paths = _expand([files] if isinstance(files, str | Path) else files)
        self._files = [_open(pq, path) for path in self.paths]
        self.columns: list[str] = self._files[0].schema_arrow.names
        for path, file in zip(self.paths, self._files, strict=True):
            _check_columns(path, file.schema_arrow.names, self.columns)
        self._groups: dict[str, _RowGroup] = {}
        counts = [file.metadata.num_rows for file in self._files]
        self._starts = np.cumsum([0, *counts])
        total = int(self._starts[-1])
        if total == 0:
            raise DataError(f"{self.paths[0]}: no rows")
        if limit is not None and limit < 1:
            raise DataError(f"limit {limit}: at least one row")
        n = total if limit is None else min(limit, total)
        self.rows = np.arange(n) * total // n  # row numbers over all files

    def __len__(self) -> int:
        return len(self.rows)

    def where(self, i: int) -> str:
        """File and row of the i-th row taken, for messages."""
        row = int(self.rows[i])
        shard = self._shard(row)
        return f"{self.paths[shard]}, row {row - self._starts[shard]}"

    def shard_of_rows(self) -> np.ndarray:
        """For each row the number of its file, (N,)."""
        return np.searchsorted(self._starts, self.rows, side="right") - 1

    def _shard(self, row: int) -> int:
        return int(np.searchsorted(self._starts, row, side="right")) - 1

    def metadata(self) -> dict[str, Any]:
        """The JSON object under the key `a2i` of the first file's metadata, {} if there is none."""
        raw = (self._files[0].schema_arrow.metadata or {}).get(b"a2i", b"{}")
        return json.loads(raw)

    def attribute_names(self) -> list[str]:
        """`attribute_names` of the metadata: what the entries of a list column are called.

        Raises:
            DataError: it is missing, or names an attribute twice.
        """
        names = self.metadata().get("attribute_names")
        if not names:
            raise DataError(f"{self.paths[0]}: metadata 'a2i' has no field 'attribute_names'")
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise DataError(f"{self.paths[0]}: field 'attribute_names' has {twice[0]!r} twice")
        return list(names)

    def provenance(self) -> dict[str, Any]:
        """Names and SHA-256 of the files."""
        return {"files": [{"name": p.name, "sha256": file_sha256(p)} for p in self.paths]}

    def kinds(self) -> dict[str, str]:
        """Column -> "image" (bytes, or a struct with bytes), "number" (booleans too), "other"."""
        from pyarrow import types

        kinds = {}
        for column in self._files[0].schema_arrow:
            kind = column.type
            if types.is_struct(kind):
                kind = next((part.type for part in kind if part.name == "bytes"), kind)
            if types.is_binary(kind) or types.is_large_binary(kind):
                kinds[column.name] = "image"
            elif types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind):
                kinds[column.name] = "number"
            else:
                kinds[column.name] = "other"
        return kinds

    def require(self, *columns: str) -> None:
        """Raises DataError naming a column that is missing, and those that are there."""
        for column in columns:
            if column not in self.columns:
                raise DataError(
                    f"{self.paths[0]}: no column {column!r}; {did_you_mean(column, self.columns)}"
                )

    # ------------------------------------------------------------------ labels

    def column(self, name: str) -> list[Any]:
        """The values of a column, one a row.

        Raises:
            DataError: the column is missing or a value is null.
        """
        self.require(name)
        values = np.empty(int(self._starts[-1]), dtype=object)
        for start, file in zip(self._starts, self._files, strict=False):
            part = file.read([name]).column(0).to_pylist()
            values[start : start + len(part)] = part
        chosen = list(values[self.rows])
        if None in chosen:
            raise DataError(f"{self.where(chosen.index(None))}: {name!r} is null")
        return chosen

    def signs(self, names: Sequence[str]) -> np.ndarray:
        """Columns of booleans, 0/1 or -1/+1 as -1/+1, (N, K) float32.

        Raises:
            DataError: a value that is none of these.
        """
        self.require(*names)
        columns = []
        for name in names:
            values = np.array([_number(v) for v in self.column(name)], dtype=np.float32)
            self._refuse(
                ~np.isin(values, (-1, 0, 1)), name, values, "is none of true/false, 0/1, -1/+1"
            )
            columns.append(np.where(values > 0, 1, -1))
        return np.stack(columns, axis=1).astype(np.float32)

    def finite(self, names: Sequence[str]) -> np.ndarray:
        """Columns of numbers, (N, K) float64.

        Raises:
            DataError: a value that is missing or not finite.
        """
        columns = []
        for name in names:
            values = np.array([_number(v) for v in self.column(name)], dtype=np.float64)
            self._refuse(~(np.abs(values) < LARGEST), name, values, "is not a finite number")
            columns.append(values)
        return np.stack(columns, axis=1)

    def vectors(self, name: str, entries: Sequence[str]) -> np.ndarray:
        """A column of lists with one number for each of `entries`, (N, K) float32.

        Raises:
            DataError: a list of another length, or a number that is missing or not finite.
        """
        lists = self.column(name)
        for i, values in enumerate(lists):
            if not isinstance(values, list):
                raise DataError(f"{self.where(i)}: {name!r} is no list of numbers")
            if len(values) != len(entries):
                raise DataError(
                    f"{self.where(i)}: {name!r} has {len(values)} values"
                    f" for {len(entries)} attributes"
                )
        table = np.array([[_number(v) for v in values] for values in lists], dtype=np.float32)
        for k, entry in enumerate(entries):
            self._refuse(
                ~np.isfinite(table[:, k]), f"{name}[{entry}]", table[:, k], "is not a finite number"
            )
        return table

    def _refuse(self, bad: np.ndarray, name: str, values: np.ndarray, why: str) -> None:
        if bad.any():
            i = int(np.flatnonzero(bad)[0])
            raise DataError(f"{self.where(i)}: {name!r} = {values[i]:g} {why}")

    # ------------------------------------------------------------------ images

    def cell(self, name: str, i: int) -> bytes:
        """The image bytes of the i-th row taken. Rows in order are fast; a batch is in memory.

        Raises:
            ValueError: there are none, or the file is damaged.
        """
        row = int(self.rows[i])
        group = self._groups.pop(name, None)  # back in its place only if nothing is raised
        if group is None or not group.ahead(row):
            group = self._group(name, row)
        cell = group.cell(row)
        self._groups[name] = group
        data = cell["bytes"] if isinstance(cell, dict) else cell
        if not isinstance(data, bytes):
            raise ValueError("no image bytes; the file may only point to images elsewhere")
        return data

    def _group(self, name: str, row: int) -> _RowGroup:
        shard = self._shard(row)
        file, start, number = self._files[shard], int(self._starts[shard]), 0
        while row >= start + (rows := file.metadata.row_group(number).num_rows):
            start, number = start + rows, number + 1
        return _RowGroup(file, number, name, start, start + rows)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_files": None, "_groups": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """In another process: open files of its own."""
        self.__dict__.update(state)
        self._files = [_open(_pyarrow_parquet(), path) for path in self.paths]


class _RowGroup:
    """A column in one row group, read forwards, `BATCH` rows at a time."""

    def __init__(self, file: Any, number: int, name: str, start: int, stop: int) -> None:
        self._start, self._stop = start, stop
        self._batch: Any = ()
        self._batches = file.iter_batches(
            BATCH, row_groups=[number], columns=[name], use_threads=False
        )

    def ahead(self, row: int) -> bool:
        return self._start <= row < self._stop

    def cell(self, row: int) -> Any:
        while row >= self._start + len(self._batch):
            self._start += len(self._batch)
            try:
                self._batch = next(self._batches).column(0)
            except StopIteration:
                raise ValueError("the file ends before this row") from None
        return self._batch[row - self._start].as_py()


@dataclass
class ParquetSource:
    """A `Source` whose pictures and masks are columns of Parquet files.

    Args:
        mask_column: None if there are no masks.
        crop: the part of each picture, and of its mask, that is used; None: all of it.

    Raises:
        DataError: the columns are not there.
    """

    table: ParquetImages
    name: str
    schema: AttributeSchema
    attributes: np.ndarray
    split: np.ndarray
    provenance: dict[str, Any]
    mask_column: str | None = None
    crop: Crop | None = None
    image_column: str = "image"
    report: Report = field(init=False)
    has_masks: bool = field(init=False)

    def __post_init__(self) -> None:
        self.report, self.has_masks = Report(len(self.table)), self.mask_column is not None
        self.table.require(self.image_column, *([self.mask_column] if self.mask_column else []))
        self._size = (-1, (0, 0))  # of which picture, width and height before cropping

    def where(self, i: int) -> str:
        return self.table.where(i)

    def picture(self, i: int) -> Image.Image:
        """See `Source`."""
        return self._cut(self._whole(i), self.image_column)

    def mask(self, i: int) -> Image.Image:
        """See `Source`; a mask of another size than its picture is refused."""
        assert self.mask_column is not None
        if self._size[0] != i:
            self._whole(i)
        width, height = self._size[1]
        mask = self._open(self.mask_column, i, mask=True)
        if mask.size != (width, height):
            raise ValueError(
                f"{self.mask_column!r}: {mask.width}x{mask.height} pixels,"
                f" but its image {width}x{height}"
            )
        return self._cut(mask, self.mask_column)

    def _whole(self, i: int) -> Image.Image:
        picture = self._open(self.image_column, i)
        self._size = i, picture.size
        return picture

    def _open(self, column: str, i: int, mask: bool = False) -> Image.Image:
        try:
            return open_picture(self.table.cell(column, i), mask)
        except ValueError as error:
            raise ValueError(f"{column!r}: {error}") from None

    def _cut(self, picture: Image.Image, column: str) -> Image.Image:
        try:
            box = self.crop(*picture.size) if self.crop else None
        except ValueError as error:
            raise ValueError(f"{column!r}: {error}") from None
        return picture.crop(box) if box else picture


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _pyarrow_parquet() -> Any:
    try:
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            'reading Parquet files needs pyarrow: pip install "a2i-lib[data]"'
        ) from None
    return pyarrow.parquet


def _expand(files: Sequence[str | Path]) -> list[Path]:
    paths: list[Path] = []
    for file in map(str, files):
        found = [file] if os.path.exists(file) else sorted(glob.glob(file))
        if not found:
            raise DataError(f"{file}: no such file")
        paths += map(Path, found)
    if not paths:
        raise DataError("no Parquet file given")
    return paths


def _open(pq: Any, path: Path) -> Any:
    try:
        return pq.ParquetFile(path, buffer_size=BUFFER)  # else whole columns are read at once
    except (OSError, ValueError) as error:  # pyarrow's ArrowInvalid is a ValueError
        raise DataError(
            f"{path} is not a readable Parquet file: {str(error).splitlines()[0]}"
        ) from None


def _check_columns(path: Path, columns: list[str], first: list[str]) -> None:
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if twice:
        raise DataError(f"{path}: two columns are named {twice[0]!r}")
    missing = [name for name in first if name not in columns]
    if missing:
        raise DataError(f"{path}: no column {missing[0]!r}, which the first file has")
