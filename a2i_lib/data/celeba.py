"""CelebA: faces with 40 binary attributes and a split by identity.

The full set has 202,599 aligned images of 178x218 in parts of 162,770, 19,867 and 19,962. Its
official home hands them out through a file store that often refuses ("quota exceeded"); mirrors on
dataset hubs carry the same images as Parquet shards, which this module reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from a2i_lib.attributes import Attribute, AttributeSchema
from a2i_lib.data.dataset import DataError
from a2i_lib.data.parquet import Box, ParquetImages, ParquetSource

ATTRIBUTES = tuple(
    """5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose
    Black_Hair Blond_Hair Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee
    Gray_Hair Heavy_Makeup High_Cheekbones Male Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard
    Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks Sideburns Smiling Straight_Hair
    Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace Wearing_Necktie
    Young""".split()
)
# What a shard's name starts with; "valid-00000-of-00002" and "validation-..." start with "val" too.
SHARD_NAMES = {"train": 0, "val": 1, "test": 2}


def read_celeba(
    files: str | Path | Sequence[str | Path],
    limit: int | None = None,
) -> ParquetSource:
    """CelebA from Parquet: a column `image` and one for each attribute.

    Attributes are booleans, 0/1 or -1/+1. The split is the column `partition` (0, 1, 2) where there
    is one; else the shards must be named by it ("train-00000-of-00019.parquet", "valid-...",
    "test-..."). Aligned pictures of 178x218 are cut to rows 20 to 198, which keeps hair and some
    background; square ones are taken whole.

    Raises:
        DataError: a missing column or a value that cannot be used; names file, row and field.
    """
    table = ParquetImages(files, limit)
    table.require("image", *ATTRIBUTES)
    attributes = table.signs(ATTRIBUTES)
    split = _split(table)
    schema = AttributeSchema([Attribute(name) for name in ATTRIBUTES])
    provenance = table.provenance() | {
        "attributes": "binary labels as -1/+1",
        "split": "official partition, by identity",
        "use": "non-commercial research",
    }
    return ParquetSource(
        table, "celeba", schema, attributes, split, provenance, crop=aligned_square
    )


def aligned_square(width: int, height: int) -> Box | None:
    """Which part of a picture is used: rows 20 to 198 of an aligned 178x218, all of a square.

    Raises:
        ValueError: another shape.
    """
    if (width, height) == (178, 218):
        return 0, 20, 178, 198
    if width != height:
        raise ValueError(f"{width}x{height} pixels, expected 178x218 (aligned CelebA) or a square")
    return None


def _split(table: ParquetImages) -> np.ndarray:
    if "partition" in table.columns:
        values = np.array(table.column("partition"))
        bad = np.flatnonzero(~np.isin(values, (0, 1, 2)))
        if len(bad):
            raise DataError(
                f"{table.where(bad[0])}: 'partition' is {values[bad[0]]}, expected 0, 1 or 2"
            )
        return values.astype(np.int8)
    of_shard = []
    for path in table.paths:
        part = [number for start, number in SHARD_NAMES.items() if path.name.startswith(start)]
        if not part:
            raise DataError(
                f"{path}: no column 'partition', and the name does not start with"
                " train, val or test"
            )
        of_shard.append(part[0])
    return np.array(of_shard, dtype=np.int8)[table.shard_of_rows()]
