"""Table 1's columns, on a linear decoder whose best z is known in closed form."""

import pytest
import torch

from a2i_lib.evaluation.completion import TASKS, run_tasks
from a2i_lib.inference import occluded
from a2i_lib.models.vae import LatentImageModel

SIZE, SIGMA = 16, 0.3


class Linear(LatentImageModel):
    """decode(z, y) = 0.5 + A z; y is ignored."""

    latent, size = 4, SIZE

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.a = torch.nn.Parameter(torch.randn(3 * SIZE**2, 4, generator=generator) * 0.02)

    def decode(self, z, y):
        return 0.5 + (z @ self.a.T).view(-1, 3, SIZE, SIZE)


def ridge(model, x, observed):
    """argmin over z of |o (A z + 0.5 - x)|^2 + sigma^2 |z|^2 in float64, (N, 4)."""
    a = model.a.detach().double()
    rows = []
    for image, seen in zip(x.double(), observed.expand(-1, 3, -1, -1).double(), strict=True):
        o = seen.reshape(-1, 1)
        right = (a * o).T @ (image.reshape(-1, 1) - 0.5)
        rows.append(torch.linalg.solve((a * o).T @ a + SIGMA**2 * torch.eye(4), right)[:, 0])
    return torch.stack(rows)


@pytest.fixture(scope="module")
def problem():
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(3, 3, SIZE, SIZE, generator=generator)
    mask = torch.zeros(3, 1, SIZE, SIZE)
    mask[:, :, 4:12, 4:12] = 1
    model = Linear()
    tasks = (*TASKS["faces"], "8x8")
    found = run_tasks(model, x, torch.zeros(3, 1), mask, tasks, sigma=SIGMA, steps=400, lr=0.1)
    return model, x, mask, found


@pytest.mark.parametrize("task", [*TASKS["faces"], "8x8"])
def test_errors_are_those_of_the_ridge_solution(problem, task):
    model, x, mask, found = problem
    whole = task in ("full", "foreground")
    observed = torch.ones(3, 1, SIZE, SIZE) if whole else occluded(task, 3, SIZE)
    region = {"full": observed, "foreground": mask}.get(task, 1 - observed)
    best = 0.5 + (ridge(model, x, observed) @ model.a.detach().double().T).view_as(x)
    expected = ((best - x) ** 2 * region).sum((1, 2, 3))
    torch.testing.assert_close(found[task].squared_error.double(), expected, rtol=1e-4, atol=1e-4)
    assert found[task].values.tolist() == (3 * region.sum((1, 2, 3))).tolist()
    if not whole:  # what was seen stays as it was
        assert torch.equal(found[task].picture * observed, x * observed)


def test_one_descent_serves_both_reconstructions(problem):
    found = problem[3]
    assert found["full"].inferred is found["foreground"].inferred
    row = found["foreground"].row
    assert row["squared_error"] == pytest.approx(192 * row["mean_squared_error"])
    assert 0 < row["squared_error_se"] < row["squared_error"]


def test_unknown_tasks_are_named(problem):
    model, x, mask, _ = problem
    with pytest.raises(ValueError, match="nose.*known.*mouth"):
        run_tasks(model, x, torch.zeros(3, 1), mask, ["nose"], sigma=SIGMA, steps=1)
