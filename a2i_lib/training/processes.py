"""Several processes train as one would: the same numbers, up to rounding, whatever their count.

`fit` cuts every batch of B images into n shares of B / n: process r has the images r, r + n,
r + 2n, ..., and the gradient that moves its copy of the weights is the mean over all shares. Two
things in a network see more than one image, and here they see the whole batch:

- noise: each process draws that of B images and keeps its rows (`ShareOfNoise`);
- batch normalisation: mean and variance are those of B images (`share_norms`).

With one process nothing here does anything. `accelerate launch` and `torchrun` start several.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from a2i_lib.data.dataset import AttributeImages


def join(place: torch.device) -> PartialState:
    """This process among those that were started with it; the first call connects them.

    Raises:
        RuntimeError: `accelerate launch` was asked for several and, without GPUs, started one.
    """
    state = PartialState(cpu=place.type == "cpu")
    asked = {"ACCELERATE_USE_CPU", "MASTER_ADDR"} <= os.environ.keys()
    if asked and state.num_processes == 1 and "WORLD_SIZE" not in os.environ:
        raise RuntimeError(
            "on a CPU 'accelerate launch --num_processes N' starts one process, whatever N is; "
            "start several with 'torchrun --nproc-per-node N -m a2i_lib train ... --device cpu'"
        )
    return state


def open_accelerator(place: torch.device, precision: str) -> Accelerator:
    """A fresh one: Accelerate remembers device and precision for the whole process, a notebook may
    not.

    Raises:
        ValueError: another GPU than the current one, which Accelerate takes.
    """
    if place.type == "cuda" and place.index not in (None, torch.cuda.current_device()):
        raise ValueError(
            f"training takes the current GPU, cuda:{torch.cuda.current_device()}, not {place}: "
            f"set CUDA_VISIBLE_DEVICES={place.index} and ask for device 'cuda'"
        )
    alone = join(place).num_processes == 1
    AcceleratorState._reset_state(reset_partial_state=alone)
    return Accelerator(mixed_precision=precision, cpu=place.type == "cpu")


def require_equal_shares(batch_size: int, processes: int) -> None:
    """Raises ValueError where shares would differ: their mean would not be that over the images."""
    lower = batch_size - batch_size % processes
    if lower != batch_size:
        known = f"{lower} or {lower + processes}" if lower else processes
        raise ValueError(
            f"a batch of {batch_size} images has no equal shares for {processes} processes; "
            f"take {known}"
        )


def require_same_step(step: int, accelerator: Accelerator) -> None:
    """Raises RuntimeError where processes would go on from different steps, and wait for ever."""
    own = torch.tensor([step], device=accelerator.device)
    steps = accelerator.gather(own).tolist()
    if len(set(steps)) > 1:
        raise RuntimeError(
            f"the processes' checkpoints are of steps {steps}: all must read the same file, on a "
            "disk that the machines share"
        )


# ---------------------------------------------------------------- what sees the whole batch


class ShareOfNoise(TorchFunctionMode):
    """Inside, `randn`, `rand`, their `_like`s and dropout draw `n` times as many rows and give
    every n-th, from the `rank`-th on.

    Rows are images, or several such batches one after another. Processes that begin with the same
    seed then have between them just what one process draws.

    Raises:
        RuntimeError: noise of another kind; with one seed all would draw the same.
    """

    _SIZED = (torch.randn, torch.rand)
    _LIKE = (torch.randn_like, torch.rand_like)
    _DROPOUT = (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d)
    _OTHER = (
        torch.bernoulli, torch.normal, torch.poisson, torch.multinomial, torch.randint,
        torch.randint_like, torch.randperm, F.alpha_dropout, F.rrelu, Tensor.bernoulli,
        Tensor.bernoulli_, Tensor.exponential_, Tensor.multinomial, Tensor.normal_,
        Tensor.random_, Tensor.uniform_,
    )  # fmt: skip

    def __init__(self, rank: int, n: int) -> None:
        super().__init__()
        self.n, self.rows = n, slice(rank, None, n)

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in self._SIZED:
            size = args if isinstance(args[0], int) else args[0]
            return func(self._whole(size), **kwargs)[self.rows]
        if func in self._LIKE:
            x = args[0]
            return func(x.new_empty(self._whole(x.shape)), **kwargs)[self.rows]
        if func in self._DROPOUT:
            x, *others = args
            return x * func(x.new_ones(self._whole(x.shape)), *others, **kwargs)[self.rows]
        if func in self._OTHER:
            raise RuntimeError(
                f"{func.__name__}: several processes share the noise of randn, rand and dropout; "
                "draw with these, or train with one process"
            )
        return func(*args, **kwargs)

    def _whole(self, size: Any) -> tuple[int, ...]:
        return (size[0] * self.n, *size[1:])


def shared_noise(accelerator: Accelerator) -> AbstractContextManager[Any]:
    """`ShareOfNoise` of this process; nothing where it is the only one."""
    n = accelerator.num_processes
    return nullcontext() if n == 1 else ShareOfNoise(accelerator.process_index, n)


def share_norms(module: nn.Module, accelerator: Accelerator) -> None:
    """From now on batch normalisation inside `module` takes its statistics over all processes."""
    if accelerator.num_processes == 1:
        return
    if accelerator.device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(module)
        return
    for child in module.modules():
        if isinstance(child, _BatchNorm):
            child.__class__ = SharedBatchNorm  # parameters, buffers and settings stay its own


class SharedBatchNorm(_BatchNorm):
    """Batch normalisation over all processes' images. PyTorch's `SyncBatchNorm`, which does the
    same faster, wants a GPU.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """(B, C) or (B, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        axes = [0, *range(2, x.ndim)]
        wide = x if x.dtype == torch.float64 else x.float()
        mean = _MeanOverProcesses.apply(wide.mean(axes, keepdim=True))  # 1 C 1 1
        centred = wide - mean
        variance = _MeanOverProcesses.apply(centred.square().mean(axes, keepdim=True))
        self._follow(mean.flatten(), variance.flatten(), x.numel() // x.shape[1])
        y = centred * torch.rsqrt(variance + self.eps)
        if self.affine:
            y = y * self.weight.view_as(mean) + self.bias.view_as(mean)
        return y.to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, share: int) -> None:
        """Moves the running statistics, if it keeps any; their variance is the unbiased one."""
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        count = share * dist.get_world_size()
        step = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, step)
        self.running_var.lerp_(variance * (count / (count - 1)), step)


class _MeanOverProcesses(torch.autograd.Function):
    """The mean of the processes' tensors; each one's loss depends on all of them, so that going
    back the gradients are averaged too.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _mean_over_processes(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _mean_over_processes(gradient)


def _mean_over_processes(x: Tensor) -> Tensor:
    x = x.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(x)
    return x / dist.get_world_size()


# ---------------------------------------------------------------- data


def load_once(load: Callable[[], AttributeImages], state: PartialState) -> AttributeImages:
    """What `load` gives: one process of each machine draws it, all map the file it writes.

    It lies in the folder for temporary files, nameless once all have opened it.
    """
    if state.num_processes == 1:
        return load()
    name = f"a2i-{secrets.token_hex(8)}"
    root = Path(tempfile.gettempdir()) / broadcast_object_list([name])[0]  # the first one's name
    folder = root / "data"
    try:
        if state.is_local_main_process:
            load().save(folder)
        state.wait_for_everyone()
        data = AttributeImages.load(folder)
        state.wait_for_everyone()
    finally:
        if state.is_local_main_process:
            shutil.rmtree(root, ignore_errors=True)
    return data
