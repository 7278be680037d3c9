"""How fast arithmetic is chosen: by looking at the machine, not by asking the reader."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

_CPU_INFO = Path("/proc/cpuinfo")


def pick_device(wanted: str | None = None) -> torch.device:
    """The device asked for ("cpu", "cuda", "cuda:1", "mps"), or the best one present.

    Raises:
        RuntimeError: a GPU was asked for and there is none.
    """
    if wanted is None:
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(wanted)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RuntimeError(
            f"device {wanted!r} was asked for, but PyTorch {torch.__version__} sees no GPU here; "
            "use --device cpu, or choose a GPU runtime"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise RuntimeError("device 'mps' was asked for, but this machine has no Apple GPU")
    return device


def cpu_has_bf16() -> bool:
    """True where the processor multiplies bfloat16 in hardware (AMX, AVX512-BF16 or Arm's BF16)."""
    if not _CPU_INFO.exists():
        return False
    words = set(_CPU_INFO.read_text(errors="ignore").split())
    return bool(words & {"amx_bf16", "avx512_bf16", "bf16"})


def pick_precision(device: torch.device) -> str:
    """Accelerate's `mixed_precision` for a device: "bf16" where the hardware has it, "fp16" on
    older GPUs, else "no".

    Without hardware support bfloat16 is emulated on a CPU and *slower* than float32, so there it
    stays float32.
    """
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp16"
    return "bf16" if device.type == "cpu" and cpu_has_bf16() else "no"


def describe_machine(device: torch.device) -> str:
    """A line for cards and figures: what ran this."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, PyTorch {torch.__version__}"
    name = platform.processor() or platform.machine()
    if _CPU_INFO.exists():
        lines = _CPU_INFO.read_text(errors="ignore").splitlines()
        name = next(
            (li.split(":", 1)[1].strip() for li in lines if li.startswith("model name")), name
        )
    features = "with" if cpu_has_bf16() else "without"
    return (
        f"{name}, {torch.get_num_threads()} threads, {features} bfloat16 units, "
        f"PyTorch {torch.__version__}"
    )
