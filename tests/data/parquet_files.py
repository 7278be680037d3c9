"""Tiny Parquet files in the layouts that the readers read."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


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
