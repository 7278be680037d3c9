"""Two drawn worlds, ``faces`` and ``birds``: pictures as a known function of their factors."""

from __future__ import annotations

import difflib
import importlib

from a2i_lib.worlds.base import Factors, Rendered, World

__all__ = ["Factors", "Rendered", "World", "get_world"]

_WORLDS = {"faces": "FacesWorld", "birds": "BirdsWorld"}


def get_world(name: str) -> World:
    """The world called `name`: ``"faces"`` or ``"birds"``.

    Raises ValueError, with the nearest name, for any other.
    """
    if name not in _WORLDS:
        near = difflib.get_close_matches(name, _WORLDS, n=1, cutoff=0.4)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"There is no world {name!r}; there are {sorted(_WORLDS)}.{hint}")
    module = importlib.import_module(f"a2i_lib.worlds.{name}")
    world: World = getattr(module, _WORLDS[name])()
    return world
