"""Checkpoints: off the loop's thread, and the log stays bounded."""

import asyncio
import dataclasses
import itertools
import threading
from pathlib import Path

import apsw
import pytest

from moothall.core.errors import StorageUnavailableError
from moothall.storage.sqlite import SqliteBounds, SqliteDatabase
from moothall.testing import SimulatedDisk
from tests.unit.storage.sqlite.opening import FILE, SLOW, come, ids, inserting, opened
from tests.unit.storage.sqlite.test_reader import LongRead

WISH, MAX = 50, 200
SMALL = SqliteBounds(log_pages_wish=WISH, log_pages_max=MAX, read_seconds_max=30)
PAGE = "x" * 4_000
WAIT_S = 30


def log_pages(database: SqliteDatabase) -> int:
    return database._writer.log_pages


async def idle(database: SqliteDatabase) -> None:
    """Return when no checkpoint runs."""
    task = database._checkpointer._task
    if task is not None:
        await task


async def test_checkpoints_run_on_their_own_thread(tmp_path: Path) -> None:
    disk = SimulatedDisk()
    # On a busy machine a COMMIT can seem slow enough for a thread of its own.
    bounds = dataclasses.replace(SMALL, commit_seconds_inline_max=60)
    async with opened(tmp_path, bounds, disk) as database:
        size_bytes = (tmp_path / FILE).stat().st_size
        disk.writers.clear()
        for number in range(3 * WISH):
            await database.write(inserting(number, PAGE))
        await idle(database)
        assert disk.writers[".sqlite"] == {"moothall-checkpoint_0"}
        assert disk.writers[".sqlite-wal"] == {"MainThread"}
        assert (tmp_path / FILE).stat().st_size > size_bytes


async def test_a_checkpoint_holds_up_neither_writes_nor_reads(tmp_path: Path) -> None:
    disk = SimulatedDisk()
    has_come, may_go = threading.Event(), threading.Event()

    def hold(_name: str) -> None:
        if threading.current_thread().name.startswith("moothall-checkpoint"):
            has_come.set()
            assert may_go.wait(WAIT_S)

    async with opened(tmp_path, SMALL, disk) as database:
        disk.before_sync = hold
        numbers = itertools.count()
        while not has_come.is_set():
            await database.write(inserting(next(numbers), PAGE))
        for _ in range(20):
            number = await database.write(inserting(next(numbers), PAGE))
            assert (await ids(database))[-1] == number
        may_go.set()


@pytest.mark.parametrize("with_reads", [False, True], ids=["alone", "with long reads"])
async def test_the_log_stays_bounded_under_load(tmp_path: Path, *, with_reads: bool) -> None:
    """Long reads overlap, so that at no moment the log is free of readers by chance."""
    highest, restarts, is_over = 0, 0, False
    numbers = itertools.count()

    async def write(database: SqliteDatabase) -> None:
        nonlocal highest, restarts
        before = log_pages(database)
        while restarts < 5:
            await database.write(inserting(next(numbers), PAGE))
            pages = log_pages(database)
            highest = max(highest, pages)
            restarts += pages < before
            before = pages

    async def read(database: SqliteDatabase) -> None:
        while not is_over:
            assert await database.read(lambda tx: tx.fetch_one(SLOW, 100_000)) == (100_000,)

    async with opened(tmp_path, SMALL) as database:
        readers = [asyncio.create_task(read(database)) for _ in range(3 if with_reads else 0)]
        await asyncio.gather(*(write(database) for _ in range(4)))
        is_over = True
        await asyncio.gather(*readers)
    assert restarts >= 5
    # What comes while the last readers end has no place but the log.
    assert highest < 40 * MAX


async def test_the_writer_never_waits_for_a_reader(tmp_path: Path) -> None:
    async with opened(tmp_path, SMALL) as database:
        long, next_long = LongRead(), LongRead()
        reading = asyncio.create_task(database.read(long.work))
        await come(long.has_begun)
        numbers = itertools.count()
        while log_pages(database) < 2 * MAX:
            await database.write(inserting(next(numbers), PAGE))
        # The checkpoint waits for the reader by now, the next long read for the checkpoint.
        waiting = asyncio.create_task(database.read(next_long.work))
        for _ in range(20):
            await database.write(inserting(next(numbers), PAGE))
        assert not next_long.has_begun.is_set()
        long.may_end.set()
        next_long.may_end.set()
        await asyncio.gather(reading, waiting)
        await idle(database)
        await database.write(inserting(next(numbers)))
        assert log_pages(database) < WISH


async def test_another_programs_reader_is_not_waited_for(tmp_path: Path) -> None:
    async with opened(tmp_path, SMALL) as database:
        other = apsw.Connection(str(tmp_path / FILE), flags=apsw.SQLITE_OPEN_READONLY)
        other.execute("BEGIN; SELECT count(*) FROM item").fetchall()
        numbers = itertools.count()
        while log_pages(database) < 2 * MAX:
            await database.write(inserting(next(numbers), PAGE))
        await idle(database)
        assert await database.write(inserting(next(numbers))) > 0
        other.close()
        # A checkpoint that met the other reader last fails still; the next one does not.
        for _ in range(10):
            for _ in range(2 * WISH):
                await database.write(inserting(next(numbers), PAGE))
            await idle(database)
            await database.write(inserting(next(numbers)))
            if log_pages(database) < MAX:
                return
        raise AssertionError("the log was never started anew")


async def test_a_failed_sync_of_a_checkpoint_stops_everything(tmp_path: Path) -> None:
    disk, failed = SimulatedDisk(), asyncio.Event()

    async def write_on(database: SqliteDatabase) -> None:
        for number in range(10 * WISH):
            await database.write(inserting(number, PAGE))

    async with opened(
        tmp_path, SMALL, disk, on_sync_failure=lambda _error: failed.set()
    ) as database:
        disk.breaks = {FILE}
        with pytest.raises(StorageUnavailableError, match="failed to sync"):
            await write_on(database)
        assert failed.is_set()
        disk.breaks = set()


async def test_a_checkpoint_that_finds_no_room_is_tried_later(tmp_path: Path) -> None:
    disk = SimulatedDisk()
    async with opened(tmp_path, SMALL, disk) as database:
        numbers = itertools.count()
        while database._checkpointer._task is None:
            await database.write(inserting(next(numbers), PAGE))
        disk.is_full = True
        with pytest.raises(StorageUnavailableError):
            await database.write(inserting(next(numbers), PAGE))
        await idle(database)
        disk.is_full = False
        for _ in range(3 * WISH):
            await database.write(inserting(next(numbers), PAGE))
        await idle(database)
        assert (tmp_path / FILE).stat().st_size > WISH * 4_096
