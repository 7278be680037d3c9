"""The loop: resuming, killing, averaging, and errors that help."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from a2i_lib.attributes import Attribute, AttributeSchema
from a2i_lib.data.augment import Augment
from a2i_lib.data.dataset import AttributeImages
from a2i_lib.models import CVAE
from a2i_lib.training import precision
from a2i_lib.training.checkpoint import CheckpointError, read_tensors
from a2i_lib.training.loop import NonFiniteLoss, Schedule, fit
from a2i_lib.training.updates import Adam, AttributeUpdate, ElboUpdate


def tiny_data(n: int = 96, size: int = 16, name: str = "tiny") -> AttributeImages:
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, 2, (n, 2), generator=generator) * 2.0 - 1
    noise = torch.randint(0, 60, (n, 3, size, size), generator=generator)
    images = (noise + 90 * (y[:, :1, None, None] + 1)).to(torch.uint8)  # A is brightness
    split = torch.zeros(n, dtype=torch.int8)
    schema = AttributeSchema([Attribute("A"), Attribute("B")])
    return AttributeImages(images, y, split, schema, name=name)


def tiny_update(rate: float = 1e-3) -> ElboUpdate:
    torch.manual_seed(5)
    return ElboUpdate(CVAE(2, latent=4, width=0.125, size=16), sigma=0.2, adam=Adam(rate))


def run(path: Path | None, steps: int, resume: bool = False, update=None, **options):
    update = update or tiny_update()
    settings = {
        "seed": 3,
        "log_every": 4,
        "checkpoint_every": 3,
        "progress": False,
        "augment": Augment.lfw(),
        "schedule": Schedule("constant", warmup=2),
        **options,
    }
    fitted = fit(update, tiny_data(), steps, 8, checkpoint=path, resume=resume, **settings)
    return update, fitted


class Interrupted(ElboUpdate):
    """Breaks off in a given step."""

    def __init__(self, model: nn.Module, at: int) -> None:
        super().__init__(model, sigma=0.2, adam=Adam(1e-3))
        self.left = at

    def step(self, batch, accelerator):
        self.left -= 1
        if not self.left:
            raise InterruptedError
        return super().step(batch, accelerator)


def test_a_resumed_run_equals_an_unbroken_one_bit_for_bit(tmp_path):
    _, unbroken = run(tmp_path / "a.safetensors", 10)
    with pytest.raises(InterruptedError):  # in step 8; the checkpoint is of step 6, half a row on
        run(tmp_path / "b.safetensors", 10, update=Interrupted(tiny_update().model, 8))
    _, resumed = run(tmp_path / "b.safetensors", 10, resume=True)
    assert resumed.history.rows == unbroken.history.rows
    whole, _ = read_tensors(tmp_path / "a.safetensors")
    again, _ = read_tensors(tmp_path / "b.safetensors")
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[k], again[k]) for k in whole)


def test_another_seed_gives_other_weights(tmp_path):
    (first, _), (second, _) = run(None, 3), run(None, 3, seed=4)
    assert not torch.equal(first.model.mu.weight, second.model.mu.weight)


def test_training_leaves_the_readers_random_numbers_alone():
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    update = ElboUpdate(_seeded_model(), sigma=0.2)
    torch.manual_seed(11)
    fit(update, tiny_data(), 2, 8, progress=False)
    assert torch.equal(torch.rand(3), expected)


def _seeded_model() -> nn.Module:
    return CVAE(2, latent=4, width=0.125, size=16)


def test_the_loss_goes_down():
    _, fitted = run(None, 40, log_every=5)
    losses = fitted.history.column("loss")
    assert losses[-1] < losses[0] - 10


def test_the_average_follows_its_definition():
    update = tiny_update()
    weight = [update.model.mu.weight.detach().clone()]

    class Spy(ElboUpdate):
        def step(self, batch, accelerator):
            logs = super().step(batch, accelerator)
            weight.append(self.model.mu.weight.detach().clone())
            return logs

    spy = Spy(update.model, sigma=0.2)
    fitted = fit(spy, tiny_data(), 6, 8, ema=0.5, progress=False)
    expected = weight[1].clone()  # the first update copies
    for t, current in enumerate(weight[2:], 1):
        decay = min(0.5, (1 + t) / (10 + t))
        expected = decay * expected + (1 - decay) * current
    torch.testing.assert_close(fitted.model.mu.weight, expected)


def test_a_loss_that_is_not_finite_stops_the_run_with_its_step(tmp_path):
    class Bad(ElboUpdate):
        def step(self, batch, accelerator):
            logs = super().step(batch, accelerator)
            return {**logs, "loss": logs["loss"] * float("nan")}

    with pytest.raises(NonFiniteLoss, match="steps 1 and 4"):
        fit(Bad(_seeded_model(), sigma=0.2), tiny_data(), 8, 8, log_every=4, progress=False)


def test_resuming_another_run_is_refused(tmp_path):
    path = tmp_path / "state.safetensors"
    run(path, 3)
    with pytest.raises(CheckpointError, match="trained with seed 3, this run has 4"):
        run(path, 6, resume=True, seed=4)
    with pytest.raises(CheckpointError, match="trained with data tiny"):
        fit(tiny_update(), tiny_data(name="other"), 6, 8, seed=3, checkpoint=path, resume=True)


def test_no_gpu_when_one_is_asked_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RuntimeError, match="sees no GPU"):
        run(None, 1, device="cuda")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("fma avx2", "no"), ("avx512f avx512_bf16", "bf16"), ("amx_tile amx_bf16", "bf16")],
)
def test_precision_follows_the_processor(flags, expected, monkeypatch, tmp_path):
    info = tmp_path / "cpuinfo"
    info.write_text(f"model name : Some CPU\nflags : {flags}\n")
    monkeypatch.setattr(precision, "_CPU_INFO", info)
    assert precision.pick_precision(torch.device("cpu")) == expected
    assert "Some CPU" in precision.describe_machine(torch.device("cpu"))


def test_bfloat16_trains_too():
    _, fitted = run(None, 8, precision="bf16")
    assert fitted.history.precision == "bf16"
    assert fitted.model.mu.weight.dtype == torch.float32


def test_an_attribute_predictor_trains():
    from a2i_lib.models import AttributeClassifier

    data = tiny_data()
    update = AttributeUpdate(AttributeClassifier(2, width=0.125, size=16), data.schema)
    fitted = fit(update, data, 30, 32, progress=False, log_every=10)
    losses = fitted.history.column("loss")
    assert losses[-1] < losses[0]


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_loop import run
run(Path({path!r}), 100_000, checkpoint_every=1, log_every=1)
"""


@pytest.mark.parametrize("wait", [0.13, 0.41])
def test_a_killed_run_leaves_a_checkpoint_that_loads(tmp_path, wait):
    path = tmp_path / "state.safetensors"
    code = KILLED.format(tests=str(Path(__file__).parent), path=str(path))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment)
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(wait)
    process.send_signal(signal.SIGKILL)
    process.wait()
    _, header = read_tensors(path)
    assert header["step"] >= 1
    _, fitted = run(path, header["step"] + 1, resume=True)
    assert fitted.history.rows[-1]["step"] == header["step"] + 1
