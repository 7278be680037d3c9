"""The weights that come with the book: `book/checkpoints/NAME.safetensors` and their cards."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from a2i_lib.attributes import AttributeSchema
from a2i_lib.models import build
from a2i_lib.training.checkpoint import CheckpointError, load_release, read_card


@dataclass(frozen=True)
class Release:
    """A trained network in eval mode, what its attributes mean, and its card."""

    model: Any
    schema: AttributeSchema
    card: dict[str, Any]


def folder() -> Path:
    """Where releases lie: $A2I_CHECKPOINTS, inside the installed package, or `book/checkpoints` of
    a clone.

    Raises:
        CheckpointError: none of them exists.
    """
    here = Path(__file__).resolve().parent
    places = [here / "checkpoints", here.parent / "book" / "checkpoints"]
    if wanted := os.environ.get("A2I_CHECKPOINTS"):
        places = [Path(wanted)]
    for place in places:
        if place.is_dir():
            return place
    raise CheckpointError(f"no released weights: looked in {', '.join(map(str, places))}")


def load(name: str, schema: AttributeSchema | None = None) -> Release:
    """A release by recipe name ("cvae-faces"), or by the path of its card.

    Args:
        schema: what the caller's attributes mean; must be that of the weights.

    Raises:
        CheckpointError: unknown name (with the closest), damaged file, or another schema.
    """
    card_path = Path(name) if name.endswith(".json") else folder() / f"{name}.json"
    if not card_path.exists():
        known = sorted(path.stem for path in card_path.parent.glob("*.safetensors"))
        close = difflib.get_close_matches(card_path.stem, known, n=1, cutoff=0.4)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise CheckpointError(f"no release {name!r}{hint} (known: {', '.join(known) or 'none'})")
    card = read_card(card_path)
    found = AttributeSchema.from_dict(card["schema"])
    if schema is not None:
        try:
            schema.require_same(found, str(card_path))
        except ValueError as error:
            raise CheckpointError(str(error)) from None
    recipe = card["recipe"]
    model: nn.Module = build(
        recipe["model"], len(found), recipe["data"]["size"], **recipe["settings"]
    )
    load_release(card_path, model)
    return Release(model.eval(), found, card)
