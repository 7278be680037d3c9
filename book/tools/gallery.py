"""The pictures of the first page, drawn by worlds and released weights when the book is built."""

from pathlib import Path

import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from a2i_lib import released
from a2i_lib.plots import image_grid
from a2i_lib.worlds import get_world

CHANGES = ["Smiling", "Eyeglasses", "Wearing_Hat", "Blond_Hair", "Goatee", "Bald", "Young"]
REQUESTS = [
    "Smiling, Young, Blond_Hair, Wavy_Hair",
    "Male, Eyeglasses, Gray_Hair, Goatee",
    "Wearing_Hat, Smiling, Black_Hair, Young",
    "Sunglasses, Brown_Hair, Bangs, Young",
]


def cover() -> Figure:
    """Two rows of each world: the first sixteen of seed 0."""
    rows = [
        get_world(name).render(get_world(name).sample(16, 0), 128).x for name in ("faces", "birds")
    ]
    return image_grid(torch.cat(rows), ncols=8)


def counterfactuals() -> Figure:
    """The same people, with one attribute turned over at a time."""
    world = get_world("faces")
    factors = world.sample(3, 4)
    columns = [world.render(factors, 128).x]
    for name in CHANGES:
        column = world.schema.index(name)
        turned = [
            world.render(
                world.counterfactual(
                    factors[i], name, bool(world.labels(factors[i])[0, column] < 0)
                ),
                128,
            ).x
            for i in range(3)
        ]
        columns.append(torch.cat(turned))
    return image_grid(
        torch.stack(columns, 1), columns=["as drawn", *(n.replace("_", " ") for n in CHANGES)]
    )


def layers() -> Figure:
    """x = x_f + g x_b, for one face and one bird."""
    rows = []
    for name in ("faces", "birds"):
        world = get_world(name)
        drawn = world.render(world.sample(1, 7), 128)
        gate = drawn.g.expand(-1, 3, -1, -1)
        rows.append(torch.cat([drawn.x, drawn.x_f, gate, drawn.x_b]))
    return image_grid(
        torch.stack(rows),
        rows=["face", "bird"],
        columns=["image x", "foreground x_f", "gate g", "background x_b"],
        scale=1.4,
    )


def requests() -> Figure:
    """What the released CVAE draws for four requests: six samples each."""
    release = released.load("cvae-faces")
    y = torch.stack([release.schema.encode(words) for words in REQUESTS])
    images = release.model.sample(y, 6, torch.Generator().manual_seed(0))
    words = [text.replace("_", " ").lower() for text in REQUESTS]
    return image_grid(images.unflatten(0, (len(REQUESTS), 6)), rows=words)


def draw_gallery(folder: Path) -> None:
    """Writes the pictures that `index.md` shows."""
    folder.mkdir(parents=True, exist_ok=True)
    for picture in (cover, counterfactuals, layers, requests):
        figure = picture()
        figure.savefig(folder / f"{picture.__name__}.png", dpi=150, bbox_inches="tight")
        plt.close(figure)
