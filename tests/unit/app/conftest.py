"""Rooms that a test writes are forgotten after it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.action.scenes import forget_rooms


@pytest.fixture(autouse=True)
def own_modules(tmp_path: Path) -> Iterator[None]:
    with forget_rooms(tmp_path):
        yield
