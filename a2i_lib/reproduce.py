"""The papers' tables on the papers' data: trained by one command, written as JSON for a chapter.

Only numbers and generated images leave this module; photographs stay where they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from a2i_lib import __version__
from a2i_lib.cards import USE, measure, store_metrics, write_release
from a2i_lib.data.dataset import AttributeImages, did_you_mean
from a2i_lib.editing import modify, redecode, single_changes
from a2i_lib.evaluation.attributes import predict
from a2i_lib.evaluation.completion import TASKS, Outcome, run_tasks
from a2i_lib.evaluation.counterfactual import (
    Counterfactual,
    Editor,
    EditScore,
    accomplished,
    counterfactual,
    score_editor,
)
from a2i_lib.evaluation.likelihood import (
    Parzen,
    dequantise,
    parzen,
    unit_range,
    variational_bound,
)
from a2i_lib.evaluation.rate import rate_distortion
from a2i_lib.models.vae import LatentImageModel
from a2i_lib.recipes import BETAS, Recipe, get_recipe
from a2i_lib.released import Release, load
from a2i_lib.training.checkpoint import write_whole
from a2i_lib.training.precision import describe_machine, pick_device
from a2i_lib.worlds import Factors, get_world


@dataclass(frozen=True)
class Study:
    """What a table is made from, and where to.

    Attributes:
        data: root of the prepared data sets.
        profile: of the recipes.
        seeds: one run for each.
        out: folder for NAME.json and what goes with it.
        runs: folder for trained weights. A command that was stopped goes on from there, and tables
            that need the same run share it.
        progress: show progress bars.
    """

    data: Path
    profile: str
    seeds: Sequence[int]
    out: Path
    runs: Path
    progress: bool = True

    def command(self, name: str) -> str:
        """What repeats this."""
        seeds = " ".join(map(str, self.seeds))
        return f"a2i reproduce {name} --profile {self.profile} --seeds {seeds}"

    def trained(self, recipe: Recipe, images: AttributeImages) -> tuple[Release, Path]:
        """A run's weights and the path of their card: taken from `runs`, or trained now."""
        what = json.dumps([recipe.to_dict(), images.provenance], sort_keys=True)
        folder = self.runs / f"{recipe.name}-{hashlib.sha256(what.encode()).hexdigest()[:8]}"
        card = folder / f"{recipe.name}.json"
        if not card.exists():
            state = folder / "state.safetensors"
            fitted = recipe.train(images, checkpoint=state, resume=True, progress=self.progress)
            write_release(folder, recipe, images, fitted)
            state.unlink()
        return load(str(card), images.schema), card

    def write(self, name: str, content: dict[str, Any]) -> Path:
        """Writes OUT/NAME.json whole or not at all; returns its path."""
        path = self.out / f"{name}.json"
        stated = {
            "name": name,
            "library": __version__,
            "command": self.command(name),
            "machine": describe_machine(pick_device(None)),
            "seconds": round(sum(run["seconds"] for run in content["runs"]), 1),  # of training
            **content,
        }
        write_whole(path, (json.dumps(stated, indent=1) + "\n").encode())
        return path


def reproduce(name: str, study: Study) -> Path:
    """Makes one of `TABLES`; returns the path of its JSON file.

    Raises:
        ValueError: unknown table, with the closest name.
        FileNotFoundError: data that is not prepared, with the command that prepares it.
    """
    if name not in TABLES:
        raise ValueError(f"unknown table {name!r}: {did_you_mean(name, TABLES)}")
    study.out.mkdir(parents=True, exist_ok=True)
    return TABLES[name](study)


# ---------------------------------------------------------------- Debbagh 2023, Table 1

MEASURED = 2_000  # images of a split, at most
CELEBA_REQUESTS = (
    "Young, Smiling, No_Beard, Brown_Hair, Wearing_Lipstick, Heavy_Makeup",
    "Young, No_Beard, Blond_Hair, Wavy_Hair, Wearing_Lipstick, Heavy_Makeup",
    "Young, Male, Black_Hair, No_Beard",
    "Young, Male, Smiling, Brown_Hair, No_Beard, Mouth_Slightly_Open, High_Cheekbones",
    "Young, Male, Eyeglasses, Brown_Hair, No_Beard",
    "Male, Goatee, Mustache, Black_Hair, Big_Nose",
    "Male, Gray_Hair, Eyeglasses, No_Beard, Receding_Hairline, Big_Nose",
    "Young, Wearing_Hat, No_Beard, Smiling",
)


def debbagh_table1(study: Study) -> Path:
    """Squared error and KL of the shallow CVAE under four betas, on CelebA and CUB, in the units
    of one image; and samples of the first seed, as OUT/debbagh-table1-NAME.png.
    """
    from torchvision.utils import save_image  # whose import takes seconds

    runs: list[dict[str, Any]] = []
    sets: dict[str, Any] = {}
    for name in ("celeba", "cub"):
        images = get_recipe(f"shallow-beta-{name}", study.profile).load_data(study.data)
        sets[name] = _describe(images) | _references(images)
        wanted = _requests(images)
        rows = []
        for seed in study.seeds:
            for beta in BETAS:
                recipe = get_recipe(f"shallow-beta-{name}", study.profile, beta=beta, seed=seed)
                release, _ = study.trained(recipe, images)
                runs.append(
                    {
                        "data": name,
                        "beta": beta,
                        **_stated(recipe, release),
                        "train": _measure(release.model, images, "train", seed),
                        "test": _measure(release.model, images, "test", seed),
                    }
                )
                if seed == study.seeds[0]:
                    draw = torch.Generator().manual_seed(seed)
                    rows.append(release.model.sample(wanted, 1, draw))
        picture = study.out / f"debbagh-table1-{name}.png"
        save_image(torch.cat(rows), picture, nrow=len(wanted), padding=2, pad_value=1.0)
    return study.write(
        "debbagh-table1",
        {
            "betas": list(BETAS),
            "requests": list(CELEBA_REQUESTS),
            "data": sets,
            "runs": runs,
        },
    )


def _stated(recipe: Recipe, release: Release) -> dict[str, Any]:
    """What a table says of one of its runs."""
    return {
        "seed": recipe.seed,
        "recipe": recipe.to_dict(),
        "seconds": release.card["seconds"],
        "hardware": release.card["hardware"],
    }


def _describe(data: AttributeImages) -> dict[str, Any]:
    """Where the data come from, how much there is, and on what terms if it is not ours."""
    return {
        "provenance": data.provenance,
        **({"use": USE[data.name]} if data.name in USE else {}),
        "images": {split: len(data.subset(split)) for split in ("train", "val", "test")},
    }


def _references(data: AttributeImages) -> dict[str, Any]:
    """What no model should be worse than, in the units of an image: the squared error of one grey
    picture for all, and of the training mean.
    """
    train, test = (_some(data, split)[0].float() / 255 for split in ("train", "test"))
    return {
        "measured": {"train": len(train), "test": len(test)},
        "values": train[0].numel(),
        "grey_squared_error": float((test - 0.5).pow(2).flatten(1).sum(1).mean()),
        "mean_squared_error": float((test - train.mean(0)).pow(2).flatten(1).sum(1).mean()),
    }


def _some(data: AttributeImages, split: str) -> tuple[Tensor, Tensor]:
    """At most `MEASURED` images of a split and their attributes."""
    rows = _rows(data, split, MEASURED)
    return data.images[rows], data.attributes[rows]


def _rows(data: AttributeImages, split: str, most: int) -> Tensor:
    """At most `most` positions of a split: every so many, in order."""
    rows = data.subset(split)
    return rows[:: -(-len(rows) // most)]


def _measure(
    model: LatentImageModel, data: AttributeImages, split: str, seed: int
) -> dict[str, float]:
    generator = torch.Generator().manual_seed(seed)
    return rate_distortion(model, *_some(data, split), generator).row


def _requests(data: AttributeImages) -> Tensor:
    """What the samples are asked for, (8, K): words for faces, eight test species for birds."""
    if data.name == "celeba":
        return torch.stack([data.schema.encode(words) for words in CELEBA_REQUESTS])
    species = torch.unique(_some(data, "test")[1], dim=0)
    return species[:: -(-len(species) // 8)][:8]


# ------------------------------------------------------------- Attribute2Image, Tables 1 and 2

MODELS = ("vae", "cvae", "discvae")
INFERENCE: dict[str, Any] = {"steps": 150, "lr": 0.3, "start": "prior", "restarts": 1}
INFERRED = 48  # test images: every so many, in order


def attribute2image_table1(study: Study) -> Path:
    """Errors of reconstruction and completion by VAE, CVAE and disCVAE, on LFW and CUB: z is
    inferred by optimisation, as in section 5.2.
    """
    runs: list[dict[str, Any]] = []
    sets: dict[str, Any] = {}
    sigma = get_recipe("cvae-lfw", study.profile).sigma  # all six recipes have the same
    inference = {**INFERENCE, "sigma": sigma, "images": INFERRED}
    for name, kind in (("lfw", "faces"), ("cub", "birds")):
        images = get_recipe(f"cvae-{name}", study.profile).load_data(study.data)
        sets[name] = _describe(images)
        rows = _rows(images, "test", INFERRED)
        x, mask = (part[rows].float() / 255 for part in (images.images, images.require_masks()))
        for seed in study.seeds:
            for model in MODELS:
                recipe = get_recipe(f"{model}-{name}", study.profile, seed=seed)
                release, card = study.trained(recipe, images)
                found = release.card["metrics"].get("inference", {})
                if found.get("settings") != inference:
                    outcomes = run_tasks(
                        release.model, x, images.attributes[rows], mask, TASKS[kind],
                        sigma=inference["sigma"], seed=seed, progress=study.progress, **INFERENCE,
                    )  # fmt: skip
                    tasks = {task: _whole_row(outcome) for task, outcome in outcomes.items()}
                    found = {"settings": inference, "tasks": tasks}
                    store_metrics(str(card), {"inference": found})
                measured = {"images": len(rows), "tasks": found["tasks"]}
                runs.append({"data": name, "model": model, **_stated(recipe, release), **measured})
    return study.write(
        "attribute2image-table1", {"inference": inference, "data": sets, "runs": runs}
    )


def _whole_row(outcome: Outcome) -> dict[str, Any]:
    """A column's means, and its mean squared error image by image: models are compared in pairs."""
    each = outcome.squared_error / outcome.values
    return {**outcome.row, "each": [float(f"{error:.5g}") for error in each]}


def attribute2image_table2(study: Study) -> Path:
    """Agreement of samples with the attributes asked for, by the released regressor: CVAE and
    disCVAE on LFW, beside nearest neighbours (appendix C).
    """
    images = get_recipe("cvae-lfw", study.profile).load_data(study.data)
    runs, protocol = [], {}
    for seed in study.seeds:
        for model in ("cvae", "discvae"):
            recipe = get_recipe(f"{model}-lfw", study.profile, seed=seed)
            release, card = study.trained(recipe, images)
            found = release.card["metrics"]
            if "appendix_c" not in found:
                found = measure(str(card), study.data, n=len(images), seed=seed)
                store_metrics(str(card), found)
            protocol = {key: found[key] for key in ("references", "samples_each")}
            runs.append({"model": model, **_stated(recipe, release), "rows": found["appendix_c"]})
    regressor = load("regressor-lfw", images.schema).card
    return study.write(
        "attribute2image-table2",
        {
            **protocol,
            "regressor": {key: regressor[key] for key in ("recipe", "sha256", "metrics")},
            "data": {"lfw": _describe(images)},
            "runs": runs,
        },
    )


# ------------------------------------------------------------- Pandey & Dukkipati, Tables 2 and 3

BOUNDED = ("cmma", "cmma-y", "matched-cvae")
SAMPLED = ("cmma", "matched-cvae", "cgan")
WINDOWS = {"windows": 100, "images": 200}  # samples an image; validation and test images each


def cmma_table2(study: Study) -> Path:
    """Bounds of log p(x | y) on LFW's test faces by CMMA, with h blind to y or not, and by the CVAE
    with the same networks; in nats, with all constants. Bits a value are those of a code for 8-bit
    images: of the bound at dequantised faces.

    `leads`: for each seed, by how much CMMA leads the CVAE, image by image.
    """
    images = get_recipe("cmma-lfw", study.profile).load_data(study.data)
    x, y, _ = images.tensors("test")
    runs, leads = [], []
    for seed in study.seeds:
        nats = {}
        for model in BOUNDED:
            recipe = get_recipe(f"{model}-lfw", study.profile, seed=seed)
            release, _ = study.trained(recipe, images)
            draw = torch.Generator().manual_seed(seed)
            found = variational_bound(release.model, x, y, draws=4, generator=draw)
            nats[model] = found.nats
            noisy = dequantise(unit_range(x), torch.Generator().manual_seed(seed))
            coded = variational_bound(release.model, noisy, y, draws=4, generator=draw).row
            bits = {key: coded[key] for key in ("bits_per_dimension", "bits_per_dimension_se")}
            bound = found.row | bits
            runs.append({"model": model, **_stated(recipe, release), "bound": bound})
        leads.append({"seed": seed, **_lead(nats["cmma"], nats["matched-cvae"])})
    return study.write(
        "cmma-table2",
        {
            "images": len(x),
            "values": x[0].numel(),
            "data": {"lfw": _describe(images)},
            "leads": leads,
            "runs": runs,
        },
    )


def cmma_table3(study: Study) -> Path:
    """Parzen windows on LFW's test faces around samples of CMMA, CVAE and CGAN, and around the mean
    training face, which is no model at all.

    `leads`: for each seed, by how much one of the paper's order leads the next.
    """
    images = get_recipe("cmma-lfw", study.profile).load_data(study.data)
    few = {split: _rows(images, split, WINDOWS["images"]) for split in ("val", "test")}
    val, test = ((images.images[r], images.attributes[r]) for r in few.values())
    mean = images.tensors("train")[0].float().mean(0) / 255

    def always_the_mean(y: Tensor, n: int) -> Tensor:
        return mean.expand(len(y) * n, -1, -1, -1)

    runs, leads = [], []
    for seed in study.seeds:
        found: dict[str, Parzen] = {}
        for model in SAMPLED:
            recipe = get_recipe(f"{model}-lfw", study.profile, seed=seed)
            release, _ = study.trained(recipe, images)
            draw = torch.Generator().manual_seed(seed)
            sampler = partial(release.model.sample, generator=draw)
            found[model] = parzen(sampler, val, test, WINDOWS["windows"], progress=study.progress)
            runs.append({"model": model, **_stated(recipe, release), "parzen": found[model].row})
        for better, worse in pairwise(SAMPLED):
            lead = _lead(found[better].nats, found[worse].nats)
            leads.append({"seed": seed, "models": [better, worse], **lead})
    return study.write(
        "cmma-table3",
        {
            **WINDOWS,
            "values": mean.numel(),
            "mean face": parzen(always_the_mean, val, test, 1).row,
            "data": {"lfw": _describe(images)},
            "leads": leads,
            "runs": runs,
        },
    )


def _lead(better: Tensor, worse: Tensor) -> dict[str, float]:
    """Mean of better - worse over images, with its standard error, in nats."""
    gap = better - worse
    return {"nats": float(gap.mean()), "nats_se": float(gap.std() / len(gap) ** 0.5)}


# ------------------------------------------------------------- Pandey & Dukkipati, Figures 4, 6, 7

EDIT = {"cmma": modify, "matched-cvae": redecode, "discvae": redecode}  # each model's own way
EDITED = (  # one at a time, added to those who lack it and taken from those who have it
    "Male", "Smiling", "Mouth_Slightly_Open", "Black_Hair", "Bangs", "Long_Hair", "Mustache",
    "Bushy_Eyebrows", "Big_Nose", "Big_Lips", "Eyeglasses", "Wearing_Hat",
)  # fmt: skip
FIGURE_4: dict[str, Any] = {  # the nearest to the paper's that drawn faces have
    "base": "Brown_Hair, No_Beard",
    "pair": ("Male", "Young"),
    "columns": (
        "Mouth_Slightly_Open", "Eyeglasses", "Bushy_Eyebrows", "Big_Nose", "Mustache", "Big_Lips",
    ),
}  # fmt: skip
PANEL = {"people": 100, "seed": 1003}  # to edit, of no training's seed
EDIT_STEPS = 1_500  # of each training, at most: there are three models by as many seeds


def edited_recipe(model: str, profile: str, seed: int) -> Recipe:
    """How a model of `EDIT` is trained for `cmma_edits`: all on the same drawings, equally long."""
    recipe, layered = (get_recipe(f"{m}-faces", profile, seed=seed) for m in (model, "discvae"))
    return replace(recipe, data=layered.data, steps=min(layered.steps, EDIT_STEPS))


def cmma_edits(study: Study) -> Path:
    """What CMMA's figures claim, on drawn faces, where the truth is known: edits of one panel of
    people against their true counterfactuals, the judge's logits of Figure 4's requests, and the
    bound, for CMMA, the CVAE with its networks, and disCVAE.

    `edits`: of all changes together ("all") and of each (+NAME added, -NAME removed), the share
    accomplished with its standard error over people, and the error outside in pixel units.
    `step`: how far each change moves the mean of p(z | y), in its deviations, a mean over people.
    `leads`: for each seed, by how much CMMA's bound leads the CVAE's, in nats, image by image.
    """
    world = get_world("faces")
    images = edited_recipe("cmma", study.profile, study.seeds[0]).load_data(progress=study.progress)
    size = images.images.shape[-1]
    x, y, _ = images.tensors("test")
    panel = world.sample(PANEL["people"], PANEL["seed"])
    changes = {}
    for name in EDITED:
        for on in (True, False):
            with suppress(ValueError):  # a small panel may have nobody to change
                changes[f"{'+' if on else '-'}{name}"] = counterfactual(
                    world, panel, {name: on}, size
                )
    nuisance = panel.nuisance[:1]

    def draw(wishes: Tensor) -> Tensor:  # the same sitter throughout
        factors = Factors(0.8 * wishes, nuisance.expand(len(wishes), -1))
        return world.render(factors, size).x

    runs, leads = [], []
    for seed in study.seeds:
        nats = {}
        for model, edit in EDIT.items():
            recipe = edited_recipe(model, study.profile, seed)
            release, _ = study.trained(recipe, images)
            net = release.model
            run = {
                "model": model,
                **_stated(recipe, release),
                "edits": _edits(partial(edit, net), changes),
                "step": {key: _step(net, change) for key, change in changes.items()},
                "rise": logit_rises(partial(net.sample, temperature=0.0)),
            }
            if model != "discvae":  # whose likelihood is another
                draws = torch.Generator().manual_seed(seed)
                found = variational_bound(net, x, y, generator=draws)
                nats[model] = found.nats
                run["bound"] = found.row
            runs.append(run)
        leads.append({"seed": seed, **_lead(nats["cmma"], nats["matched-cvae"])})
    return study.write(
        "cmma-edits",
        {
            "panel": PANEL,
            "edits": {key: len(change.x) for key, change in changes.items()},
            "size": size,
            "rise of the truth": logit_rises(draw),
            "data": {"faces": _describe(images)},
            "leads": leads,
            "runs": runs,
        },
    )


def _edits(editor: Editor, changes: dict[str, Counterfactual]) -> dict[str, Any]:
    """What `cmma_edits` says of one editor, by change and candidate."""
    scores = {key: score_editor(editor, change) for key, change in changes.items()}
    candidates = next(iter(scores.values()))
    scores["all"] = {c: EditScore.cat([s[c] for s in scores.values()]) for c in candidates}
    found: dict[str, Any] = {}
    for key, by_candidate in scores.items():
        found[key] = {}
        for candidate in ("redrawn", "edited", "pasted"):
            share, error = accomplished(by_candidate[candidate], by_candidate["copied"])
            outside = by_candidate[candidate].row["outside"]
            found[key][candidate] = {"share": share, "share_se": error, "outside": outside}
    return found


@torch.no_grad()
def _step(model: LatentImageModel, change: Counterfactual) -> float:
    before, after = model.prior(change.y), model.prior(change.y_true)
    return float(((after.mu - before.mu) / before.sigma).norm(dim=1).mean())


def logit_rises(draw: Callable[[Tensor], Tensor]) -> dict[str, float]:
    """By how much the released judge's logit of each of Figure 4's requests rises when it is made,
    a mean over the four rows, in nats.

    Args:
        draw: images for attribute vectors, (N, K) -> (N, 3, H, W).
    """
    schema = get_world("faces").schema
    base, pair, columns = FIGURE_4["base"], FIGURE_4["pair"], FIGURE_4["columns"]
    wishes = single_changes(schema, pair, columns, schema.encode(base))  # 4, 1 + columns, K
    judge = load("classifier-faces", schema).model
    pictures = interpolate(draw(wishes.flatten(0, 1)), judge.size, mode="bilinear")
    logits = predict(judge, pictures).unflatten(0, wishes.shape[:2])
    rises = (logits[:, 1:] - logits[:, :1]).mean(0)  # columns, K
    return {name: float(rises[i, schema.index(name)]) for i, name in enumerate(columns)}


TABLES: dict[str, Callable[[Study], Path]] = {
    "debbagh-table1": debbagh_table1,
    "attribute2image-table1": attribute2image_table1,
    "attribute2image-table2": attribute2image_table2,
    "cmma-table2": cmma_table2,
    "cmma-table3": cmma_table3,
    "cmma-edits": cmma_edits,
}
