"""The switches of a sample: what they ask for, what they show; the browser can do it alone."""

import io

import ipywidgets as widgets
import pytest
from ipywidgets.embed import dependency_state
from PIL import Image

from a2i_lib.attributes import Attribute, AttributeSchema, UnknownAttribute
from a2i_lib.models.vae import LatentImageModel
from a2i_lib.widgets.samples import SampleSwitches
from a2i_lib.widgets.stacks import nest

SCHEMA = AttributeSchema([Attribute("Red"), Attribute("Green"), Attribute("Blue")])


class Painter(LatentImageModel):
    """y says how much of each colour; z nudges the brightness."""

    latent = 1

    def decode(self, z, y):
        level = 0.5 + 0.35 * y + 0.05 * z.clamp(-2, 2)
        return level[:, :, None, None].expand(-1, 3, 16, 16)


def shown(widget: widgets.Widget, chosen: list[int]) -> widgets.Widget:
    """Follows the stacks down to the leaf that the controls choose."""
    for index in chosen:
        widget = widget.children[index]
    return widget


def colour(leaf: widgets.Image) -> list[bool]:
    pixels = Image.open(io.BytesIO(leaf.value))
    return [value > 127 for value in pixels.resize((1, 1)).getpixel((0, 0))]


@pytest.fixture
def explorer():
    return SampleSwitches(Painter(), SCHEMA, ["Red", "Blue"], groups=2, people=3)


def test_every_setting_shows_what_it_asks_for(explorer):
    stacks = explorer.children[1]
    for who in (0, 1):
        for red in (0, 1):
            for blue in (0, 1):
                leaf = shown(stacks, [who, red, blue])
                assert colour(leaf) == [bool(red), False, bool(blue)]


def test_every_stack_is_linked_to_a_control_in_the_browser(explorer):
    linked = {link.target[0].model_id: link.source for link in explorer.links}
    controls = [explorer.who, *explorer.switches]
    level = [explorer.children[1]]
    for control in controls:
        for stack in level:
            assert linked[stack.model_id] == (control, "index")
            assert stack.selected_index == control.index
        level = [child for stack in level for child in stack.children]
    assert level == explorer.leaves and len(explorer.links) == 1 + 2 + 4
    assert all(link._model_name == "LinkModel" for link in explorer.links)


def test_a_person_keeps_its_z_and_a_group_has_its_own(explorer):
    images = [leaf.value for leaf in explorer.leaves]
    assert len(set(images)) == len(images)
    again = SampleSwitches(Painter(), SCHEMA, ["Red", "Blue"], groups=2, people=3)
    assert [leaf.value for leaf in again.leaves] == images


def test_the_button_draws_other_people(explorer):
    before = [leaf.value for leaf in explorer.leaves]
    explorer.children[2].children[1].click()
    after = [leaf.value for leaf in explorer.leaves]
    assert all(a != b for a, b in zip(after, before, strict=True))
    assert colour(explorer.leaves[0]) == [False, False, False]


def test_levels_and_base_are_in_the_units_of_y():
    base = SCHEMA.encode("Green")
    explorer = SampleSwitches(Painter(), SCHEMA, ["red"], base=base, levels=(-0.5, 0.5))
    assert explorer.requests.tolist() == [[-0.5, 1, -1], [0.5, 1, -1]]


def test_an_unknown_attribute_is_named():
    with pytest.raises(UnknownAttribute, match="did you mean Red"):
        SampleSwitches(Painter(), SCHEMA, ["Redd"])


def test_leaves_that_do_not_fit_the_controls():
    control = widgets.ToggleButtons(options=["off", "on"])
    with pytest.raises(ValueError, match="3 leaves"):
        nest([control], [widgets.Image() for _ in range(3)], [])
    with pytest.raises(ValueError, match="2 leaves for one"):
        nest([control], [widgets.Image() for _ in range(4)], [])


def test_a_page_stays_small():
    explorer = SampleSwitches(Painter(), SCHEMA, ["Red", "Green", "Blue"])
    assert sum(len(str(s)) for s in dependency_state(explorer).values()) < 300_000
