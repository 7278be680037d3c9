"""Two things to touch in chapter 01: strips of true counterfactuals, and a studio.

`strips` is drawn beforehand and linked in the browser, so it works in a rendered page, where there
is no Python. `Studio` redraws its subject at every change, which takes a running notebook.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import ipywidgets as widgets
import torch

from a2i_lib.widgets.latents import encode
from a2i_lib.widgets.stacks import buttons, nest
from a2i_lib.worlds import Factors, World

NOTE = (
    "<small>These controls redraw the picture in a running notebook (JupyterLab, Colab). "
    "On a rendered page nobody answers them; the strips above do.</small>"
)


def strips(
    world: World,
    subjects: Factors,
    attributes: Sequence[str],
    levels: Sequence[float],
    *,
    size: int = 128,
    width: int = 256,
) -> widgets.HBox:
    """A subject, an attribute and its strength to choose: the picture is the true counterfactual.

    Args:
        subjects: who can be chosen.
        attributes: names, for one drop-down list.
        levels: the strengths on the slider, as `world.counterfactual` takes them.
        size, width: of a picture as drawn, and as shown, in pixels.

    Raises:
        UnknownAttribute: a name that the world does not have.
        ValueError: a strength that the world refuses.
    """
    names = [world.schema.names[world.schema.index(name)] for name in attributes]
    changed = [
        world.counterfactual(subjects[who], name, float(level))
        for who in range(len(subjects))
        for name in names
        for level in levels
    ]
    shown = widgets.Layout(width=f"{width}px", height=f"{width}px", flex="0 0 auto")
    leaves = [
        widgets.Image(value=encode(x, 85), format="jpeg", layout=shown)
        for x in world.render(Factors.cat(changed), size).x
    ]
    wide = {"description_width": "5em"}
    who = buttons("subject", [str(i + 1) for i in range(len(subjects))], "3em")
    what = widgets.Dropdown(
        options=[name.replace("_", " ") for name in names],
        index=0,
        description="attribute",
        style=wide,
    )
    strength = widgets.SelectionSlider(
        options=[f"{level:+.2f}" for level in levels],
        index=len(levels) - 1,
        description="strength",
        style=wide,
    )
    controls = [who, what, strength]
    panel = widgets.VBox(controls, layout=widgets.Layout(justify_content="center"))
    return widgets.HBox(
        [nest(controls, leaves, []), panel], layout=widgets.Layout(flex_flow="row wrap")
    )


class Studio(widgets.VBox):
    """One subject in front of the easel: every control changes one factor and redraws it.

    A binary attribute has a button, a group of one-hot members a list, a nuisance a slider. What
    an attribute excludes goes off with it, on the buttons too.

    Args:
        factors: of one subject.
        attributes: names of binary attributes, and of groups.
        nuisance: names of nuisances.
        size: of the picture, in pixels.

    Raises:
        ValueError: more than one subject, or an unknown nuisance.
        UnknownAttribute: a name that is neither attribute nor group.
    """

    def __init__(
        self,
        world: World,
        factors: Factors,
        attributes: Sequence[str],
        nuisance: Sequence[str] = (),
        *,
        size: int = 256,
    ) -> None:
        if len(factors) != 1:
            raise ValueError(f"{len(factors)} subjects: the studio has room for one")
        for name in nuisance:
            if name not in world.nuisance_names:
                raise ValueError(
                    f"nuisance {name!r}: choose from {', '.join(world.nuisance_names)}"
                )
        self.world, self.factors, self.size = world, factors, size
        self.controls = {name: self._attribute(name) for name in attributes}
        self.sliders = {name: self._nuisance(name) for name in nuisance}
        fixed = widgets.Layout(width=f"{size}px", height=f"{size}px", flex="0 0 auto")
        self.picture = widgets.Image(format="jpeg", layout=fixed)
        self.words = widgets.HTML()
        self._busy = False
        for name, control in self.controls.items():
            control.observe(lambda change, name=name: self._set(name, change["new"]), "value")
        for name, slider in self.sliders.items():
            slider.observe(lambda change, name=name: self._move(name, change["new"]), "value")
        self.refresh()
        row = widgets.Layout(flex_flow="row wrap")
        panel = [widgets.HBox([*self.controls.values()], layout=row), *self.sliders.values()]
        beside = widgets.VBox([*panel, self.words], layout=widgets.Layout(max_width="420px"))
        super().__init__(
            [widgets.HBox([self.picture, beside], layout=row), widgets.HTML(NOTE)],
        )

    def _attribute(self, name: str) -> Any:
        """A list for a group, a button for a single attribute."""
        groups, names = self.world.schema.groups, self.world.schema.names
        label = name.replace("_", " ")
        if name not in groups:
            self.world.schema.index(name)  # raises for an unknown name
            return widgets.ToggleButton(description=label, layout={"width": "11em"})
        members = [names[i] for i in groups[name]]
        options = [(member.partition("::")[2] or member, member) for member in members]
        style = {"description_width": "9em"}
        return widgets.Dropdown(options=options, description=label, style=style)

    def _nuisance(self, name: str) -> widgets.FloatSlider:
        """A slider over the range that the world uses."""
        column = self.world.nuisance_names.index(name)
        seen = self.world.sample(256).nuisance[:, column]
        low, high = float(seen.min()), float(seen.max())
        return widgets.FloatSlider(
            min=low,
            max=high,
            step=(high - low) / 40,
            value=min(max(float(self.factors.nuisance[0, column]), low), high),
            readout=False,
            description=name.replace("_", " "),
            style={"description_width": "8em"},
        )

    def _set(self, name: str, value: bool | str) -> None:
        if not self._busy:
            change = (name, value) if isinstance(value, bool) else (value, True)
            self.factors = self.world.counterfactual(self.factors, *change)
            self.refresh()

    def _move(self, name: str, value: float) -> None:
        nuisance = self.factors.nuisance.clone()
        nuisance[:, self.world.nuisance_names.index(name)] = value
        self.factors = Factors(self.factors.attributes, nuisance)
        self.refresh()

    def refresh(self) -> None:
        """Draws the subject, writes its words, and sets every control to what it is."""
        y = self.world.labels(self.factors)[0]
        self.picture.value = encode(self.world.render(self.factors, self.size).x[0])
        self.words.value = f"<b>y in words:</b> {escape(', '.join(self.world.schema.describe(y)))}"
        self._busy = True
        for name, control in self.controls.items():
            control.value = self._state(name, y)
        self._busy = False

    def _state(self, name: str, y: torch.Tensor) -> bool | str:
        schema = self.world.schema
        if name in schema.groups:
            members = schema.groups[name]
            return schema.names[members[int(y[members].argmax())]]
        return bool(y[schema.index(name)] > 0)
