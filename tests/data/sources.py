"""A source that is made here, and what `prepare` must make of any: the plain way, in memory."""

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from a2i_lib.attributes import Attribute, AttributeSchema
from a2i_lib.data import AttributeImages
from a2i_lib.data.pictures import open_picture, to_pixels
from a2i_lib.data.source import Report


class Drawn:
    """`n` noisy pictures as PNG bytes, which each call makes anew; row i depends on i alone.

    `bad` rows have bytes that are no image; `gone` ones a file that is not there.
    """

    def __init__(self, n, bad=(), gone=(), masks=True, side=12, name="drawn"):
        self.n, self.bad, self.gone, self.side, self.name = n, set(bad), set(gone), side, name
        generator = np.random.default_rng(n)
        self.schema = AttributeSchema([Attribute("Smiling"), Attribute("Age", "score")])
        self.attributes = generator.normal(size=(n, 2)).astype(np.float32)
        self.split = (np.arange(n) % 5 // 3).astype(np.int8)
        self.has_masks = masks
        self.provenance = {"source": "random numbers"}
        self.report = Report(n)

    def where(self, i):
        return f"drawn, row {i}"

    def picture(self, i):
        if i in self.gone:
            Path(f"/nowhere/{i}.jpg").read_bytes()
        if i in self.bad:
            return open_picture(b"nothing")
        noise = np.random.default_rng(i).integers(0, 256, (self.side, self.side, 3))
        return open_picture(png(noise))

    def mask(self, i):
        return Image.fromarray(np.full((self.side, self.side), 255 * (i % 2), dtype=np.uint8))


def png(pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.asarray(pixels).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def in_memory(source, size) -> AttributeImages:
    """The rows of a source whose pictures are good, one after the other, nothing on the disk."""
    rows, images, masks = [], [], []
    for i in range(len(source.split)):
        try:
            images.append(to_pixels(source.picture(i), size))
        except (ValueError, OSError):
            continue
        rows.append(i)
        if source.has_masks:
            masks.append(to_pixels(source.mask(i), size, mask=True))
    return AttributeImages(
        torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2),
        torch.from_numpy(source.attributes[rows]),
        torch.from_numpy(source.split[rows]),
        source.schema,
        torch.from_numpy(np.stack(masks))[:, None] if source.has_masks else None,
        source.name,
        source.provenance,
    )
