"""Strips show true counterfactuals without a kernel; the studio changes one factor at a time."""

from __future__ import annotations

import ipywidgets as widgets
import pytest
import torch
from ipywidgets.embed import embed_data

from a2i_lib.attributes import UnknownAttribute
from a2i_lib.widgets.faces import Studio, strips
from a2i_lib.widgets.latents import encode
from a2i_lib.worlds import get_world

FACES = get_world("faces")
NAMES = ["Smiling", "Eyeglasses"]
LEVELS = [-0.8, 0.0, 0.8]


def stacks(widget: widgets.Widget) -> list[widgets.Stack]:
    found = [widget] if isinstance(widget, widgets.Stack) else []
    return found + [s for child in getattr(widget, "children", ()) for s in stacks(child)]


@pytest.fixture(scope="module")
def box() -> widgets.HBox:
    return strips(FACES, FACES.sample(2, 3), NAMES, LEVELS, size=32)


def test_every_choice_shows_its_counterfactual(box):
    subjects = FACES.sample(2, 3)
    for who in range(2):
        for what, name in enumerate(NAMES):
            for i, level in enumerate(LEVELS):
                leaf = box.children[0].children[who].children[what].children[i]
                wanted = FACES.counterfactual(subjects[who], name, level)
                assert leaf.value == encode(FACES.render(wanted, 32).x[0], 85)


def test_strips_are_linked_in_the_browser(box):
    state = embed_data(views=[box])["manager_state"]["state"]
    links = [s["state"] for s in state.values() if s["model_name"] == "LinkModel"]
    linked = {link["target"][0].removeprefix("IPY_MODEL_") for link in links}
    assert {stack.model_id for stack in stacks(box)} == linked
    assert all(link["source"][1] == "index" for link in links)


def test_strips_of_birds_and_bad_names():
    birds = get_world("birds")
    made = strips(birds, birds.sample(1), ["has_bill_shape::cone"], [0.5, 1.0], size=32)
    assert len(stacks(made)) == 3
    with pytest.raises(UnknownAttribute, match="did you mean Smiling"):
        strips(FACES, FACES.sample(1), ["Smilling"], LEVELS, size=32)


def test_a_page_stays_small():
    names = ["Smiling", "Eyeglasses", "Long_Hair", "Young"]
    made = strips(FACES, FACES.sample(2), names, LEVELS, size=128)
    state = embed_data(views=[made])["manager_state"]["state"]
    assert len(str(state)) / 24 < 13_000  # characters a picture


def test_a_button_changes_its_attribute_and_what_it_excludes():
    start = FACES.counterfactual(FACES.sample(1, 3), "Long_Hair", True)
    studio = Studio(FACES, start, ["Bald", "Long_Hair", "Smiling"], ["yaw"], size=32)
    assert studio.controls["Long_Hair"].value and not studio.controls["Bald"].value
    studio.controls["Bald"].value = True
    assert not studio.controls["Long_Hair"].value
    wanted = FACES.counterfactual(start, "Bald", True)
    assert torch.equal(studio.factors.attributes, wanted.attributes)
    assert studio.picture.value == encode(FACES.render(wanted, 32).x[0])
    assert "Bald" in studio.words.value and "Long_Hair" not in studio.words.value


def test_a_slider_moves_one_nuisance():
    start = FACES.sample(1, 3)
    studio = Studio(FACES, start, ["Smiling"], ["yaw", "light"], size=32)
    before = studio.picture.value
    studio.sliders["yaw"].value = studio.sliders["yaw"].max
    moved = (studio.factors.nuisance != start.nuisance)[0].nonzero()[:, 0].tolist()
    assert moved == [FACES.nuisance_names.index("yaw")]
    assert torch.equal(studio.factors.attributes, start.attributes)
    assert studio.picture.value != before


def test_a_list_moves_a_group_of_birds():
    birds = get_world("birds")
    studio = Studio(
        birds, birds.sample(1), ["has_bill_shape", "has_head_pattern::crested"], size=32
    )
    studio.controls["has_bill_shape"].value = "has_bill_shape::cone"
    assert "has_bill_shape::cone" in birds.schema.describe(studio.factors.attributes[0])


def test_what_the_studio_refuses():
    with pytest.raises(ValueError, match="room for one"):
        Studio(FACES, FACES.sample(2), ["Smiling"])
    with pytest.raises(ValueError, match="'spin': choose from"):
        Studio(FACES, FACES.sample(1), ["Smiling"], ["spin"])
    with pytest.raises(UnknownAttribute, match="did you mean Smiling"):
        Studio(FACES, FACES.sample(1), ["Smilling"])
