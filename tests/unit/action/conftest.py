"""A hall with the rooms of this folder, and rooms that a test writes itself."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from moothall.services.identity.adapters import hashing
from moothall.testing import OpenHall, Visitor, open_test_hall
from tests.unit.action.scenes import ROOMS, forget_rooms, grant


@pytest.fixture(autouse=True)
def own_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget afterwards the rooms that a test wrote."""
    # A hall hashes one password when it opens; that would be a third of these tests' time.
    monkeypatch.setattr(hashing, "HASH_MEMORY_KIB", 64)
    with forget_rooms(tmp_path):
        yield


@pytest.fixture
async def hall(tmp_path: Path) -> AsyncIterator[OpenHall]:
    async with open_test_hall(tmp_path, functions=[ROOMS]) as opened:
        yield opened


@pytest.fixture
async def ada(hall: OpenHall) -> Visitor:
    return await hall.member("ada")


@pytest.fixture
async def librarian(hall: OpenHall) -> Visitor:
    """A member who may open the shelf 'open' and read what stands there, nothing else."""
    admin = await hall.administrator()
    visitor = await hall.member("libby")
    await grant(hall, admin, visitor, "librarian", "shelf/open")
    return visitor
