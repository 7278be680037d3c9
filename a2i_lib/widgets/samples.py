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
        self.switches = [_switch(name.replace("_", " "), ("off", "on")) for name in names]
        self.who = _switch("people", [str(i + 1) for i in range(groups)])
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


def nest(
    controls: Sequence[widgets.ToggleButtons],
    leaves: Sequence[widgets.Widget],
    links: list[widgets.Widget],
) -> widgets.Widget:
    """Stacks within stacks, of which the browser shows the leaf that the controls choose.

    Args:
        controls: the first one changes slowest along `leaves`.
        leaves: one for each combination of the controls' options.
        links: the links made are appended here.

    Raises:
        ValueError: another number of leaves than of combinations.
    """
    if not controls:
        if len(leaves) != 1:
            raise ValueError(f"{len(leaves)} leaves for one combination of the controls")
        return leaves[0]
    first, *rest = controls
    share, left = divmod(len(leaves), len(first.options))
    if left:
        raise ValueError(f"{len(leaves)} leaves cannot be shared by {len(first.options)} options")
    parts = [leaves[i * share : (i + 1) * share] for i in range(len(first.options))]
    stack = widgets.Stack(
        [nest(rest, part, links) for part in parts],
        selected_index=first.index,
        layout=leaves[0].layout,
    )
    links.append(widgets.jslink((first, "index"), (stack, "selected_index")))
    return stack


def _switch(name: str, options: Sequence[str]) -> widgets.ToggleButtons:
    return widgets.ToggleButtons(
        options=list(options),
        index=0,
        description=name,
        style={"button_width": "3em", "description_width": "9em"},
    )
