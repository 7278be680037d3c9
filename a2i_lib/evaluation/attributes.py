"""Do images show the attributes that were asked for? Judged by a predictor trained on real images
only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics.functional.classification import binary_recall, binary_specificity
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
    if schema is not None:
        prediction = one_of_each_group(prediction, schema)
    on, wanted = (prediction > 0).int(), (y > 0).int()
    recall, specificity = (
        torch.stack([measure(*column) for column in zip(on.T, wanted.T, strict=True)])
        for measure in (binary_recall, binary_specificity)
    )
    both = (wanted.amax(0) == 1) & (wanted.amin(0) == 0)
    return torch.where(both, (recall + specificity) / 2, torch.nan)


@torch.no_grad()
def sample_accuracy(
    model: LatentImageModel,
    predictor: nn.Module,
    y: Tensor,
    generator: torch.Generator | None = None,
    batch_size: int = 256,
    schema: AttributeSchema | None = None,
) -> Tensor:
    """Balanced accuracy of one sample for each row of y, (N, K) -> (K,)."""
    logits = [predict(predictor, model.sample(part, 1, generator)) for part in y.split(batch_size)]
    return balanced_accuracy(torch.cat(logits), y, schema)


# ---------------------------------------------------------------- Attribute2Image, appendix C


@dataclass(frozen=True)
class Similarity:
    """Agreement of predicted with reference attribute vectors, one value a reference.

    Attributes:
        cosine: (N,) cosine similarity, in the units given.
        squared: (N,) squared error summed over attributes (the unit that Table 2's values behave
            like).
    """

    cosine: Tensor
    squared: Tensor

    @property
    def row(self) -> dict[str, float]:
        """Means and standard errors, for a table."""
        n = len(self.cosine) ** 0.5
        return {
            "cosine": float(self.cosine.mean()),
            "cosine_se": float(self.cosine.std() / n),
            "squared_error": float(self.squared.mean()),
            "squared_error_se": float(self.squared.std() / n),
        }


def similarity(predicted: Tensor, reference: Tensor) -> Similarity:
    """Compares (N, K) with (N, K)."""
    return Similarity(
        F.cosine_similarity(predicted, reference, dim=1), (predicted - reference).pow(2).sum(1)
    )


def raw_scores(y: Tensor, schema: AttributeSchema) -> Tensor:
    """Standardised scores back in their published units: mean + deviation * y, (..., K)."""
    mean = torch.tensor([a.mean for a in schema])
    deviation = torch.tensor([a.deviation for a in schema])
    return mean + deviation * y


def nearest_neighbours(y: Tensor, candidates: Tensor, batch_size: int = 1024) -> Tensor:
    """For each row of y (N, K) the position of the closest row of candidates (M, K), by squared
    error. (N,)
    """
    return torch.cat([torch.cdist(part, candidates).argmin(1) for part in y.split(batch_size)])


def blur(images: Tensor, side: int = 5) -> Tensor:
    """Average over side x side pixels, as in the paper's NN_blur baseline; (N, 3, H, W) float."""
    return F.avg_pool2d(images, side, 1, side // 2, count_include_pad=False)


@torch.no_grad()
def best_of(
    model: LatentImageModel,
    predictor: nn.Module,
    y: Tensor,
    units: Callable[[Tensor], Tensor],
    n: int = 10,
    generator: torch.Generator | None = None,
    batch_size: int = 64,
    progress: bool = True,
) -> Similarity:
    """Attribute2Image's Table 2: of n samples for each row of y, the best by each measure.

    Args:
        units: maps standardised scores to those in which to compare (`raw_scores`, or the
            identity).
    """
    cosines, squares = [], []
    parts = tqdm(y.split(batch_size), desc=f"best of {n}", disable=not progress)
    for part in parts:
        predicted = units(predict(predictor, model.sample(part, n, generator)))
        found = similarity(predicted, units(part).repeat_interleave(n, 0))
        cosines.append(found.cosine.view(-1, n).amax(1))
        squares.append(found.squared.view(-1, n).amin(1))
    return Similarity(torch.cat(cosines), torch.cat(squares))


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
    """All rows of Attribute2Image's Table 2 that this book can rebuild.

    Args:
        train, test: images uint8 (N, 3, H, W) and y (N, K) of the two splits.

    Returns:
        "regressor" (predictions on the test photographs: the ceiling), "NN", "NN blur", "model".
    """
    (train_x, train_y), (test_x, test_y) = train, test
    nearest = train_x[nearest_neighbours(test_y, train_y)].float() / 255
    reference = units(test_y)
    return {
        "regressor": similarity(units(predict(predictor, test_x)), reference),
        "NN": similarity(units(predict(predictor, nearest)), reference),
        "NN blur": similarity(units(predict(predictor, blur(nearest))), reference),
        "model": best_of(model, predictor, test_y, units, n, generator, progress=progress),
    }


def base_rates(y: Tensor) -> Tensor:
    """Share of +1 for each attribute, (N, K) -> (K,)."""
    return (y > 0).float().mean(0)


def worst_first(values: Tensor, names: list[str]) -> Iterator[tuple[str, float]]:
    """(name, value) pairs in rising order; NaN last."""
    for i in torch.nan_to_num(values, nan=2.0).argsort().tolist():
        yield names[i], float(values[i])
