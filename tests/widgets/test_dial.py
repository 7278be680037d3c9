"""The dial: each setting shows its own strip and text, and the browser needs no Python."""

import io

import pytest
import torch
from ipywidgets.embed import dependency_state
from PIL import Image

from a2i_lib.widgets.dial import dial

STOPS = ["0.9", "0.5", "0.25"]


def grey(level: float) -> torch.Tensor:
    return torch.full((4, 3, 16, 16), level)


@pytest.fixture
def made():
    strips = {
        model: {
            view: [grey(0.1 * (9 * m + 3 * v + i) / 2) for i in range(3)]
            for v, view in enumerate(["rebuilt", "new"])
        }
        for m, model in enumerate(["shallow", "deep"])
    }
    return dial(strips, STOPS, {m: [f"{m} at {s}" for s in STOPS] for m in strips})


def test_every_setting_shows_its_strip_and_its_text(made):
    _, pictures, texts, _ = made.children
    for m in range(2):
        for v in range(2):
            for i in range(3):
                leaf = pictures.children[m].children[v].children[i]
                picture = Image.open(io.BytesIO(leaf.value))
                assert picture.size == (4 * 16, 16)
                expected = 255 * 0.1 * (9 * m + 3 * v + i) / 2
                assert picture.getpixel((8, 8))[0] == pytest.approx(expected, abs=3)
    for m, model in enumerate(["shallow", "deep"]):
        assert [leaf.value for leaf in texts.children[m].children] == [
            f"{model} at {stop}" for stop in STOPS
        ]


def test_links_run_in_the_browser(made):
    slider, pictures, texts, _ = made.children
    state = dependency_state(made)
    links = [s["state"] for s in state.values() if s["model_name"] == "LinkModel"]
    targets = {link["target"][0].removeprefix("IPY_MODEL_") for link in links}
    stacks = [pictures, texts, *pictures.children, *texts.children]
    stacks += [view for model in pictures.children for view in model.children]
    assert targets == {stack.model_id for stack in stacks}
    moved = [link for link in links if link["source"][0].endswith(slider.model_id)]
    assert len(moved) == 4 + 2
    assert sum(len(str(s)) for s in state.values()) < 100_000


def test_a_missing_strip_is_named():
    with pytest.raises(ValueError, match="deep: .* for 2 stops"):
        dial(
            {"shallow": {"new": [grey(0), grey(1)]}, "deep": {"new": [grey(0)]}},
            ["a", "b"],
            {"shallow": ["", ""], "deep": ["", ""]},
        )


def test_slider_and_buttons_are_called_as_asked():
    made = dial({"a": {"b": [grey(0)]}}, ["1"], {"a": [""]}, name="n", switches=("who", "what"))
    slider, _, _, row = made.children
    assert [slider.description, *(button.description for button in row.children)] == [
        "n",
        "who",
        "what",
    ]
