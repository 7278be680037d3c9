"""`a2i data NAME`: which reader reads what, and with which options.

What follows `--from` is looked at: a folder or .zip is read as the data set is downloaded, Parquet
files as mirrors on dataset hubs have it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from a2i_lib.data import casia, celeba, cub, lfw, own
from a2i_lib.data.dataset import DataError
from a2i_lib.data.folders import MAX_DROPPED, choose_attributes
from a2i_lib.data.source import Source


@dataclass(frozen=True)
class Reader:
    """`a2i data NAME`.

    Args:
        read: what follows `--from`, a list of str -> Source. Options that are given become its
            keyword arguments: `--limit 10` is `limit=10`; `--max-dropped` always is one.
        about: a line for the help.
        options: flag -> arguments of `add_argument`; defaults are those of `read`.
        folder: the options given -> the folder's name, without the size; None: NAME.
        keeps: `read` takes `kept`, a file beside the folder: what it has done before it was
            interrupted, until the folder is complete.
    """

    read: Callable[..., Source]
    about: str
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    folder: Callable[[dict[str, Any]], str] | None = None
    keeps: bool = False


def parquet_files(given: Sequence[str]) -> list[str] | None:
    """What follows `--from`, if it is Parquet: files, patterns, a folder of shards. None if it is
    one folder, or one file of another kind.

    Raises:
        DataError: several folders, or a folder among files.
    """
    folders = [name for name in given if Path(name).is_dir()]
    if folders and len(given) > 1:
        raise DataError(f"{folders[0]} is a folder: give just the one that holds everything")
    if folders:
        return sorted(map(str, Path(folders[0]).rglob("*.parquet"))) or None
    path = Path(given[0])
    if len(given) == 1 and path.is_file() and path.suffix != ".parquet":
        with open(path, "rb") as file:
            return list(given) if file.read(4) == b"PAR1" else None
    return list(given)


def _only(what: str, **given: Any) -> None:
    """Raises DataError for an option that was given and has no meaning here."""
    for name, value in given.items():
        if value is not None and value is not False:
            raise DataError(f"--{name} is for {what}")


DOWNLOAD = "the data set as it is downloaded, not for Parquet files"


def read_lfw(
    given: Sequence[str],
    labels: str | None = None,
    split: str = "view1",
    crop: str | None = None,
    masks: bool = False,
    attributes: Sequence[str] | None = None,
    limit: int | None = None,
    max_dropped: float = MAX_DROPPED,
) -> Source:
    """LFW: the download, or Parquet files with estimated scores."""
    source: Source
    if files := parquet_files(given):
        _only(DOWNLOAD, crop=crop, masks=masks)
        source = lfw.read_lfw(files, labels or "scores", split, limit)
    else:
        if labels == "binary":
            raise DataError("--labels binary: the download has scores only; LFWA+ is in Parquet")
        source = lfw.lfw_folder(given[0], split, crop or "a2i", masks, limit, max_dropped)
    if attributes:
        choose_attributes(source, attributes)
    return source


def read_celeba(
    given: Sequence[str],
    crop: str | None = None,
    attributes: Sequence[str] | None = None,
    limit: int | None = None,
    max_dropped: float = MAX_DROPPED,
) -> Source:
    """CelebA: the download, or Parquet files."""
    source: Source
    if files := parquet_files(given):
        _only(DOWNLOAD, crop=crop)
        source = celeba.read_celeba(files, limit)
    else:
        source = celeba.celeba_folder(given[0], None, crop or "square", limit, max_dropped)
    if attributes:
        celeba.choose(source, attributes[0] if len(attributes) == 1 else attributes)
    return source


def read_cub(
    given: Sequence[str],
    per: str | None = None,
    attributes: Sequence[str] | None = None,
    limit: int | None = None,
    max_dropped: float = MAX_DROPPED,
) -> Source:
    """CUB: the download, or Parquet files."""
    source: Source
    if files := parquet_files(given):
        _only(DOWNLOAD, per=None if per == "class" else per)
        source = cub.read_cub(files, limit)
    else:
        source = cub.cub_folder(given[0], per or "class", limit, max_dropped)
    if attributes:
        choose_attributes(source, attributes)
    return source


def read_casia(
    given: Sequence[str],
    predictor: str = "regressor-lfw",
    crop: str = "a2i",
    attributes: Sequence[str] | None = None,
    limit: int | None = None,
    max_dropped: float = MAX_DROPPED,
    kept: Path | None = None,
) -> Source:
    """CASIA-WebFace, labelled by a release: its name, or the path of its card."""
    from a2i_lib.released import load

    if len(given) > 1:
        raise DataError(f"{given[1]}: give just the folder, or the .zip, that holds everyone's")
    source = casia.casia_folder(given[0], load(predictor), crop, limit, max_dropped, kept=kept)
    if attributes:
        choose_attributes(source, attributes)
    return source


def read_own(
    given: Sequence[str],
    labels: str | None = None,
    name: str = "own",
    attributes: Sequence[str] | None = None,
    crop: str = "center",
    limit: int | None = None,
    max_dropped: float = MAX_DROPPED,
) -> Source:
    """Your own pictures: a folder or .zip and a table, or Parquet files."""
    source: Source
    if files := parquet_files(given):
        _only("a folder of pictures; a Parquet file has its labels inside", labels=labels)
        if crop != "center":
            raise DataError(f"--crop {crop} is for a folder of pictures, not for Parquet files")
        source = own.own_parquet(files, attributes, limit)
    elif labels is None:
        raise DataError(
            f"{given[0]}: add --labels TABLE.csv, which names the pictures and their attributes"
        )
    else:
        source = own.own_folder(given[0], labels, attributes, crop, limit, max_dropped)
    source.name = name
    return source


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _crops(about: dict[str, str], default: str) -> dict[str, dict[str, Any]]:
    said = "; ".join(f"{name}: {text}" for name, text in about.items())
    return {"--crop": {"choices": list(about), "help": f"{said} (default: {default})"}}


LIMIT: dict[str, dict[str, Any]] = {
    "--limit": {"type": int, "metavar": "N", "help": "only N images, evenly spaced"}
}
ATTRIBUTES: dict[str, dict[str, Any]] = {
    "--attributes": {
        "type": _names,
        "metavar": "NAMES",
        "help": "only these, in this order, with commas between them",
    }
}
CHOSEN: dict[str, dict[str, Any]] = {
    "--attributes": ATTRIBUTES["--attributes"]
    | {"help": f"only these, with commas between them; or one of {', '.join(celeba.CHOICES)}"}
}
LFW_OPTIONS: dict[str, dict[str, Any]] = {
    "--labels": {
        "choices": list(lfw.LABELS),
        "help": "of Parquet files; scores: ESTIMATES of the published real-valued scores, "
        "standardised (default); binary: the LFWA+ labels as -1/+1",
    },
    "--split": {
        "choices": list(lfw.SPLITS),
        "help": "view1: people apart (default); cmma: the first 10,000 rows, the next "
        "1,000 and the rest, in a folder lfw-cmma-SIZE",
    },
    "--masks": {
        "action": "store_true",
        "help": "of the download: only pictures with part labels, which become masks",
    },
}
READERS = {
    "lfw": Reader(
        read_lfw,
        "Labeled Faces in the Wild: 73 attributes, masks",
        LFW_OPTIONS | _crops(lfw.ABOUT_CROPS, "a2i") | ATTRIBUTES | LIMIT,
        lambda options: "lfw-cmma" if options.get("split") == "cmma" else "lfw",
    ),
    "celeba": Reader(
        read_celeba,
        "CelebA: 40 attributes",
        _crops(celeba.ABOUT_CROPS, "square") | CHOSEN | LIMIT,
        lambda options: "-".join(
            ["celeba", *(n for n in options.get("attributes", []) if n in celeba.CHOICES)]
        ),
    ),
    "cub": Reader(
        read_cub,
        "CUB-200-2011 birds: 312 attributes, masks",
        {
            "--per": {
                "choices": list(cub.PER),
                "help": "class: what most annotators saw on the species (default); image: what one "
                "saw on the picture",
            }
        }
        | ATTRIBUTES
        | LIMIT,
    ),
    "casia": Reader(
        read_casia,
        "CASIA-WebFace: attributes predicted by a release",
        {
            "--predictor": {
                "metavar": "RELEASE",
                "help": "an attribute predictor: a release, or the path of a card (.json) "
                "(default: regressor-lfw)",
            }
        }
        | _crops(casia.ABOUT_CROPS, "a2i")
        | ATTRIBUTES
        | LIMIT,
        keeps=True,
    ),
    "own": Reader(
        read_own,
        "your own pictures: a folder and a CSV table, or Parquet files",
        {
            "--labels": {
                "metavar": "CSV",
                "help": "the table: one column for the file, the others "
                "attributes; `split` and `mask` may be there",
            },
            "--name": {"help": "of the data set, and of its folder (default: own)"},
        }
        | _crops(own.CROPS, "center")
        | ATTRIBUTES
        | LIMIT,
        lambda options: options.get("name", "own"),
    ),
}
