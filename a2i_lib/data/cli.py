"""`a2i data`: turn the papers' data sets, or a drawn world, into folders that
`AttributeImages.load` reads."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from a2i_lib.data.celeba import read_celeba
from a2i_lib.data.cub import read_cub
from a2i_lib.data.dataset import AttributeImages, refuse_existing
from a2i_lib.data.get import add_get_parser
from a2i_lib.data.lfw import LABELS, SPLITS, read_lfw

READERS: dict[str, Callable[..., AttributeImages]] = {
    "lfw": read_lfw,
    "celeba": read_celeba,
    "cub": read_cub,
}
ABOUT = {
    "lfw": "Labeled Faces in the Wild: 73 attributes, masks",
    "celeba": "CelebA: 40 attributes",
    "cub": "CUB-200-2011 birds: 312 attributes, masks",
}


def add_data_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Mounts `data` on the command line's sub-parsers; its `run(arguments)` is in the parser's
    defaults."""
    parser = subparsers.add_parser("data", help="prepare data sets", description=__doc__)
    kinds = parser.add_subparsers(dest="dataset", required=True, metavar="WHAT")
    for name in READERS:
        add_reader_arguments(
            kinds.add_parser(name, help=ABOUT[name], description=ABOUT[name]), name
        )
    add_get_parser(kinds)
    _add_world(kinds)
    show = kinds.add_parser("show", help="describe a prepared data set and check its files")
    show.add_argument("folder", type=Path)
    show.add_argument(
        "--sheet", type=Path, metavar="PNG", help="also draw its first 64 training images"
    )
    show.set_defaults(run=_show)
    return parser


def add_reader_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """The options of `a2i data NAME`."""
    parser.add_argument(
        "--from",
        dest="files",
        nargs="+",
        required=True,
        metavar="FILE",
        help="Parquet file, several shards, or a pattern in quotes",
    )
    _add_output(parser, f"datasets/{name}-SIZE")
    parser.add_argument("--limit", type=int, metavar="N", help="only N images, evenly spaced")
    if name == "lfw":
        parser.add_argument(
            "--labels",
            choices=list(LABELS),
            default="scores",
            help="scores: ESTIMATES of the published real-valued scores, standardised (default); "
            "binary: the LFWA+ labels as -1/+1",
        )
        parser.add_argument(
            "--split",
            choices=list(SPLITS),
            default="view1",
            help="view1: people apart (default); cmma: the first 10,000 rows, the next 1,000 and "
            "the rest, in a folder lfw-cmma-SIZE",
        )
    parser.set_defaults(run=_read, dataset=name)


def _add_output(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help=f"folder to make (default: {default})"
    )
    parser.add_argument(
        "--size", type=int, default=64, help="side of the images in pixels (default: 64)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the folder if it exists")


def _add_world(kinds: Any) -> None:
    world = kinds.add_parser("world", help="draw a data set: faces or birds")
    world.add_argument("world", choices=["faces", "birds"])
    world.add_argument("--n", type=int, default=20_000, help="number of images (default: 20000)")
    world.add_argument("--seed", type=int, default=0)
    world.add_argument(
        "--uncorrelated", action="store_true", help="switch off the attributes' correlations"
    )
    _add_output(world, "datasets/WORLD-SIZE")
    world.set_defaults(run=_draw)


def _read(arguments: argparse.Namespace) -> None:
    options, name = {}, arguments.dataset
    if name == "lfw":
        options = {"labels": arguments.labels, "split": arguments.split}
        name = "lfw" if arguments.split == "view1" else f"lfw-{arguments.split}"
    _make(
        arguments,
        name,
        lambda: READERS[arguments.dataset](
            arguments.files, size=arguments.size, limit=arguments.limit, **options
        ),
    )


def _draw(arguments: argparse.Namespace) -> None:
    from a2i_lib.worlds import get_world

    _make(
        arguments,
        arguments.world,
        lambda: AttributeImages.from_world(
            get_world(arguments.world),
            arguments.n,
            arguments.seed,
            arguments.size,
            correlated=not arguments.uncorrelated,
        ),
    )


def _make(arguments: argparse.Namespace, name: str, read: Callable[[], AttributeImages]) -> None:
    out = arguments.out or Path("datasets") / f"{name}-{arguments.size}"
    refuse_existing(out, arguments.overwrite)  # now, not after minutes of decoding
    data = read()
    print(f"{data.save(out, arguments.overwrite)}: {data}")


def _show(arguments: argparse.Namespace) -> None:
    data = AttributeImages.load(arguments.folder, verify=True)
    print(f"{data}\nall files as written (SHA-256)")
    for key, value in data.provenance.items():
        print(f"{key}: {value}")
    y = data.attributes[data.subset("train")]
    print(f"\n{'attribute':40} {'kind':8} {'> 0':>7} {'range in training':>20}")
    for k, attribute in enumerate(data.schema):
        column = y[:, k]
        share = f"{float((column > 0).float().mean()):7.1%}"
        extent = f"{float(column.min()):.2f} to {float(column.max()):.2f}"
        print(f"{attribute.name:40} {attribute.kind:8} {share} {extent:>20}")
    if arguments.sheet:
        _draw_sheet(data, arguments.sheet)


def _draw_sheet(data: AttributeImages, path: Path) -> None:
    images, _, _ = data.tensors("train")
    rows = min(8, max(1, len(images) // 8))
    images = images[: rows * 8]  # n 3 H W
    height, width = images.shape[2:]
    sheet = images.reshape(rows, -1, 3, height, width).permute(0, 3, 1, 4, 2)
    Image.fromarray(sheet.reshape(rows * height, -1, 3).numpy()).save(path)
    print(f"{path}: the first {len(images)} training images")
