"""How long does it take to find z? All images at once against one after another, in one run.

    python benchmarks/inference.py [--images 256] [--steps 20] [--width 0.25] [--rounds 3]

- *together*: `infer` on the whole batch: one decoder pass a step for all images, weights frozen.
- *alone*: `infer` on each image by itself.
- *plain*: each image by itself in the loop that one writes first: `loss.backward()`, with the
  weights as training left them, so that each step computes their gradients too.

The three take turns, round by round. The last two are timed on a few images and given per image.
All take the same steps; the time of the paper's 1,000 is projected from these.

What a batch saves is the fixed cost of a step: a few hundred operations to be started, whatever
their size. What it cannot save is arithmetic, and a convolution over one 64x64 picture keeps two
cores busy already. So the ratio grows as the decoder shrinks (--width 0.0625 --size 32), and with
the cores or on a GPU, which one picture leaves idle. How far it could grow here, the last line
says: the same operations at the rate of a large matrix product, about the fastest that there is.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from training import now

from a2i_lib.inference import infer
from a2i_lib.models import CVAE
from a2i_lib.training.precision import describe_machine, pick_device
from a2i_lib.worlds import get_world

SIGMA, RATE, PAPER_STEPS = 0.2, 0.3, 1000  # rate and steps: Attribute2Image, section 5


def together(model: CVAE, x: Tensor, y: Tensor, steps: int) -> Tensor:
    return infer(model, x, y, steps=steps, lr=RATE, sigma=SIGMA, tolerance=0).z


def alone(model: CVAE, x: Tensor, y: Tensor, steps: int) -> Tensor:
    return torch.cat([together(model, a[None], b[None], steps) for a, b in zip(x, y, strict=True)])


def plain(model: CVAE, x: Tensor, y: Tensor, steps: int) -> Tensor:
    found = []
    for image, attributes in zip(x, y, strict=True):
        z = torch.zeros(1, model.latent, device=x.device, requires_grad=True)
        adam = torch.optim.Adam([z], RATE)
        for _ in range(steps):
            error = (model.decode(z, attributes[None]) - image).square().sum()
            adam.zero_grad()
            (error + SIGMA**2 * z.square().sum()).backward()
            adam.step()
        found.append(z.detach())
    return torch.cat(found)


def seconds(way: Callable[..., Tensor], model: CVAE, x: Tensor, y: Tensor, steps: int) -> float:
    """Per image."""
    start = now(x.device)
    way(model, x, y, steps)
    return (now(x.device) - start) / len(x)


def operations(model: CVAE, x: Tensor, y: Tensor) -> int:
    """Floating-point operations of a step, per image."""
    with FlopCounterMode(display=False) as counter:
        together(model, x[:1], y[:1], 1)
    return counter.get_total_flops() // 2  # the energy is worked out once more than there are steps


def matrix_product(device: torch.device, n: int = 2048, rounds: int = 9) -> float:
    """Floating-point operations a second of an n x n product, float32, the quickest of a few."""
    a, b, times = torch.rand(n, n, device=device), torch.rand(n, n, device=device), []
    for _ in range(rounds):
        start = now(device)
        a @ b
        times.append(now(device) - start)
    return 2 * n**3 / min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=256, help="in the batch")
    parser.add_argument("--steps", type=int, default=20, help="timed; those of 1,000 are projected")
    parser.add_argument("--few", type=int, default=4, help="images timed one by one in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--width", type=float, default=0.25, help="of the CVAE (paper: 1)")
    parser.add_argument("--size", type=int, default=64, help="of images, in pixels")
    parser.add_argument("--device")
    options = parser.parse_args()
    device = pick_device(options.device)
    world = get_world("faces")
    factors = world.sample(options.images)
    x = world.render(factors, options.size).x.to(device)
    y = world.labels(factors).to(device)
    torch.manual_seed(0)
    model = CVAE(len(world.schema), 64, options.width, options.size, norm=True).eval().to(device)
    print(describe_machine(device))
    print(
        f"CVAE {options.size}x{options.size}, width {options.width}; {options.images} images, "
        f"{options.steps} steps; median of {options.rounds} rounds"
    )
    ways = {"together": together, "alone": alone, "plain": plain}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():  # warm up
        way(model, x[:1], y[:1], 2)
    for _ in range(options.rounds):
        model.zero_grad(set_to_none=True)
        for name, way in ways.items():
            n = options.images if name == "together" else options.few
            times[name].append(seconds(way, model, x[:n], y[:n], options.steps))
            untouched = all(p.grad is None for p in model.parameters())
            assert untouched or name == "plain", f"{name}: a weight has a gradient"
    for name, each in times.items():
        whole = statistics.median(each) * options.images * PAPER_STEPS / options.steps
        print(
            f"{name:8} {1000 * statistics.median(each) / options.steps:8.3f} ms a step and image; "
            f"{options.images} images, {PAPER_STEPS:,} steps: {whole:,.0f} s"
        )
    for name in ("alone", "plain"):
        pairs = zip(times[name], times["together"], strict=True)
        ratio = statistics.median(slow / quick for slow, quick in pairs)
        print(f"together against {name}: {ratio:.1f} times as fast")
    print("no gradient reached a weight in together and alone")
    step = {name: min(each) / options.steps for name, each in times.items()}
    count, most = operations(model, x, y), matrix_product(device)
    print(
        f"{count / 1e9:.2f} GFLOP a step and image: together {count / step['together'] / 1e9:.0f} "
        f"GFLOP/s, a matrix product {most / 1e9:.0f}; at that rate it would be "
        f"{step['alone'] * most / count:.1f} times as fast as alone"
    )


if __name__ == "__main__":
    main()
