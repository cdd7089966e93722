"""The whole engine: power cuts, and the file between two runs."""

import asyncio
import os
from pathlib import Path
from random import Random

import apsw
import pytest

from moothall.core.errors import StorageUnavailableError
from moothall.storage.sqlite import SqliteBounds
from moothall.testing import SimulatedDisk
from tests.unit.storage.sqlite.opening import FILE, connection_of, ids, inserting, opened

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
    random, disk = Random(seed), SimulatedDisk()
    acknowledged: list[int] = []
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()

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


@pytest.mark.requirement("R36")
async def test_a_restart_after_a_failed_sync_makes_safe_what_it_reads(tmp_path: Path) -> None:
    """Systems forget what they could not write, and show it all the same until the power goes."""
    before, after, disk = tmp_path / "before", tmp_path / "after", SimulatedDisk()
    before.mkdir()
    failures: list[BaseException] = []
    async with opened(before, disk=disk, on_sync_failure=failures.append) as database:
        await database.write(inserting(1))
        disk.breaks = {"-wal"}
        with pytest.raises(StorageUnavailableError, match="failed to sync"):
            await database.write(inserting(2))
        assert len(failures) == 1
        # The process ends here; closing would move the log into the file.
        connection_of(database).config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    disk.mend()
    async with opened(before, disk=disk) as database:
        assert await ids(database) == [1, 2]
        await database.write(inserting(3))
        disk.cut_power(after, Random(0))
    async with opened(after) as database:
        assert await ids(database) == [1, 2, 3]


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
