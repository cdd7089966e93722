"""Rooms that a test writes are forgotten after it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from moothall.services.identity.adapters import hashing
from tests.unit.action.scenes import forget_rooms


@pytest.fixture(autouse=True)
def own_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # A hall hashes one password when it opens; that would be a third of these tests' time.
    monkeypatch.setattr(hashing, "HASH_MEMORY_KIB", 64)
    with forget_rooms(tmp_path):
        yield
