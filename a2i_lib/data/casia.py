"""CASIA-WebFace: 494,414 faces of 10,575 people, one folder each, and no attributes.

SL-GAN's protocol is followed: a predictor that was trained on another data set labels the pictures,
and its answers are taken for attributes. They are guesses, and the schema and the provenance say
so wherever the data set goes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from tqdm.auto import tqdm

from a2i_lib.attributes import AttributeSchema
from a2i_lib.data import folders
from a2i_lib.data.dataset import DataError
from a2i_lib.data.folders import Files, FolderSource
from a2i_lib.data.lock import only_one
from a2i_lib.data.parquet import Box
from a2i_lib.data.partial import read_journal, write_all
from a2i_lib.data.pictures import to_pixels
from a2i_lib.data.source import Report

if TYPE_CHECKING:
    from a2i_lib.released import Release

SIDE = 250  # of every picture
CROPS: dict[str, Box | None] = {"a2i": (45, 45, 205, 205), "whole": None}
ABOUT_CROPS = {
    "a2i": "x and y 45 to 205 of 250, as for LFW, from whose pictures the predictor has learned",
    "whole": "the whole picture",
}
SPLIT = f"by person, of whom each is in one part: {folders.HASHED_SPLIT}"
BATCH = 256


def casia_folder(
    root: str | Path,
    release: Release,
    crop: str = "a2i",
    limit: int | None = None,
    max_dropped: float = folders.MAX_DROPPED,
    progress: bool = True,
    kept: Path | None = None,
) -> FolderSource:
    """CASIA-WebFace as it is downloaded: a folder (or .zip) with a folder of pictures for each
    person. Every picture is looked at once, by the predictor.

    Args:
        root: that folder, or one above it.
        release: an attribute predictor's; its schema becomes that of the data set. Binary
            attributes are cut to -1/+1, scores stay as predicted.
        crop: one of `CROPS`; pictures that are not 250x250 must be square and are taken whole.
        limit: only that many pictures, evenly spaced.
        max_dropped: share of the pictures that may be unusable.
        kept: a file for the labels found so far: where looking was interrupted, the same call goes
            on. To be removed when they are not needed any more.

    Raises:
        DataError: no pictures in folders, a release that predicts no attributes, too many pictures
            that cannot be used, another process that writes to `kept`.
    """
    if crop not in CROPS:
        raise DataError(f"crop {crop!r}: choose one of {', '.join(CROPS)}")
    _check_predictor(release)
    files, report = Files(root), Report()
    paths, people = _people(files, report)
    source = FolderSource(
        name="casia",
        schema=release.schema,
        attributes=np.zeros((len(paths), len(release.schema)), dtype=np.float32),
        split=np.array([folders.hashed_split(person) for person in people], dtype=np.int8),
        provenance={
            "attributes": "PREDICTED, not annotated (SL-GAN, section 4.1): what the predictor below"
            " sees in each picture; scores as predicted, binary attributes cut at a logit of 0",
            "predictor": {
                "name": release.card["recipe"]["name"],
                "sha256": release.card.get("sha256"),
                "data": release.card["data"]["name"],
            },
            "people": len(set(people)),
            "split": SPLIT,
            "crop": ABOUT_CROPS[crop],
            "use": "non-commercial research",
        },
        report=report,
        files=files,
        paths=paths,
        crop=partial(cut, box=CROPS[crop]),
    ).thin(limit)
    _label(source, release, max_dropped, progress, kept)
    source.schema = AttributeSchema([replace(a, predicted=True) for a in release.schema])
    return source


def cut(picture: Image.Image, box: Box | None) -> Image.Image:
    """A box of a picture of 250x250; another square as it is.

    Raises:
        ValueError: another shape.
    """
    if picture.size == (SIDE, SIDE) and box is not None:
        return picture.crop(box)
    if picture.width != picture.height:
        raise ValueError("not square")
    return picture


def _check_predictor(release: Release) -> None:
    from a2i_lib.models.classifier import AttributeClassifier

    if not isinstance(release.model, AttributeClassifier):
        raise DataError(
            f"{release.card['recipe']['name']} is a {type(release.model).__name__}, which predicts"
            " no attributes; name a release like regressor-lfw, or the card of one you trained"
        )


def _people(files: Files, report: Report) -> tuple[list[str], list[str]]:
    """Paths of the pictures that lie in a person's folder, and the name of that folder."""
    pictures = folders.pictures_among(files.names)
    paths = [path for path in pictures if "/" in path]
    if not paths:
        raise DataError(
            f"{files.root}: no folders with pictures; CASIA-WebFace has one for each person, "
            "like 0000045/001.jpg"
        )
    report.read = len(pictures)
    for path in pictures:
        if "/" not in path:
            report.drop("in no person's folder", files.where(path))
    return paths, [PurePosixPath(path).parts[-2] for path in paths]


def _label(
    source: FolderSource, release: Release, max_dropped: float, progress: bool, kept: Path | None
) -> None:
    """Fills in `source.attributes`; drops pictures that cannot be had."""
    model = release.model.eval()
    reasons: dict[int, str] = {}
    n = len(source)
    with (
        torch.no_grad(),
        _keeping(kept, _identity(source)) as (known, keep),
        tqdm(total=n, desc="labelling", disable=not progress) as bar,
    ):
        batches = [range(start, min(start + BATCH, n)) for start in range(0, n, BATCH)]
        for rows in (rows for rows in batches if rows.start in known):
            source.attributes[rows.start : rows.stop] = known[rows.start]
            bar.update(len(rows))
        todo = [rows for rows in batches if rows.start not in known]
        for rows, pixels, failed in _pixels(source, model.size, todo):
            x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255  # B 3 H W
            y = model(x).numpy()
            source.attributes[rows.start : rows.stop] = y
            reasons |= failed
            if not failed:  # else they are looked at again next time: they may have been put right
                keep(rows.start, y)
            bar.update(len(rows))
    for i, reason in sorted(reasons.items()):
        source.report.drop(f"picture unusable: {reason}", source.where(i))
    binary = [k for k, a in enumerate(source.schema) if a.kind != "score"]
    source.attributes[:, binary] = np.where(source.attributes[:, binary] > 0, 1, -1)
    source.take(np.array([i for i in range(n) if i not in reasons], dtype=np.int64))
    folders.require(source.report, str(source.files.root), max_dropped)


def _identity(source: FolderSource) -> dict[str, Any]:
    """What the labels depend on, as far as the source tells."""
    digest = hashlib.sha256()
    for i in range(len(source)):
        digest.update(source.where(i).encode("utf-8", "surrogateescape") + b"\0")
    about = {key: source.provenance[key] for key in ("predictor", "crop")}
    return about | {"batch": BATCH, "pictures": digest.hexdigest()}


@contextmanager
def _keeping(
    kept: Path | None, identity: dict[str, Any]
) -> Iterator[tuple[dict[int, np.ndarray], Callable[[int, np.ndarray], None]]]:
    """Labels that an earlier call has kept, by the first row of their batch, and a function that
    keeps more: a line each, whole or, after a kill, cut off.
    """
    if kept is None:
        yield {}, lambda start, labels: None
        return
    with only_one(kept):
        lines = read_journal(kept)
        if not lines or lines[0] != identity:
            kept.write_text(json.dumps(identity) + "\n")
            lines = [identity]
        known = {}
        for line in lines[1:]:
            flat = np.frombuffer(base64.b64decode(line["labels"]), dtype=np.float32)
            known[line["start"]] = flat.reshape(-1, line["attributes"])
        with open(kept, "ab", buffering=0) as file:

            def keep(start: int, labels: np.ndarray) -> None:
                text = base64.b64encode(labels.astype(np.float32).tobytes()).decode()
                line = {"start": start, "attributes": labels.shape[1], "labels": text}
                write_all(file, json.dumps(line).encode() + b"\n")

            yield known, keep


def _pixels(
    source: FolderSource, size: int, batches: Sequence[range]
) -> Iterator[tuple[range, np.ndarray, dict[int, str]]]:
    """Pixels (B, size, size, 3) of some rows at a time, and why some could not be had."""

    def decode(i: int) -> np.ndarray | str:
        try:
            return to_pixels(source.picture(i), size)
        except (ValueError, OSError) as error:
            return str(error)

    with ThreadPoolExecutor() as pool:
        for rows in batches:
            pixels = np.zeros((len(rows), size, size, 3), dtype=np.uint8)
            failed: dict[int, str] = {}
            for i, found in zip(rows, pool.map(decode, rows), strict=True):
                if isinstance(found, str):
                    failed[i] = found
                else:
                    pixels[i - rows.start] = found
            yield rows, pixels, failed
