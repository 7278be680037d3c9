"""Nested stacks: the strip that buttons choose, words under its parts, counts that do not fit."""

import pytest
import torch
from ipywidgets import HTML

from a2i_lib.widgets.latents import encode
from a2i_lib.widgets.stacks import buttons, nest, strip_chooser


def test_strips_lie_in_the_order_of_the_buttons(linked_leaves):
    controls = [buttons("who", ["Ada", "Bo"]), buttons("what", ["eye", "mouth", "half"])]
    strips = [torch.full((3, 8, 24), i / 6) for i in range(6)]
    box = strip_chooser(controls, strips, ("truth", "hidden", "completed"), width=300)
    leaves = linked_leaves(box, controls, box.children[2])
    assert [leaf.value for leaf in leaves] == [encode(strip) for strip in strips]
    assert all(leaf.layout.max_width == "300px" for leaf in leaves)
    caption = box.children[3]
    assert isinstance(caption, HTML) and "<span>hidden</span>" in caption.value


def test_the_first_button_is_pressed():
    row = buttons("who", ["Ada", "Bo"], width="3em", label="9em")
    assert (row.description, row.options, row.index) == ("who", ("Ada", "Bo"), 0)
    assert (row.style.button_width, row.style.description_width) == ("3em", "9em")


def test_leaves_that_cannot_be_shared_out():
    with pytest.raises(ValueError, match="5 leaves cannot be shared by 2 options"):
        nest([buttons("who", ["Ada", "Bo"])], [HTML() for _ in range(5)], [])
    with pytest.raises(ValueError, match="3 leaves for one combination"):
        nest([], [HTML() for _ in range(3)], [])
