"""How long does it take to prepare all of CelebA, and how much memory?

    python benchmarks/preparing.py [--n 202599] [--size 64] [--workers N] [--folder DIR]

Pictures of CelebA's shape, 178x218, and of about its size in bytes are drawn, a few hundred
different ones, and handed out as JPEG. The bar is decoding and resizing alone, in as many
processes: half of it before and half after, because machines get slower and faster. Needs psutil.
"""

from __future__ import annotations

import argparse
import io
import shutil
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psutil
import torch
from PIL import Image

from a2i_lib.attributes import Attribute, AttributeSchema
from a2i_lib.data.celeba import ATTRIBUTES, aligned_square
from a2i_lib.data.pictures import open_picture
from a2i_lib.data.prepare import _cores, decode, prepare
from a2i_lib.data.source import Report
from a2i_lib.training.precision import describe_machine
from a2i_lib.worlds import get_world

DIFFERENT = 300
CHUNK = 256


class Generated:
    """`n` rows over `DIFFERENT` pictures."""

    name, has_masks, provenance = "generated", False, {"source": "benchmarks/preparing.py"}
    schema = AttributeSchema([Attribute(name) for name in ATTRIBUTES])

    def __init__(self, n: int) -> None:
        generator = np.random.default_rng(0)
        signs = generator.integers(0, 2, (n, len(ATTRIBUTES))) * 2 - 1
        self.attributes = signs.astype(np.float32)
        self.split = np.zeros(n, dtype=np.int8)
        self.report = Report(n)
        self.jpegs = drawn_in_another_process()

    def where(self, i: int) -> str:
        return f"{i + 1:06}.jpg"

    def picture(self, i: int) -> Image.Image:
        picture = open_picture(self.jpegs[i % DIFFERENT])
        return picture.crop(aligned_square(*picture.size))


def drawn_in_another_process() -> list[bytes]:
    """What memory drawing takes, this process does not keep."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(drawn_jpegs).result()


def drawn_jpegs() -> list[bytes]:
    """Faces of the drawn world with a little noise, without which they would be too easy."""
    world, generator, files = get_world("faces"), np.random.default_rng(1), []
    for start in range(0, DIFFERENT, 50):
        few = min(50, DIFFERENT - start)
        x = world.render(world.sample(few, start), 218).x[:, :, :, 20:198]  # 50 3 218 178
        for pixels in (x * 255).permute(0, 2, 3, 1).numpy():
            noisy = np.clip(pixels + generator.normal(0, 3, pixels.shape), 0, 255)
            file = io.BytesIO()
            Image.fromarray(noisy.astype(np.uint8)).save(file, "JPEG", quality=88)
            files.append(file.getvalue())
    return files


_here: list[Generated] = []


def start(source: Generated) -> None:
    _here.append(source)


def decode_chunk(rows: np.ndarray, size: int) -> int:
    return len(decode(_here[0], size, rows)[0]["images.npy"])


def decoding_alone(source: Generated, n: int, size: int, workers: int) -> float:
    """Seconds for n rows."""
    began = time.perf_counter()
    chunks = [np.arange(i, min(n, i + CHUNK)) for i in range(0, n, CHUNK)]
    with ProcessPoolExecutor(workers, initializer=start, initargs=(source,)) as pool:
        assert sum(pool.map(decode_chunk, chunks, [size] * len(chunks))) == n
    return time.perf_counter() - began


class Memory(threading.Thread):
    """Watches this process and all under it: the sum of what each has in memory, `peak`, and that
    with the pages they share counted once, `shared_once` (Linux)."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak, self.shared_once, self.over = 0, 0, threading.Event()

    def run(self) -> None:
        this = psutil.Process()
        while not self.over.wait(0.5):
            rss = pss = 0
            for process in (this, *this.children(recursive=True)):
                try:
                    info = process.memory_full_info()
                except psutil.Error:
                    continue
                rss, pss = rss + info.rss, pss + getattr(info, "pss", 0)
            self.peak, self.shared_once = max(self.peak, rss), max(self.shared_once, pss)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=202_599, help="images (default: all of CelebA)")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--workers", type=int, default=_cores())
    parser.add_argument("--folder", type=Path, help="where to write (default: a temporary folder)")
    options = parser.parse_args()
    n, size, workers = options.n, options.size, options.workers
    source = Generated(n)
    length = sum(map(len, source.jpegs)) / DIFFERENT
    print(f"{describe_machine(torch.device('cpu'))}; {workers} processes")
    print(f"{n:,} JPEGs of 178x218, {length / 1000:.1f} kB on average, to {size}x{size}")

    folder = Path(tempfile.mkdtemp(dir=options.folder))
    alone = decoding_alone(source, n // 2, size, workers)
    memory = Memory()
    memory.start()
    try:
        began = time.perf_counter()
        data = prepare(source, folder / "out", size, workers=workers)
        seconds = time.perf_counter() - began
    finally:
        memory.over.set()
        shutil.rmtree(folder)
    alone += decoding_alone(source, n - n // 2, size, workers)
    assert len(data) == n
    print(f"prepared in {seconds:.1f} s: {n / seconds:.0f} images/s")
    print(f"decoding alone {alone:.1f} s: {n / alone:.0f} images/s; share {alone / seconds:.3f}")
    print(
        f"memory of all processes at most {memory.shared_once / 1e9:.2f} GB (PSS; their RSS adds up"
        f" to {memory.peak / 1e9:.2f} GB, with the libraries counted in each)"
    )


if __name__ == "__main__":
    main()
