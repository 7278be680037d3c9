"""How much slower is training from a folder on the disk than from memory? Side by side in one run.

    python benchmarks/streaming.py [--images 60000] [--steps 12] [--rounds 4] [--folder DIR]

- *memory*: all images in memory, as a GPU has them that has room for them.
- *disk*: the same folder memory-mapped, as for a set that memory does not hold. Before each round
  the system is told to forget what it has read of it; how much it reads again is reported.
- *disk, unasked*: likewise, without telling the system one batch ahead what will be wanted.

The three take turns, round by round; each round trains on other images. The images are noise:
what a picture shows costs no time. The model is that of `--recipe`, in profile `cpu`.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
from pathlib import Path
from unittest.mock import patch

import torch
from training import Clock, now

from a2i_lib.data import dataset
from a2i_lib.data.dataset import AttributeImages
from a2i_lib.recipes import Recipe, get_recipe
from a2i_lib.training.loop import fit
from a2i_lib.training.precision import describe_machine
from a2i_lib.worlds import get_world


def noise(n: int, size: int) -> AttributeImages:
    schema = get_world("faces").schema
    generator = torch.Generator().manual_seed(0)
    images = torch.empty(n, size, size, 3, dtype=torch.uint8)
    for part in images.split(5000):
        part.random_(0, 256, generator=generator)
    y = torch.randint(0, 2, (n, len(schema)), generator=generator) * 2.0 - 1
    split = torch.zeros(n, dtype=torch.int8)
    return AttributeImages(images.permute(0, 3, 1, 2), y, split, schema, name="noise")


def forget(folder: Path) -> bool:
    """Drops what the system keeps in memory of a folder's files; False where it cannot be told."""
    if not hasattr(os, "posix_fadvise"):
        return False
    for path in folder.iterdir():
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return True


def seconds(data: AttributeImages, recipe: Recipe, steps: int, round_: int) -> float:
    device = torch.device("cpu")
    clock = Clock(recipe.build_update(data), device)
    fit(clock, data, steps + 1, recipe.batch_size, seed=round_, device="cpu", progress=False)
    return now(device) - clock.start


def megabytes_read() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_inblock * 512 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--recipe", default="cvae-faces")
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--steps", type=int, default=12, help="timed steps in a round")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--folder", type=Path, help="on the disk to measure (default: temporary)")
    options = parser.parse_args()
    recipe = get_recipe(options.recipe, "cpu")
    print(describe_machine(torch.device("cpu")))
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        folder = noise(options.images, recipe.data.size).save(Path(temporary) / "noise")
        images = recipe.batch_size * options.steps
        size = 3 * recipe.data.size**2 / 1e6
        print(
            f"{recipe.name}, batch {recipe.batch_size}; {options.images:,} images of "
            f"{recipe.data.size} pixels, {options.images * size:,.0f} MB; {options.steps} steps "
            f"need {images * size:.1f} MB; {options.rounds} rounds"
        )
        resident = AttributeImages.load(folder, mmap=False)
        times: dict[str, list[float]] = {"memory": [], "disk": [], "disk, unasked": []}
        read: dict[str, list[float]] = {name: [] for name in times}
        cold = True
        for round_ in range(options.rounds):
            for name in times:
                cold = forget(folder) and cold  # no mapping is open here: one would hold its pages
                data = resident if name == "memory" else AttributeImages.load(folder)
                before = megabytes_read()
                with patch.object(dataset, "read_ahead", ASK[name]):
                    times[name].append(seconds(data, recipe, options.steps, round_))
                read[name].append(megabytes_read() - before)
                del data
    if not cold:
        print("the system could not be told to forget the files: these come from its memory")
    for name, each in times.items():
        print(
            f"{name:14} {images / statistics.median(each):7.1f} images/s, "
            f"{statistics.median(read[name]):7.1f} MB read a round"
        )
    for name in ("disk", "disk, unasked"):
        pairs = zip(times["memory"], times[name], strict=True)
        share = statistics.median(ram / disk for ram, disk in pairs)
        print(f"{name} against memory: {100 * share:.1f} % of its speed")


ASK = {
    "memory": dataset.read_ahead,
    "disk": dataset.read_ahead,
    "disk, unasked": lambda array, rows: None,
}


if __name__ == "__main__":
    main()
