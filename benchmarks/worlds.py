"""How many pictures a second does a world draw?

python benchmarks/worlds.py [--size 64] [--n 2048] [--rounds 5] [--device cpu]
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from a2i_lib.training.precision import describe_machine, pick_device
from a2i_lib.worlds import get_world


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--n", type=int, default=2048, help="pictures a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device")
    options = parser.parse_args()
    device = pick_device(options.device)
    print(f"{describe_machine(device)}; sampling and drawing at {options.size}x{options.size}")
    for name in ("faces", "birds"):
        world = get_world(name)
        world.render(world.sample(64, 0).to(device), options.size)
        rates = []
        for round_ in range(options.rounds):
            start = time.perf_counter()
            world.render(world.sample(options.n, round_).to(device), options.size)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            rates.append(options.n / (time.perf_counter() - start))
        print(
            f"{name}: {statistics.median(rates):.0f} images/s "
            f"(slowest round {min(rates):.0f}, fastest {max(rates):.0f})"
        )


if __name__ == "__main__":
    main()
