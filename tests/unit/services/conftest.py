"""Every test of a room has a hall of its own, real but for clock, chance and cost of a password."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from moothall.testing import OpenHall, Visitor, open_test_hall


@pytest.fixture
async def hall(tmp_path: Path) -> AsyncIterator[OpenHall]:
    """A fresh hall."""
    async with open_test_hall(tmp_path) as opened:
        yield opened


@pytest.fixture
async def boss(hall: OpenHall) -> Visitor:
    """The administrator of the hall."""
    return await hall.administrator("boss")
