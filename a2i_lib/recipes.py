"""Every training run of the book, by name and profile.

`smoke` takes seconds and proves that the code runs; `cpu` is what a chapter trains live on a
laptop; `gpu` has the papers' sizes; `release` is `cpu` with more steps and images: it made the
weights in `book/checkpoints/`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from a2i_lib.data.augment import Augment
from a2i_lib.data.dataset import AttributeImages
from a2i_lib.models import CGAN, build
from a2i_lib.models.cmma import GaussianAutoEncoder
from a2i_lib.training.loop import Fitted, Schedule, fit
from a2i_lib.training.updates import (
    Adam,
    AdversarialUpdate,
    AttributeUpdate,
    ElboUpdate,
    Game,
    LayeredElboUpdate,
    LearnedElboUpdate,
    Update,
    WeightedUpdate,
)
from a2i_lib.worlds import get_world

PROFILES = ("smoke", "cpu", "gpu", "release")


@dataclass(frozen=True)
class Drawn:
    """A data set drawn on the spot: `n` pictures of a world."""

    world: str
    n: int = 10_000
    size: int = 64
    seed: int = 0

    def load(self, root: Path, progress: bool = True) -> AttributeImages:
        world = get_world(self.world)
        return AttributeImages.from_world(world, self.n, self.seed, self.size, progress=progress)


@dataclass(frozen=True)
class Prepared:
    """A data set that the reader has prepared with `a2i data NAME`: the folder `NAME-SIZE` under
    the data root, or `NAME-SPLIT-SIZE` where the split is not the usual one.
    """

    name: str
    size: int = 64
    split: str | None = None

    def load(self, root: Path, progress: bool = True) -> AttributeImages:
        folder = root / "-".join(filter(None, (self.name, self.split, str(self.size))))
        if not folder.exists():
            split = f" --split {self.split}" if self.split else ""
            raise FileNotFoundError(
                f"{folder} is not there; prepare it with "
                f"'a2i data {self.name} --from FILE --size {self.size}{split} --out {folder}'"
            )
        return AttributeImages.load(folder)


@dataclass(frozen=True)
class Folder:
    """A data set of one's own choice, prepared with `a2i data`: a recipe made for other data is
    trained on it.

    Attributes:
        path: of its folder.
        size: side of its images.
        recipe: that the other settings come from.
    """

    path: str
    size: int
    recipe: str

    def load(self, root: Path, progress: bool = True) -> AttributeImages:
        return AttributeImages.load(self.path)


@dataclass(frozen=True)
class Recipe:
    """One training run, completely: what `a2i train NAME --profile PROFILE` does.

    Attributes:
        name: of the recipe; its release is `book/checkpoints/NAME.*`.
        profile: one of `PROFILES`.
        data: drawn or prepared; or a folder, see `on`.
        model: a name in `a2i_lib.models.MODELS`, with `settings` for its constructor.
        sigma: standard deviation of p(x | z, y) in pixel units; None for attribute predictors, for
            models that learn it themselves and for GANs.
        kl_weight: 1 for the variational bound.
        gate_weight: lambda_g of a layered model, 1 for the bound; None for models without layers.
        beta: trains under Debbagh's eq. 9 instead, which takes neither sigma nor kl_weight.
        game: how a GAN's discriminator is trained; None for all other models.
        steps, batch_size: length of the run.
        adam, schedule, ema: how the weights move.
        augment: applied on the device to training batches.
        seed: of everything random in training.
    """

    name: str
    data: Drawn | Prepared | Folder
    model: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    profile: str = "cpu"
    sigma: float | None = None
    kl_weight: float = 1.0
    gate_weight: float | None = None
    beta: float | None = None
    game: Game | None = None
    steps: int = 400
    batch_size: int = 64
    adam: Adam = Adam(rate=1e-3)
    schedule: Schedule = Schedule("cosine", warmup=50)
    ema: float = 0.999
    augment: Augment | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.beta is not None and self.sigma is not None:
            raise ValueError(f"recipe {self.name}: beta already says what sigma says; give one")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a card. A run is known by them, so that what a recipe does not use of
        fields that came later is left out.
        """
        plain = asdict(self)
        if self.game is None:
            del plain["game"]
        if isinstance(self.data, Prepared) and self.data.split is None:
            del plain["data"]["split"]
        return plain

    def on(self, folder: Path | str) -> Recipe:
        """The same training on another data set, named after it: `cvae-lfw` on a set called
        flowers becomes `cvae-flowers`.

        Raises:
            DataError: the folder holds no data set.
        """
        data = AttributeImages.load(folder)
        name = f"{self.name.rpartition('-')[0]}-{data.name}"
        return replace(self, name=name, data=Folder(str(folder), data.images.shape[-1], self.name))

    @property
    def command(self) -> str:
        """What to type to train it."""
        if isinstance(self.data, Folder):
            chosen = f"{self.data.recipe} --dataset {self.data.path}"
        else:
            chosen = self.name
        return f"a2i train {chosen} --profile {self.profile}"

    def load_data(self, root: Path | str = "datasets", progress: bool = True) -> AttributeImages:
        """Draws or opens the data; prepared sets lie under `root`."""
        return self.data.load(Path(root), progress)

    def build_model(self, attributes: int) -> nn.Module:
        """The untrained network, initialised from the recipe's seed."""
        with torch.random.fork_rng([]):
            torch.manual_seed(self.seed)
            return build(self.model, attributes, self.data.size, **self.settings)

    def build_game(self, attributes: int) -> tuple[nn.Module, nn.Module]:
        """A GAN's generator and discriminator, untrained.

        Raises:
            TypeError: the model has no opponent.
        """
        model = self.build_model(attributes)
        if not isinstance(model, CGAN):
            raise TypeError(f"recipe {self.name}: {type(model).__name__} has no discriminator")
        with torch.random.fork_rng([]):
            torch.manual_seed(self.seed + 1)
            return model, model.discriminator()

    def build_update(self, data: AttributeImages) -> Update:
        """Networks, objective and optimisers."""
        if self.game is not None:
            return AdversarialUpdate(*self.build_game(len(data.schema)), self.game, self.adam)
        model = self.build_model(len(data.schema))
        if isinstance(model, GaussianAutoEncoder):
            return LearnedElboUpdate(model, self.kl_weight, self.adam)
        if self.beta is not None:
            return WeightedUpdate(model, self.beta, self.adam)
        if self.sigma is None:
            return AttributeUpdate(model, data.schema, self.adam)
        if self.gate_weight is not None:
            return LayeredElboUpdate(model, self.sigma, self.gate_weight, self.adam)
        return ElboUpdate(model, self.sigma, self.kl_weight, self.adam)

    def train(self, data: AttributeImages, **options: Any) -> Fitted:
        """Trains as the recipe says; `options` go to `fit` (device, checkpoint, resume, progress,
        ...).
        """
        return fit(
            self.build_update(data),
            data,
            self.steps,
            self.batch_size,
            **{
                "seed": self.seed,
                "augment": self.augment,
                "schedule": self.schedule,
                "ema": self.ema,
                **options,
            },
        )


def _profiles(base: Recipe, **overrides: Mapping[str, Any]) -> dict[str, Recipe]:
    """A recipe in all profiles: `base` is `cpu`; smoke shrinks everything, gpu has the papers'
    full width.
    """
    data = replace(base.data, n=320, size=32) if isinstance(base.data, Drawn) else base.data
    settings = {**base.settings, "width": 0.125}
    smoke = replace(base, data=data, settings=settings, steps=6, batch_size=32)
    made = {"smoke": smoke, "cpu": base, "gpu": base, "release": base}
    for profile, changes in overrides.items():
        made[profile] = replace(made[profile], **changes)
    return {profile: replace(recipe, profile=profile) for profile, recipe in made.items()}


def _paper(latent: int = 256) -> dict[str, Any]:
    return {"width": 1.0, "latent": latent}


_QUARTER = {"width": 0.25, "latent": 64, "dropout": 0.0}


def _classifier(world: str, release_steps: int) -> dict[str, Recipe]:
    base = Recipe(
        f"classifier-{world}",
        Drawn(world, n=10_000, seed=100),
        "classifier",
        {"width": 0.5},
        steps=400,
        batch_size=128,
        adam=Adam(rate=2e-3, weight_decay=1e-5),
        schedule=Schedule("cosine", warmup=100),
        ema=0.99,
        augment=Augment(gain=0.03),
    )
    long = {"data": Drawn(world, n=25_000, seed=100), "steps": release_steps}
    return _profiles(base, gpu=long, release=long)


def _auto_encoder(
    model: str, world: str, sigma: float, steps: int, release_steps: int
) -> dict[str, Recipe]:
    base = Recipe(
        f"{model}-{world}",
        Drawn(world, n=8_000),
        model,
        {**_QUARTER, "norm": True, **({"dense": 1.0} if model == "cvae" else {})},
        sigma=sigma,
        steps=steps,
        batch_size=32,
        adam=Adam(rate=2e-3),
        schedule=Schedule("cosine", warmup=100),
    )
    large = Drawn(world, n=30_000)
    return _profiles(
        base,
        gpu={"data": large, "settings": {**_paper(), "norm": True}, "steps": 30_000},
        release={"data": large, "steps": release_steps},
    )


def _layered(world: str, latent_f: int, latent_b: int, release_steps: int) -> dict[str, Recipe]:
    quarter = {"width": 0.25, "dense": 1.0, "dropout": 0.0, "norm": True}
    base = Recipe(
        f"discvae-{world}",
        Drawn(world, n=8_000),
        "discvae",
        {**quarter, "latent_f": latent_f, "latent_b": latent_b},
        sigma=0.2,
        gate_weight=1.0,
        steps=350,
        batch_size=32,
        adam=Adam(rate=2e-3),
        schedule=Schedule("cosine", warmup=100),
    )
    large = Drawn(world, n=30_000)
    paper = {"width": 1.0, "latent_f": 4 * latent_f, "latent_b": 4 * latent_b, "norm": True}
    return _profiles(
        base,
        gpu={"data": large, "settings": paper, "steps": 30_000},
        release={"data": large, "steps": release_steps},
    )


def _weighted(network: str, name: str) -> dict[str, Recipe]:
    """Debbagh's study: beta is one of `BETAS`, chosen with get_recipe(..., beta=0.25).

    The paper names neither latent size nor widths, rate, batch or epochs: those here are ours.
    """
    model, settings = _WEIGHTED[network]
    drawn = name in ("faces", "birds")
    base = Recipe(
        f"{network}-beta-{name}",
        Drawn(name, n=4_000, size=32) if drawn else Prepared(name),
        model,
        settings,
        beta=0.5,
        steps=200 if drawn and network != "deep" else 150 if drawn else 450,
        batch_size=32,
        adam=Adam(rate=3e-3),
        schedule=Schedule("cosine", warmup=50),
        ema=0.99,
    )
    longer: dict[str, Any] = {"steps": 3_000}
    full = {**settings, "width": 1.0, "latent": 256 if network == "deep" else 128}
    large: dict[str, Any] = {"data": Drawn(name, n=20_000)} if drawn else {}
    return _profiles(
        base,
        gpu={**large, "settings": full, "steps": 4_000, "batch_size": 64},
        release=longer,
    )


BETAS = (0.25, 0.5, 0.75, 0.9)  # Debbagh, section 5.3
_WEIGHTED: dict[str, tuple[str, dict[str, Any]]] = {
    "shallow": ("shallow-cvae", {"width": 0.5, "latent": 64}),
    "prior": ("conditional-prior-cvae", {"width": 0.5, "latent": 64}),
    "deep": ("cvae", {**_QUARTER, "norm": True}),
}


def _photographs(
    name: str, latent_f: int, latent_b: int, augment: Augment, release_steps: int
) -> dict[str, Any]:
    """The three models of Attribute2Image's Table 1 on a prepared set, trained alike.

    The papers' augmentation is kept for `gpu`: sharpening and cropping slow a short training down.
    """
    common = {"width": 0.25, "dense": 1.0, "dropout": 0.2, "norm": True}
    whole = {"latent": latent_f + latent_b}
    parts = {"latent_f": latent_f, "latent_b": latent_b}
    made = {}
    for model, latents in (("vae", whole), ("cvae", whole), ("discvae", parts)):
        base = Recipe(
            f"{model}-{name}",
            Prepared(name),
            model,
            {**common, **latents},
            sigma=0.25,
            gate_weight=1.0 if model == "discvae" else None,
            steps=300,
            batch_size=32,
            adam=Adam(rate=2e-3),
            schedule=Schedule("cosine", warmup=100),
            augment=Augment(flip=0.5, gain=0.03),
        )
        paper = {
            "settings": {"width": 1.0, **{key: 4 * size for key, size in latents.items()}},
            "steps": 26_600,  # 90 epochs of LFW's 9,464 images
            "adam": Adam(rate=3e-4),
            "augment": augment,
        }
        made[base.name] = _profiles(base, gpu=paper, release={"steps": release_steps})
    return made


def _against_each_other(
    name: str, release_steps: int, game_steps: int | None = None
) -> dict[str, dict[str, Recipe]]:
    """The three models that CMMA's paper compares, trained alike; and CMMA whose h sees y. The GAN,
    whose steps cost twice as much, is released after `game_steps`, if those are given.

    Learning rate and batch size are open in the paper. Drawn worlds are 40 pixels large in a
    chapter, the least at which h ends with four by four features; 64 like the paper's elsewhere.
    """
    drawn = name in ("faces", "birds")
    photographs = Prepared(name, split="cmma" if name == "lfw" else None)
    live, large = Drawn(name, n=8_000, size=40), Drawn(name, n=30_000)
    quarter = {"width": 0.25, "latent": 64, "norm": True}
    made = {}
    for model in ("cmma", "cmma-y", "matched-cvae", "cgan"):
        paper = {"width": 1.0, "latent": 100 if model == "cgan" else 500}
        kept: dict[str, Any] = {
            "data": large if drawn else photographs,
            "steps": release_steps,
            "ema": 0.999,
        }
        own: dict[str, Any] = {"min_std": MIN_STD, "sees_y": model == "cmma-y"}
        adam = Adam(rate=1e-3, clip=CLIP)
        if model == "cgan":
            own, adam = {"dropout": 0.0, "spectral": True}, GAME.adam
            kept["steps"] = game_steps or release_steps
        elif drawn:
            kept["settings"] = {**quarter, **own, "min_std": WIDE}
            kept["adam"] = replace(adam, rate=2e-3)
        base = Recipe(
            f"{model}-{name}",
            live if drawn else photographs,
            "cmma" if model == "cmma-y" else model,
            {**quarter, **own},
            game=GAME if model == "cgan" else None,
            steps=320,
            batch_size=32,
            adam=adam,
            schedule=Schedule("cosine", warmup=50),
            ema=0.99,
            augment=None if drawn else Augment(flip=0.5),
        )
        made[base.name] = _profiles(
            base,
            gpu={
                "data": kept["data"],
                "settings": {**paper, **own, "norm": True},
                "steps": 15_000,
            },
            release=kept,
        )
    return made


MIN_STD = 0.02  # floor of a learned standard deviation: five grey levels of 255
WIDE = 0.2  # the floor of what is released for drawn worlds: chapter 08 says what that buys
CLIP = 1e4  # nats an image: only what a surprise at the floor's variance brings is longer
GAME = Game(mismatch=0.5, adam=Adam(rate=5e-4, betas=(0.5, 0.999)))


def _regressor(name: str) -> dict[str, Recipe]:
    base = Recipe(
        f"regressor-{name}",
        Prepared(name),
        "classifier",
        {"width": 0.5, "dropout": 0.3},
        steps=200,
        batch_size=128,
        adam=Adam(rate=1e-3, weight_decay=1e-4),
        ema=0.99,
        augment=Augment(flip=0.5, gain=0.03, soften=1.0),
    )
    return _profiles(base, gpu={"steps": 1_200}, release={"steps": 1_200})


RECIPES: dict[str, dict[str, Recipe]] = {
    "classifier-faces": _classifier("faces", release_steps=1_500),
    "classifier-birds": _classifier("birds", release_steps=4_000),
    "vae-faces": _auto_encoder("vae", "faces", sigma=0.1, steps=300, release_steps=2_000),
    "vae-birds": _auto_encoder("vae", "birds", sigma=0.1, steps=300, release_steps=2_000),
    "cvae-faces": _auto_encoder("cvae", "faces", sigma=0.2, steps=320, release_steps=8_000),
    "cvae-birds": _auto_encoder("cvae", "birds", sigma=0.2, steps=320, release_steps=3_000),
    "discvae-faces": _layered("faces", latent_f=48, latent_b=16, release_steps=8_000),
    "discvae-birds": _layered("birds", latent_f=32, latent_b=32, release_steps=3_000),
    **_photographs("lfw", 48, 16, Augment.lfw(), release_steps=3_000),
    **_photographs("cub", 32, 32, Augment.cub(), release_steps=1_500),
    **_against_each_other("faces", release_steps=6_000, game_steps=4_000),
    **_against_each_other("birds", release_steps=6_000, game_steps=4_000),
    **_against_each_other("lfw", release_steps=1_500),
    **_against_each_other("celeba", release_steps=1_500),
    **{f"regressor-{name}": _regressor(name) for name in ("lfw", "celeba")},
    **{
        f"{network}-beta-{name}": _weighted(network, name)
        for network in _WEIGHTED
        for name in ("faces", "birds", "celeba", "cub")
    },
}


def get_recipe(name: str, profile: str = "cpu", **changes: Any) -> Recipe:
    """A recipe by name; `changes` replace single fields (steps=100, seed=1, ...).

    Raises:
        ValueError: unknown recipe or profile, with the closest names.
    """
    if name not in RECIPES:
        raise ValueError(_unknown("recipe", name, RECIPES))
    if profile not in RECIPES[name]:
        raise ValueError(_unknown("profile", profile, RECIPES[name]))
    return replace(RECIPES[name][profile], **changes)


def recipe_of(card: Mapping[str, Any]) -> Recipe:
    """The recipe that a release was trained by, from its card.

    Raises:
        ValueError: the library has no such recipe any more.
    """
    made = card["recipe"]
    if "path" not in made["data"]:
        return get_recipe(made["name"], made["profile"])
    data = Folder(**made["data"])
    return replace(get_recipe(data.recipe, made["profile"]), name=made["name"], data=data)


def _unknown(what: str, name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, n=2, cutoff=0.4)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    return f"unknown {what} {name!r}{hint} (known: {', '.join(known)})"
