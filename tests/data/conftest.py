"""A tiny data set, made here; and where the real ones are, if they are."""

import os
from pathlib import Path

import pytest
import torch

from a2i_lib.attributes import Attribute, AttributeSchema
from a2i_lib.data import AttributeImages


@pytest.fixture
def toy():
    """30 images of 16x16, masks; 20 train, 4 val, 6 test. Pixel [0, 0, 0] is the row number."""
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


@pytest.fixture
def shared_data() -> Path:
    """The folder with the three real Parquet files: $A2I_SHARED, or beside the repository."""
    beside = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("A2I_SHARED", beside))
    if not (folder / "lfw.parquet").exists():
        pytest.skip(f"no real data at {folder}; set A2I_SHARED to the folder with lfw.parquet")
    return folder
