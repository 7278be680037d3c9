"""Widgets are known to ipywidgets until they are closed: none outlives its module's tests."""

from collections.abc import Iterator

import pytest
from ipywidgets import Widget


@pytest.fixture(scope="module", autouse=True)
def closed_afterwards() -> Iterator[None]:
    yield
    Widget.close_all()
