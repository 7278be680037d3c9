"""Labeled Faces in the Wild: 13,143 faces of 5,721 people, 73 attributes, masks, View 1's split
or CMMA's.

The attributes people train on are real-valued: outputs of Kumar's attribute classifiers, positive
where the attribute is seen. They are downloaded as `lfw_attributes.txt`. **`scores_estimated`, a
column of Parquet files, is not that table.** It is an estimate of it: the
signs agree with the binary labels of LFWA+ by construction, the sizes are guesses. Every number
computed from them inherits this, and the data set says so in its `provenance`. `labels="binary"`
uses the LFWA+ labels themselves.

Masks of Parquet files: 2,906 come from the official part labels, the others from a small network
trained on those. The download has the part labels alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from a2i_lib.attributes import Attribute, AttributeSchema
from a2i_lib.data import folders
from a2i_lib.data.dataset import DataError
from a2i_lib.data.folders import FolderSource, Join, Layout, Table
from a2i_lib.data.parquet import Box, ParquetImages, ParquetSource
from a2i_lib.data.pictures import open_picture
from a2i_lib.data.source import Report

LABELS = {
    "scores": "ESTIMATES of the published real-valued scores: signs from the binary LFWA+ labels,"
    " sizes estimated; standardised with the mean and deviation of the training split",
    "binary": "binary LFWA+ labels as -1/+1",
}
VALIDATION = (
    "val: those people of View 1's training list the SHA-256 of whose name, first 8 bytes as a"
    " big-endian number, is divisible by 10; no person is in two splits"
)
SPLITS = {
    "view1": f"View 1; {VALIDATION}",
    "cmma": "Pandey & Dukkipati, section 4: the first 10,000 rows train, the next 1,000 val, the"
    " rest test; faces of one person may be in two splits where a border cuts through them",
}
CMMA_BORDERS = 10_000, 11_000


def read_lfw(
    files: str | Path | Sequence[str | Path],
    labels: str = "scores",
    split: str = "view1",
    limit: int | None = None,
) -> ParquetSource:
    """LFW from Parquet: columns image, mask, person, view1, scores_estimated or attributes.

    Args:
        labels: "scores", standardised (raw = mean + deviation * y, both in the schema); or
            "binary", -1/+1.
        split: "view1", people apart; or "cmma", by the order of the rows, which must be that of
            the published attribute file.
        limit: only that many images, evenly spaced.

    Raises:
        DataError: a missing column or a value that cannot be used; names file, row and field.
    """
    if labels not in LABELS:
        raise DataError(f"labels {labels!r}: choose one of {', '.join(LABELS)}")
    if split not in SPLITS:
        raise DataError(f"split {split!r}: choose one of {', '.join(SPLITS)}")
    table = ParquetImages(files, limit)
    column = "scores_estimated" if labels == "scores" else "attributes"
    table.require("image", "mask", "person", "view1", column)
    names = table.attribute_names()
    values = table.vectors(column, names)
    parts = view1_split(table) if split == "view1" else cmma_split(table)
    if labels == "scores":
        values, schema = standardise(values, names, parts == 0)
    else:
        schema = AttributeSchema([Attribute(name) for name in names])
        values = np.where(values > 0, 1, -1).astype(np.float32)
    provenance = table.provenance() | {
        "attributes": LABELS[labels],
        "split": SPLITS[split],
        "use": "non-commercial research",
    }
    return ParquetSource(table, "lfw", schema, values, parts, provenance, mask_column="mask")


def view1_split(table: ParquetImages) -> np.ndarray:
    """0 train, 1 val, 2 test, (N,) int8: View 1, a tenth of its training people set aside.

    Which tenth, `VALIDATION` says.
    """
    split = np.empty(len(table), dtype=np.int8)
    for i, (view, person) in enumerate(
        zip(table.column("view1"), table.column("person"), strict=True)
    ):
        if view not in ("train", "test"):
            raise DataError(f"{table.where(i)}: 'view1' is {view!r}, expected 'train' or 'test'")
        split[i] = 2 if view == "test" else int(one_in_ten(person.encode()))
    return split


def cmma_split(table: ParquetImages) -> np.ndarray:
    """0 train, 1 val, 2 test, (N,) int8: `SPLITS["cmma"]`.

    Raises:
        DataError: a file that ends before its test rows begin.
    """
    if table.rows[-1] < CMMA_BORDERS[1]:
        raise DataError(
            f"{table.where(len(table) - 1)} is the last: the split 'cmma' tests on rows from "
            f"{CMMA_BORDERS[1]:,} on"
        )
    return np.searchsorted(CMMA_BORDERS, table.rows, side="right").astype(np.int8)


def one_in_ten(key: bytes) -> bool:
    """A fixed tenth of all keys, which does not depend on what else is in the data."""
    return int.from_bytes(hashlib.sha256(key).digest()[:8], "big") % 10 == 0


def standardise(
    raw: np.ndarray, names: Sequence[str], train: np.ndarray
) -> tuple[np.ndarray, AttributeSchema]:
    """(raw - mean) / deviation over the training rows (N, K), and the schema that undoes it.

    A score that does not vary there has deviation 1 and stays at 0.
    """
    seen = raw[train].astype(np.float64)
    if not len(seen):
        raise DataError("no training rows to take the scores' mean and deviation from")
    mean, deviation = seen.mean(0), seen.std(0)
    deviation[deviation < 1e-6] = 1.0
    y = ((raw - mean) / deviation).astype(np.float32)
    low, high = y[train].min(0), y[train].max(0)
    schema = AttributeSchema(
        [
            Attribute(name, "score", None, float(least), float(most), float(m), float(d))
            for name, least, most, m, d in zip(names, low, high, mean, deviation, strict=True)
        ]
    )
    return y, schema


# ------------------------------------------------------------------------- as it is downloaded

HOME = "the page of the download, vis-www.cs.umass.edu/lfw, has it"
FOLDERS = "lfw_funneled", "lfw-deepfunneled"
PARTS = "parts_lfw_funneled_gt_images"
SIDE = 250  # of every picture of LFW
CROPS = {  # left, upper, right, lower
    "a2i": (45, 45, 205, 205),
    "lfwcrop": (83, 92, 167, 176),
}
ABOUT_CROPS = {
    "a2i": "x and y 45 to 205 of 250: the head with hair and some background (Attribute2Image"
    " aligns by five landmarks and takes the centre, without saying how large)",
    "lfwcrop": "x 83 to 166, y 92 to 175: the face alone, the published box of LFWcrop (CMMA)",
}


def lfw_folder(
    root: str | Path,
    split: str = "view1",
    crop: str = "a2i",
    masks: bool = False,
    limit: int | None = None,
    max_dropped: float = folders.MAX_DROPPED,
) -> FolderSource:
    """LFW as it is downloaded: `lfw_funneled/` or `lfw-deepfunneled/`, `lfw_attributes.txt`,
    `peopleDevTrain.txt` and `peopleDevTest.txt`, all in one folder or beside each other.

    Args:
        root: that folder, or the one of the pictures.
        split: "view1", or "cmma", by the order of the attribute file.
        crop: one of `CROPS`.
        masks: take only the 2,927 pictures with part labels (`parts_lfw_funneled_gt_images/`),
            and what is not background there as mask.
        limit: only that many pictures, evenly spaced.
        max_dropped: share of rows, and of pictures, that may have no partner.

    Raises:
        DataError: a file that is missing or of another form, too many rows that cannot be used;
            names file, line and field.
    """
    for value, known in ((split, SPLITS), (crop, CROPS)):
        if value not in known:
            raise DataError(f"{value!r}: choose one of {', '.join(known)}")
    layout, report = Layout(root), Report()
    table = layout.table("lfw_attributes.txt", "cs.columbia.edu/CAVE/databases/pubfig has it")
    files, paths = layout.pictures(*FOLDERS)
    if not paths:
        raise DataError(f"{root}: no pictures in {' or '.join(FOLDERS)}; {HOME}")
    pictures = folders.by_stem(paths)
    people = _view1_people(layout, report) if split == "view1" else None
    rows = _read_rows(table, pictures, people, report, max_dropped)
    part_files, labelled = files, dict[str, str]()
    if masks:
        part_files, labelled = _part_labels(layout, paths)
        report.note(f"{len(labelled):,} pictures have part labels; the others are not taken")
        rows = rows.only(labelled)
    values, schema = standardise(rows.scores, rows.names, rows.split == 0)
    source = FolderSource(
        "lfw",
        schema,
        values,
        rows.split,
        {
            "files": layout.provenance(),
            "pictures": files.root.name if files.root.name in FOLDERS else paths[0].split("/")[0],
            "attributes": f"{rows.head}; standardised with the mean and deviation of the training"
            " split",
            "split": SPLITS[split],
            "crop": ABOUT_CROPS[crop],
            "use": "non-commercial research",
        },
        report,
        files,
        [pictures[key] for key in rows.keys],
        partial(cut, box=CROPS[crop]),
        table.path,
        rows.lines,
        part_files if masks else None,
        [labelled[key] for key in rows.keys] if masks else None,
        person if masks else None,
    )
    return source.thin(limit)


def cut(picture: Image.Image, box: Box) -> Image.Image:
    """Cuts a box out of a picture of 250x250.

    Raises:
        ValueError: another shape.
    """
    if picture.size == (SIDE, SIDE):
        return picture.crop(box)
    raise ValueError(f"not {SIDE}x{SIDE} pixels as all of LFW")


def person(data: bytes) -> Image.Image:
    """Part labels (hair red, skin green, background blue) as a mask: 255 on hair and skin."""
    red, green, blue = np.moveaxis(np.asarray(open_picture(data)).astype(int), 2, 0)
    background = (blue > red) & (blue > green)
    return Image.fromarray(np.where(background, 0, 255).astype(np.uint8))


@dataclass
class _Rows:
    """The usable rows of `lfw_attributes.txt`: n of them, K scores each."""

    names: list[str]
    head: str  # what the file says of itself
    keys: list[str]  # Person_Name_0001
    lines: np.ndarray
    scores: np.ndarray  # n K
    split: np.ndarray

    def only(self, wanted: Mapping[str, str]) -> _Rows:
        take = np.array([key in wanted for key in self.keys], dtype=bool)
        keys = [key for key in self.keys if key in wanted]
        return _Rows(
            self.names, self.head, keys, self.lines[take], self.scores[take], self.split[take]
        )


def _read_rows(
    table: Table,
    pictures: dict[str, str],
    people: dict[str, str] | None,
    report: Report,
    max_dropped: float,
) -> _Rows:
    """Joins rows and pictures; `people` are View 1's, None for CMMA's split."""
    names, head = _header(table)
    join = Join(table, pictures, report)
    keys, lines, scores, split = [], [], [], []
    row = -1
    for line, text in table.lines():
        if text.startswith("#"):
            continue
        row += 1
        fields = [field.strip() for field in text.split("	")]
        if len(fields) != len(names) + 2:
            join.drop(f"not {len(names) + 2} fields between tabs", line)
            continue
        values = folders.numbers(fields[2:])
        if values is None or not fields[1].isdecimal():
            join.drop("a field that is no number", line)
            continue
        name = re.sub(r"\s", "_", fields[0])
        if people is not None and name not in people:
            join.drop("the person is in neither list of View 1", line)
        elif join.add(key := f"{name}_{int(fields[1]):04d}", line):
            keys.append(key)
            lines.append(line)
            scores.append(values)
            split.append(_part(name, people) if people is not None else _cmma_part(row))
    join.finish(max_dropped)
    if people is None and row < CMMA_BORDERS[1]:
        raise DataError(
            f"{table.path} has {row + 1:,} rows: the split 'cmma' tests on rows from "
            f"{CMMA_BORDERS[1]:,} on; take the full file, or --split view1"
        )
    return _Rows(
        names, head, keys, np.array(lines), np.array(scores, np.float32), np.array(split, np.int8)
    )


def _cmma_part(row: int) -> int:
    return int(np.searchsorted(CMMA_BORDERS, row, side="right"))


def _part(name: str, people: dict[str, str]) -> int:
    return 2 if people[name] == "test" else int(one_in_ten(name.encode()))


def _header(table: Table) -> tuple[list[str], str]:
    """Names of the scores, with underscores as in CelebA, and what the file says of itself."""
    head = table.path
    for line, text in table.lines():
        fields = [field.strip() for field in text.lstrip("#").strip("\t").split("\t")]
        if not text.startswith("#"):
            break
        if fields[:2] == ["person", "imagenum"]:
            names = [re.sub(r"\s", "_", field) for field in fields[2:]]
            folders.refuse_twice(names, table.where(line))
            return names, head
        head = text.lstrip("# ").strip()
    raise DataError(
        f"{table.path}: no header '# person imagenum Male ...' between tabs above the rows; "
        "take the file as it is downloaded"
    )


def _view1_people(layout: Layout, report: Report) -> dict[str, str]:
    """Person -> "train" or "test".

    Raises:
        DataError: a list is missing or empty, a person is in both.
    """
    people: dict[str, str] = {}
    for part, name in (("train", "peopleDevTrain.txt"), ("test", "peopleDevTest.txt")):
        table = layout.table(name, f"{HOME}; or take --split cmma")
        listed = [(line, text.split("\t")[0].strip()) for line, text in table.lines()]
        if listed and listed[0][1].isdecimal():
            folders.note_count(table, *listed[0], len(listed) - 1, report)
            listed = listed[1:]
        if not listed:
            raise DataError(f"{table.path}: no names; fetch it again")
        for line, person_name in listed:
            if people.setdefault(person_name, part) != part:
                raise DataError(
                    f"{table.where(line)}: {person_name!r} is in peopleDevTrain.txt as well"
                )
    return people


def _part_labels(layout: Layout, paths: list[str]) -> tuple[folders.Files, dict[str, str]]:
    files, parts = layout.pictures(PARTS)
    if not parts:
        raise DataError(
            f"{layout.files.root}: no {PARTS}/, which has the masks; vis-www.cs.umass.edu/lfw/"
            "part_labels has it"
        )
    if "lfw-deepfunneled" in f"{layout.files.root}/{paths[0]}".split("/"):
        raise DataError(
            f"{layout.files.root}: the part labels are drawn on lfw_funneled and do not fit "
            "lfw-deepfunneled"
        )
    return files, folders.by_stem(parts)
