"""The papers' tables on the papers' data: trained by one command, written as JSON for a chapter.

Only numbers and generated images leave this module; photographs stay where they are.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.utils import save_image

from a2i_lib import __version__
from a2i_lib.cards import USE
from a2i_lib.data.dataset import AttributeImages, did_you_mean
from a2i_lib.evaluation.rate import rate_distortion
from a2i_lib.models.vae import LatentImageModel
from a2i_lib.recipes import BETAS, get_recipe
from a2i_lib.training.checkpoint import write_whole

Table = Callable[[Path, str, Sequence[int], Path], Path]


def reproduce(name: str, data: Path, profile: str, seeds: Sequence[int], out: Path) -> Path:
    """Makes one of `TABLES`; returns the path of its JSON file.

    Args:
        data: root of the prepared data sets.
        profile: of the recipes.
        seeds: one run for each.
        out: folder for NAME.json and what goes with it.

    Raises:
        ValueError: unknown table, with the closest name.
        FileNotFoundError: data that is not prepared, with the command that prepares it.
    """
    if name not in TABLES:
        raise ValueError(f"unknown table {name!r}: {did_you_mean(name, TABLES)}")
    out.mkdir(parents=True, exist_ok=True)
    return TABLES[name](data, profile, seeds, out)


def write_run(out: Path, name: str, content: dict[str, Any]) -> Path:
    """Writes OUT/NAME.json whole or not at all; returns its path."""
    path = out / f"{name}.json"
    stated = {"name": name, "library": __version__, **content}
    write_whole(path, (json.dumps(stated, indent=1) + "\n").encode())
    return path


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


def debbagh_table1(data: Path, profile: str, seeds: Sequence[int], out: Path) -> Path:
    """Squared error and KL of the shallow CVAE under four betas, on CelebA and CUB, in the units
    of one image; and samples of the first seed, as OUT/debbagh-table1-NAME.png.
    """
    started = time.perf_counter()
    runs: list[dict[str, Any]] = []
    sets: dict[str, Any] = {}
    machine = ""
    for name in ("celeba", "cub"):
        images = get_recipe(f"shallow-beta-{name}", profile).load_data(data)
        sets[name] = _describe(images)
        wanted = _requests(images)
        rows = []
        for seed in seeds:
            for beta in BETAS:
                recipe = get_recipe(f"shallow-beta-{name}", profile, beta=beta, seed=seed)
                fitted = recipe.train(images)
                machine = fitted.history.machine
                model = fitted.model.cpu()
                runs.append(
                    {
                        "data": name,
                        "beta": beta,
                        "seed": seed,
                        "recipe": recipe.to_dict(),
                        "seconds": round(fitted.history.seconds, 1),
                        "train": _measure(model, images, "train", seed),
                        "test": _measure(model, images, "test", seed),
                    }
                )
                if seed == seeds[0]:
                    rows.append(model.sample(wanted, 1, torch.Generator().manual_seed(seed)))
        picture = out / f"debbagh-table1-{name}.png"
        save_image(torch.cat(rows), picture, nrow=len(wanted), padding=2, pad_value=1.0)
    seconds = round(time.perf_counter() - started, 1)
    named = " ".join(map(str, seeds))
    return write_run(
        out,
        "debbagh-table1",
        {
            "command": f"a2i reproduce debbagh-table1 --profile {profile} --seeds {named}",
            "machine": machine,
            "seconds": seconds,
            "betas": list(BETAS),
            "requests": list(CELEBA_REQUESTS),
            "data": sets,
            "runs": runs,
        },
    )


def _describe(data: AttributeImages) -> dict[str, Any]:
    """Where the data come from, and what no model should be worse than, in the units of an image:
    the squared error of one grey picture for all, and of the training mean.
    """
    train, test = (_some(data, split)[0].float() / 255 for split in ("train", "test"))
    return {
        "provenance": data.provenance,
        "use": USE[data.name],
        "images": {split: len(data.subset(split)) for split in ("train", "val", "test")},
        "measured": {"train": len(train), "test": len(test)},
        "values": train[0].numel(),
        "grey_squared_error": float((test - 0.5).pow(2).flatten(1).sum(1).mean()),
        "mean_squared_error": float((test - train.mean(0)).pow(2).flatten(1).sum(1).mean()),
    }


def _some(data: AttributeImages, split: str) -> tuple[Tensor, Tensor]:
    """At most `MEASURED` images of a split and their attributes: every so many, in order."""
    rows = data.subset(split)
    rows = rows[:: -(-len(rows) // MEASURED)]
    return data.images[rows], data.attributes[rows]


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


TABLES: dict[str, Table] = {"debbagh-table1": debbagh_table1}
