"""Labeled Faces in the Wild: 13,143 faces of 5,721 people, 73 attributes, masks, View 1's split
or CMMA's.

The attributes people train on are real-valued: outputs of Kumar's attribute classifiers, positive
where the attribute is seen. **`scores_estimated` is not that table.** It is an estimate of it: the
signs agree with the binary labels of LFWA+ by construction, the sizes are guesses. Every number
computed from them inherits this, and the data set says so in its `provenance`. `labels="binary"`
uses the LFWA+ labels themselves.

Masks: 2,906 come from the official part labels, the others from a small network trained on those.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from a2i_lib.attributes import Attribute, AttributeSchema
from a2i_lib.data.dataset import DataError
from a2i_lib.data.parquet import ParquetImages, ParquetSource

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
            Attribute(name, "score", None, *map(float, numbers))
            for name, *numbers in zip(names, low, high, mean, deviation, strict=True)
        ]
    )
    return y, schema
