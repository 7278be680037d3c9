"""Widgets are known to ipywidgets until they are closed: none outlives its module's tests."""

from collections.abc import Callable, Iterator, Sequence

import pytest
from ipywidgets import Widget
from ipywidgets.embed import embed_data


@pytest.fixture(scope="module", autouse=True)
def closed_afterwards() -> Iterator[None]:
    yield
    Widget.close_all()


@pytest.fixture
def linked_leaves() -> Callable[[Widget, Sequence[Widget], Widget], list[Widget]]:
    """Leaves of the nested stacks of a widget, every stack of which must be linked, in the browser,
    to its row of buttons.
    """

    def leaves(box: Widget, controls: Sequence[Widget], stack: Widget) -> list[Widget]:
        state = embed_data(views=[box])["manager_state"]["state"]
        links = [s["state"] for s in state.values() if s["model_name"] == "LinkModel"]
        sources = {link["target"][0].removeprefix("IPY_MODEL_"): link["source"] for link in links}
        level = [stack]
        for control in controls:
            for one in level:
                assert sources[one.model_id] == [f"IPY_MODEL_{control.model_id}", "index"]
            level = [child for one in level for child in one.children]
        return level

    return leaves
