"""`a2i data`: turn the papers' data sets, or a drawn world, into folders that
`AttributeImages.load` reads."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from a2i_lib.data.dataset import AttributeImages, refuse_existing
from a2i_lib.data.get import add_get_parser
from a2i_lib.data.partial import partial_folder
from a2i_lib.data.prepare import prepare
from a2i_lib.data.readers import READERS


def add_data_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Mounts `data` on the command line's sub-parsers; its `run(arguments)` is in the parser's
    defaults."""
    parser = subparsers.add_parser("data", help="prepare data sets", description=__doc__)
    kinds = parser.add_subparsers(dest="dataset", required=True, metavar="WHAT")
    for name, reader in READERS.items():
        add_reader_arguments(
            kinds.add_parser(name, help=reader.about, description=reader.about), name
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
        metavar="PATH",
        help="the folder of the download (or a .zip of pictures with its tables beside it); or"
        " Parquet files: one, several, a pattern in quotes, a folder of shards",
    )
    _add_output(parser, f"datasets/{name}-SIZE")
    parser.add_argument(
        "--workers", type=int, metavar="N", help="processes that decode (default: one a core)"
    )
    parser.add_argument(
        "--max-dropped",
        type=float,
        default=0.05,
        metavar="SHARE",
        help="of rows and pictures, that may have no partner or be damaged (default: 0.05)",
    )
    for flag, arguments in READERS[name].options.items():
        parser.add_argument(flag, default=argparse.SUPPRESS, **arguments)
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
    reader = READERS[arguments.dataset]
    names = [flag.lstrip("-").replace("-", "_") for flag in reader.options]
    options = {name: getattr(arguments, name) for name in names if hasattr(arguments, name)}
    folder = reader.folder(options) if reader.folder else arguments.dataset
    out = _out(arguments, folder)
    kept = out.with_name(f"{out.name}.labels") if reader.keeps else None
    if kept:
        options["kept"] = kept
    try:
        source = reader.read(arguments.files, max_dropped=arguments.max_dropped, **options)
        data = prepare(
            source,
            out,
            arguments.size,
            workers=arguments.workers,
            overwrite=arguments.overwrite,
            max_dropped=arguments.max_dropped,
        )
    except KeyboardInterrupt:
        begun = [str(path) for path in (kept, partial_folder(out)) if path and path.exists()]
        if begun:
            print(
                f"interrupted: the same command continues with what is in {' and '.join(begun)}",
                file=sys.stderr,
            )
        raise
    if kept:
        kept.unlink(missing_ok=True)
    print(f"{source.report}\n{out}: {data}")


def _draw(arguments: argparse.Namespace) -> None:
    from a2i_lib.worlds import get_world

    out = _out(arguments, arguments.world)
    data = AttributeImages.from_world(
        get_world(arguments.world),
        arguments.n,
        arguments.seed,
        arguments.size,
        correlated=not arguments.uncorrelated,
    )
    print(f"{data.save(out, arguments.overwrite)}: {data}")


def _out(arguments: argparse.Namespace, name: str) -> Path:
    """The folder to make; refused now if it is there, not after minutes of work."""
    out: Path = arguments.out or Path("datasets") / f"{name}-{arguments.size}"
    refuse_existing(out, arguments.overwrite)
    return out


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
        note = "  predicted" if attribute.predicted else ""
        print(f"{attribute.name:40} {attribute.kind:8} {share} {extent:>20}{note}")
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
