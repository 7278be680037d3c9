"""CUB-200-2011: birds, 312 attributes in 28 groups, masks.

Attributes are per *species*: the percentage of annotators who saw the attribute on pictures of it.
As is usual, an attribute counts as present from 50 percent on, so all pictures of a species share
one `y`. Groups are not one-hot: annotators may have agreed on no member, or on two.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from a2i_lib.attributes import Attribute, AttributeSchema
from a2i_lib.data.dataset import DataError
from a2i_lib.data.lfw import one_in_ten
from a2i_lib.data.parquet import ParquetImages, ParquetSource

PRESENT = 50.0  # percent of annotators
VALIDATION = (
    "val: those training rows for which the SHA-256 of 'class_id row', row counted over all files,"
    " first 8 bytes as a big-endian number, is divisible by 10"
)


def read_cub(
    files: str | Path | Sequence[str | Path],
    limit: int | None = None,
) -> ParquetSource:
    """CUB from Parquet: columns image, mask, class_id, split, class_attributes_percent.

    Prepared with `size=72` they are what `Augment.cub()` cuts 64x64 from without enlarging, where
    the source is large enough.

    Raises:
        DataError: a missing column or a value that cannot be used; names file, row and field.
    """
    table = ParquetImages(files, limit)
    table.require("image", "mask", "class_id", "split", "class_attributes_percent")
    names = table.attribute_names()
    percent = table.vectors("class_attributes_percent", names)
    split = _split(table)
    schema = AttributeSchema([Attribute(name, group=name.partition("::")[0]) for name in names])
    provenance = table.provenance() | {
        "attributes": f"per species, -1/+1: at least {PRESENT:g} percent of annotators saw it",
        "split": f"official train and test; {VALIDATION}",
        "use": "non-commercial research",
    }
    present = np.where(percent >= PRESENT, 1, -1).astype(np.float32)
    return ParquetSource(table, "cub", schema, present, split, provenance, mask_column="mask")


def _split(table: ParquetImages) -> np.ndarray:
    split = np.empty(len(table), dtype=np.int8)
    rows = zip(table.rows, table.column("class_id"), table.column("split"), strict=True)
    for i, (row, species, part) in enumerate(rows):
        if part not in ("train", "test"):
            raise DataError(f"{table.where(i)}: 'split' is {part!r}, expected 'train' or 'test'")
        split[i] = 2 if part == "test" else int(one_in_ten(f"{species} {row}".encode()))
    return split
