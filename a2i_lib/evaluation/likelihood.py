"""What a model says about images that it never saw, in nats: the variational bound, its
importance-weighted tightening, and the Parzen windows that papers fall back on where neither can
be had.

Everything here is log p(x | y) of one image, with all its constants, so that models can be compared
whatever their latents are. `bits_per_dimension` turns it into the unit in which files are measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm.auto import tqdm

from a2i_lib.gaussians import LOG_2PI
from a2i_lib.models.vae import LatentImageModel
from a2i_lib.objectives import gaussian_nll, learned_gaussian_nll

LEVELS = 255  # steps of an 8-bit pixel between 0 and 1
Pixels = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # z, y -> mean, log-variance of x


# ---------------------------------------------------------------- p(x | z, y), and its units


def log_likelihood(
    model: LatentImageModel, x: Tensor, z: Tensor, y: Tensor, sigma: float | None = None
) -> Tensor:
    """log p(x | z, y) in nats, with all constants, (B,).

    Args:
        sigma: the shared standard deviation of p(x | z, y) around `model.decode(z, y)`, in pixel
            units. None: the model's own, value by value, from `model.pixels(z, y)`,
            which gives the mean and the log-variance, each shaped as x.

    Raises:
        ValueError: no sigma, and a model without `pixels`.
    """
    if sigma is not None:
        return -gaussian_nll(x, model.decode(z, y), sigma)
    pixels: Pixels | None = getattr(model, "pixels", None)
    if pixels is None:
        raise ValueError(
            f"{type(model).__name__} has no variance of its own: give the sigma of its training"
        )
    return -learned_gaussian_nll(x, *pixels(z, y))


def dequantise(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """8-bit pixels k / 255 spread evenly over their cells, (k + u) / 255 with u in [-1/2, 1/2).

    Args:
        x: images (N, 3, H, W), uint8, or float at the levels k / 255.
    """
    x = unit_range(x)
    u = torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    return x + (u - 0.5) / LEVELS


def bits_per_dimension(nats: Tensor, values: int, levels: int = LEVELS) -> Tensor:
    """Bits that a code for 8-bit images spends on one value, from log-densities in nats, (N,).

    A pixel k is stored as x = k / 255. In units of one level, v = 255 x, the density of an image
    of D values is p(x) / 255^D, and the cell of k is a cube of volume 1 around it. So

        log P(k) = log E_u[p((k + u) / 255)] - D log 255 >= E_u[log p((k + u) / 255)] - D log 255

    with u uniform in the cube, by Jensen's inequality: -log P(k) / (D log 2) is at most what this
    returns, on average over u, *if* `nats` was taken at `dequantise`d images. A density evaluated
    at the levels themselves bounds nothing: a model may put ever narrower spikes there. The
    dequantisation term is log2(255) = 7.994 bits a value.

    Args:
        nats: log p(x | y) of images in [0, 1], or a lower bound of it.
        values: D, 3 H W.
        levels: 255 for 8 bits.
    """
    return (math.log(levels) - nats / values) / math.log(2)


def unit_range(x: Tensor) -> Tensor:
    """Images as float in [0, 1], from uint8 or from themselves."""
    return x.float() / LEVELS if x.dtype == torch.uint8 else x


# ---------------------------------------------------------------- bounds


@dataclass(frozen=True)
class Bound:
    """The variational bound of each image and its two parts, in nats, (N,) each.

    Attributes:
        likelihood: E_q[log p(x | z, y)], estimated from draws z ~ q(z | x, y).
        kl: KL(q(z | x, y) || p(z | y)), exact.
        values: D, numbers in one image.
    """

    likelihood: Tensor
    kl: Tensor
    values: int

    @property
    def nats(self) -> Tensor:
        """likelihood - kl, at most log p(x | y) in expectation (CMMA eqs. 5, 6 and 13)."""
        return self.likelihood - self.kl

    @property
    def row(self) -> dict[str, float]:
        """Means over images with standard errors; bits per dimension as `bits_per_dimension`."""
        columns = {
            "nats": self.nats,
            "likelihood": self.likelihood,
            "kl": self.kl,
            "bits_per_dimension": bits_per_dimension(self.nats, self.values),
        }
        row = {}
        for name, each in columns.items():
            row[name] = float(each.mean())
            row[f"{name}_se"] = float(each.std() / len(each) ** 0.5)
        return row


@torch.no_grad()
def variational_bound(
    model: LatentImageModel,
    x: Tensor,
    y: Tensor,
    sigma: float | None = None,
    *,
    draws: int = 1,
    generator: torch.Generator | None = None,
    batch_size: int = 256,
) -> Bound:
    """E_q[log p(x | z, y)] - KL(q(z | x, y) || p(z | y)) for images (N, 3, H, W), uint8 or in
    [0, 1], with attributes (N, K).

    Args:
        sigma: as in `log_likelihood`.
        draws: of z for each image.
        batch_size: images decoded at a time.
    """
    parts = []
    for images, attributes in zip(x.split(batch_size), y.split(batch_size), strict=True):
        images = unit_range(images)
        q, p = model.posterior(images, attributes), model.prior(attributes)
        found = [
            log_likelihood(model, images, q.rsample(generator), attributes, sigma)
            for _ in range(draws)
        ]
        parts.append((torch.stack(found).mean(0), q.kl(p)))
    likelihood, kl = (torch.cat(part) for part in zip(*parts, strict=True))
    return Bound(likelihood, kl, x[0].numel())


@torch.no_grad()
def log_weights(
    model: LatentImageModel,
    x: Tensor,
    y: Tensor,
    sigma: float | None,
    k: int,
    generator: torch.Generator | None = None,
    batch_size: int = 256,
) -> Tensor:
    """log [p(x | z, y) p(z | y) / q(z | x, y)] for k draws z ~ q, shape (k, N), in nats.

    Args:
        sigma: as in `log_likelihood`.
        batch_size: pairs of an image and a z decoded at a time; the result alone grows with k.
    """
    x = unit_range(x)
    columns = []
    for images, attributes in zip(x.split(batch_size), y.split(batch_size), strict=True):
        q, p = model.posterior(images, attributes), model.prior(attributes)
        parts = []
        for rows in torch.arange(len(images), device=x.device).repeat(k).split(batch_size):
            own = q[rows]
            z = own.rsample(generator)
            log_p = log_likelihood(model, images[rows], z, attributes[rows], sigma)
            parts.append(log_p + p[rows].log_prob(z) - own.log_prob(z))
        columns.append(torch.cat(parts).view(k, -1))
    return torch.cat(columns, 1)


def importance_weighted_bound(log_w: Tensor) -> Tensor:
    """log (1/k) sum exp(log_w) over the first axis, (k, B) -> (B,): Burda et al. 2016, eq. 8.

    k = 1 is the variational bound; the expectation rises with k to log p(x | y).
    """
    return torch.logsumexp(log_w, 0) - math.log(len(log_w))


# ---------------------------------------------------------------- Gaussian Parzen windows

#: (y (B, K), n) -> n pictures for each row, row by row, (B * n, 3, H, W); as `model.sample`.
Sampler = Callable[[Tensor, int], Tensor]


@torch.no_grad()
def squared_distances(
    sampler: Sampler,
    x: Tensor,
    y: Tensor,
    n: int,
    *,
    batch_size: int = 500,
    progress: bool = False,
) -> Tensor:
    """|x_i - s_ij|^2 for n samples s_ij of image i's own attributes, (N, n), float64.

    All that a Parzen window needs of the samples, whatever its sigma: `parzen_log_density`.

    Args:
        sampler: draws the samples, `model.sample` or a function of (y, n).
        x: images (N, ...), uint8 or in [0, 1].
        y: attributes (N, K).
        batch_size: samples in memory at a time.
    """
    x, distances = unit_range(x), []
    n_rows = max(1, batch_size // n)
    pairs = list(zip(x.split(n_rows), y.split(n_rows), strict=True))
    for images, attributes in tqdm(pairs, desc="Parzen windows", disable=not progress):
        flat, most = images.flatten(1)[:, None].double(), max(1, batch_size // len(images))
        parts = []
        for start in range(0, n, most):
            samples = sampler(attributes, min(most, n - start))
            gap = samples.flatten(1).double().unflatten(0, (len(images), -1)) - flat
            parts.append(gap.pow(2).sum(2))
        distances.append(torch.cat(parts, 1))
    return torch.cat(distances)


def parzen_log_density(squared: Tensor, values: int, sigma: float) -> Tensor:
    """log (1/n) sum_j N(x_i; s_ij, sigma^2 I) in nats, (N, n) -> (N,).

    The kernel density estimate with a Gaussian kernel of bandwidth sigma; CMMA, section 4.4.

    Args:
        squared: |x_i - s_ij|^2, from `squared_distances`.
        values: D, numbers in one image.
        sigma: standard deviation of the window, in pixel units.

    Raises:
        ValueError: sigma not positive.
    """
    if sigma <= 0:
        raise ValueError(f"sigma must be positive, not {sigma}")
    constant = math.log(squared.shape[1]) + values * (0.5 * LOG_2PI + math.log(sigma))
    return torch.logsumexp(-squared / (2 * sigma**2), 1) - constant


@dataclass(frozen=True)
class Parzen:
    """A Parzen estimate of log p(x | y), with the choice of its sigma.

    Attributes:
        nats: of each test image, (N,).
        sigma: chosen, in pixel units.
        grid: the sigmas tried, (S,).
        validation: mean log-density of the validation images under each, (S,).
        samples: windows for each image.
    """

    nats: Tensor
    sigma: float
    grid: Tensor
    validation: Tensor
    samples: int

    @property
    def at_the_edge(self) -> bool:
        """The chosen sigma is the grid's first or last: the best one may lie outside."""
        return self.sigma in (float(self.grid[0]), float(self.grid[-1]))

    @property
    def row(self) -> dict[str, float]:
        """Mean over test images with its standard error, sigma, and the number of samples."""
        return {
            "nats": float(self.nats.mean()),
            "nats_se": float(self.nats.std() / len(self.nats) ** 0.5),
            "sigma": self.sigma,
            "samples": self.samples,
        }


def log_grid(low: float = 0.03, high: float = 1.0, n: int = 31) -> Tensor:
    """n sigmas from low to high with equal ratios, (n,), float64."""
    return torch.logspace(math.log10(low), math.log10(high), n, dtype=torch.float64)


def parzen(
    sampler: Sampler,
    validation: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    n: int,
    grid: Tensor | None = None,
    *,
    batch_size: int = 500,
    progress: bool = False,
) -> Parzen:
    """Gaussian Parzen windows around n samples of each image's own attributes (CMMA, Table 3).

    sigma is the one of the grid under which the validation images are likeliest on average; the
    test images have no say in it.

    Args:
        validation, test: images and attributes, as in `squared_distances`.
        grid: sigmas, (S,); default `log_grid()`.
    """
    grid = log_grid() if grid is None else grid.double()
    values = test[0][0].numel()
    tried, held = (
        squared_distances(sampler, *split, n, batch_size=batch_size, progress=progress)
        for split in (validation, test)
    )
    means = torch.stack([parzen_log_density(tried, values, s).mean() for s in grid.tolist()])
    sigma = float(grid[means.argmax()])
    return Parzen(parzen_log_density(held, values, sigma), sigma, grid, means, n)
