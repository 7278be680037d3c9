"""Your own pictures: a folder (or .zip) of them and a table with one column an attribute."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from a2i_lib.attributes import Attribute, AttributeSchema
from a2i_lib.data import folders
from a2i_lib.data.dataset import DataError, did_you_mean
from a2i_lib.data.folders import Files, FolderSource, Join, Table
from a2i_lib.data.lfw import standardise
from a2i_lib.data.parquet import Box, ParquetImages, ParquetSource
from a2i_lib.data.pictures import open_picture
from a2i_lib.data.source import Report

FILE_COLUMNS = "file", "filename", "file_name", "image", "image_id", "path", "picture"
WORDS = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}
PARTS = {"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "dev": 1, "test": 2}
PARTS |= {"0": 0, "1": 1, "2": 2}
ABOUT_ATTRIBUTES = (
    "columns of numbers; binary as -1/+1, scores standardised with the mean and deviation of the"
    " training split"
)
USE = "as the owner of the pictures allows"
CROPS = {
    "center": "the largest square in the middle",
    "squeeze": "the whole picture, squeezed to a square",
}


def own_folder(
    root: str | Path,
    labels: str | Path,
    attributes: Sequence[str] | None = None,
    crop: str = "center",
    limit: int | None = None,
    max_dropped: float = folders.MAX_DROPPED,
) -> FolderSource:
    """Pictures anywhere below a folder, or in a .zip, and a CSV file with a header.

    The column `file` (or `image`, `path`, ...; else the first) names the picture, by its path below
    the folder or just by its name. A column `split` (train, val or test) and a column `mask` (the
    path of a picture that is white on the subject) may be there. Every other column is an
    attribute: binary where all its values are true/false, yes/no, 0/1 or -1/1; else a score, which
    is standardised. Commas, semicolons or tabs part the columns.

    Args:
        root: the folder or archive.
        labels: the CSV file.
        attributes: names of the columns to take; None: all.
        crop: one of `CROPS`.
        limit: only that many pictures, evenly spaced.
        max_dropped: share of rows, and of pictures, that may have no partner.

    Raises:
        DataError: no header, a column without numbers, too many rows that cannot be used; names
            file, line and column.
    """
    if crop not in CROPS:
        raise DataError(f"crop {crop!r}: choose one of {', '.join(CROPS)}")
    files, report = Files(root), Report()
    labels = Path(labels)
    if not labels.is_file():
        raise DataError(f"{labels}: no such file; it names the pictures and their attributes")
    table = Table(str(labels), labels.read_bytes())
    columns, rows = _read_csv(table, attributes)
    masks_named = {row.mask for row in rows if row.mask}
    known = _Paths(files.names)
    mask_of = {name: known.find(name) for name in masks_named}
    are_masks = set(mask_of.values())
    pictures = _Paths([n for n in folders.pictures_among(files.names) if n not in are_masks])
    kept = _join(table, columns, rows, pictures, mask_of, report, max_dropped)
    raw = np.array([row.values for row in kept], dtype=np.float64)
    split = np.array([row.part for row in kept], dtype=np.int8)
    values, schema = _meaning(columns, raw, split == 0, report)
    has_masks = columns.mask is not None
    source = FolderSource(
        name="own",
        schema=schema,
        attributes=values,
        split=split,
        provenance={
            "files": [table.provenance()],
            "attributes": ABOUT_ATTRIBUTES,
            "split": f"column {columns.split!r}"
            if columns.split
            else f"by file: {folders.HASHED_SPLIT}",
            "crop": CROPS[crop],
            "use": USE,
        },
        report=report,
        files=files,
        paths=[row.path for row in kept],
        crop=partial(cut, crop=crop),
        table=table.path,
        lines=np.array([row.line for row in kept]),
        mask_files=files if has_masks else None,
        mask_paths=[mask_of[row.mask] or "" for row in kept] if has_masks else None,
        read_mask=partial(open_picture, mask=True) if has_masks else None,
    )
    return source.thin(limit)


def cut(picture: Image.Image, crop: str) -> Image.Image:
    """A square of a picture: one of `CROPS`."""
    if crop == "squeeze":
        return folders.square_of((0, 0, *picture.size), picture)
    return picture.crop(_center(*picture.size))


def own_parquet(
    files: str | Path | Sequence[str | Path],
    attributes: Sequence[str] | None = None,
    limit: int | None = None,
) -> ParquetSource:
    """Parquet files with a column of pictures (`image`, or the first that holds bytes) and columns
    of booleans and numbers, which are attributes as in `own_folder`. The split is the column
    `split` or `partition` where there is one. The largest square in the middle is taken.

    Raises:
        DataError: no pictures, no attributes, a value that is missing or of no use; names file,
            row and column.
    """
    table = ParquetImages(files, limit)
    kinds = table.kinds()
    images = [name for name, kind in kinds.items() if kind == "image"]
    if not images:
        raise DataError(f"{table.paths[0]}: no column holds pictures (bytes)")
    image = "image" if "image" in images else images[0]
    split = next((name for name in ("split", "partition") if name in kinds), None)
    numeric = [name for name, kind in kinds.items() if kind == "number" and name != split]
    for name in attributes or []:
        if name not in numeric:
            raise DataError(
                f"{table.paths[0]}: no column of numbers {name!r}; {did_you_mean(name, numeric)}"
            )
    chosen = list(attributes or numeric)
    if not chosen:
        raise DataError(f"{table.paths[0]}: no column of booleans or numbers, so no attributes")
    folders.refuse_twice(chosen, str(table.paths[0]))
    raw = table.finite(chosen)
    parts = _parquet_split(table, split)
    report = Report()
    columns = _Columns(table.columns, image, split, None, chosen)
    values, schema = _meaning(columns, raw, parts == 0, report)
    provenance = table.provenance() | {
        "attributes": ABOUT_ATTRIBUTES,
        "split": f"column {split!r}" if split else f"by row: {folders.HASHED_SPLIT}",
        "crop": CROPS["center"],
        "use": USE,
    }
    source = ParquetSource(
        table, "own", schema, values, parts, provenance, crop=_center, image_column=image
    )
    source.report.notes += report.notes
    return source


def _center(width: int, height: int) -> Box:
    side = min(width, height)
    left, upper = (width - side) // 2, (height - side) // 2
    return left, upper, left + side, upper + side


def _parquet_split(table: ParquetImages, column: str | None) -> np.ndarray:
    if column is None:
        return np.array([folders.hashed_split(f"{row}") for row in table.rows], dtype=np.int8)
    named = [str(value).strip().lower() for value in table.column(column)]
    for i, part in enumerate(named):
        if part not in PARTS:
            raise DataError(f"{table.where(i)}: {column!r} is {part!r}, not train, val or test")
    return np.array([PARTS[part] for part in named], dtype=np.int8)


# -------------------------------------------------------------------------------------- the table


@dataclass
class _Columns:
    """What the columns of the table are for."""

    names: list[str]
    file: str
    split: str | None
    mask: str | None
    attributes: list[str]


@dataclass
class _Row:
    line: int
    file: str
    split: str
    mask: str
    cells: list[str]
    values: list[float] = field(default_factory=list)
    path: str = ""
    part: int = 0
    wrong: str = ""  # why it cannot be used


def _read_csv(table: Table, wanted: Sequence[str] | None) -> tuple[_Columns, list[_Row]]:
    """Header and rows.

    Raises:
        DataError: no header, or one that cannot be used; no UTF-8 text, no CSV.
    """
    rows: list[_Row] = []
    columns = None
    reader = None
    try:
        with table.open() as text:
            reader = csv.reader(text, delimiter=_delimiter(table))
            for fields in reader:
                if not any(cell.strip() for cell in fields):
                    continue
                if columns is None:
                    columns = _columns(table, reader.line_num, fields, wanted)
                else:
                    rows.append(_row(reader.line_num, fields, columns))
    except UnicodeDecodeError:
        raise table.not_text() from None
    except csv.Error as error:
        line = reader.line_num if reader else 1
        raise DataError(f"{table.where(line)}: {error}; is a quotation mark left open?") from None
    if columns is None:
        raise DataError(f"{table.path} is empty; its first line names the columns")
    return columns, rows


def _delimiter(table: Table) -> str:
    """Comma, semicolon or tab: the one that the header has most of."""
    header = next((text for _, text in table.lines()), "")
    return max(",;\t", key=header.count)


def _columns(
    table: Table, line: int, header: Sequence[str], wanted: Sequence[str] | None
) -> _Columns:
    names = [name.strip() for name in header]
    while names and not names[-1]:
        names.pop()  # a delimiter at the end of the line
    folders.refuse_twice(names, table.where(line))
    low = {name.lower(): name for name in reversed(names)}
    file = next((low[name] for name in FILE_COLUMNS if name in low), names[0])
    split, mask = low.get("split"), low.get("mask")
    rest = [name for name in names if name not in (file, split, mask)]
    for name in wanted or []:
        if name not in rest:
            raise DataError(f"{table.where(line)}: no column {name!r}; {did_you_mean(name, rest)}")
    chosen = list(wanted) if wanted else rest
    if not chosen:
        raise DataError(
            f"{table.where(line)}: no attributes, only {', '.join(map(repr, names))}; the first"
            " line names the columns: one for the file, one for each attribute"
        )
    folders.refuse_twice(chosen, "--attributes")
    return _Columns(names, file, split, mask, chosen)


def _row(line: int, fields: Sequence[str], columns: _Columns) -> _Row:
    n = len(columns.names)
    cells = dict(zip(columns.names, (cell.strip() for cell in fields), strict=False))

    def cell(name: str | None) -> str:
        return cells.get(name, "") if name else ""

    row = _Row(
        line,
        cell(columns.file).replace("\\", "/").removeprefix("./"),
        cell(columns.split).lower(),
        cell(columns.mask).replace("\\", "/").removeprefix("./"),
        [cell(name) for name in columns.attributes],
    )
    if len(fields) < n or any(extra.strip() for extra in fields[n:]):
        row.wrong = f"not {n} columns"
    elif not row.file:
        row.wrong = f"no file in column {columns.file!r}"
    elif columns.split and row.split not in PARTS:
        row.wrong = f"column {columns.split!r} is none of train, val, test"
    elif columns.mask and not row.mask:
        row.wrong = f"no mask in column {columns.mask!r}"
    return row


class _Paths:
    """Finds a file by its path, or by its name if only one file has it."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = set(paths)
        self.of_name: dict[str, list[str]] = {}
        for path in paths:
            self.of_name.setdefault(path.rpartition("/")[2], []).append(path)

    def find(self, named: str) -> str | None:
        if named in self.paths:
            return named
        found = self.of_name.get(named.rpartition("/")[2], [])
        return found[0] if len(found) == 1 else None


def _join(
    table: Table,
    columns: _Columns,
    rows: Sequence[_Row],
    pictures: _Paths,
    mask_of: Mapping[str, str | None],
    report: Report,
    max_dropped: float,
) -> list[_Row]:
    """The usable rows, with path, part and values filled in."""
    join = Join(table, {path: path for path in sorted(pictures.paths)}, report)
    kept = []
    _refuse_words(table, columns, rows)
    for row in rows:
        numbers = [_number(cell) for cell in row.cells]
        row.values = [0.0 if value is None else value for value in numbers]
        row.path = pictures.find(row.file) or ""
        if not row.wrong and None in numbers:
            row.wrong = f"column {columns.attributes[numbers.index(None)]!r} is no number or yes/no"
        if not row.wrong and columns.mask and mask_of[row.mask] is None:
            row.wrong = "its mask is missing"
        if row.wrong:
            join.drop(row.wrong, row.line)
            join.keys.setdefault(row.path, row.line)
        elif join.add(row.path or row.file, row.line):
            row.part = PARTS[row.split] if columns.split else folders.hashed_split(row.file)
            kept.append(row)
    join.finish(max_dropped)
    return kept


def _refuse_words(table: Table, columns: _Columns, rows: Sequence[_Row]) -> None:
    """Raises DataError if a column has values and not one of them is a number or yes/no."""
    for k, name in enumerate(columns.attributes):
        cells = [(row.line, row.cells[k]) for row in rows if row.cells[k]]
        if cells and all(_number(cell) is None for _, cell in cells):
            line, cell = cells[0]
            raise DataError(
                f"{table.where(line)}: column {name!r} is {cell[:40]!r}, and nowhere a number or"
                " yes/no; make a column with yes and no for each of its values, or name the columns"
                " to take with --attributes"
            )


def _number(cell: str) -> float | None:
    """1 and 0 for words, finite numbers as they are, None for everything else."""
    if cell.lower() in WORDS:
        return WORDS[cell.lower()]
    values = folders.numbers([cell])
    return values[0] if values else None


def _meaning(
    columns: _Columns, raw: np.ndarray, train: np.ndarray, report: Report
) -> tuple[np.ndarray, AttributeSchema]:
    """Attributes as a model sees them, (N, K) float32, and what they mean."""
    if not train.any():
        raise DataError("no training rows; the column 'split' must say train in most rows")
    scores, schema = standardise(raw, columns.attributes, train)
    values, attributes = scores, list(schema)
    for k, name in enumerate(columns.attributes):
        seen = set(np.unique(raw[:, k]).tolist())
        if seen <= {0.0, 1.0} or seen <= {-1.0, 1.0}:
            values[:, k] = np.where(raw[:, k] > 0, 1, -1)
            attributes[k] = Attribute(name)
        if len(np.unique(raw[train, k])) < 2:
            report.note(f"attribute {name!r} is the same in all training rows: nothing to learn")
    return values, AttributeSchema(attributes)
