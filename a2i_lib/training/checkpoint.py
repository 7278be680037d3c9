"""Checkpoints: safetensors files that are whole or absent, and cards that say what is in them.

A *training state* is one file with weights, averaged weights, optimiser and step: enough to go on
bit for bit. A *release* is a pair `NAME.safetensors` (weights alone) and `NAME.json` (the card,
with the file's SHA-256). Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

FORMAT = "a2i-checkpoint-1"


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message names the file and what is wrong with it."""


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file so that `path` holds either what it held before or all of `data`, whatever
    happens meanwhile.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Tensors and a JSON header as one safetensors file, written whole."""
    plain = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    write_whole(path, save(plain, {"format": FORMAT, "header": json.dumps(header)}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Inverse of `write_tensors`.

    Raises:
        CheckpointError: missing, not safetensors (pickles are refused), damaged, or another format.
    """
    if not path.exists():
        raise CheckpointError(f"{path}: no such file")
    try:
        with safe_open(str(path), framework="pt") as file:
            meta = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: not a whole safetensors file ({error}); weights load from safetensors only"
        ) from None
    if meta.get("format") != FORMAT:
        raise CheckpointError(f"{path}: format {meta.get('format')!r}, expected {FORMAT!r}")
    return tensors, json.loads(meta["header"])


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


# ---------------------------------------------------------------- training states


def pack_optimizer(name: str, optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], Any]:
    """An optimiser's state as flat tensors plus what JSON can hold."""
    state = optimizer.state_dict()
    tensors = {
        f"optimizer.{name}.{index}.{key}": value
        for index, entries in state["state"].items()
        for key, value in entries.items()
        if isinstance(value, Tensor)
    }
    return tensors, state["param_groups"]


def unpack_optimizer(
    name: str, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], groups: Any
) -> None:
    """Inverse of `pack_optimizer`.

    Moments get their parameter's memory layout: fused kernels read both as plain memory, in one
    order.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    prefix = f"optimizer.{name}."
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(prefix):
            index, entry = key[len(prefix) :].split(".", 1)
            if value.ndim:
                value = torch.empty_like(parameters[int(index)]).copy_(value)
            state.setdefault(int(index), {})[entry] = value
    optimizer.load_state_dict({"state": state, "param_groups": groups})


# ---------------------------------------------------------------- releases


def save_release(folder: Path, name: str, model: nn.Module, card: Mapping[str, Any]) -> Path:
    """Writes `name.safetensors` and its card `name.json` into a folder; returns the card's path.

    Weights are stored as float16 if they would otherwise take more than 8 MiB. The card goes last:
    a release without its card is not one.
    """
    tensors = dict(model.state_dict())
    if sum(t.numel() * t.element_size() for t in tensors.values()) > 8 * 2**20:
        tensors = {k: t.half() if t.is_floating_point() else t for k, t in tensors.items()}
    weights = folder / f"{name}.safetensors"
    write_tensors(weights, tensors, {"recipe": name})
    card = {**card, "weights": weights.name, "sha256": sha256(weights)}
    path = folder / f"{name}.json"
    write_whole(path, (json.dumps(card, indent=2) + "\n").encode())
    return path


def read_card(path: Path) -> dict[str, Any]:
    """A release's card.

    Raises:
        CheckpointError: missing or not JSON.
    """
    if not path.exists():
        raise CheckpointError(f"{path}: no such card")
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path}: not a card ({error})") from None


def load_release(card_path: Path, model: nn.Module) -> dict[str, Any]:
    """Fills `model` with a release's weights; returns the card.

    Raises:
        CheckpointError: the file's SHA-256 is not the card's, or the weights are of another model.
    """
    card = read_card(card_path)
    weights = card_path.parent / card["weights"]
    if weights.exists() and (found := sha256(weights)) != card["sha256"]:
        raise CheckpointError(
            f"{weights}: SHA-256 is {found[:12]}..., its card says {card['sha256'][:12]}...: "
            "the file is damaged or not the one the card describes"
        )
    tensors, _ = read_tensors(weights)
    load_weights(model, tensors, weights)
    return card


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor], source: Path) -> None:
    """Copies tensors into a model, naming the first that does not fit."""
    state = model.state_dict()
    for name in sorted(state.keys() | tensors.keys()):
        if name not in tensors or name not in state:
            where = "is missing" if name not in tensors else "is not in the model"
            raise CheckpointError(f"{source}: {name!r} {where}: weights of another model")
        if state[name].shape != tensors[name].shape:
            raise CheckpointError(
                f"{source}: {name!r} has shape {tuple(tensors[name].shape)}, "
                f"the model needs {tuple(state[name].shape)}"
            )
    model.load_state_dict(dict(tensors))
