"""Cards: what a release is, how it came about, and what was measured of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from a2i_lib import __version__
from a2i_lib.attributes import AttributeSchema
from a2i_lib.data.dataset import AttributeImages
from a2i_lib.evaluation.attributes import (
    agreement,
    balanced_accuracy,
    predict,
    raw_scores,
    read_neighbours,
    read_samples,
    sample_accuracy,
)
from a2i_lib.evaluation.counterfactual import add_attribute
from a2i_lib.evaluation.layers import edit_leakage, gate_iou, latent_leakage
from a2i_lib.evaluation.rate import rate_distortion
from a2i_lib.models import VAE, DisCVAE
from a2i_lib.models.classifier import AttributeClassifier
from a2i_lib.models.vae import LatentImageModel
from a2i_lib.recipes import Drawn, Recipe, recipe_of
from a2i_lib.released import Release, folder, load
from a2i_lib.training.checkpoint import save_release, write_whole
from a2i_lib.training.loop import Fitted
from a2i_lib.worlds import get_world

USE = {
    "lfw": "trained on Labeled Faces in the Wild; non-commercial research use",
    "celeba": "trained on CelebA; non-commercial research use",
    "cub": "trained on Caltech-UCSD Birds 200; non-commercial research use",
    "casia": "trained on CASIA-WebFace with predicted attributes; non-commercial research use",
}


def write_release(out: Path, recipe: Recipe, data: AttributeImages, fitted: Fitted) -> Path:
    """Writes averaged weights and their card into a folder; returns the card's path."""
    history = fitted.history
    card = {
        "recipe": recipe.to_dict(),
        "command": recipe.command,
        "seed": recipe.seed,
        "data": {"name": data.name, "images": len(data), "provenance": data.provenance},
        "use": _use(recipe, data),
        "schema": data.schema.to_dict(),
        "hardware": history.machine,
        "precision": history.precision,
        "seconds": round(history.seconds, 1),
        "images_per_second": round(history.images / max(history.seconds, 1e-9), 1),
        "library": __version__,
        "curve": history.rows,
        "metrics": {},
    }
    return save_release(out, recipe.name, fitted.model, card)


def _use(recipe: Recipe, data: AttributeImages) -> str:
    """Under which terms the weights may be used."""
    if isinstance(recipe.data, Drawn):
        return "trained on drawings; MIT, as the code"
    terms = data.provenance.get("use", "as its owner allows")
    return USE.get(data.name, f"trained on the data set {data.name!r}; {terms}")


def _card_path(name: str) -> Path:
    return Path(name) if name.endswith(".json") else folder() / f"{name}.json"


def store_metrics(name: str, metrics: dict[str, Any]) -> Path:
    """Adds numbers to a card; returns its path."""
    path = _card_path(name)
    card = json.loads(path.read_text())
    card["metrics"].update(metrics)
    write_whole(path, (json.dumps(card, indent=2) + "\n").encode())
    return path


def measure(
    name: str,
    root: Path = Path("datasets"),
    n: int = 2000,
    seed: int = 0,
    predictor: str | None = None,
) -> dict[str, Any]:
    """The numbers of a release on held-out data: rows that its training never saw.

    Raises:
        ValueError: a generator of a data set whose predictor is not released.
    """
    release = load(name)
    recipe = recipe_of(release.card)
    data = _held_out(recipe, root, n)
    release.schema.require_same(data.schema, str(root))
    x, y, _ = data.tensors("test")
    x, y = x[:n], y[:n]
    if isinstance(release.model, AttributeClassifier):
        return _measure_predictor(release, x, y)
    generator = torch.Generator().manual_seed(seed)
    if isinstance(release.model, VAE):
        return {"held_out": rate_distortion(release.model, x, y, generator).row, "images": len(x)}
    world = recipe.data.world if isinstance(recipe.data, Drawn) else None
    judge = load(predictor or (f"classifier-{world}" if world else f"regressor-{data.name}"))
    judge.schema.require_same(release.schema, "the predictor")
    if release.schema.kinds[0] != "score":
        accuracy = sample_accuracy(release.model, judge.model, y, generator, schema=release.schema)
        by_name = {"sample_balanced_accuracy": named(accuracy, release.schema), "samples": len(y)}
        return by_name | (_measure_layers(release.model, world, n, generator) if world else {})
    train = data.tensors("train")[:2]
    samples = read_samples(release.model, judge.model, (x, y), TRIES, generator)
    table = {}
    for units, convert in _units(release.schema).items():
        read = samples | read_neighbours(judge.model, train, y, convert, TRIES)
        table[units] = {row: found.row for row, found in agreement(read, y, convert).items()}
    return {"appendix_c": table, "references": len(y), "samples_each": TRIES}


def _measure_layers(
    model: LatentImageModel, name: str, n: int, generator: torch.Generator
) -> dict[str, Any]:
    """Of a drawn world's model: leakage, over all attributes, and the gate's IoU where there is a
    gate. Means over pictures never trained on. Of a model that cannot encode, why not.
    """
    if not hasattr(model, "encode"):
        why = f"{type(model).__name__} has no recognition model: it cannot change a given picture"
        return {"leakage": None, "not measured": why}
    world = get_world(name)
    few, factors = (world.sample(k, HELD_OUT_SEED) for k in (100, min(n, 500)))
    moved = []
    for attribute in world.schema.names:
        added = add_attribute(world, few, attribute, model.size)
        moved.append([float(part.nanmean()) for part in edit_leakage(model, added)])
    background, wanted = torch.tensor(moved).nanmean(0).tolist()
    leakage = {"y": background, "wanted": wanted}
    if not isinstance(model, DisCVAE):
        return {"leakage": leakage}
    drawn, y = world.render(factors, model.size), world.labels(factors)
    iou = gate_iou(model, drawn.x, y, drawn.mask)
    by_latent = latent_leakage(model, drawn.x, y, drawn.mask, generator)
    leakage |= {k: float(v.nanmean()) for k, v in zip(("z_f", "z_b"), by_latent, strict=True)}
    return {
        "leakage": leakage,
        "gate_iou": {"mean": float(iou.mean()), "worst": float(iou.min())},
    }


def _held_out(recipe: Recipe, root: Path, n: int) -> AttributeImages:
    """Drawn worlds: fresh drawings from a seed no recipe trains on. Prepared sets: as they are."""
    if not isinstance(recipe.data, Drawn):
        return recipe.load_data(root)
    fresh = Drawn(recipe.data.world, n, recipe.data.size, seed=HELD_OUT_SEED)
    data = fresh.load(root, progress=False)
    data.split.fill_(2)
    return data


HELD_OUT_SEED = 999
TRIES = 10  # samples for each request (Attribute2Image, appendix C)


def _units(schema: AttributeSchema) -> dict[str, Any]:
    return {
        "published units": lambda v: raw_scores(v, schema),
        "standardised": lambda v: v,
    }


def _measure_predictor(release: Release, x: Tensor, y: Tensor) -> dict[str, Any]:
    prediction = predict(release.model, x)
    if release.schema.kinds[0] == "score":
        rows = {}
        for units, convert in _units(release.schema).items():
            reference, found = convert(y), convert(prediction)
            cosine = torch.nn.functional.cosine_similarity(found, reference, dim=1).mean()
            error = (found - reference).pow(2).sum(1).mean()
            rows[units] = {"cosine": float(cosine), "squared_error": float(error)}
        return {"test": rows, "images": len(y)}
    return {
        "balanced_accuracy": named(balanced_accuracy(prediction, y, release.schema), release.schema)
    }


def named(values: Tensor, schema: AttributeSchema) -> dict[str, float]:
    """Per-attribute values by name, with their mean under "mean"; NaN (nothing tested) is left
    out.
    """
    pairs = zip(schema.names, values.tolist(), strict=True)
    tested = {name: round(value, 4) for name, value in pairs if value == value}
    return {"mean": round(float(values.nanmean()), 4), **tested}
