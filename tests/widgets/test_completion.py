"""The completion widget: the right strip for every setting, links that need no kernel."""

import pytest
import torch

from a2i_lib.inference import occluded
from a2i_lib.widgets.completion import completions
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
        seen = x[i] * observed[TASKS[t]][i] + 0.5 * (1 - observed[TASKS[t]][i])
        strip = torch.cat([x[i], seen, pictures[MODELS[m]][TASKS[t]][i]], -1)
        assert leaf.value == encode(strip)
    assert [control.options for control in box.children[:3]] == [("1", "2"), TASKS, MODELS]


def test_every_stack_is_linked_in_the_browser(parts, linked_leaves):
    box = completions(*parts)
    leaves = linked_leaves(box, box.children[:3], box.children[3])
    assert len(leaves) == N * len(TASKS) * len(MODELS)


def test_missing_completions_are_named(parts):
    x, observed, pictures = parts
    short = {**pictures, "VAE": {"eye": x, "half": x[:1]}}
    with pytest.raises(ValueError, match=r"VAE: .* \['mouth', 'half'\]"):
        completions(x, observed, short)
