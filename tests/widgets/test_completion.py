"""The completion widget: the right strip for every setting, links that need no kernel."""

import pytest
import torch
from ipywidgets.embed import embed_data

from a2i_lib.inference import occluded
from a2i_lib.widgets.completion import GREY, completions, hide
from a2i_lib.widgets.latents import encode

N, TASKS, MODELS = 2, ("eye", "mouth", "half"), ("CVAE", "disCVAE")


@pytest.fixture(scope="module")
def parts():
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(N, 3, 32, 32, generator=draw)
    observed = {task: occluded(task, N, 32) for task in TASKS}
    pictures = {
        model: {task: torch.rand(N, 3, 32, 32, generator=draw) for task in TASKS}
        for model in MODELS
    }
    return x, observed, pictures


def test_the_leaf_that_the_buttons_choose(parts):
    x, observed, pictures = parts
    box = completions(x, observed, pictures)
    stack = box.children[3]
    for i, t, m in [(0, 0, 0), (1, 2, 0), (1, 1, 1), (0, 2, 1)]:
        leaf = stack.children[i].children[t].children[m]
        seen = x[i] * observed[TASKS[t]][i] + GREY * (1 - observed[TASKS[t]][i])
        strip = torch.cat([x[i], seen, pictures[MODELS[m]][TASKS[t]][i]], -1)
        assert leaf.value == encode(strip)
    assert [control.options for control in box.children[:3]] == [("1", "2"), TASKS, MODELS]


def test_every_stack_is_linked_in_the_browser(parts):
    box = completions(*parts)
    state = embed_data(views=[box])["manager_state"]["state"]
    links = [s["state"] for s in state.values() if s["model_name"] == "LinkModel"]
    sources = {link["target"][0].removeprefix("IPY_MODEL_"): link["source"] for link in links}
    level = [box.children[3]]
    for control in box.children[:3]:
        for stack in level:
            assert sources[stack.model_id] == [f"IPY_MODEL_{control.model_id}", "index"]
        level = [child for stack in level for child in stack.children]
    assert len(level) == N * len(TASKS) * len(MODELS)


def test_what_is_hidden_does_not_show():
    x = torch.rand(1, 3, 32, 32)
    other = x.clone()
    other[..., 16:] = 0.1
    observed = occluded("half", 1, 32)
    assert torch.equal(hide(x, observed), hide(other, observed))
    assert torch.equal(hide(x, observed)[..., :16], x[..., :16])


def test_missing_completions_are_named(parts):
    x, observed, pictures = parts
    short = {**pictures, "VAE": {"eye": x, "half": x[:1]}}
    with pytest.raises(ValueError, match=r"VAE: .* \['mouth', 'half'\]"):
        completions(x, observed, short)
