"""CUB-200-2011: birds, 312 attributes in 28 groups, masks.

Attributes are per *species*: the percentage of annotators who saw the attribute on pictures of it.
As is usual, an attribute counts as present from 50 percent on, so all pictures of a species share
one `y`. The download also has what one annotator saw on each picture, which is noisier. Groups are
not one-hot: annotators may have agreed on no member, or on two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from a2i_lib.attributes import Attribute, AttributeSchema
from a2i_lib.data import folders
from a2i_lib.data.dataset import DataError
from a2i_lib.data.folders import FolderSource, Join, Layout, Table
from a2i_lib.data.lfw import one_in_ten
from a2i_lib.data.parquet import Box, ParquetImages, ParquetSource
from a2i_lib.data.pictures import open_picture
from a2i_lib.data.source import Report

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


# ------------------------------------------------------------------------- as it is downloaded

HOME = "vision.caltech.edu/datasets/cub_200_2011 has it"
IMAGE_LABELS = "image_attribute_labels.txt"
CLASS_LABELS = "class_attribute_labels_continuous.txt"
PER = {
    "class": f"per species, -1/+1: at least {PRESENT:g} percent of annotators saw it",
    "image": "per picture, -1/+1, as one annotator saw it; what is not visible counts as absent",
}
FOLDER_VALIDATION = (
    "val: those training pictures for which the SHA-256 of the file name, first 8 bytes as a"
    " big-endian number, is divisible by 10"
)


class CubSource(FolderSource):
    """CUB's pictures, cut out along the mask, or along the box where there are no masks.

    Attributes:
        boxes: (N, 4) left, upper, right, lower.
    """

    boxes: np.ndarray

    def take(self, rows: np.ndarray) -> None:
        super().take(rows)
        self.boxes = self.boxes[rows]

    def picture(self, i: int) -> Image.Image:
        picture = self.whole(i)
        return folders.square_of(self._box(i, picture.size), picture)

    def mask(self, i: int) -> Image.Image:
        mask = self.whole_mask(i)
        return folders.square_of(self._box(i, mask.size), mask)

    def _box(self, i: int, size: tuple[int, int]) -> Box:
        """Tight around the mask; the annotated box without masks, or where the mask is empty."""
        if self.has_masks:
            mask = self.whole_mask(i)
            if mask.size != size:
                raise ValueError("its segmentation has another size")
            if box := mask.getbbox():
                return box
        left, upper, right, lower = self.boxes[i].tolist()
        return left, upper, right, lower


def cub_folder(
    root: str | Path,
    per: str = "class",
    limit: int | None = None,
    max_dropped: float = folders.MAX_DROPPED,
) -> CubSource:
    """CUB as it is downloaded: the folder `CUB_200_2011`, or one that holds it, with
    `attributes.txt` in it or beside it; and `segmentations/`, in it or beside it, if you have them.

    With segmentations, each picture has a mask and is cut out tightly along it, as in
    Attribute2Image; without, along its bounding box. Either is squeezed to a square.

    Args:
        root: that folder.
        per: "class", what most annotators saw on the species; "image", what one saw on the picture.
        limit: only that many pictures, evenly spaced.
        max_dropped: share of rows, and of pictures, that may have no partner.

    Raises:
        DataError: a file that is missing or of another form, too many rows that cannot be used;
            names file, line and field.
    """
    if per not in PER:
        raise DataError(f"attributes per {per!r}: choose one of {', '.join(PER)}")
    layout, report = Layout(root), Report()
    table = layout.table("images.txt", HOME)
    names = _attribute_names(layout.table("attributes.txt", f"{HOME}, in the same archive"))
    files, paths = layout.pictures("images")
    if not paths:
        raise DataError(f"{root}: no pictures in images/; {HOME}")
    mask_files, masks = layout.pictures("segmentations")
    rows = _read_rows(layout, table, paths, masks, report, max_dropped)
    if per == "image":
        labels = layout.table(IMAGE_LABELS, f"{HOME}, in attributes/; or take --per class")
        values = _image_labels(labels, rows.ids, len(names), report)
    else:
        percent = layout.table(CLASS_LABELS, f"{HOME}, in attributes/; or take --per image")
        values = _class_labels(percent, rows.species, len(names))
    source = CubSource(
        name="cub",
        schema=AttributeSchema([Attribute(name, group=name.partition("::")[0]) for name in names]),
        attributes=values,
        split=rows.split,
        provenance={
            "files": layout.provenance(),
            "attributes": PER[per],
            "split": f"official train and test; {FOLDER_VALIDATION}",
            "crop": f"tight along the {'mask' if masks else 'bounding box'}, squeezed to a square",
            "use": "non-commercial research",
        },
        report=report,
        files=files,
        paths=rows.paths,
        table=table.path,
        lines=rows.lines,
        mask_files=mask_files if masks else None,
        mask_paths=rows.masks if masks else None,
        read_mask=segmentation if masks else None,
    )
    source.boxes = rows.boxes
    source.keep((values != 0).all(1), "not all of its attributes are labelled", max_dropped)
    return source.thin(limit)


def segmentation(data: bytes) -> Image.Image:
    """A segmentation, in which grey levels say how many annotators saw the bird: 255 where more
    than half did.
    """
    return open_picture(data, mask=True).point(lambda level: 255 if level > 127 else 0)


@dataclass
class _Rows:
    """The n usable rows of `images.txt`, with what other tables say of them."""

    ids: list[str]
    paths: list[str]
    masks: list[str]
    lines: np.ndarray
    species: np.ndarray  # from 1
    split: np.ndarray
    boxes: np.ndarray  # n 4: left, upper, right, lower


def _key(path: str) -> str:
    """`001.Species/Picture_0001`, whatever lies above and whatever the suffix."""
    return str(PurePosixPath(*PurePosixPath(path).parts[-2:]).with_suffix(""))


def _read_rows(
    layout: Layout,
    table: Table,
    paths: list[str],
    masks: list[str],
    report: Report,
    max_dropped: float,
) -> _Rows:
    def pairs(name: str) -> dict[str, tuple[int, str]]:
        return layout.table(name, HOME).pairs(report)

    training, species = pairs("train_test_split.txt"), pairs("image_class_labels.txt")
    boxes = pairs("bounding_boxes.txt")
    pictures = {_key(path): path for path in reversed(paths)}
    segmented = {_key(path): path for path in reversed(masks)}
    join = Join(table, pictures, report)
    found: list[tuple[str, str, int, int, int, list[float]]] = []
    ids: set[str] = set()
    for line, text in table.lines():
        number, *rest = text.split(None, 1)
        path = rest[0].strip() if rest else ""
        box = folders.numbers(boxes[number][1].split()) if number in boxes else None
        if not path or not number.isdecimal() or number in ids:
            join.drop("no number of its own and path", line)
        elif number not in training or training[number][1] not in ("0", "1"):
            join.drop("no 0 or 1 in train_test_split.txt", line)
        elif number not in species or not species[number][1].isdecimal():
            join.drop("no species in image_class_labels.txt", line)
        elif box is None or len(box) != 4 or min(box[2:]) < 1:
            join.drop("no box in bounding_boxes.txt", line)
        elif segmented and _key(path) in pictures and _key(path) not in segmented:
            join.drop("no segmentation", line)
            join.keys[_key(path)] = line
        elif join.add(_key(path), line):
            ids.add(number)
            test = training[number][1] == "0"
            part = 2 if test else int(one_in_ten(PurePosixPath(path).name.encode()))
            found.append((number, _key(path), line, int(species[number][1]), part, box))
    join.finish(max_dropped)
    keys = [row[1] for row in found]
    sides = np.array([row[5] for row in found])  # n 4: x y width height
    corners = np.concatenate([np.floor(sides[:, :2]), np.ceil(sides[:, :2] + sides[:, 2:])], 1)
    return _Rows(
        [row[0] for row in found],
        [pictures[key] for key in keys],
        [segmented[key] for key in keys] if segmented else [],
        np.array([row[2] for row in found]),
        np.array([row[3] for row in found]),
        np.array([row[4] for row in found], dtype=np.int8),
        corners.clip(-1e6, 1e6).astype(np.int64),
    )


def _attribute_names(table: Table) -> list[str]:
    names: list[str] = []
    for line, text in table.lines():
        number, *rest = text.split(None, 1)
        if not rest or number != str(len(names) + 1):
            raise DataError(
                f"{table.where(line)}: expected '{len(names) + 1} NAME'; take the file as it is"
                " downloaded"
            )
        names.append(rest[0].strip())
    if not names:
        raise DataError(f"{table.path}: no attributes; fetch it again")
    folders.refuse_twice(names, table.path)
    return names


def _class_labels(table: Table, species: np.ndarray, attributes: int) -> np.ndarray:
    """-1/+1, (N, K) float32, from one line of K percentages for each species, in order."""
    percent = []
    for line, text in table.lines():
        values = folders.numbers(text.split())
        if values is None or len(values) != attributes:
            raise DataError(
                f"{table.where(line)}: not {attributes} percentages, one for each line of"
                " attributes.txt; fetch it again"
            )
        percent.append(values)
    if len(percent) < species.max():
        raise DataError(
            f"{table.path}: {len(percent)} lines, but a picture shows species {species.max()}; "
            "was the download cut?"
        )
    if species.min() < 1:
        raise DataError("image_class_labels.txt: species 0; they count from 1")
    present = np.array(percent)[species - 1] >= PRESENT
    return np.where(present, 1, -1).astype(np.float32)


def _image_labels(table: Table, ids: list[str], attributes: int, report: Report) -> np.ndarray:
    """-1/+1, (N, K) float32, 0 where there is no label, from lines `picture attribute present
    certainty time`, of which the first three columns count: some lines have more than five.
    """
    row_of = {number: i for i, number in enumerate(ids)}
    columns = {str(k + 1): k for k in range(attributes)}
    values = np.zeros((len(ids), attributes), dtype=np.int8)
    odd, long = folders.Noted(), 0
    for line, text in table.lines():
        fields = text.split()
        long += len(fields) > 5
        if len(fields) < 3 or fields[1] not in columns or fields[2] not in ("0", "1"):
            odd.add("no picture, attribute and 0 or 1", line)
            continue
        i, k = row_of.get(fields[0]), columns[fields[1]]
        if i is None:
            continue
        sign = 1 if fields[2] == "1" else -1
        if values[i, k]:
            odd.add("a second label" + (", another one" if values[i, k] != sign else ""), line)
        else:
            values[i, k] = sign
    odd.tell(report, table)
    if long:
        report.note(f"{table.path}: {long:,} lines of more than five columns, the first three used")
    return values.astype(np.float32)
