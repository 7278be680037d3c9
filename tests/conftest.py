"""What several tests share: where things are, and the rendered book."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def html() -> Path:
    """The book as `make test` renders it, before it runs these tests."""
    folder = ROOT / "_build" / "test" / "html"
    if not (folder / "index.html").exists():
        pytest.skip("the book is not built: `make test` builds it first")
    return folder
