"""What chapters do with their page: show code, print tables, find weights and data.

For notebooks only: this module needs IPython, which the rest of the library does without.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any

from IPython.display import Code, Markdown

from a2i_lib import released
from a2i_lib.data.dataset import AttributeImages
from a2i_lib.released import Release
from a2i_lib.training.checkpoint import CheckpointError
from a2i_lib.worlds import get_world


def show_source(thing: Any) -> Code:
    """The library's own code of a class, function or method, as it runs here."""
    return Code(dedent(inspect.getsource(thing)), language="python")


def table(heads: Sequence[Any], rows: Iterable[Sequence[Any]]) -> Markdown:
    """A Markdown table; cells are turned into text."""
    lines = [heads, ["---"] * len(heads), *rows]
    return Markdown("\n".join(f"| {' | '.join(map(str, line))} |" for line in lines))


def find_release(name: str, world: str) -> Release | None:
    """The weights NAME-WORLD that come with the book; or None, and prints why."""
    try:
        return released.load(f"{name}-{world}", get_world(world).schema)
    except CheckpointError as error:
        print(f"{error}; this chapter uses what it trains itself")
        return None


def find_data(name: str) -> AttributeImages | None:
    """The reader's own prepared data, datasets/NAME; or None, and says what is missing."""
    for root in (Path("datasets"), Path("../datasets")):
        if (root / name / "dataset.json").exists():
            return AttributeImages.load(root / name)
    print(f"no datasets/{name} here; this cell has nothing to do")
    return None
