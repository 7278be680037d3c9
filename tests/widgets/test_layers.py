"""The swapping widget: right layers for every setting, links that need no kernel, small state."""

import pytest
import torch
from ipywidgets.embed import embed_data

from a2i_lib.models import DisCVAE
from a2i_lib.widgets.latents import encode
from a2i_lib.widgets.layers import layer_swaps, swapped_strips


@pytest.fixture(scope="module")
def model() -> DisCVAE:
    torch.manual_seed(0)
    return DisCVAE(5, latent_f=6, latent_b=4, width=0.1, size=32).eval()


@pytest.fixture(scope="module")
def people(model) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    return torch.randn(3, model.latent, generator=draw), torch.randn(3, 5, generator=draw)


def test_every_part_comes_from_the_subject_that_was_asked(model, people):
    z, y = people
    strip = swapped_strips(model, z, y)[2, 0, 1]
    mixed = torch.cat([z[2, :6], z[0, 6:]])[None]
    with torch.no_grad():
        layers = model.decode_layers(mixed, y[1:2])
    parts = strip.unflatten(-1, (4, 32)).movedim(-2, 0)
    wanted = [model.decode(mixed, y[1:2]), layers.x_f, layers.g.expand(-1, 3, -1, -1), layers.x_b]
    for part, layer in zip(parts, wanted, strict=True):
        torch.testing.assert_close(part, layer[0], atol=1e-5, rtol=1e-4)


def test_the_background_of_a_strip_is_that_of_its_subject_whoever_stands_in_front(model, people):
    strips = swapped_strips(model, *people)
    backgrounds = strips[..., -32:]
    torch.testing.assert_close(backgrounds[0, 1, 2], backgrounds[2, 1, 0])
    assert not torch.allclose(backgrounds[0, 1, 2], backgrounds[0, 2, 2])


def test_the_leaf_that_the_buttons_choose(model, people):
    box = layer_swaps(model, *people, names=["Ada", "Bo", "Cy"])
    strips = swapped_strips(model, *people)
    stack = box.children[3]
    for front, behind, words in [(0, 0, 0), (2, 0, 1), (1, 2, 2)]:
        leaf = stack.children[front].children[behind].children[words]
        assert leaf.value == encode(strips[front, behind, words])
    assert [control.options for control in box.children[:3]] == [("Ada", "Bo", "Cy")] * 3


def test_every_stack_is_linked_in_the_browser_and_the_state_is_small(model, people, linked_leaves):
    box = layer_swaps(model, *people)
    assert len(linked_leaves(box, box.children[:3], box.children[3])) == 27
    state = embed_data(views=[box])["manager_state"]["state"]
    assert len(str(state)) / len(state) < 3_000  # characters a widget


def test_people_that_do_not_match(model, people):
    z, y = people
    with pytest.raises(ValueError, match="3 latents, 2 attribute vectors and 3 names"):
        layer_swaps(model, z, y[:2])
    with pytest.raises(ValueError, match="two at least"):
        layer_swaps(model, z[:1], y[:1])
