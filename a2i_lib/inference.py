"""Which z made this picture? Posterior inference by optimisation (Attribute2Image, section 4).

The energy of a picture's latent is eq. 10 for a prior that may depend on the attributes,

    E(z) = sum over observed pixels of (decode(z, y) - x)^2 + sigma^2 |(z - mu) / s|^2,

with p(z|y) = N(mu, s^2): -2 sigma^2 log p(x, z | y) but for a constant, so that the paper's lambda
is sigma^2, the noise's variance. It asks of a model nothing but `prior` and `decode`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm.auto import trange

from a2i_lib.gaussians import DiagonalGaussian

STARTS = ("prior", "posterior")
WINDOW = 50  # steps over which an image's energy must fall, or it has stopped


@dataclass(frozen=True)
class Inferred:
    """What `infer` found.

    Attributes:
        z: the latent of lowest energy met, (B, Z).
        energy: at each step, of the start that won, (steps taken, B).
        stopped: (B,) bool: the lowest energy had all but ceased to fall by the last step.
    """

    z: Tensor
    energy: Tensor
    stopped: Tensor

    @property
    def lowest(self) -> Tensor:
        """The energy of z, (B,)."""
        return self.energy.amin(0)


def infer(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    observed: Tensor | None = None,
    steps: int = 1000,
    lr: float = 0.3,
    *,
    sigma: float,
    start: str | Tensor = "prior",
    restarts: int = 1,
    mask: Tensor | None = None,
    generator: torch.Generator | None = None,
    tolerance: float = 1e-4,
    progress: bool = False,
) -> Inferred:
    """The most probable z of each image by Adam, all images at once, weights frozen.

    Each image descends on its own: energies are summed, and Adam's steps are by element. z is the
    best point met, not the last. Ends early when every image has stopped.

    Args:
        model: with `prior(y)` and `decode(z, y)`.
        x: images, (B, 3, H, W) in [0, 1].
        y: attributes, (B, K).
        observed: (B, 1, H, W) or (1, H, W), 1 where x may be seen; None: everywhere.
        steps, lr: of Adam (paper: 1000, 0.3; section 5).
        sigma: standard deviation of p(x | z, y) in pixel units.
        start: "prior" or "posterior", the mean of p(z | y) or of q(z | x, y), which sees x as
            `hide` leaves it; or a (B, Z) tensor.
        restarts: descents for each image; those after the first start from draws of p(z | y). The
            lowest energy wins.
        mask: (B, 1, H, W), handed to a recognition model that needs one, where it is observed.
        generator: of the draws for restarts.
        tolerance: an image has stopped when its lowest energy fell by less than this share over
            the last 50 steps.
        progress: a progress bar.

    Raises:
        TypeError: a model without a decoder.
        ValueError: images outside [0, 1], a y of the wrong shape, an image of which nothing is
            observed, an unknown start, steps, restarts or sigma not positive.
    """
    observed = _check(model, x, y, observed, steps, restarts, sigma)
    told = hide(x, observed), y, None if mask is None else mask * observed
    with frozen(model):
        prior: DiagonalGaussian = model.prior(y)  # type: ignore[operator]
        z = torch.cat([
            _start(model, told, prior, start),
            *(prior.rsample(generator) for _ in range(restarts - 1)),
        ]).detach().clone().requires_grad_()  # fmt: skip
        many_x, many_y, seen = (t.repeat(restarts, *[1] * (t.dim() - 1)) for t in (x, y, observed))
        mu, precision = prior.mu.repeat(restarts, 1), (-prior.log_var).exp().repeat(restarts, 1)

        def energy(z: Tensor) -> Tensor:  # (R * B,)
            error = (model.decode(z, many_y) - many_x).square() * seen  # type: ignore[operator]
            return error.flatten(1).sum(1) + sigma**2 * ((z - mu).square() * precision).sum(1)

        return _descend(energy, z, len(x), steps, lr, tolerance, progress)


def _descend(
    energy: Callable[[Tensor], Tensor],
    z: Tensor,
    images: int,
    steps: int,
    lr: float,
    tolerance: float,
    progress: bool,
) -> Inferred:
    """Adam on z (R * B, Z), in place; picks each image's best descent."""
    adam = torch.optim.Adam([z], lr)
    best, lowest = z.detach().clone(), z.new_full((len(z),), torch.inf)
    curves: list[Tensor] = []
    for step in trange(steps + 1, desc="inferring z", disable=not progress, leave=False):
        now = energy(z)
        (z.grad,) = torch.autograd.grad(now.sum(), z)
        now = now.detach()
        better = now < lowest
        best = torch.where(better[:, None], z.detach(), best)
        lowest = torch.where(better, now, lowest)
        curves.append(now)
        settled = step % WINDOW == 0 and step and _stopped(torch.stack(curves), tolerance).all()
        if step == steps or settled:
            break
        adam.step()
    kept = torch.stack(curves)  # T, R * B
    winner = lowest.view(-1, images).argmin(0) * images + torch.arange(images, device=z.device)
    return Inferred(best[winner], kept[:, winner], _stopped(kept, tolerance)[winner])


def _stopped(energy: Tensor, tolerance: float) -> Tensor:
    """Whose lowest energy (T, N) fell by less than a share `tolerance` in the last `WINDOW` steps:
    (N,) bool.
    """
    lowest, before = energy.amin(0), energy[: max(1, len(energy) - WINDOW)].amin(0)
    return before - lowest < tolerance * lowest


@torch.no_grad()
def reconstruct(model: nn.Module, inferred: Inferred, y: Tensor) -> Tensor:
    """decode(z, y) at the inferred z: (B, 3, H, W)."""
    return model.decode(inferred.z, y)  # type: ignore[operator]


def complete(
    model: nn.Module, x: Tensor, y: Tensor, observed: Tensor, inferred: Inferred
) -> Tensor:
    """The observed pixels of x, the rest from the model (section 5.2): (B, 3, H, W)."""
    return torch.where(observed > 0, x, reconstruct(model, inferred, y))


def hide(x: Tensor, observed: Tensor) -> Tensor:
    """Images (..., 3, H, W) in [0, 1] with grey where `observed`, (..., 1, H, W), is 0: section 5.2
    sets occluded pixels to 0, of [-1, 1].
    """
    return torch.where(observed > 0, x, 0.5)


def occluded(kind: str, n: int, size: int = 64, seed: int = 0) -> Tensor:
    """`observed` for n images of `size` pixels, (n, 1, size, size): 0 on what section 5.2 hides.

    Args:
        kind: "eye", "mouth", "face" or "half" (the right one) of an aligned face; "8x8" or
            "16x16", a block at a place of its own in each image (in pixels of a 64x64 image).
        seed: of the blocks' places; row i depends on the seed and i alone.

    Raises:
        ValueError: an unknown kind.
    """
    observed = torch.ones(n, 1, size, size)
    if kind in OCCLUSIONS:
        left, top, right, bottom = (round(edge * size / 64) for edge in OCCLUSIONS[kind])
        observed[:, :, top:bottom, left:right] = 0
        return observed
    if kind not in ("8x8", "16x16"):
        known = ", ".join([*OCCLUSIONS, "8x8", "16x16"])
        raise ValueError(f"unknown occlusion {kind!r} (known: {known})")
    side = round(int(kind.split("x")[0]) * size / 64)
    places = torch.rand(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    for row, (top, left) in enumerate((places * (size - side + 1)).long().tolist()):
        observed[row, :, top : top + side, left : left + side] = 0
    return observed


#: What is hidden of an aligned 64x64 face: left, top, right, bottom. The paper gives no numbers.
OCCLUSIONS = {
    "eye": (14, 20, 50, 33),
    "mouth": (20, 38, 44, 50),
    "face": (14, 18, 50, 52),
    "half": (32, 0, 64, 64),
}


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """In evaluation mode, and no gradient for its weights; as it was afterwards."""
    training = model.training
    wanted = [(p, p.requires_grad) for p in model.parameters()]
    model.eval().requires_grad_(False)
    try:
        yield
    finally:
        model.train(training)
        for parameter, requires in wanted:
            parameter.requires_grad_(requires)


def _start(
    model: nn.Module,
    told: tuple[Tensor, Tensor, Tensor | None],
    prior: DiagonalGaussian,
    start: str | Tensor,
) -> Tensor:
    if isinstance(start, Tensor):
        if start.shape != prior.mu.shape:
            raise ValueError(
                f"start is {tuple(start.shape)}, expected {tuple(prior.mu.shape)}: a z an image"
            )
        return start
    if start not in STARTS:
        raise ValueError(f"unknown start {start!r} (known: {', '.join(STARTS)}, or a tensor)")
    if start == "prior":
        return prior.mu
    with torch.no_grad():
        return model.encode(*told)  # type: ignore[operator]


def _check(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    observed: Tensor | None,
    steps: int,
    restarts: int,
    sigma: float,
) -> Tensor:
    """`observed` as (B, 1, H, W), after a look at everything."""
    if not hasattr(model, "decode") or not hasattr(model, "prior"):
        raise TypeError(
            f"{type(model).__name__} has no decoder: inference needs decode and prior, which "
            "predictors and GANs lack"
        )
    if min(steps, restarts) < 1 or sigma <= 0:
        raise ValueError(
            f"steps ({steps}), restarts ({restarts}) and sigma ({sigma}) must be positive"
        )
    low, high = float(x.min()), float(x.max())
    if not (low >= 0 and high <= 1):
        raise ValueError(f"images must lie in [0, 1]; these reach from {low:.3g} to {high:.3g}")
    wanted = getattr(model, "attributes", y.shape[-1])
    if y.shape != (len(x), wanted):
        raise ValueError(
            f"y is {tuple(y.shape)}, expected {(len(x), wanted)}: a row of {wanted} attributes "
            "for each image"
        )
    if observed is None:
        return torch.ones_like(x[:, :1])
    observed = observed.to(x).expand(len(x), 1, *x.shape[2:])
    hidden = (observed.flatten(1).amax(1) == 0).nonzero()[:, 0].tolist()
    if hidden:
        raise ValueError(f"nothing is observed of image {', '.join(map(str, hidden[:5]))}")
    return observed
