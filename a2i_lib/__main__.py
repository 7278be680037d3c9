"""`a2i data | train | sample | evaluate | reproduce`."""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path

from a2i_lib import __version__


def main(arguments: list[str] | None = None) -> int:
    """Parses the command line and runs one command; a mistake of the user's is one line, not a
    traceback.
    """
    parser = argparse.ArgumentParser(
        prog="a2i",
        description="Data, training, sampling and evaluation of the Attribute2Image book.",
    )
    parser.add_argument("--version", action="version", version=f"a2i_lib {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    from a2i_lib.data.cli import add_data_parser

    add_data_parser(commands)
    _add_train(commands)
    _add_sample(commands)
    _add_evaluate(commands)
    _add_reproduce(commands)
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except (ValueError, KeyError, RuntimeError, OSError, ImportError) as error:
        print(f"a2i {options.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def _add_train(commands: argparse._SubParsersAction) -> None:
    from a2i_lib.recipes import PROFILES, RECIPES

    parser = commands.add_parser(
        "train",
        help="train a recipe",
        description="Trains a recipe; run it again with --resume to go on where it stopped. "
        f"Recipes: {', '.join(RECIPES)}.",
    )
    parser.add_argument("recipe", help="name of the recipe, e.g. cvae-faces")
    parser.add_argument("--profile", default="cpu", help=f"one of {', '.join(PROFILES)}")
    parser.add_argument("--steps", type=int, help="instead of the recipe's")
    parser.add_argument("--seed", type=int, help="instead of the recipe's")
    parser.add_argument(
        "--batch-size", type=int, help="instead of the recipe's; several processes share it"
    )
    parser.add_argument(
        "--device", help="cpu, cuda, cuda:1, mps; default: a GPU where there is one"
    )
    parser.add_argument("--data", type=Path, default=Path("datasets"), help="root of prepared data")
    parser.add_argument(
        "--dataset",
        type=Path,
        metavar="FOLDER",
        help="train on this prepared data set instead of the recipe's, e.g. your own pictures",
    )
    parser.add_argument("--out", type=Path, help="folder (default runs/RECIPE-PROFILE)")
    parser.add_argument("--resume", action="store_true", help="go on from the folder's checkpoint")
    parser.add_argument("--no-progress", action="store_true", help="no progress bar")
    parser.set_defaults(run=_train)


def _train(options: argparse.Namespace) -> None:
    from a2i_lib.cards import write_release
    from a2i_lib.recipes import Drawn, get_recipe
    from a2i_lib.training.precision import pick_device
    from a2i_lib.training.processes import join, load_once

    wanted = {name: getattr(options, name) for name in ("steps", "seed", "batch_size")}
    changes = {name: value for name, value in wanted.items() if value is not None}
    recipe = get_recipe(options.recipe, options.profile, **changes)
    if options.dataset:
        recipe = recipe.on(options.dataset)
    state = join(pick_device(options.device))  # before any work
    out = options.out or Path("runs") / f"{recipe.name}-{recipe.profile}"
    checkpoint = out / "state.safetensors"
    if checkpoint.exists() and not options.resume:
        raise ValueError(f"{checkpoint} exists: add --resume to go on, or choose another --out")
    progress = not options.no_progress and state.is_main_process
    load = partial(recipe.load_data, options.data, progress)
    data = load_once(load, state) if isinstance(recipe.data, Drawn) else load()
    fitted = recipe.train(
        data,
        device=options.device,
        checkpoint=checkpoint,
        resume=options.resume,
        progress=progress,
    )
    if state.is_main_process:
        card = write_release(out, recipe, data, fitted)
        seconds, images = fitted.history.seconds, fitted.history.images
        rate = images / max(seconds, 1e-9)
        print(f"{card}: {recipe.steps} steps in {seconds:.0f} s ({rate:.0f} images/s)")
    state.destroy_process_group()


def _add_sample(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "sample",
        help="draw images with the attributes you ask for",
        description='Example: a2i sample cvae-faces --attributes "Smiling, not Male, Eyeglasses".',
    )
    parser.add_argument("weights", help="a release (cvae-faces) or the path of a card (.json)")
    parser.add_argument("--attributes", default="", help='e.g. "Smiling, not Male, Bangs=0.5"')
    parser.add_argument("--n", type=int, default=16, help="how many images")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--temperature", type=float, default=1.0, help="0 gives the mean face")
    parser.add_argument("--out", type=Path, default=Path("samples.png"))
    parser.set_defaults(run=_sample)


def _sample(options: argparse.Namespace) -> None:
    import torch
    from torchvision.utils import save_image

    from a2i_lib.released import load

    release = load(options.weights)
    if not hasattr(release.model, "sample"):
        raise ValueError(f"{options.weights} is a {type(release.model).__name__}: it cannot sample")
    generator = torch.Generator().manual_seed(options.seed)
    y = release.schema.encode(options.attributes)[None]
    images = release.model.sample(y, options.n, generator, options.temperature)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    save_image(images, options.out, nrow=8, padding=1, pad_value=1.0)
    asked = ", ".join(release.schema.describe(y[0])) or "no attribute asked for"
    print(f"{options.out}: {options.n} images, {asked}")


def _add_evaluate(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="measure a release on held-out data",
        description="Prints a release's numbers as JSON: predictors on real images, generators "
        "on samples judged by their predictor.",
    )
    parser.add_argument("weights", help="a release (cvae-faces) or the path of a card (.json)")
    parser.add_argument("--data", type=Path, default=Path("datasets"), help="root of prepared data")
    parser.add_argument("--n", type=int, default=2000, help="held-out images to use at most")
    parser.add_argument("--seed", type=int, default=0, help="of the samples")
    parser.add_argument("--predictor", help="release that judges (default: that of the data)")
    parser.add_argument("--write", action="store_true", help="also store the numbers in the card")
    parser.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> None:
    from a2i_lib.cards import measure, store_metrics

    metrics = measure(
        options.weights,
        root=options.data,
        n=options.n,
        seed=options.seed,
        predictor=options.predictor,
    )
    print(json.dumps(metrics, indent=2))
    if options.write:
        print(store_metrics(options.weights, metrics), file=sys.stderr)


def _add_reproduce(commands: argparse._SubParsersAction) -> None:
    from a2i_lib.recipes import PROFILES
    from a2i_lib.reproduce import TABLES

    parser = commands.add_parser(
        "reproduce",
        help="make a paper's table on your copy of its data",
        description="Trains what a paper's table needs and writes its numbers as JSON, from which "
        f"a chapter prints. Tables: {', '.join(TABLES)}.",
    )
    parser.add_argument("table", help=f"one of {', '.join(TABLES)}")
    parser.add_argument("--data", type=Path, default=Path("datasets"), help="root of prepared data")
    parser.add_argument("--profile", default="cpu", help=f"one of {', '.join(PROFILES)}")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="one run for each")
    parser.add_argument("--out", type=Path, help="folder (default: where released weights lie)")
    parser.add_argument(
        "--runs",
        type=Path,
        default=Path("runs"),
        help="where trained weights are kept: a stopped command goes on from there (default: runs)",
    )
    parser.add_argument("--no-progress", action="store_true", help="no progress bars")
    parser.set_defaults(run=_reproduce)


def _reproduce(options: argparse.Namespace) -> None:
    from a2i_lib.released import folder
    from a2i_lib.reproduce import Study, reproduce

    study = Study(
        options.data,
        options.profile,
        options.seeds,
        options.out or folder(),
        options.runs,
        not options.no_progress,
    )
    print(reproduce(options.table, study))


if __name__ == "__main__":
    sys.exit(main())
