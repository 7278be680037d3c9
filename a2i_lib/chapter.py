"""What chapters do with their page: show code, print tables, find weights, stored runs and data.

For notebooks only: this module needs IPython, which the rest of the library does without.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any

from IPython.display import Code, Markdown

from a2i_lib import released
from a2i_lib.attributes import AttributeSchema
from a2i_lib.data.dataset import AttributeImages
from a2i_lib.released import Release
from a2i_lib.training.checkpoint import CheckpointError


def show_source(thing: Any) -> Code:
    """The library's own code of a class, function or method, as it runs here."""
    return Code(dedent(inspect.getsource(thing)), language="python")


def table(heads: Sequence[Any], rows: Iterable[Sequence[Any]]) -> Markdown:
    """A Markdown table; cells are turned into text, of which a bar ends no cell."""
    lines = [heads, ["---"] * len(heads), *rows]
    cells = [[str(cell).replace("|", r"\|") for cell in line] for line in lines]
    return Markdown("\n".join(f"| {' | '.join(line)} |" for line in cells))


def find_release(name: str, schema: AttributeSchema | None = None) -> Release | None:
    """The weights NAME that come with the book (`released.load`); or None, and prints why."""
    try:
        return released.load(name, schema)
    except CheckpointError as error:
        print(f"{error}; this chapter goes on without")
        return None


def find_table(name: str) -> dict[str, Any] | None:
    """The stored run NAME of a paper's table (`a2i reproduce`); or None, and prints what makes
    it.
    """
    path = released.folder() / f"{name}.json"
    if path.exists():
        return json.loads(path.read_text())
    print("no stored run here; with the prepared data sets this makes one:")
    print(f"a2i reproduce {name} --data FOLDER --profile release --seeds 0 1 2")
    return None


def find_data(name: str) -> AttributeImages | None:
    """The reader's own prepared data, datasets/NAME; or None, and says what is missing."""
    for root in (Path("datasets"), Path("../datasets")):
        if (root / name / "dataset.json").exists():
            return AttributeImages.load(root / name)
    print(f"no datasets/{name} here; this cell has nothing to do")
    return None
