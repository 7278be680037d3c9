"""How fast is a training step? Ours, the bare step, and the plain way, side by side in one run.

    python benchmarks/training.py [--width 0.25] [--batch 64] [--steps 12] [--rounds 5]

- *plain*: images as files are usually fed: a map-style data set that gives one PIL image at a time
  through torchvision's ToTensor, a DataLoader, float32, NCHW memory, Adam.
- *ours*: `fit`, as every chapter calls it: batches cut on the device, the precision and memory
  layout that the machine is best at, fused Adam, averaged weights, logging.
- *bare*: our step with one batch already in place: no data, no average, no log.

The three take turns, round by round, so that a noisy neighbour disturbs all alike; medians are
reported.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Mapping

import torch
from accelerate import Accelerator
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import ToTensor

from a2i_lib.data.dataset import AttributeImages, Batch
from a2i_lib.models import CVAE
from a2i_lib.objectives import negative_elbo
from a2i_lib.training.loop import fit
from a2i_lib.training.precision import describe_machine, pick_device, pick_precision
from a2i_lib.training.updates import ElboUpdate, Update
from a2i_lib.worlds import get_world

SIGMA = 0.1


class OneByOne(Dataset):
    """The plain way: a PIL image at a time."""

    def __init__(self, data: AttributeImages) -> None:
        x, self.y, _ = data.tensors("train")
        self.images = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in x]
        self.to_tensor = ToTensor()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.to_tensor(self.images[i]), self.y[i]


def seconds_plain(
    data: AttributeImages, options: argparse.Namespace, device: torch.device
) -> float:
    model = new_model(data, options).to(device)
    adam = torch.optim.Adam(model.parameters(), 1e-3)
    loader = iter(DataLoader(OneByOne(data), options.batch, shuffle=True, drop_last=True))
    start = 0.0
    for step in range(options.steps + 1):
        if step == 1:  # the first step warms up
            start = now(device)
        x, y = (t.to(device) for t in next(loader))
        x_hat, _, q, p = model(x, y)
        loss = negative_elbo(x, x_hat, q, p, sigma=SIGMA).total.mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        loss.item()
    return now(device) - start


def seconds_ours(data: AttributeImages, options: argparse.Namespace, device: torch.device) -> float:
    clock = Clock(ElboUpdate(new_model(data, options), SIGMA), device)
    fit(clock, data, options.steps + 1, options.batch, device=str(device), progress=False)
    return now(device) - clock.start


class Clock:
    """An update that remembers when its first step ended."""

    def __init__(self, inner: Update, device: torch.device) -> None:
        self.inner, self.device, self.start = inner, device, 0.0
        self.modules, self.optimizers = inner.modules, inner.optimizers
        self.needs_masks = inner.needs_masks

    def prepare(self, accelerator: Accelerator) -> None:
        self.inner.prepare(accelerator)

    def step(self, batch: Batch, accelerator: Accelerator) -> Mapping[str, torch.Tensor]:
        logs = self.inner.step(batch, accelerator)
        if not self.start:
            self.start = now(self.device)
        return logs


def seconds_bare(data: AttributeImages, options: argparse.Namespace, device: torch.device) -> float:
    accelerator = Accelerator(mixed_precision=pick_precision(device), cpu=device.type == "cpu")
    update = ElboUpdate(new_model(data, options), SIGMA)
    update.model.to(device).to(memory_format=torch.channels_last).train()
    update.prepare(accelerator)
    batch = next(data.batches("train", options.batch, device, infinite=True))
    update.step(batch, accelerator)
    start = now(device)
    for _ in range(options.steps):
        update.step(batch, accelerator)
    return now(device) - start


def new_model(data: AttributeImages, options: argparse.Namespace) -> CVAE:
    torch.manual_seed(0)
    return CVAE(len(data.schema), latent=64, width=options.width, size=64)


def now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--width", type=float, default=0.25, help="of the CVAE (paper: 1)")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=12, help="timed steps in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device")
    options = parser.parse_args()
    device = pick_device(options.device)
    print(describe_machine(device))
    print(
        f"CVAE 64x64, width {options.width}, batch {options.batch}, "
        f"precision {pick_precision(device)}; median of {options.rounds} rounds"
    )
    n = options.batch * (options.steps + 2)
    data = AttributeImages.from_world(get_world("faces"), n, splits=(1, 0, 0), progress=False)
    ways = {"plain": seconds_plain, "ours": seconds_ours, "bare": seconds_bare}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, way in ways.items():
            times[name].append(way(data, options, device))
    images = options.batch * options.steps
    median = {name: statistics.median(t) for name, t in times.items()}
    for name, seconds in median.items():
        print(f"{name:6} {images / seconds:8.1f} images/s")

    def ratio(a: str, b: str) -> float:
        return statistics.median(x / y for x, y in zip(times[a], times[b], strict=True))

    print(f"ours against plain: {ratio('plain', 'ours'):.2f} times as fast")
    print(f"ours against bare:  {100 * ratio('bare', 'ours'):.1f} % of its speed")


if __name__ == "__main__":
    main()
