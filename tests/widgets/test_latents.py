"""The latent explorer: right picture for each setting, links that need no kernel, small state."""

from __future__ import annotations

import io

import ipywidgets as widgets
import numpy as np
import pytest
import torch
from ipywidgets.embed import embed_data
from PIL import Image

from a2i_lib.models import VAE
from a2i_lib.widgets.latents import decode_grid, encode, explorer, latent_explorer

DIMENSIONS = {"first": (0, [-2.0, 0.0, 2.0]), "third": (2, [-1.0, 1.0])}


@pytest.fixture(scope="module")
def model() -> VAE:
    torch.manual_seed(0)
    return VAE(latent=4, width=0.1, size=32).eval()


def stacks(box: widgets.Widget) -> list[widgets.Stack]:
    return [w for w in walk(box) if isinstance(w, widgets.Stack)]


def walk(widget: widgets.Widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from walk(child)


def shown(box: widgets.HBox) -> bytes:
    """What a reader sees: down the selected children to the image."""
    widget = box.children[0]
    while isinstance(widget, widgets.Stack):
        widget = widget.children[widget.selected_index]
    return widget.value


def test_grid_holds_the_decoder_s_images(model):
    z = torch.tensor([9.0, 0.5, 9.0, -0.5])
    grid = decode_grid(model, z, list(DIMENSIONS.values()))
    assert grid.shape == (3, 2, 3, 32, 32)
    expected = model.decode(torch.tensor([[2.0, 0.5, -1.0, -0.5]]))[0]
    torch.testing.assert_close(grid[2, 0], expected, atol=1e-5, rtol=1e-4)


def test_sliders_choose_the_picture():
    images = torch.rand(3, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    box = explorer(images, {"first": [-2.0, 0.0, 2.0], "third": [-1.0, 1.0]})
    assert shown(box) == encode(images[1, 1])  # both start in the middle
    for stack in stacks(box):  # as the link does when the second slider moves
        if len(stack.children) == 2:
            stack.selected_index = 0
    assert shown(box) == encode(images[1, 0])


def test_every_stack_is_linked_in_the_browser(model):
    box = latent_explorer(model, torch.zeros(4), DIMENSIONS)
    state = embed_data(views=[box])["manager_state"]["state"]
    links = [s["state"] for s in state.values() if s["model_name"] == "LinkModel"]
    linked = {link["target"][0].removeprefix("IPY_MODEL_") for link in links}
    assert {stack.model_id for stack in stacks(box)} <= linked
    assert all(link["source"][1] == "index" for link in links)
    assert all(link["target"][1] == "selected_index" for link in links)


def test_equal_pictures_are_stored_once():
    box = explorer(torch.zeros(4, 3, 3, 32, 32), {"a": [1, 2, 3, 4], "b": [1, 2, 3]})
    assert len({w.model_id for w in walk(box) if isinstance(w, widgets.Image)}) == 1


def test_jpeg_is_faithful():
    x = torch.linspace(0, 1, 32).expand(3, 32, 32)
    found = np.asarray(Image.open(io.BytesIO(encode(x)))) / 255
    assert np.abs(found - x.permute(1, 2, 0).numpy()).max() < 0.03


def test_bad_dimensions(model):
    with pytest.raises(ValueError, match="at least one dimension"):
        latent_explorer(model, torch.zeros(4), {})
    with pytest.raises(ValueError, match="'ninth': dimension 9 of 4, 1 values"):
        latent_explorer(model, torch.zeros(4), {"ninth": (9, [0.0])})
