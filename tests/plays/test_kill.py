"""A hall is killed at random moments under load; what it has acknowledged stays, once.

More kills: ``python -m tests.plays.kill_load --kills 200 --seed 1``.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.plays.kill_load import KilledHall, kill_many

KILLS = {1: 13, 2: 13, 3: 12, 4: 12}
"""Kills by seed: four parts, so that they can run at the same time."""


@pytest.fixture
async def hall(tmp_path: Path) -> AsyncIterator[KilledHall]:
    hall = KilledHall(tmp_path / "hall")
    yield hall
    await hall.leave()


@pytest.mark.requirement("R34")
@pytest.mark.requirement("R36")
@pytest.mark.timeout(300)  # a dozen starts of a real hall, on a machine that may be busy
@pytest.mark.parametrize("seed", KILLS)
async def test_what_was_acknowledged_stays_once(hall: KilledHall, seed: int) -> None:
    report = await kill_many(hall, KILLS[seed], seed)
    print(f"seed {seed}: {report}")  # noqa: T201
