"""Tiny data sets and tiny Parquet files, made here; and where the real ones are, if they are."""

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from a2i_lib.attributes import Attribute, AttributeSchema
from a2i_lib.data import AttributeImages


@pytest.fixture
def toy():
    """30 images of 16x16, three attributes, masks; 20 train, 4 val, 6 test. Pixel [0, 0, 0] is the row number."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (30, 3, 16, 16), generator=generator).to(torch.uint8)
    images[:, 0, 0, 0] = torch.arange(30).to(torch.uint8)
    return AttributeImages(
        images=images,
        attributes=torch.randn(30, 3, generator=generator),
        split=torch.tensor([0] * 20 + [1] * 4 + [2] * 6, dtype=torch.int8),
        schema=AttributeSchema(
            [Attribute("Smiling"), Attribute("Male"), Attribute("Age", "score")]
        ),
        masks=(torch.rand(30, 1, 16, 16, generator=generator) > 0.5).to(torch.uint8) * 255,
        name="toy",
        provenance={"source": "random numbers"},
    )


def encoded(pixels: np.ndarray, format: str = "PNG") -> dict[str, object]:
    """An image cell as the `datasets` library writes it."""
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, format)
    return {"bytes": buffer.getvalue(), "path": f"picture.{format.lower()}"}


def picture(value: int, height: int = 16, width: int = 16) -> dict[str, object]:
    """A plain picture whose every byte is `value`."""
    return encoded(np.full((height, width, 3), value))


def write_parquet(path: Path, columns: dict[str, list], names: list[str] | None = None) -> Path:
    """A Parquet file; `names` become `attribute_names` of its metadata."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    table = pa.table(columns)
    if names is not None:
        table = table.replace_schema_metadata({"a2i": json.dumps({"attribute_names": names})})
    pq.write_table(table, path, row_group_size=7)
    return path


def lfw_columns(n: int = 40) -> dict[str, list]:
    generator = np.random.default_rng(0)
    return {
        "image": [picture(i) for i in range(n)],
        "mask": [encoded(np.full((16, 16), 255 * (i % 2))) for i in range(n)],
        "person": [f"Person_{i // 2}" for i in range(n)],
        "view1": ["train"] * (n - 10) + ["test"] * 10,
        "attributes": generator.integers(0, 2, (n, 3)).tolist(),
        "scores_estimated": generator.normal(2.0, 3.0, (n, 3)).tolist(),
    }


LFW_NAMES = ["Male", "Smiling", "Bald"]


@pytest.fixture
def shared_data() -> Path:
    """The folder with lfw.parquet, celeba.parquet and cub.parquet: $A2I_SHARED, or beside the repository."""
    beside = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("A2I_SHARED", beside))
    if not (folder / "lfw.parquet").exists():
        pytest.skip(f"no real data at {folder}; set A2I_SHARED to the folder with lfw.parquet")
    return folder
