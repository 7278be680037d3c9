"""Switches that change what the people of a sample look like.

Every combination of the switches is drawn beforehand and put at the leaves of nested stacks, and
each switch is linked to its stacks in the browser. So the widget works in a rendered page, where
there is no Python; with a kernel, its button draws other people.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import ipywidgets as widgets
import torch
from torch import Tensor

from a2i_lib.attributes import AttributeSchema
from a2i_lib.models.vae import LatentImageModel
from a2i_lib.widgets.latents import encode
from a2i_lib.widgets.stacks import buttons, nest


class SampleSwitches(widgets.VBox):
    """A strip of samples for each setting of a few attributes; a person keeps its z throughout.

    Args:
        model: has `sample(y, n, generator)`.
        schema: what the entries of y mean.
        attributes: names that get a switch; m of them make 2^m strips for each group of people.
        base: y of everything that has no switch, (K,); default as in `AttributeSchema.encode`.
        levels: what a switch sends, off and on: a bool for the ends of the attribute's range, or a
            number in the units of y.
        groups: of people to choose from.
        people: in a strip.
        seed: of the people; group i draws from seed + i.

    Raises:
        UnknownAttribute: a name that is not in the schema.
    """

    def __init__(
        self,
        model: LatentImageModel,
        schema: AttributeSchema,
        attributes: Sequence[str],
        *,
        base: Tensor | None = None,
        levels: tuple[bool | float, bool | float] = (False, True),
        groups: int = 3,
        people: int = 4,
        seed: int = 0,
    ) -> None:
        self.model, self.people, self.groups, self.seed = model, people, groups, seed
        names = [schema.names[schema.index(name)] for name in attributes]
        combinations = product(levels, repeat=len(names))
        self.requests = torch.stack(
            [schema.encode(dict(zip(names, values, strict=True)), base) for values in combinations]
        )
        self.switches = [
            buttons(name.replace("_", " "), ("off", "on"), "3em", "9em") for name in names
        ]
        self.who = buttons("people", [str(i + 1) for i in range(groups)], "3em", "9em")
        wide = widgets.Layout(width="100%", max_width="640px")
        self.leaves = [
            widgets.Image(format="jpeg", layout=wide) for _ in range(groups * len(self.requests))
        ]
        self.links: list[widgets.Widget] = []
        self.draw()
        fresh = widgets.Button(
            description="Draw other people (with a kernel)",
            layout=widgets.Layout(width="auto"),
        )
        fresh.on_click(lambda _: self.redraw())
        rows = widgets.HBox(self.switches, layout=widgets.Layout(flex_flow="row wrap"))
        stacks = nest([self.who, *self.switches], self.leaves, self.links)
        super().__init__([rows, stacks, widgets.HBox([self.who, fresh])])

    def draw(self) -> None:
        """Fills every leaf: for each group of people, each combination of the switches."""
        strips = (
            self.model.sample(y[None], self.people, torch.Generator().manual_seed(self.seed + g))
            for g in range(self.groups)
            for y in self.requests
        )
        for leaf, strip in zip(self.leaves, strips, strict=True):
            leaf.value = encode(torch.cat(list(strip), -1))

    def redraw(self) -> None:
        """Other people, under the same switches."""
        self.seed += self.groups
        self.draw()
