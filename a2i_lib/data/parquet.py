"""Reads images and their labels from Parquet files.

The layout is the one the `datasets` library writes, and so that of most mirrors on dataset hubs: a
column of images as `struct<bytes, path>` (plain bytes are read as well), beside columns of labels;
one file or many shards. Needs pyarrow: `pip install "a2i-lib[data]"`.
"""

from __future__ import annotations

import glob
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from tqdm.auto import tqdm

from a2i_lib.data.dataset import DataError, did_you_mean, file_sha256

Box = tuple[int, int, int, int]
# (width, height) -> left, upper, right, lower of the part to keep; None: the whole picture
Crop = Callable[[int, int], Box | None]


def whole_square(width: int, height: int) -> None:
    """The `Crop` that takes a square picture as it is and refuses any other (ValueError)."""
    if width != height:
        raise ValueError(f"{width}x{height} pixels, expected a square")


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
        self._sizes: dict[str, np.ndarray] = {}
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

    def _refuse(self, bad: np.ndarray, field: str, values: np.ndarray, why: str) -> None:
        if bad.any():
            i = int(np.flatnonzero(bad)[0])
            raise DataError(f"{self.where(i)}: {field!r} = {values[i]:g} {why}")

    # ------------------------------------------------------------------ images

    def images(
        self,
        name: str,
        size: int,
        mask_of: str | None = None,
        crop: Crop = whole_square,
        progress: bool = True,
    ) -> np.ndarray:
        """A column of images, cut by `crop` and resized: uint8, (N, size, size, 3).

        With `mask_of` it is a column of masks for that column of images, read before this one:
        (N, size, size), cut to 0 and 255 after resizing. Decoding runs in threads.

        Raises:
            DataError: an image that is missing, cannot be decoded, that `crop` refuses, or a mask
                of another size than its image; names file, row and path.
        """
        self.require(name)
        shape = (size, size) if mask_of else (size, size, 3)
        out = np.empty((len(self), *shape), dtype=np.uint8)
        sizes = self._sizes[name] = np.empty((len(self), 2), dtype=np.int32)

        def decode(item: tuple[int, Any]) -> None:
            i, cell = item
            data, path = (cell["bytes"], cell["path"]) if isinstance(cell, dict) else (cell, None)
            try:
                picture = _open_image(data)
                sizes[i] = picture.size
                if mask_of and (sizes[i] != self._sizes[mask_of][i]).any():
                    raise ValueError(f"size {sizes[i]}, but its image {self._sizes[mask_of][i]}")
                out[i] = _pixels(picture, size, mask_of is not None, crop)
            except Exception as error:  # whatever a decoder may raise over damaged bytes
                at = f" ({path})" if path else ""
                raise DataError(f"{self.where(i)}: {name!r}{at}: {error}") from None

        bar = tqdm(total=len(self), desc=f"decoding {name}", unit="", disable=not progress)
        with bar, ThreadPoolExecutor(os.cpu_count()) as pool:
            for chunk in self._cells(name):
                for _ in pool.map(decode, chunk):
                    bar.update()
        return out

    def _cells(self, name: str) -> Iterator[list[tuple[int, Any]]]:
        """Pairs (i, cell) of the rows taken, a few hundred at a time, never all in memory."""
        i = row = 0
        for file in self._files:
            for part in file.iter_batches(batch_size=512, columns=[name]):
                stop = row + part.num_rows
                n = int(np.searchsorted(self.rows[i:], stop))
                wanted = (self.rows[i : i + n] - row).tolist()
                yield list(enumerate(part.column(0).take(wanted).to_pylist(), start=i))
                i, row = i + n, stop


def _open_image(data: bytes | None) -> Image.Image:
    if not data:
        raise ValueError("no image bytes; the file may only point to images elsewhere")
    try:
        return Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        raise ValueError(f"{len(data):,} bytes that are no image") from None


def _pixels(picture: Image.Image, size: int, mask: bool, crop: Crop) -> np.ndarray:
    box = crop(*picture.size)
    picture = picture.convert("L" if mask else "RGB").crop(box)  # None: all of it
    if picture.size != (size, size):  # cropped before: `resize(box=...)` would look outside the box
        picture = picture.resize((size, size), Image.Resampling.LANCZOS)
    pixels = np.asarray(picture)
    return np.where(pixels > 127, 255, 0).astype(np.uint8) if mask else pixels


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
        return pq.ParquetFile(path)
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
