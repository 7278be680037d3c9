"""`AttributeImages`: the form in which every data set and every drawn world reaches a model.

Images are bytes, attributes are floats just as the model sees them, masks are optional; all of it
lies in memory, or in a folder of `.npy` files that is memory-mapped:

    dataset.json     format's version, name, schema, provenance; size, type, SHA-256 of each file
    images.npy       uint8, N H W 3
    attributes.npy   float32, N K
    split.npy        int8, N      0 train, 1 val, 2 test
    masks.npy        uint8, N H W (optional; 255 = person or bird)

A folder is written beside its place and renamed into it: whatever interrupts the writing, a
half-written one is never found there.
"""

from __future__ import annotations

import difflib
import errno
import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from a2i_lib.attributes import AttributeSchema
from a2i_lib.data.augment import Augment
from a2i_lib.memory import read_ahead

if TYPE_CHECKING:
    from a2i_lib.worlds import World

FORMAT, VERSION = "a2i-dataset", 1
SPLITS = ("train", "val", "test")


class DataError(ValueError):
    """Data that cannot be used; the message names the file, the row and the field."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of an error message: the closest of the known names, or all of them."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(map(repr, close))}?"
    return f"there are: {', '.join(known) or 'none'}"


@dataclass
class Batch:
    """What a training step is given.

    Args:
        x: images, (B, 3, H, W) in [0, 1], channels-last.
        y: attributes, (B, K).
        mask: (B, 1, H, W), 1 on the person or bird; None if the data has none.
    """

    x: Tensor
    y: Tensor
    mask: Tensor | None = None


@dataclass(eq=False)
class AttributeImages:
    """Images with their attributes.

    Args:
        images: uint8, (N, 3, H, W); any memory order, channels-last is the fastest.
        attributes: float32, (N, K), as the model sees them: binary -1/+1, scores standardised.
        split: int8, (N,): 0 train, 1 val, 2 test.
        schema: what the K columns mean.
        masks: uint8, (N, 1, H, W), 255 times the share of a pixel on the person or bird; or None.
        name: of the data set.
        provenance: where it came from and what was done to it; anything JSON can hold.

    Raises:
        DataError: shapes or types that do not fit together, a value that is not finite; names the
            row and the field.
    """

    images: Tensor
    attributes: Tensor
    split: Tensor
    schema: AttributeSchema
    masks: Tensor | None = None
    name: str = "images"
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n, size = self.images.shape[0], tuple(self.images.shape[2:])
        self._expect("images", self.images, torch.uint8, (n, 3, *size))
        self._expect("attributes", self.attributes, torch.float32, (n, len(self.schema)))
        self._expect("split", self.split, torch.int8, (n,))
        if self.masks is not None:
            self._expect("masks", self.masks, torch.uint8, (n, 1, *size))
        if n == 0:
            raise DataError(f"{self.name}: no images")
        bad = torch.nonzero(~torch.isfinite(self.attributes))
        if len(bad):
            row, column = bad[0].tolist()
            value = float(self.attributes[row, column])
            raise DataError(f"{self.name}: row {row}, {self.schema.names[column]!r} is {value}")
        if not bool(((self.split >= 0) & (self.split <= 2)).all()):
            raise DataError(
                f"{self.name}: split has values other than 0 (train), 1 (val), 2 (test)"
            )
        self._on_device: dict[torch.device, tuple[Tensor, Tensor, Tensor | None]] = {}

    def _expect(self, what: str, x: Tensor, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
        if x.dtype != dtype or tuple(x.shape) != shape:
            raise DataError(
                f"{self.name}: {what} is {x.dtype} of shape {tuple(x.shape)}, "
                f"expected {dtype} of shape {shape}"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        height, width = self.images.shape[2:]
        counts = ", ".join(f"{s} {len(self.subset(s)):,}" for s in SPLITS)
        parts = f"{len(self.schema)} attributes" + (", masks" if self.masks is not None else "")
        return f"{self.name}: {len(self):,} images {width}x{height} ({counts}), {parts}"

    # ------------------------------------------------------------------ reading

    def subset(self, split: str) -> Tensor:
        """Row numbers of a split, (n,) int64.

        Raises:
            DataError: a split that is none of "train", "val", "test".
        """
        if split not in SPLITS:
            raise DataError(f"unknown split {split!r}: {did_you_mean(split, SPLITS)}")
        return torch.nonzero(self.split == SPLITS.index(split))[:, 0]

    def require_masks(self) -> Tensor:
        """The masks, (N, 1, H, W), for what learns from layers.

        Raises:
            DataError: there are no masks, or images whose mask is empty; names the first rows.
        """
        if self.masks is None:
            raise DataError(f"{self.name}: a layered model learns from masks, and there are none")
        empty = (self.masks.flatten(1).amax(1) == 0).nonzero()[:, 0].tolist()
        if empty:
            first = ", ".join(map(str, empty[:5])) + (", ..." if len(empty) > 5 else "")
            raise DataError(f"{self.name}: {len(empty)} images have an empty mask: rows {first}")
        return self.masks

    def tensors(self, split: str) -> tuple[Tensor, Tensor, Tensor | None]:
        """A whole split: images uint8 (n, 3, H, W), y (n, K), masks uint8 (n, 1, H, W) or None."""
        rows = self.subset(split)
        masks = None if self.masks is None else self.masks[rows]
        return self.images[rows], self.attributes[rows], masks

    def batches(
        self,
        split: str,
        batch_size: int,
        device: torch.device | str = "cpu",
        *,
        seed: int = 0,
        shuffle: bool = True,
        augment: Augment | None = None,
        infinite: bool = False,
        start: int = 0,
        resident: bool | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> Iterator[Batch]:
        """Cuts a split into batches, on the device.

        The order of epoch e depends on (seed, e), the augmentation of batch b on (seed, b), and
        nothing else: a run resumed with `start` set to the batches it had consumed sees what it
        would have seen.

        Args:
            split: "train", "val" or "test".
            shuffle: a new order each epoch, else that of the rows.
            augment: None leaves the images as they are.
            infinite: go on for ever, in full batches: one epoch's order follows the other's
                without a seam, and each image is seen as often as any. Else one epoch, whose last
                batch may be smaller.
            start: number of batches to skip; costs nothing.
            resident: keep all images on the device; None: when they take less than half of its
                free memory. Otherwise each batch goes there from pinned memory.
            share: (r, n) gives every n-th image of each batch, from the r-th on: what process r of
                n trains on. Together the n shares are the batches of (0, 1), image for image.

        Raises:
            DataError: an unknown or empty split.
        """
        device = torch.device(device)
        rows = self.subset(split)
        if not len(rows):
            raise DataError(f"{self.name}: split {split!r} is empty")
        if batch_size < 1:
            raise ValueError(f"batch_size {batch_size}: at least one image")
        order = _order(len(rows), batch_size, seed, shuffle, infinite, start)
        if resident is None:
            resident = self._fits(device)
        arrays = self._arrays(device if resident else torch.device("cpu"))
        return self._cut(arrays, rows, order, device, seed, augment, start, share)

    def _cut(
        self,
        arrays: tuple[Tensor, Tensor, Tensor | None],
        rows: Tensor,
        order: Iterator[Tensor],
        device: torch.device,
        seed: int,
        augment: Augment | None,
        start: int,
        share: tuple[int, int],
    ) -> Iterator[Batch]:
        images, attributes, masks = arrays
        own = slice(share[0], None, share[1])
        wanted = ((len(positions), rows[positions[own]]) for positions in order)
        for number, (size, chosen) in enumerate(_announced(wanted, images, masks), start):
            chosen = chosen.to(images.device)
            x = _send(images.index_select(0, chosen), device)  # B H W 3
            x = x.float().mul_(1 / 255).permute(0, 3, 1, 2)  # B 3 H W, channels-last
            y = _send(attributes.index_select(0, chosen), device)  # B K
            mask = None
            if masks is not None:
                mask = _send(masks.index_select(0, chosen), device).float().mul_(1 / 255)  # B 1 H W
            if augment is not None:
                draw = augment.draw(size, _generator(seed, "augment", number))
                x, mask = augment.apply(x, mask, draw[own])
            yield Batch(x, y, mask)

    def _arrays(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor | None]:
        """Images as N H W 3, y and masks on the device; on the CPU a mapped folder stays put."""
        if device not in self._on_device:
            pixels = self.images.permute(0, 2, 3, 1).contiguous()
            masks = None if self.masks is None else self.masks.to(device)
            self._on_device[device] = (pixels.to(device), self.attributes.to(device), masks)
        return self._on_device[device]

    def _fits(self, device: torch.device) -> bool:
        if device.type != "cuda" or device in self._on_device:
            return True
        parts = [self.images, self.attributes] + ([] if self.masks is None else [self.masks])
        free, _ = torch.cuda.mem_get_info(device)
        return sum(p.numel() * p.element_size() for p in parts) < free / 2

    # ------------------------------------------------------------------ making

    @classmethod
    def from_world(
        cls,
        world: World,
        n: int,
        seed: int = 0,
        size: int = 64,
        splits: tuple[float, float, float] = (0.8, 0.1, 0.1),
        progress: bool = True,
        correlated: bool = True,
    ) -> AttributeImages:
        """Draws `n` images of a world; `splits` are the shares of train, val and test.

        Raises:
            ValueError: shares that are negative or do not add up to 1.
        """
        if min(splits) < 0 or abs(sum(splits) - 1) > 1e-6:
            raise ValueError(f"splits {splits}: three shares that add up to 1")
        factors = world.sample(n, seed, correlated=correlated)
        images = torch.empty(n, size, size, 3, dtype=torch.uint8)
        masks = torch.empty(n, 1, size, size, dtype=torch.uint8)
        chunks = range(0, n, 256)
        for i in tqdm(chunks, desc=f"drawing {n:,} {world.name}", disable=not progress):
            drawn = world.render(factors[i : i + 256], size)
            images[i : i + 256] = _to_bytes(drawn.x).permute(0, 2, 3, 1)
            masks[i : i + 256] = _to_bytes(drawn.mask)
        share = (torch.arange(n) + 0.5) / n
        split = (share > splits[0]).to(torch.int8) + (share > splits[0] + splits[1]).to(torch.int8)
        provenance = {
            "source": f"the drawn world {world.name!r}",
            "seed": seed,
            "correlated": correlated,
        }
        return cls(
            images.permute(0, 3, 1, 2),
            world.labels(factors).float(),
            split,
            world.schema,
            masks,
            world.name,
            provenance,
        )

    # ------------------------------------------------------------------ files

    def save(self, folder: str | Path, overwrite: bool = False) -> Path:
        """Writes the folder described at the top of this module; returns its path.

        Raises:
            DataError: the folder exists already and `overwrite` is False.
            OSError: the disk is full or not writable; nothing is left at `folder`.
        """
        folder = Path(folder)
        refuse_existing(folder, overwrite)
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(
            tempfile.mkdtemp(prefix=f".{folder.name}-", suffix=".partial", dir=folder.parent)
        )
        try:
            self._write(draft)
            move_into_place(draft, folder, draft.with_suffix(".replaced"))
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return folder

    def _write(self, folder: Path) -> None:
        arrays = {
            "images.npy": self.images.permute(0, 2, 3, 1),
            "attributes.npy": self.attributes,
            "split.npy": self.split,
        }
        if self.masks is not None:
            arrays["masks.npy"] = self.masks[:, 0]
        files = {name: write_array(folder / name, x.numpy()) for name, x in arrays.items()}
        write_header(folder, self.name, self.schema, self.provenance, files)

    @classmethod
    def load(cls, folder: str | Path, mmap: bool = True, verify: bool = False) -> AttributeImages:
        """Reads a folder written by `save`.

        Args:
            mmap: leave the images on the disk until they are looked at.
            verify: also compare the SHA-256 of each file, which reads all of them. Sizes are
                always compared.

        Raises:
            DataError: no such data set, another version, a file that is missing or not the one
                that was written.
        """
        folder = Path(folder)
        header = _read_header(folder)
        try:
            schema = _schema(folder, header["schema"])
            files = header["files"]
            for name, record in files.items():
                _check_file(folder / name, record, verify)
            arrays = {
                name: _read_array(folder / name, record, mmap) for name, record in files.items()
            }
            images = arrays["images.npy"].permute(0, 3, 1, 2)
            masks = arrays["masks.npy"][:, None] if "masks.npy" in arrays else None
            attributes, split = arrays["attributes.npy"], arrays["split.npy"]
            name, provenance = header["name"], header["provenance"]
        except KeyError as error:
            raise DataError(f"{folder / 'dataset.json'}: no field {error}") from None
        except (TypeError, AttributeError) as error:
            raise DataError(f"{folder / 'dataset.json'} is damaged: {error}") from None
        return cls(images, attributes, split, schema, masks, name, provenance)


def refuse_existing(folder: Path, overwrite: bool) -> None:
    """Raises DataError if `folder` holds what may not be replaced: before any work, not after."""
    if not folder.exists():
        return
    if not overwrite:
        raise DataError(
            f"{folder} exists already; remove it, choose another, or ask to overwrite it"
        )
    if not (folder / "dataset.json").exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} is not a data set of this library; it will not be overwritten")


def _order(
    n: int, batch_size: int, seed: int, shuffle: bool, infinite: bool, start: int
) -> Iterator[Tensor]:
    """Positions 0..n-1 in batches: of one epoch, or of epochs one after the other for ever."""

    def epoch(e: int) -> Tensor:
        if not shuffle:
            return torch.arange(n)
        return torch.randperm(n, generator=_generator(seed, "order", e))

    current, position = divmod(start * batch_size, n) if infinite else (0, start * batch_size)
    queue = epoch(current)[position:]
    while len(queue) or infinite:
        while infinite and len(queue) < batch_size:
            current += 1
            queue = torch.cat([queue, epoch(current)])
        yield queue[:batch_size]
        queue = queue[batch_size:]


def _announced(
    batches: Iterator[tuple[int, Tensor]], *arrays: Tensor | None
) -> Iterator[tuple[int, Tensor]]:
    """The same batches, each its size and its rows; the system hears of them one batch before."""
    here = [array for array in arrays if array is not None and array.device.type == "cpu"]
    before = None
    for batch in batches:
        for array in here:
            read_ahead(array, batch[1])
        if before is not None:
            yield before
        before = batch
    if before is not None:
        yield before


def _generator(seed: int, purpose: str, index: int) -> torch.Generator:
    """A CPU generator that depends on its three arguments and on nothing that happened before."""
    key = hashlib.sha256(f"{seed} {purpose} {index}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(key[:7], "big"))


def _send(x: Tensor, device: torch.device) -> Tensor:
    """To the device without waiting for it: from pinned memory where the device is a GPU."""
    if x.device.type == "cpu" and device.type == "cuda":
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)


def _to_bytes(x: Tensor) -> Tensor:
    return (x * 255).round().clamp(0, 255).to(torch.uint8).cpu()


def _flush(file: Any) -> None:
    """On the disk, not merely on its way there, before the folder is renamed."""
    file.flush()
    os.fsync(file.fileno())


def write_array(path: Path, array: np.ndarray) -> dict[str, Any]:
    """Writes a `.npy` file; returns its record for `dataset.json`."""
    with open(path, "wb") as file:
        np.save(file, np.ascontiguousarray(array), allow_pickle=False)
        _flush(file)
    return array_record(path, array.shape, array.dtype)


def array_record(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> dict[str, Any]:
    """What `dataset.json` says of a `.npy` file that is finished; reads it once."""
    return {
        "sha256": file_sha256(path),
        "bytes": path.stat().st_size,
        "shape": list(shape),
        "dtype": str(dtype),
    }


def write_header(
    folder: Path,
    name: str,
    schema: AttributeSchema,
    provenance: dict[str, Any],
    files: dict[str, dict[str, Any]],
) -> None:
    """Writes `dataset.json`, the last file of a folder; `files` holds the records of the others."""
    header = {
        "format": FORMAT,
        "version": VERSION,
        "name": name,
        "schema": schema.to_dict(),
        "provenance": provenance,
        "files": files,
    }
    with open(folder / "dataset.json", "w", encoding="utf-8") as file:
        json.dump(header, file, indent=1)
        _flush(file)


def move_into_place(draft: Path, folder: Path, replaced: Path) -> None:
    """Renames a finished `draft` to `folder`; what was there goes by way of `replaced`."""
    draft.chmod(0o755)
    flush_folder(draft)
    if folder.exists():
        folder.rename(replaced)
    draft.rename(folder)
    flush_folder(folder.parent)
    if replaced.exists():
        shutil.rmtree(replaced)


def flush_folder(folder: Path) -> None:
    """The names in a folder on the disk; where the system cannot (Windows), it does so itself."""
    if os.name == "posix":
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def file_sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_header(folder: Path) -> dict[str, Any]:
    path = folder / "dataset.json"
    if not path.is_file():
        raise DataError(
            f"{folder} is not a data set: it has no dataset.json (`a2i data` makes one)"
        )
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise DataError(f"{path}: field 'format' is not {FORMAT!r}")
    if header.get("version") != VERSION:
        raise DataError(
            f"{path}: field 'version' is {header.get('version')!r}, this library reads {VERSION};"
            " make the data set again"
        )
    return header


def _schema(folder: Path, entry: dict[str, Any]) -> AttributeSchema:
    try:
        return AttributeSchema.from_dict(entry)
    except ValueError as error:  # a name twice, an unknown kind
        raise DataError(f"{folder / 'dataset.json'}: field 'schema': {error}") from None


def _check_file(path: Path, record: dict[str, Any], verify: bool) -> None:
    if not path.is_file():
        raise DataError(f"{path} is missing")
    if path.stat().st_size != record["bytes"]:
        raise DataError(
            f"{path} has {path.stat().st_size:,} bytes, dataset.json says {record['bytes']:,}"
        )
    if verify and file_sha256(path) != record["sha256"]:
        raise DataError(
            f"{path}: its SHA-256 is not the one in dataset.json; the file was changed or damaged"
        )


def _read_array(path: Path, record: dict[str, Any], mmap: bool) -> Tensor:
    try:
        array = _mapped(path) if mmap else np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DataError(f"{path} is not a .npy file: {error}") from None
    if list(array.shape) != record["shape"] or str(array.dtype) != record["dtype"]:
        raise DataError(
            f"{path}: {array.dtype} of shape {list(array.shape)}, "
            f"dataset.json says {record['dtype']} of shape {record['shape']}"
        )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)


def _mapped(path: Path) -> np.ndarray:
    """A `.npy` file, read where and when it is looked at; nothing can write into it.

    Usually as a copy of this process's own, of which the system takes pages as they are written
    to. It promises no such copy of more than it has memory for: then the array is read-only, and
    the system ends a process that writes into it.
    """
    try:
        return np.load(path, mmap_mode="c", allow_pickle=False)
    except OSError as error:
        if error.errno != errno.ENOMEM:
            raise
        return np.load(path, mmap_mode="r", allow_pickle=False)
