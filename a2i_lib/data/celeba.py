"""CelebA: faces with 40 binary attributes and a split by identity.

The full set has 202,599 aligned images of 178x218 in parts of 162,770, 19,867 and 19,962. Its
official home hands them out through a file store that often refuses ("quota exceeded"); mirrors on
dataset hubs carry the same images as Parquet shards. This module reads both.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from a2i_lib.attributes import Attribute, AttributeSchema
from a2i_lib.data import folders
from a2i_lib.data.dataset import DataError
from a2i_lib.data.folders import FolderSource, Join, Layout, Table
from a2i_lib.data.parquet import Box, ParquetImages, ParquetSource
from a2i_lib.data.source import Report, Source

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

# Named choices of attributes: names, and where the choice comes from.
CHOICES = {
    "slgan17": (
        tuple(
            """Mouth_Slightly_Open Smiling Attractive High_Cheekbones Male Wearing_Lipstick
            Heavy_Makeup Oval_Face Wavy_Hair Pointy_Nose Young Black_Hair Arched_Eyebrows Big_Nose
            Big_Lips Straight_Hair Bags_Under_Eyes""".split()
        ),
        "SL-GAN takes '17 attributes with relatively balanced annotations' and names none: these"
        " are the 17 whose share of positives is closest to one half in the training rows of a"
        " fifth of CelebA (41,791 pictures); Brown_Hair, next, misses by a quarter of a percent",
    ),
    "icgan18": (
        tuple(
            """Bald Bangs Black_Hair Blond_Hair Brown_Hair Bushy_Eyebrows Eyeglasses Gray_Hair
            Heavy_Makeup Male Mouth_Slightly_Open Mustache Pale_Skin Receding_Hairline Smiling
            Straight_Hair Wavy_Hair Wearing_Hat""".split()
        ),
        "the 18 of icGAN, in the order of its published code (generation/"
        "reconstructWithVariations.lua)",
    ),
}
CROPS: dict[str, Box] = {  # left, upper, right, lower of an aligned 178x218
    "square": (0, 20, 178, 198),
    "a2i": (25, 30, 170, 210),
    "acvaegan": (15, 35, 163, 183),
    "slgan": (0, 0, 178, 218),
}
ABOUT_CROPS = {
    "square": "rows 20 to 198, all columns: hair and some background",
    "a2i": "x 25 to 170, y 30 to 210, squeezed to a square, as in Attribute2Image's published code",
    "acvaegan": "the central 148x148: acVAE-GAN takes 'the face ROIs' and gives no box; this is"
    " the one most used",
    "slgan": "the whole picture, squeezed to a square: SL-GAN names no crop, only 64x64",
}


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


# ------------------------------------------------------------------------- as it is downloaded

HOME = "mmlab.ie.cuhk.edu.hk/projects/CelebA.html has it"
SIGNS = {"1": 1, "-1": -1, "0": -1}


def celeba_folder(
    root: str | Path,
    attributes: str | Sequence[str] | None = None,
    crop: str = "square",
    limit: int | None = None,
    max_dropped: float = folders.MAX_DROPPED,
) -> FolderSource:
    """CelebA as it is downloaded: `img_align_celeba/` or `img_align_celeba.zip`, which stays
    packed, `list_attr_celeba.txt` and `list_eval_partition.txt`, in one folder, in its folders
    Anno, Eval and Img, or beside each other.

    `identity_CelebA.txt`, where it is there, is only used to check that no person is in two parts.

    Args:
        root: that folder, or the one, or the archive, of the pictures.
        attributes: None for all 40, one of `CHOICES`, or names.
        crop: one of `CROPS`; square pictures are taken whole.
        limit: only that many pictures, evenly spaced.
        max_dropped: share of rows, and of pictures, that may have no partner.

    Raises:
        DataError: a file that is missing or of another form, too many rows that cannot be used;
            names file, line and field.
    """
    if crop not in CROPS:
        raise DataError(f"crop {crop!r}: choose one of {', '.join(CROPS)}")
    layout, report = Layout(root), Report()
    table = layout.table("list_attr_celeba.txt", HOME)
    partition = layout.table("list_eval_partition.txt", HOME)
    files, paths = layout.pictures("img_align_celeba")
    if not paths:
        raise DataError(
            f"{root}: no pictures in img_align_celeba/ and no img_align_celeba.zip; {HOME}"
        )
    pictures, parts = folders.by_name(paths), _partition(partition, report)
    names, first = _names(table, report)
    keys, lines, values = _labels(table, names, first, pictures, parts, report, max_dropped)
    split = np.array([parts[key] for key in keys], dtype=np.int8)
    if people := layout.find("identity_CelebA.txt"):
        report.note(_check_people(people, keys, split, report))
    source = FolderSource(
        "celeba",
        AttributeSchema([Attribute(name) for name in names]),
        values,
        split,
        {
            "files": layout.provenance(),
            "attributes": "binary labels as -1/+1",
            "split": "official partition, by identity",
            "crop": ABOUT_CROPS[crop],
            "use": "non-commercial research",
        },
        report,
        files,
        [pictures[key] for key in keys],
        partial(cut, box=CROPS[crop]),
        table.path,
        np.array(lines),
    )
    if attributes is not None:
        choose(source, attributes)
    return source.thin(limit)


def choose(source: Source, attributes: str | Sequence[str]) -> None:
    """Keeps one of `CHOICES`, or the attributes named; raises DataError for unknown names."""
    if isinstance(attributes, str) and attributes in CHOICES:
        folders.choose_attributes(source, *CHOICES[attributes])
    else:
        folders.choose_attributes(
            source, [attributes] if isinstance(attributes, str) else attributes
        )


def cut(picture: Image.Image, box: Box) -> Image.Image:
    """A box of an aligned 178x218, squeezed to a square; a square picture as it is.

    Raises:
        ValueError: another shape.
    """
    if picture.size == (178, 218):
        return folders.square_of(box, picture)
    if picture.width != picture.height:
        raise ValueError("neither 178x218 pixels (aligned CelebA) nor square")
    return picture


def _names(table: Table, report: Report) -> tuple[list[str], int]:
    """The attributes' names, and the number of the line that has them.

    Raises:
        DataError: they are not in one of the first two lines.
    """
    stated = None
    for line, text in table.lines():
        names = text.split()
        if stated is None and len(names) == 1 and names[0].isdecimal():
            stated = line, text
            continue
        if len(names) < 2 or all(field in SIGNS for field in names[1:]):
            break
        folders.refuse_twice(names, table.where(line))
        if stated is not None:
            rows = sum(1 for _ in table.lines()) - 2
            folders.note_count(table, *stated, rows, report)
        return names, line
    raise DataError(
        f"{table.path}: no line with the attributes' names above the rows; take the file as it is "
        "downloaded"
    )


def _labels(
    table: Table,
    names: list[str],
    first: int,
    pictures: Mapping[str, str],
    parts: Mapping[str, int],
    report: Report,
    max_dropped: float,
) -> tuple[list[str], list[int], np.ndarray]:
    """Keys and lines of the n usable rows, and their labels as -1/+1, (n, K) float32."""
    join = Join(table, pictures, report)
    keys, lines, labels = [], [], array("b")
    for line, text in table.lines():
        if line <= first:
            continue
        key, *fields = text.rsplit(None, len(names))  # names of files may have blanks
        signs = [SIGNS.get(field, 0) for field in fields]
        if len(fields) != len(names):
            join.drop(f"not {len(names)} values", line)
        elif 0 in signs:
            join.drop("a value that is none of 1, -1, 0", line)
        elif key.strip() not in parts:
            join.drop("the picture is in no part of list_eval_partition.txt", line)
        elif join.add(key.strip(), line):
            keys.append(key.strip())
            lines.append(line)
            labels.extend(signs)
    join.finish(max_dropped)
    values = np.frombuffer(labels, dtype=np.int8).astype(np.float32)
    return keys, lines, values.reshape(-1, len(names))


def _partition(table: Table, report: Report) -> dict[str, int]:
    """File name -> 0 train, 1 val, 2 test."""
    parts: dict[str, int] = {}
    odd = folders.Noted()
    for line, text in table.lines():
        key, *rest = text.rsplit(None, 1)
        if not rest or rest[0] not in ("0", "1", "2"):
            odd.add("no 0, 1 or 2 behind a file name", line)
        elif parts.setdefault(key.strip(), int(rest[0])) != int(rest[0]):
            raise DataError(f"{table.where(line)}: {key.strip()!r} is in two parts; remove one")
    odd.tell(report, table)
    return parts


def _check_people(table: Table, keys: Sequence[str], split: np.ndarray, report: Report) -> str:
    """A sentence on whether people are in one part each."""
    who: dict[str, str] = {}
    odd = folders.Noted()
    for line, text in table.lines():
        key, *rest = text.rsplit(None, 1)
        if rest:
            who[key.strip()] = rest[0]
        else:
            odd.add("no identity behind a file name", line)
    odd.tell(report, table)
    parts: dict[str, set[int]] = {}
    for key, part in zip(keys, split.tolist(), strict=True):
        if key in who:
            parts.setdefault(who[key], set()).add(part)
    several = sum(len(found) > 1 for found in parts.values())
    return f"{len(parts):,} people, {several or 'none'} of them in more than one part"
