"""Several processes against one: two real ones, connected by gloo, run the cases below."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from a2i_lib.attributes import Attribute, AttributeSchema
from a2i_lib.data.augment import Augment
from a2i_lib.data.dataset import AttributeImages, Batch
from a2i_lib.models import CGAN, CMMA, CVAE, AttributeClassifier, DisCVAE
from a2i_lib.training import loop
from a2i_lib.training.checkpoint import read_tensors, write_tensors
from a2i_lib.training.loop import Schedule, fit
from a2i_lib.training.processes import (
    SharedBatchNorm,
    ShareOfNoise,
    join,
    open_accelerator,
    require_equal_shares,
)
from a2i_lib.training.updates import (
    Adam,
    AdversarialUpdate,
    AttributeUpdate,
    ElboUpdate,
    Game,
    LayeredElboUpdate,
    LearnedElboUpdate,
    WeightedUpdate,
)

STEPS, BATCH = 10, 8
SCHEMA = AttributeSchema([Attribute("A"), Attribute("B")])


def tiny_data(size: int) -> AttributeImages:
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, 2, (36, 2), generator=generator) * 2.0 - 1
    noise = torch.randint(0, 60, (36, 3, size, size), generator=generator)
    images = (noise + 90 * (y[:, :1, None, None] + 1)).to(torch.uint8)
    masks = torch.zeros(36, 1, size, size, dtype=torch.uint8)
    masks[..., size // 4 : size // 2, size // 4 : size // 2] = 255
    return AttributeImages(images, y, torch.zeros(36, dtype=torch.int8), SCHEMA, masks, name="tiny")


class InDouble:
    """Batch normalisation makes the gradients of the biases before it 0 up to rounding, and Adam
    would take a whole step along that rounding: not so with that of double precision.
    """

    def step(self, batch, accelerator):
        return super().step(Batch(batch.x.double(), batch.y.double(), batch.mask), accelerator)


class ElboInDouble(InDouble, ElboUpdate):
    pass


class AttributesInDouble(InDouble, AttributeUpdate):
    pass


def elbo():
    return ElboUpdate(CVAE(2, latent=4, width=0.125, size=16), sigma=0.2, adam=Adam(1e-3, clip=1e3))


def normalised():
    model = CVAE(2, latent=4, width=0.125, size=16, norm=True)
    return ElboInDouble(model.double(), sigma=0.2, adam=Adam(1e-3))


def predictor():
    model = AttributeClassifier(2, width=0.125, size=16)
    return AttributesInDouble(model.double(), SCHEMA, Adam(1e-3))


def layered():
    return LayeredElboUpdate(DisCVAE(2, 2, 2, width=0.06, size=16), sigma=0.2, adam=Adam(1e-3))


def weighted():
    return WeightedUpdate(CVAE(2, latent=4, width=0.125, size=16), beta=0.5, adam=Adam(1e-3))


def learned():
    return LearnedElboUpdate(CMMA(2, latent=4, width=0.03, size=32, min_std=0.2), adam=Adam(1e-4))


def game():
    generator = CGAN(2, latent=4, width=0.03, size=32, norm=False)
    return AdversarialUpdate(generator, generator.discriminator(), Game(skip_above=0.9))


class Stopped(ElboUpdate):
    """Breaks off in step 8; the checkpoint is of step 6, half a row on."""

    left = 8

    def step(self, batch, accelerator):
        self.left -= 1
        if not self.left:
            raise RuntimeError("stopped")
        return super().step(batch, accelerator)


def stopped():
    update = elbo()
    update.__class__ = Stopped
    return update


CASES = {
    "elbo": (elbo, 16),
    "normalised": (normalised, 16),
    "predictor": (predictor, 16),
    "layered": (layered, 16),
    "weighted": (weighted, 16),
    "learned": (learned, 32),
    "game": (game, 32),
    "stopped": (stopped, 16),
}
EQUAL = [name for name in CASES if name != "stopped"]


def run(name: str, path: Path | None, steps: int = STEPS, resume: bool = False, batch: int = BATCH):
    make, size = CASES[name]
    torch.manual_seed(5)
    update = make()
    settings = {"log_every": 4, "checkpoint_every": 3, "progress": False, "precision": "no"}
    return fit(
        update, tiny_data(size), steps, batch, seed=3, augment=Augment.lfw(), checkpoint=path,
        schedule=Schedule("constant", warmup=2), resume=resume, device="cpu", **settings,
    )  # fmt: skip


# ---------------------------------------------------------------- what each of the two runs


def message(make, *arguments) -> str:
    try:
        make(*arguments)
    except (ValueError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def as_a_rank(folder: Path) -> None:
    """Everything that two processes do, in one go: each costs seconds to start."""
    from a2i_lib.__main__ import main

    torch.set_num_threads(1)
    rank = int(os.environ["RANK"])
    if rank:
        loop.write_tensors = None  # would be called in vain
    for name in EQUAL:
        run(name, folder / f"{name}.safetensors")
    said = {"stopped": message(run, "stopped", folder / "resumed.safetensors")}
    run("elbo", folder / "resumed.safetensors", resume=True)
    apart = folder / ("resumed.safetensors" if rank == 0 else "nowhere.safetensors")
    said["apart"] = message(run, "elbo", apart, STEPS, True)
    said["uneven"] = message(run, "elbo", None, 2, False, 7)
    (folder / f"said-{rank}.json").write_text(json.dumps(said))
    train = "train classifier-faces --profile smoke --steps 2 --batch-size 16 --device cpu --out"
    assert main([*train.split(), str(folder / "out")]) == 0


CODE = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_processes import as_a_rank
as_a_rank(Path({folder!r}))
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    """The folder in which two processes left their results, and what they printed."""
    if not (dist.is_available() and dist.is_gloo_available()):
        pytest.skip("this PyTorch has no gloo, which connects processes on a CPU")
    folder = tmp_path_factory.mktemp("two")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {
        "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port, "OMP_NUM_THREADS": "1", "TMPDIR": str(folder),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }  # fmt: skip
    code = CODE.format(tests=str(Path(__file__).parent), folder=str(folder))
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        for rank, process in enumerate(ranks):
            printed, errors = process.communicate(timeout=500)
            assert process.returncode == 0, errors
            (folder / f"printed-{rank}.txt").write_text(printed)
            (folder / f"errors-{rank}.txt").write_text(errors)
    finally:
        for process in ranks:
            process.kill()
    return folder


@pytest.mark.parametrize("name", EQUAL)
def test_two_processes_give_the_weights_and_the_losses_of_one(two, tmp_path, name):
    path = tmp_path / "one.safetensors"
    run(name, path)
    tensors, header = read_tensors(path)
    both, other = read_tensors(two / f"{name}.safetensors")
    assert tensors.keys() == both.keys()
    for key, expected in tensors.items():
        torch.testing.assert_close(both[key], expected, atol=1e-5, rtol=1e-5)
    for row, expected in zip(other["rows"], header["rows"], strict=True):
        assert row == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_two_resume_to_the_bits_of_two_that_never_stopped(two):
    unbroken, header = read_tensors(two / "elbo.safetensors")
    resumed, again = read_tensors(two / "resumed.safetensors")
    assert header["rows"] == again["rows"]
    assert all(torch.equal(unbroken[key], resumed[key]) for key in unbroken)


def test_what_two_began_one_can_end(two, tmp_path):
    tensors, header = read_tensors(two / "elbo.safetensors")
    path = tmp_path / "state.safetensors"
    write_tensors(path, tensors, header)
    longer = run("elbo", path, STEPS + 4, resume=True)
    whole = run("elbo", None, STEPS + 4)
    torch.testing.assert_close(
        longer.model.state_dict(), whole.model.state_dict(), atol=1e-5, rtol=1e-5
    )


def test_only_the_first_writes_and_prints(two):
    assert (two / "printed-1.txt").read_text() == ""
    assert "classifier-faces.json: 2 steps" in (two / "printed-0.txt").read_text()
    assert "step/s" in (two / "errors-0.txt").read_text()
    assert "it/s" not in (two / "errors-1.txt").read_text()
    card = json.loads((two / "out" / "classifier-faces.json").read_text())
    assert (two / "out" / card["weights"]).exists() and card["recipe"]["batch_size"] == 16


def test_what_was_drawn_once_for_both_is_gone(two):
    assert not list(two.glob("a2i-*"))


def test_both_are_told_what_cannot_be_shared(two):
    for rank in (0, 1):
        said = json.loads((two / f"said-{rank}.json").read_text())
        assert said["stopped"] == "RuntimeError: stopped"
        assert "steps [10, 0]: all must read the same file" in said["apart"]
        assert "7 images has no equal shares for 2 processes; take 6 or 8" in said["uneven"]


# ---------------------------------------------------------------- the parts


def test_equal_shares():
    require_equal_shares(8, 1)
    require_equal_shares(8, 4)
    with pytest.raises(ValueError, match="take 4"):
        require_equal_shares(3, 4)


def draws(x: torch.Tensor) -> list[torch.Tensor]:
    torch.manual_seed(1)
    two_batches = torch.cat([x, x])  # as a discriminator sees real and drawn images
    return [
        torch.randn(len(x), 5), torch.rand((len(x), 2)), torch.randn(x.shape),
        torch.rand_like(x), nn.Dropout(0.3)(x), nn.Dropout2d(0.5)(two_batches[:, :, None, None]),
        nn.Dropout(0.3).eval()(x),
    ]  # fmt: skip


def test_shares_of_noise_are_those_of_the_whole():
    x = torch.arange(48.0).view(12, 4)
    whole = draws(x)
    shares = []
    for rank in range(3):
        with ShareOfNoise(rank, 3):
            shares.append(draws(x[rank::3]))
    for parts, expected in zip(zip(*shares, strict=True), whole, strict=True):
        together = torch.stack(parts, 1).flatten(0, 1)
        torch.testing.assert_close(together, expected)


def test_noise_that_all_would_draw_alike_is_refused():
    with ShareOfNoise(0, 2), pytest.raises(RuntimeError, match="bernoulli"):
        torch.bernoulli(torch.full((3,), 0.5))


@pytest.mark.parametrize("momentum", [0.1, None])
def test_the_shared_norm_is_the_norm(monkeypatch, momentum):
    """One process: mean over processes is the mean."""
    monkeypatch.setattr(dist, "all_reduce", lambda x: x)
    monkeypatch.setattr(dist, "get_world_size", lambda: 1)
    torch.manual_seed(0)
    x = torch.randn(6, 3, 4, 4, dtype=torch.float64) * 2 + 5
    weight = torch.randn_like(x)
    plain = nn.BatchNorm2d(3, momentum=momentum).double()
    shared = nn.BatchNorm2d(3, momentum=momentum).double()
    shared.__class__ = SharedBatchNorm
    results = []
    for norm in (plain, shared):
        image = x.clone().requires_grad_()
        norm(image + 1)
        y = norm(image)
        (y * weight).sum().backward()
        results.append([y, image.grad, norm.running_mean, norm.running_var, norm.weight.grad])
    for found, expected in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close(plain.eval()(x), shared.eval()(x))


def test_one_process_where_several_were_asked_for_is_told(monkeypatch):
    """`accelerate launch --cpu --num_processes 2` sets these, and starts one process."""
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    with pytest.raises(RuntimeError, match="torchrun --nproc-per-node"):
        join(torch.device("cpu"))


def test_another_gpu_than_the_current_one_is_refused(monkeypatch):
    """Accelerate would train on the current one, and nobody would know."""
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    with pytest.raises(ValueError, match="CUDA_VISIBLE_DEVICES=1"):
        open_accelerator(torch.device("cuda:1"), "no")
