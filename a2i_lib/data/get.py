"""`a2i data get NAME`, and the scripts in data_scripts/: say what will be fetched, ask, fetch, and
prepare it for the book."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from a2i_lib.data.catalogue import CATALOGUE, ROOT, Collection, download, find, missing, plan
from a2i_lib.data.dataset import DataError


def add_get_parser(kinds: Any) -> None:
    """Mounts `get` on the sub-parsers of `a2i data`."""
    about = "fetch a data set as its authors publish it"
    parser = kinds.add_parser("get", help=about, description=f"{about}: {', '.join(CATALOGUE)}.")
    parser.add_argument("name", metavar="NAME", help=", ".join(CATALOGUE))
    _add_options(parser)
    parser.set_defaults(run=_get)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folder", type=Path, help="where downloads lie (default: downloads/NAME)")
    parser.add_argument(
        "--mirror", action="store_true", help="another form of the data set, from a dataset hub"
    )
    parser.add_argument("--yes", action="store_true", help="fetch without asking")
    parser.add_argument("--no-progress", action="store_true", help="no progress bars")


def _get(options: argparse.Namespace) -> None:
    entry = find(options.name)
    places = _fetch(entry, options)
    print(f"To prepare it: a2i data {entry.name} --from {_shell(places)}")


def _fetch(entry: Collection, options: argparse.Namespace) -> list[Path]:
    folder = options.folder or ROOT / entry.name
    files = entry.mirror if options.mirror else entry.files
    if files:
        print(plan(entry, folder, options.mirror))
        if missing(files, folder):
            _agree(options.yes)
    return download(entry, folder, options.mirror, not options.no_progress)


def _agree(yes: bool) -> None:
    """Raises DataError unless a person says yes, here or with --yes."""
    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise DataError("nothing was fetched: no terminal to ask at; add --yes to agree")
    if input("Fetch it under these terms? [y/N] ").strip().lower() not in ("y", "yes"):
        raise DataError("nothing was fetched")


def _shell(places: list[Path]) -> str:
    """For a person to paste."""
    return str(places[0]) if len(places) == 1 else f'"{places[0].parent}/*{places[0].suffix}"'


def run_script(name: str, description: str | None, words: list[str] | None = None) -> None:
    """data_scripts/get_NAME.py: fetch, then `a2i data NAME --from` what was fetched."""
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        epilog=f"All other options (--out, --size, --limit, ...) go to `a2i data {name}`, which"
        f" prepares what was fetched; `a2i data {name} --help` lists them.",
    )
    _add_options(parser)
    parser.add_argument(
        "--from",
        dest="source",
        nargs="+",
        metavar="PATH",
        help="fetch nothing, prepare this: a folder as published, or Parquet files",
    )
    parser.add_argument("--download-only", action="store_true", help="fetch, do not prepare")
    options, rest = parser.parse_known_args(words)
    try:
        _run(find(name), options, rest)
    except (DataError, OSError, ImportError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, "stopped; run the command again to go on\n")


def _run(entry: Collection, options: argparse.Namespace, rest: list[str]) -> None:
    if options.source and options.download_only:
        raise DataError("--from fetches nothing, and --download-only prepares nothing: choose one")
    if not (options.source or options.download_only):
        _prepare_options(entry.name, [ROOT], rest)  # a slip shows now, not after a gigabyte
    places = options.source or _fetch(entry, options)
    if options.download_only:
        print(f"To prepare it: a2i data {entry.name} --from {_shell(places)}")
        return
    prepare = _prepare_options(entry.name, places, rest)
    prepare.run(prepare)


def _prepare_options(name: str, places: list[Any], rest: list[str]) -> argparse.Namespace:
    """What `a2i data NAME --from PLACES ...` understands."""
    from a2i_lib.data.cli import add_data_parser

    parser = argparse.ArgumentParser()
    add_data_parser(parser.add_subparsers())
    return parser.parse_args(["data", name, "--from", *map(str, places), *rest])
