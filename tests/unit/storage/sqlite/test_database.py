"""The whole engine: power cuts, and the file between two runs."""

import asyncio
import os
from pathlib import Path
from random import Random

import apsw
import pytest

from moothall.storage.sqlite import SqliteBounds
from tests.unit.storage.sqlite.disk import Disk
from tests.unit.storage.sqlite.opening import FILE, ids, inserting, opened

SMALL = SqliteBounds(
    batch_calls_max=8,
    log_pages_wish=20,
    log_pages_max=60,
    # The power is cut on the loop's thread, while no commit is under way.
    commit_seconds_inline_max=60,
)


@pytest.mark.requirement("R36")
@pytest.mark.parametrize("seed", range(10))
async def test_a_power_cut_loses_nothing_acknowledged(tmp_path: Path, seed: int) -> None:
    """A disk that forgets what was not synced, or half of it, has all that was acknowledged."""
    random, disk = Random(seed), Disk()
    disk.keeps_synced = True
    acknowledged: list[int] = []
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    after.mkdir()

    async def write(number: int) -> None:
        await database.write(inserting(number, "x" * random.randrange(3_000)))
        acknowledged.append(number)
        if len(acknowledged) == cut_at:
            disk.cut_power(after, random)
            promised.extend(acknowledged)

    cut_at, promised = random.randrange(1, 300), list[int]()
    async with opened(before, SMALL, disk) as database:
        await asyncio.gather(*(write(number) for number in range(300)))
    async with opened(after) as again:
        found = await ids(again)
        assert set(promised) <= set(found), f"seed {seed}"
        rows = await again.read(lambda tx: tx.fetch_all("PRAGMA integrity_check"))
        assert rows == [("ok",)]


async def test_a_clean_end_leaves_one_file(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        await asyncio.gather(*(database.write(inserting(number)) for number in range(50)))
    assert os.listdir(tmp_path) == [FILE]  # noqa: PTH208 - a path's own way may not block here
    connection = apsw.Connection(str(tmp_path / FILE))
    assert connection.execute("SELECT count(*) FROM item").fetchall() == [(50,)]
    connection.close()


async def test_closing_twice_is_closing(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        await database.write(inserting(1))
        await database.close()
