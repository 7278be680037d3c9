"""One loop for every model of the book. Read it top to bottom.

`fit` moves batches, calls an update, keeps an average of the weights, logs without making the
device wait, writes checkpoints and resumes from them to the very same numbers. Several processes
share each batch and train as one would (`a2i_lib.training.processes`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from tqdm.auto import tqdm

from a2i_lib.data.augment import Augment
from a2i_lib.data.dataset import AttributeImages
from a2i_lib.memory import keep_freed_memory
from a2i_lib.training.checkpoint import (
    CheckpointError,
    load_weights,
    pack_optimizer,
    read_tensors,
    unpack_optimizer,
    write_tensors,
)
from a2i_lib.training.precision import describe_machine, pick_device, pick_precision
from a2i_lib.training.processes import (
    open_accelerator,
    require_equal_shares,
    require_same_step,
    share_norms,
    shared_noise,
)
from a2i_lib.training.updates import Update


class NonFiniteLoss(RuntimeError):
    """The loss became NaN or infinite; the message says by which step."""


@dataclass(frozen=True)
class Schedule:
    """Learning rate over a run: a linear rise over `warmup` steps, then constant or a half cosine
    down to `final`.

    Args:
        kind: "constant" (the papers') or "cosine".
        warmup: steps.
        final: fraction of the rate at the end, for "cosine".
    """

    kind: str = "constant"
    warmup: int = 0
    final: float = 0.05

    def factor(self, step: int, steps: int) -> float:
        rise = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        if self.kind == "constant":
            return rise
        if self.kind == "cosine":
            cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1, steps))))
            return rise * (self.final + (1 - self.final) * cosine)
        raise ValueError(f"unknown schedule {self.kind!r} (known: constant, cosine)")


@dataclass
class History:
    """What a run logged: `rows` of {"step": ..., "loss": ..., other terms}, one each `log_every`
    steps (their mean).
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    images: int = 0
    machine: str = ""
    precision: str = "no"

    def column(self, name: str) -> list[float]:
        return [row[name] for row in self.rows if name in row]


@dataclass
class Fitted:
    """A finished run: the averaged networks (by name), ready for use in eval mode, and the
    history.
    """

    averaged: dict[str, nn.Module]
    history: History

    @property
    def model(self) -> Any:
        return self.averaged["model"]


def fit(
    update: Update,
    data: AttributeImages,
    steps: int,
    batch_size: int,
    *,
    seed: int = 0,
    device: str | None = None,
    augment: Augment | None = None,
    schedule: Schedule | None = None,
    ema: float = 0.999,
    log_every: int = 50,
    checkpoint: Path | None = None,
    checkpoint_every: int = 500,
    resume: bool = False,
    precision: str | None = None,
    progress: bool = True,
    on_log: Callable[[dict[str, float]], None] | None = None,
) -> Fitted:
    """Trains until `steps` steps are done.

    Args:
        update: networks, optimisers and one step (`a2i_lib.training.updates`).
        data: the training split is used.
        steps: in all, counted from the beginning also when resuming.
        batch_size: images a step, over all processes, which share them equally.
        seed: of order, augmentation, dropout and latent noise. Step t draws from (seed, t) alone,
            so a resumed run repeats the numbers of one that was never stopped.
        device: None takes a GPU where there is one.
        ema: decay of the averaged weights, reached gradually.
        checkpoint: file to write every `checkpoint_every` steps and at the end.
        resume: start from `checkpoint` if it is there.
        precision: Accelerate's "no", "bf16" or "fp16"; None looks at the machine.

    Raises:
        NonFiniteLoss: with the step; the checkpoint on disk is older and intact.
        CheckpointError: a checkpoint of another model, or of a run with another seed or batch size.
        DataError: the update learns from masks, and images have none; names the first rows.
        RuntimeError: a GPU was asked for and there is none; processes that read other checkpoints.
        ValueError: a batch that the processes cannot share equally.
    """
    if update.needs_masks:
        data.require_masks()
    place = pick_device(device)
    keep_freed_memory()
    precision = precision or pick_precision(place)
    accelerator = open_accelerator(place, precision)
    place = accelerator.device
    rank, processes = accelerator.process_index, accelerator.num_processes
    require_equal_shares(batch_size, processes)
    schedule = schedule or Schedule()

    for module in update.modules.values():
        module.to(place).to(memory_format=torch.channels_last).train()
        share_norms(module, accelerator)
    averages = {name: _average(m, ema) for name, m in update.modules.items()}
    update.prepare(accelerator)
    base_rates = {n: [g["lr"] for g in o.param_groups] for n, o in update.optimizers.items()}

    run = {
        "seed": seed,
        "batch_size": batch_size,
        "data": f"{data.name}, {len(data)} images of {data.images.shape[-1]} pixels",
        "schema": data.schema.fingerprint,
    }
    history = History(machine=describe_machine(place), precision=precision)
    start, sums = 0, dict[str, Tensor]()
    if resume and checkpoint is not None and checkpoint.exists():
        start, sums = _restore(checkpoint, update, averages, history, run, accelerator)
    require_same_step(start, accelerator)

    batches = data.batches(
        "train",
        batch_size,
        place,
        seed=seed,
        augment=augment,
        infinite=True,
        start=start,
        share=(rank, processes),
    )
    begun, spent = time.perf_counter(), history.seconds
    devices = [place] if place.type == "cuda" else []
    with (
        torch.random.fork_rng(devices),
        tqdm(total=steps, initial=start, disable=not progress or rank > 0, unit="step") as bar,
    ):
        for step in range(start, steps):
            torch.manual_seed(_step_seed(seed, step))
            for name, optimizer in update.optimizers.items():
                for group, rate in zip(optimizer.param_groups, base_rates[name], strict=True):
                    group["lr"] = rate * schedule.factor(step, steps)

            batch = next(batches)  # this process's share of it
            with shared_noise(accelerator):
                logs = update.step(batch, accelerator)
            for name, module in update.modules.items():
                averages[name].update_parameters(module)

            for name, value in logs.items():  # on the device: nothing waits here
                sums[name] = sums[name] + value if name in sums else value
            done = step + 1
            logging = done % log_every == 0 or done == steps
            storing = checkpoint and (done % checkpoint_every == 0 or done == steps)
            if logging or storing:
                sums = accelerator.reduce(sums, "mean")  # over the processes
            if logging:
                row = _log(sums, done, done - (history.rows[-1]["step"] if history.rows else 0))
                sums = {}
                history.rows.append(row)
                bar.set_postfix({k: f"{v:.4g}" for k, v in row.items() if k != "step"})
                if on_log is not None and rank == 0:
                    on_log(row)
            bar.update()
            if checkpoint and storing:
                _require_finite_weights(update, done)
                history.seconds = spent + time.perf_counter() - begun
                if rank == 0:
                    _store(checkpoint, update, averages, history, run, done, sums, accelerator)

    history.seconds = spent + time.perf_counter() - begun
    history.images = steps * batch_size
    for module in update.modules.values():
        module.eval()
    return Fitted({name: avg.module.eval() for name, avg in averages.items()}, history)


def _step_seed(seed: int, step: int) -> int:
    return (seed * 1_000_003 + step * 64) % 2**62  # the released weights are drawn from these


def _average(module: nn.Module, decay: float) -> AveragedModel:
    """Exponential moving average of weights; early on it follows faster: decay_t = min(decay, (1 +
    t) / (10 + t)).
    """

    @torch.no_grad()
    def follow(averaged: Any, current: Any, count: Tensor | int) -> None:
        t = float(count)
        torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + t) / (10 + t)))

    return AveragedModel(module, multi_avg_fn=follow, use_buffers=False)


def _log(sums: dict[str, Tensor], step: int, count: float) -> dict[str, float]:
    """The means since the last row: the one place where the host waits for the device."""
    row = {"step": float(step), **{k: float(v) / count for k, v in sums.items()}}
    bad = [k for k, v in row.items() if not math.isfinite(v)]
    if bad:
        raise NonFiniteLoss(
            f"{', '.join(bad)} not finite between steps {int(step - count) + 1} and {step}: "
            "try a lower learning rate, gradient clipping or a larger sigma"
        )
    return row


def _require_finite_weights(update: Update, step: int) -> None:
    for name, module in update.modules.items():
        for key, weight in module.named_parameters():
            if not bool(torch.isfinite(weight).all()):
                raise NonFiniteLoss(f"weights {name}.{key} are not finite at step {step}")


def _store(
    path: Path,
    update: Update,
    averages: dict[str, AveragedModel],
    history: History,
    run: dict[str, Any],
    step: int,
    sums: dict[str, Tensor],
    accelerator: Accelerator,
) -> None:
    tensors = {f"sum.{name}": value for name, value in sums.items()}
    header: dict[str, Any] = {"step": step, "run": run, "rows": history.rows, "groups": {}}
    header["seconds"] = history.seconds
    if accelerator.scaler is not None:
        header["scaler"] = accelerator.scaler.state_dict()
    for name, module in update.modules.items():
        tensors |= {f"model.{name}.{k}": v for k, v in module.state_dict().items()}
        tensors |= {f"average.{name}.{k}": v for k, v in averages[name].module.state_dict().items()}
        tensors[f"count.{name}"] = averages[name].n_averaged
    for name, optimizer in update.optimizers.items():
        packed, header["groups"][name] = pack_optimizer(name, optimizer)
        tensors |= packed
    # views of one storage (tied weights, scalars) must not share memory in a safetensors file
    write_tensors(path, {k: v.clone() for k, v in tensors.items()}, header)


def _restore(
    path: Path,
    update: Update,
    averages: dict[str, AveragedModel],
    history: History,
    run: dict[str, Any],
    accelerator: Accelerator,
) -> tuple[int, dict[str, Tensor]]:
    tensors, header = read_tensors(path)
    for key, value in run.items():
        if header["run"].get(key) != value:
            raise CheckpointError(
                f"{path}: trained with {key} {header['run'].get(key)}, this run has {value}; "
                "resume with the same settings, or start afresh"
            )
    for name, module in update.modules.items():
        for prefix, target in (
            (f"model.{name}.", module),
            (f"average.{name}.", averages[name].module),
        ):
            part = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
            load_weights(target, part, path)
        averages[name].n_averaged.copy_(tensors[f"count.{name}"])
    for name, optimizer in update.optimizers.items():
        unpack_optimizer(name, optimizer, tensors, header["groups"][name])
    if accelerator.scaler is not None and "scaler" in header:
        accelerator.scaler.load_state_dict(header["scaler"])
    history.rows, history.seconds = header["rows"], header["seconds"]
    sums = {k[4:]: v.to(accelerator.device) for k, v in tensors.items() if k.startswith("sum.")}
    return int(header["step"]), sums
