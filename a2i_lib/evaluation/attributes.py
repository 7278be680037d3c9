"""Do images show the attributes that were asked for? Judged by a predictor trained on real images
only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import comb

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from a2i_lib.attributes import AttributeSchema
from a2i_lib.models.vae import LatentImageModel


@torch.no_grad()
def predict(predictor: nn.Module, images: Tensor, batch_size: int = 256) -> Tensor:
    """The predictor's output for images, uint8 or float in [0, 1], (N, 3, H, W) -> (N, K)."""
    predictor.eval()
    parts = []
    for chunk in images.split(batch_size):
        x = chunk.float() / 255 if chunk.dtype == torch.uint8 else chunk
        parts.append(predictor(x.contiguous(memory_format=torch.channels_last)).float())
    return torch.cat(parts)


def one_of_each_group(logits: Tensor, schema: AttributeSchema) -> Tensor:
    """Logits (N, K) of which just the likeliest member of each group is positive.

    A bird has one bill: where members exclude each other, a reader names one of them. Each
    member's logit becomes its lead over the best of the others; what is in no group stays.
    """
    read = logits.clone()
    for members in schema.groups.values():
        best = logits[:, members].topk(2, 1).values  # N, 2
        leads = logits[:, members] == best[:, :1]
        read[:, members] = logits[:, members] - torch.where(leads, best[:, 1:], best[:, :1])
    return read


def balanced_accuracy(
    prediction: Tensor, y: Tensor, schema: AttributeSchema | None = None
) -> Tensor:
    """Mean of recall and specificity for each attribute, (N, K), (N, K) -> (K,).

    0.5 is chance whatever the base rate; plain accuracy rewards never saying "bald". An attribute
    that is always on or always off in `y` gives NaN: nothing was tested.

    Args:
        prediction: logits; above 0 means +1.
        y: -1/+1.
        schema: where given, one member of each of its groups is read, the likeliest.
    """
    # Here, for its import takes seconds, which those who only predict are spared.
    from torchmetrics.functional.classification import binary_recall, binary_specificity

    if schema is not None:
        prediction = one_of_each_group(prediction, schema)
    on, wanted = (prediction > 0).int(), (y > 0).int()
    recall, specificity = (
        torch.stack([measure(*column) for column in zip(on.T, wanted.T, strict=True)])
        for measure in (binary_recall, binary_specificity)
    )
    both = (wanted.amax(0) == 1) & (wanted.amin(0) == 0)
    return torch.where(both, (recall + specificity) / 2, torch.nan)


Source = Callable[[Tensor], Tensor]  # y (B, K) -> n pictures for each row, (B * n, 3, H, W)


@torch.no_grad()
def read_back(
    source: Source,
    predictor: nn.Module,
    y: Tensor,
    batch_size: int = 64,
    progress: bool = False,
) -> Tensor:
    """What the predictor sees in the pictures that a source makes for each row of y.

    Args:
        source: a model's samples, nearest neighbours, or the program that draws a world.

    Returns:
        The predictor's output, (N * n, K), row by row: n answers to y's first row, then the next.
    """
    parts = tqdm(y.split(batch_size), desc="reading attributes", disable=not progress)
    return torch.cat([predict(predictor, source(part)) for part in parts])


def sample_accuracy(
    model: LatentImageModel,
    predictor: nn.Module,
    y: Tensor,
    generator: torch.Generator | None = None,
    batch_size: int = 256,
    schema: AttributeSchema | None = None,
) -> Tensor:
    """Balanced accuracy of one sample for each row of y, (N, K) -> (K,)."""

    def one_sample(part: Tensor) -> Tensor:
        return model.sample(part, 1, generator)

    return balanced_accuracy(read_back(one_sample, predictor, y, batch_size), y, schema)


# ---------------------------------------------------------------- Attribute2Image, appendix C


@dataclass(frozen=True)
class Similarity:
    """Agreement of n predicted attribute vectors with each of N references.

    Attributes:
        cosine: (N, n) cosine similarity, in the units given.
        squared: (N, n) squared error summed over attributes (the unit that Table 2's values behave
            like).
    """

    cosine: Tensor
    squared: Tensor

    @property
    def row(self) -> dict[str, float]:
        """Means over references with their standard errors, for a table: of the best of n by each
        measure, as in the paper; and, under "mean_...", of what one picture is worth on average.
        """
        values = {
            "cosine": self.cosine.amax(1),
            "squared_error": self.squared.amin(1),
            "mean_cosine": self.cosine.mean(1),
            "mean_squared_error": self.squared.mean(1),
        }
        row: dict[str, float] = {}
        for name, each in values.items():  # N
            row[name] = float(each.mean())
            row[f"{name}_se"] = float(each.std() / len(each) ** 0.5)
        return row


def similarity(predicted: Tensor, reference: Tensor) -> Similarity:
    """Compares n predictions for each reference, (N * n, K) row by row, with the N references
    (N, K).

    Raises:
        ValueError: predictions that cannot be shared out among the references.
    """
    n, left = divmod(len(predicted), len(reference))
    if left or not n:
        raise ValueError(f"{len(predicted)} predictions for {len(reference)} references")
    each, wanted = predicted.unflatten(0, (-1, n)), reference[:, None]  # N n K, N 1 K
    return Similarity(F.cosine_similarity(each, wanted, dim=2), (each - wanted).pow(2).sum(2))


def expected_best(values: Tensor, n: int, largest: bool = True) -> Tensor:
    """The expected best of n values drawn from those at hand without replacement, (N, M) -> (N,).

    Of all n-subsets of M values, C(i - 1, n - 1) have the i-th in rising order as their largest.
    So the mean over all subsets is sum_i C(i - 1, n - 1) / C(M, n) v_(i): an unbiased estimate of
    the expected best of n fresh draws.

    Raises:
        ValueError: n is not between 1 and M.
    """
    m = values.shape[1]
    if not 1 <= n <= m:
        raise ValueError(f"the best of {n}, from {m} values")
    share = torch.tensor([comb(i, n - 1) / comb(m, n) for i in range(m)], dtype=values.dtype)
    return values.sort(1, descending=not largest).values @ share.to(values.device)


def raw_scores(y: Tensor, schema: AttributeSchema) -> Tensor:
    """Standardised scores back in their published units: mean + deviation * y, (..., K)."""
    means = torch.tensor([a.mean for a in schema])
    deviations = torch.tensor([a.deviation for a in schema])
    return means + deviations * y


def nearest_neighbours(y: Tensor, candidates: Tensor, n: int = 1, batch_size: int = 1024) -> Tensor:
    """For each row of y (N, K) the positions of the n closest rows of candidates (M, K), by squared
    error, closest first. (N * n,), row by row.
    """
    found = [
        torch.cdist(part, candidates).topk(n, 1, largest=False).indices
        for part in y.split(batch_size)
    ]
    return torch.cat(found).flatten()


def blur(images: Tensor, side: int = 5) -> Tensor:
    """Average over side x side pixels, as in the paper's NN_blur baseline; (N, 3, H, W) float."""
    return F.avg_pool2d(images, side, 1, side // 2, count_include_pad=False)


def appendix_c(
    model: LatentImageModel,
    predictor: nn.Module,
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    units: Callable[[Tensor], Tensor],
    n: int = 10,
    generator: torch.Generator | None = None,
    progress: bool = True,
) -> dict[str, Similarity]:
    """All rows of Attribute2Image's Table 2 that this book can rebuild, and two that it lacks.

    Args:
        train, test: images uint8 (N, 3, H, W) and y (N, K) of the two splits.
        units: maps standardised scores to those in which to compare, and in which neighbours are
            near (`raw_scores`, or the identity).
        n: samples for each row of the test y; `row` has both their best and their mean.

    Returns:
        "regressor" (predictions on the test photographs: the ceiling), "NN", "NN blur", "model" as
        in the paper; "NN of n", the n nearest photographs, which have as many tries as the model;
        and "regressor blur", what a blur alone does to true pictures.
    """
    read = read_neighbours(predictor, train, test[1], units, n, progress)
    read |= read_samples(model, predictor, test, n, generator, progress)
    return agreement(read, test[1], units)


def read_samples(
    model: LatentImageModel,
    predictor: nn.Module,
    test: tuple[Tensor, Tensor],
    n: int = 10,
    generator: torch.Generator | None = None,
    progress: bool = True,
) -> dict[str, Tensor]:
    """What the predictor reads for the rows of `appendix_c` that look at no training photograph:
    (N, K) for those about the test photographs, (N * n, K) for "model".
    """
    x, y = test

    def samples(part: Tensor) -> Tensor:
        return model.sample(part, n, generator)

    softened = [predict(predictor, blur(part.float() / 255)) for part in x.split(256)]
    return {
        "regressor": predict(predictor, x),
        "regressor blur": torch.cat(softened),
        "model": read_back(samples, predictor, y, progress=progress),
    }


def read_neighbours(
    predictor: nn.Module,
    train: tuple[Tensor, Tensor],
    y: Tensor,
    units: Callable[[Tensor], Tensor],
    n: int = 10,
    progress: bool = True,
) -> dict[str, Tensor]:
    """What the predictor reads for the neighbours' rows of `appendix_c`, (N, K) or (N * n, K). A
    neighbour is near in the units in which it will be compared.
    """
    x, train_y = train[0], units(train[1])

    def nearest(part: Tensor, tries: int = 1) -> Tensor:
        return x[nearest_neighbours(units(part), train_y, tries)].float() / 255

    sources: dict[str, Source] = {
        "NN": nearest,
        "NN blur": lambda part: blur(nearest(part)),
        "NN of n": lambda part: nearest(part, n),
    }
    return {
        name: read_back(source, predictor, y, progress=progress) for name, source in sources.items()
    }


def agreement(
    read: dict[str, Tensor], y: Tensor, units: Callable[[Tensor], Tensor]
) -> dict[str, Similarity]:
    """`similarity` of what was read with y (N, K), row by row, in the units wanted."""
    return {name: similarity(units(found), units(y)) for name, found in read.items()}


def base_rates(y: Tensor) -> Tensor:
    """Share of +1 for each attribute, (N, K) -> (K,)."""
    return (y > 0).float().mean(0)


def worst_first(values: Tensor, names: list[str]) -> Iterator[tuple[str, float]]:
    """(name, value) pairs in rising order; NaN last."""
    for i in torch.nan_to_num(values, nan=2.0).argsort().tolist():
        yield names[i], float(values[i])
