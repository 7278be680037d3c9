"""The folder in which `prepare` works, beside the one it makes: what is in it survives a kill.

    .NAME.partial/
        images.npy      all rows of the source; those of chunks not in the journal may be anything
        masks.npy       where there are masks
        journal         which chunks are on the disk, and which of their rows had no picture
        data/           the folder to be: complete when the journal says so, then moved to NAME

A line enters the journal only when what it says is true is on the disk. So at any moment the folder
is either to be started afresh, or to be continued, or finished but for two renames.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from a2i_lib.attributes import AttributeSchema
from a2i_lib.data.dataset import (
    array_record,
    flush_folder,
    move_into_place,
    write_array,
    write_header,
)

COMMIT_SECONDS = 2.0  # at most this much work is lost
BLOCK_BYTES = 4 << 20  # of pixels; a chunk, and what is moved at a time when rows are dropped

OURS = ("images.npy", "masks.npy", "data", "replaced", "journal")

Dropped = list[tuple[int, str]]  # row, why


def partial_folder(out: Path) -> Path:
    """Where the work on `out` lies."""
    return out.parent / f".{out.name}.partial"


class PixelFiles:
    """Where the pixels of all rows are written, by any process and each row in its own place. One
    that is sent to another process, or copied, opens the files anew.

    Attributes:
        size: side of the images.
        shapes: of a row, for each file.
    """

    def __init__(self, folder: Path, n: int, size: int, masks: bool) -> None:
        self.folder, self.n, self.size = folder, n, size
        self.shapes: dict[str, tuple[int, ...]] = {"images.npy": (size, size, 3)}
        if masks:
            self.shapes["masks.npy"] = (size, size)
        self._open: dict[str, io.FileIO] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": {}}

    def header(self, name: str) -> bytes:
        return _npy_header((self.n, *self.shapes[name]))

    def offset(self, name: str, row: int) -> int:
        """Of a row in its file, in bytes."""
        return len(self.header(name)) + row * math.prod(self.shapes[name])

    def file(self, name: str) -> io.FileIO:
        if name not in self._open:
            self._open[name] = open(self.folder / name, "r+b", buffering=0)
        return self._open[name]

    def write(self, rows: np.ndarray, pixels: dict[str, np.ndarray]) -> None:
        """Some rows, as far as the system: `flush` brings them to the disk."""
        cuts = np.flatnonzero(np.diff(rows) != 1) + 1
        for name in self.shapes:
            runs = zip(np.split(rows, cuts), np.split(pixels[name], cuts), strict=True)
            for run, block in runs:
                self.file(name).seek(self.offset(name, int(run[0])))
                write_all(self.file(name), block)

    def flush(self) -> None:
        """All that was written, by this process or another, is on the disk."""
        for name in self.shapes:
            os.fsync(self.file(name).fileno())

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()


class Partial:
    """The working folder of one data set; the caller holds the data set by `only_one`.

    Args:
        folder: see the top of this module.
        identity: what the pixels depend on; a folder with another one is started afresh.
        n: rows of the source.
        size: side of the images.
        masks: whether there are any.

    Attributes:
        pixels: the files of pixels.
        complete: for each chunk that is written, its dropped rows.
        finished: `data/` is complete.
    """

    def __init__(self, folder: Path, identity: str, n: int, size: int, masks: bool) -> None:
        self.folder, self.n = folder, n
        self.pixels = PixelFiles(folder, n, size, masks)
        self.chunk = max(1, min(256, BLOCK_BYTES // (4 * size * size)))  # rows
        self.complete: dict[int, Dropped] = {}
        self.finished = False
        self._waiting: list[dict[str, Any]] = []  # for the journal, until their rows are on disk
        self._committed = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        head = {"identity": identity, "chunk": self.chunk}
        lines = read_journal(folder / "journal")
        if not (lines and lines[0] == head and self._replay(lines[1:])):
            self._start(head)
        self._journal = open(folder / "journal", "ab", buffering=0)

    def close(self) -> None:
        self._journal.close()
        self.pixels.close()

    def _replay(self, lines: list[dict[str, Any]]) -> bool:
        """Takes over what the journal says; False if the files are not those it speaks of."""
        for line in lines:
            if "chunk" in line:
                self.complete[line["chunk"]] = [(row, why) for row, why in line["dropped"]]
            self.finished = "finished" in line
        if self.finished:
            return (self.folder / "data" / "dataset.json").exists()
        sizes = {name: self.pixels.offset(name, self.n) for name in self.pixels.shapes}
        paths = {name: self.folder / name for name in self.pixels.shapes}
        return all(p.exists() and p.stat().st_size == sizes[name] for name, p in paths.items())

    def _start(self, head: dict[str, Any]) -> None:
        self.complete, self.finished = {}, False
        (self.folder / "journal").unlink(missing_ok=True)  # first: it must not speak of new files
        flush_folder(self.folder)
        _clear(self.folder)
        for name in self.pixels.shapes:
            with open(self.folder / name, "wb") as file:
                file.write(self.pixels.header(name))
                file.truncate(self.pixels.offset(name, self.n))
                os.fsync(file.fileno())
        with open(self.folder / "journal", "wb") as file:
            file.write(json.dumps(head).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        flush_folder(self.folder)

    # ------------------------------------------------------------------ rows

    def todo(self) -> list[tuple[int, np.ndarray]]:
        """Chunks with the rows still to be had: all of them, or those that were dropped last time;
        their files may have been put right."""
        todo = []
        for k in range(math.ceil(self.n / self.chunk)):
            rows = np.arange(k * self.chunk, min(self.n, (k + 1) * self.chunk))
            if k in self.complete:
                rows = np.array([row for row, _ in self.complete[k]], dtype=np.int64)
            if len(rows):
                self.complete.pop(k, None)
                todo.append((k, rows))
        return todo

    def dropped(self) -> Dropped:
        """All rows that had no picture, in order."""
        return sorted(pair for pairs in self.complete.values() for pair in pairs)

    def written(self, k: int, dropped: Dropped) -> None:
        """Takes note of a chunk whose pixels are written, and every `COMMIT_SECONDS` makes sure of
        all before.
        """
        self.complete[k] = dropped
        self._waiting.append({"chunk": k, "dropped": dropped})
        if time.monotonic() - self._committed > COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Pixels first, then the lines that speak of them."""
        self.pixels.flush()
        self._log(self._waiting)
        self._waiting, self._committed = [], time.monotonic()

    def _log(self, lines: list[dict[str, Any]]) -> None:
        write_all(self._journal, b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        os.fsync(self._journal.fileno())

    # ------------------------------------------------------------------ the end

    def finish(
        self,
        attributes: np.ndarray,
        split: np.ndarray,
        name: str,
        schema: AttributeSchema,
        provenance: dict[str, Any],
    ) -> None:
        """Makes `data/` from the rows that have a picture."""
        self.commit()
        lost = [row for row, _ in self.dropped()]
        kept = np.delete(np.arange(self.n), lost)
        data = self.folder / "data"
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir()
        labels = {"attributes.npy": attributes[kept], "split.npy": split[kept]}
        files = {}
        for part in ("images.npy", *labels, "masks.npy"):
            if part in labels:
                files[part] = write_array(data / part, labels[part])
            elif part in self.pixels.shapes:
                path = self._compact(part, kept) if lost else self.folder / part
                shape = (len(kept), *self.pixels.shapes[part])
                files[part] = array_record(path, shape, np.dtype("uint8"))
        write_header(data, name, schema, provenance, files)
        flush_folder(data)
        flush_folder(self.folder)
        self._log([{"finished": True}])
        self.finished = True

    def _compact(self, name: str, kept: np.ndarray) -> Path:
        """Copies the rows kept, a block at a time, so that a kill spoils nothing."""
        shape, path = self.pixels.shapes[name], self.folder / "data" / name
        wanted = np.zeros(self.n, dtype=bool)
        wanted[kept] = True
        with open(self.folder / name, "rb") as old, open(path, "wb", buffering=0) as new:
            old.seek(self.pixels.offset(name, 0))
            write_all(new, _npy_header((len(kept), *shape)))
            for start in range(0, self.n, self.chunk):
                part = wanted[start : start + self.chunk]
                block = np.fromfile(old, np.uint8, len(part) * math.prod(shape))
                write_all(new, block.reshape(len(part), -1)[part])
            os.fsync(new.fileno())
        return path

    def publish(self, out: Path) -> None:
        """Moves `data/` to `out`, and leaves nothing behind; can be repeated after a kill."""
        data = self.folder / "data"
        for name in self.pixels.shapes:
            if not (data / name).exists():  # no row was dropped: the file is as it must be
                os.replace(self.folder / name, data / name)
        move_into_place(data, out, self.folder / "replaced")
        _clear(self.folder)
        with contextlib.suppress(OSError):
            self.folder.rmdir()  # if nothing else is in it


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Its lines; one that a kill or a full disk has left torn is cut off."""
    if not path.exists():
        return []
    lines, good = [], 0
    with open(path, "r+b") as file:
        for raw in file:
            try:
                line = json.loads(raw) if raw.endswith(b"\n") else None
            except ValueError:
                line = None
            if not isinstance(line, dict):
                break
            lines.append(line)
            good += len(raw)
        file.truncate(good)
    return lines


def _clear(folder: Path) -> None:
    """Removes what is ours; the journal goes last: it speaks of the others."""
    for name in OURS:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _npy_header(shape: tuple[int, ...]) -> bytes:
    """What `np.save` writes before an array of bytes."""
    header = io.BytesIO()
    kind = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, kind)
    return header.getvalue()


def write_all(file: Any, data: bytes | np.ndarray) -> None:
    """All of it: a disk that is nearly full takes a part first, and then says so."""
    left: Any = memoryview(data) if isinstance(data, bytes) else data.reshape(-1).data
    while len(left):
        left = left[file.write(left) :]
