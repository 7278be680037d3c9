"""`prepare`: from a download, as a reader sees it, to a folder of `AttributeImages`.

Pictures are decoded in several processes, which write them, chunk by chunk, into a folder beside
`out`; the first one keeps the journal. The folder is renamed to `out` when all is there. A
preparation that was interrupted, in whatever way, continues where it was: ask for the same again.
"""

from __future__ import annotations

import contextlib
import copy
import errno
import hashlib
import json
import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np
import PIL
import torch
from tqdm.auto import tqdm

from a2i_lib.data.dataset import AttributeImages, DataError, refuse_existing
from a2i_lib.data.lock import only_one
from a2i_lib.data.partial import Dropped, Partial, PixelFiles, partial_folder
from a2i_lib.data.pictures import to_pixels
from a2i_lib.data.source import Report, Source

QUEUE = 3  # chunks a worker that are decoded or waited for
REASONS = 20  # that a report tells apart
UNUSABLE = "picture unusable: "  # what the reasons of `prepare` begin with

Chunk = tuple[int, np.ndarray]  # number, rows
Decoded = tuple[dict[str, np.ndarray], Dropped]


def prepare(
    source: Source,
    out: str | Path,
    size: int = 64,
    *,
    workers: int | None = None,
    overwrite: bool = False,
    max_dropped: float = 0.05,
    progress: bool = True,
) -> AttributeImages:
    """Makes the folder `out` from a source, and loads it.

    `out` is either complete or not there. Work that was interrupted by an error, Ctrl-C, a kill or
    a full disk lies in `.NAME.partial` beside it; the same call continues it. The result does not
    depend on interruptions or on the number of workers.

    Rows whose picture cannot be had are left out, and counted in `source.report`, which goes into
    the data set's provenance as "report".

    Args:
        size: side of the images, in pixels.
        workers: processes that decode; None: one for each core this process may use; 1: none but
            this one. The source is pickled to each.
        overwrite: replace a data set at `out`, when the new one is complete.
        max_dropped: share of the source's rows whose picture may be missing or damaged.
        progress: show a bar.

    Raises:
        DataError: `out` exists, or is being prepared by another process; labels that do not fit
            together; too many rows dropped.
        OSError: the disk is full, or cannot be read or written.
    """
    out = Path(out)
    refuse_existing(out, overwrite)
    workers = _cores() if workers is None else workers
    _check(source, size, workers)
    report = _readers_part(source)
    identity = _identity(source, report, size)
    folder = partial_folder(out)
    with only_one(out), _full_disk_explained(folder):
        refuse_existing(out, overwrite)  # again: another process may just have made it
        partial = Partial(folder, identity, len(source.split), size, source.has_masks)
        try:
            if not partial.finished:
                _decode_all(source, partial, size, workers, report, max_dropped, progress)
            source.report = _with_drops(report, source, partial)
            if not partial.finished:
                provenance = source.provenance | {"report": source.report.to_dict()}
                partial.finish(
                    source.attributes, source.split, source.name, source.schema, provenance
                )
        finally:
            partial.close()
        partial.publish(out)
    return AttributeImages.load(out)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _check(source: Source, size: int, workers: int) -> None:
    """Says what is wrong with the labels before hours of decoding, not after."""
    if size < 1 or workers < 1:
        raise DataError(f"size {size}, workers {workers}: each must be at least 1")
    n = len(source.split)
    AttributeImages(
        torch.zeros(1, dtype=torch.uint8).expand(n, 3, size, size),
        torch.from_numpy(np.array(source.attributes)),
        torch.from_numpy(np.array(source.split)),
        source.schema,
        name=source.name,
    )


def _identity(source: Source, report: Report, size: int) -> str:
    """SHA-256 of what the result depends on, as far as the source tells."""
    about = {
        "name": source.name,
        "schema": source.schema.to_dict(),
        "provenance": source.provenance,
        "report": report.to_dict(),
        "masks": source.has_masks,
        "size": size,
        "pillow": PIL.__version__,
    }
    try:
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    except (TypeError, ValueError) as error:
        raise DataError(f"{source.name}: provenance cannot be written as JSON: {error}") from None
    digest.update(source.attributes.tobytes())
    digest.update(source.split.tobytes())
    for i in range(len(source.split)):
        digest.update(source.where(i).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


@contextlib.contextmanager
def _full_disk_explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        text = (
            "the disk is full; what is done is kept and is continued when there is room"
            " and the same is asked for again"
        )
        raise OSError(error.errno, text, str(folder)) from None


# ---------------------------------------------------------------------- the report


def _readers_part(source: Source) -> Report:
    """The source's report without what an earlier `prepare` of it has dropped."""
    report = copy.deepcopy(source.report)
    for reason in [r for r in report.dropped if r.startswith(UNUSABLE)]:
        del report.dropped[reason]
        report.places.pop(reason, None)
    report.read = report.read or len(source.split)
    return report


def _with_drops(report: Report, source: Source, partial: Partial) -> Report:
    report = copy.deepcopy(report)
    for row, why in partial.dropped():
        reason, place = UNUSABLE + why, source.where(row)
        if reason not in report.dropped and len(report.dropped) >= REASONS:
            reason, place = UNUSABLE + "other reasons", f"{place}: {why}"
        report.drop(reason, place)
    return report


def _too_many(report: Report, source: Source, partial: Partial, max_dropped: float) -> DataError:
    source.report = _with_drops(report, source, partial)
    return DataError(
        f"{source.name}: the pictures of {len(partial.dropped()):,} of {partial.n:,} rows cannot be"
        f" used, more than {max_dropped:.0%}:\n{source.report}\n"
        "put them right, or allow more, and ask for the same again: it continues with what is in"
        f" {partial.folder}"
    )


# ---------------------------------------------------------------------- decoding


def _decode_all(
    source: Source,
    partial: Partial,
    size: int,
    workers: int,
    report: Report,
    max_dropped: float,
    progress: bool,
) -> None:
    """All chunks that are not there yet; stops as soon as too many rows are dropped."""
    todo = partial.todo()
    done = partial.n - sum(len(rows) for _, rows in todo)
    allowed = min(max_dropped * partial.n, partial.n - 1)  # one is left, whatever is allowed
    bar = tqdm(
        total=partial.n,
        initial=done,
        desc=f"preparing {source.name}",
        unit=" images",
        disable=not progress,
    )
    chunks = _in_processes if workers > 1 and len(todo) > 1 else _here
    try:
        with bar, contextlib.closing(chunks(source, partial.pixels, todo, workers)) as results:
            for (k, rows), dropped in results:
                partial.written(k, dropped)
                bar.update(len(rows))
                if len(partial.dropped()) > allowed:
                    raise _too_many(report, source, partial, max_dropped)
    except (KeyboardInterrupt, DataError):
        partial.commit()
        raise


def decode(source: Source, size: int, rows: np.ndarray) -> Decoded:
    """The pixels of some rows, "images.npy" and "masks.npy"; dropped rows are zeros."""
    pixels = {"images.npy": np.zeros((len(rows), size, size, 3), dtype=np.uint8)}
    if source.has_masks:
        pixels["masks.npy"] = np.zeros((len(rows), size, size), dtype=np.uint8)
    dropped: Dropped = []
    for j, i in enumerate(map(int, rows)):
        try:
            pixels["images.npy"][j] = to_pixels(source.picture(i), size)
            if source.has_masks:
                pixels["masks.npy"][j] = to_pixels(source.mask(i), size, mask=True)
        except MemoryError:
            raise
        except Exception as error:  # archives, too, raise what they like over damaged bytes
            dropped.append((i, _reason(error)))
    return pixels, dropped


def _reason(error: Exception) -> str:
    """In a line, and without the path: the report names that."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = " ".join(text.split())[:160] or type(error).__name__
    known = isinstance(error, ValueError | OSError)
    return text if known else f"{type(error).__name__}: {text}"


def _decode_and_write(source: Source, files: PixelFiles, rows: np.ndarray) -> Dropped:
    pixels, dropped = decode(source, files.size, rows)
    files.write(rows, pixels)
    return dropped


def _here(
    source: Source, files: PixelFiles, todo: list[Chunk], workers: int
) -> Generator[tuple[Chunk, Dropped], None, None]:
    for chunk in todo:
        yield chunk, _decode_and_write(source, files, chunk[1])


def _in_processes(
    source: Source, files: PixelFiles, todo: list[Chunk], workers: int
) -> Generator[tuple[Chunk, Dropped], None, None]:
    """In the order of `todo`; no more than `QUEUE` chunks a worker are under way."""
    try:
        pickled = pickle.dumps(source)
    except Exception as error:
        raise DataError(
            f"{source.name}: the source cannot be sent to other processes ({error}); "
            "workers=1 does without them"
        ) from None
    workers = min(workers, len(todo))
    pool = ProcessPoolExecutor(workers, initializer=_start_worker, initargs=(pickled, files))
    waiting: deque[tuple[Chunk, Future[Dropped]]] = deque()
    try:
        for chunk in todo:
            waiting.append((chunk, pool.submit(_decode_in_worker, chunk[1])))
            if len(waiting) == QUEUE * workers:
                first, future = waiting.popleft()
                yield first, future.result()
        for first, future in waiting:
            yield first, future.result()
    except BrokenProcessPool:
        raise DataError(
            f"{source.name}: a decoding process ended unexpectedly (out of memory?); the same"
            " again continues, and needs less memory with fewer workers"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_worker: dict[str, object] = {}


def _start_worker(pickled: bytes, files: PixelFiles) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends the pool
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker.update(pickled=pickled, files=copy.copy(files))  # which this process opens for itself


def _end_with_parent() -> None:
    """A pool's processes would wait for ever for a parent that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _decode_in_worker(rows: np.ndarray) -> Dropped:
    if "source" not in _worker:
        _worker["source"] = pickle.loads(_worker.pop("pickled"))  # type: ignore[arg-type]
    return _decode_and_write(_worker["source"], _worker["files"], rows)  # type: ignore[arg-type]
