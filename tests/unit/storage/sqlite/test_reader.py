"""Reads: where they run, what they see, and when they are stopped."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from moothall.core.errors import (
    DeadlineExceededError,
    OverloadedError,
    StorageUnavailableError,
)
from moothall.ports.database import Row, Transaction
from moothall.storage.sqlite import SqliteBounds
from tests.unit.storage.sqlite.opening import SLOW, come, ids, inserting, opened

STEPS = 3_000_000
"""Far more than 1 ms allows."""

WAIT_S = 30
COUNT = "SELECT count(*) FROM item"


def name_of_thread() -> str:
    return threading.current_thread().name


class LongRead:
    """A read that is driven off the loop's thread, and then waits there for the test."""

    def __init__(self) -> None:
        self.has_begun = threading.Event()
        self.may_end = threading.Event()
        self.runs = 0

    async def work(self, tx: Transaction) -> tuple[Any, Any]:
        self.runs += 1
        before = await tx.fetch_one(COUNT)
        if name_of_thread() == "MainThread":
            await tx.fetch_one(SLOW, STEPS)
            raise AssertionError("it was not interrupted")
        self.has_begun.set()
        assert self.may_end.wait(WAIT_S)
        return before, await tx.fetch_one(COUNT)


async def test_a_short_read_runs_where_it_stands(tmp_path: Path) -> None:
    async def work(tx: Transaction) -> str:
        await tx.fetch_one(COUNT)
        return name_of_thread()

    # A busy machine may take the processor away for longer than 1 ms.
    async with opened(tmp_path, SqliteBounds(read_seconds_inline_max=60)) as database:
        reading = database.read(work)
        with pytest.raises(StopIteration) as caught:
            reading.send(None)
        assert caught.value.value == "MainThread"


async def test_reads_of_one_round_share_a_snapshot_that_ends_with_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        statements: list[str] = []

        def note(_cursor: apsw.Cursor, sql: str, _bindings: Any) -> bool:
            statements.append(sql)
            return True

        database._reader._inline.connection.exec_trace = note
        await asyncio.gather(*(ids(database) for _ in range(3)))
        await asyncio.sleep(0)
        assert [sql.split()[0] for sql in statements] == [
            "BEGIN",
            *("SELECT" for _ in range(3)),
            "ROLLBACK",
        ]
        # Who was told that a write is durable reads it, whoever else reads meanwhile.
        for number in range(50):
            readers = [asyncio.create_task(ids(database)) for _ in range(3)]
            await database.write(inserting(number))
            assert len(await ids(database)) == number + 1
            await asyncio.gather(*readers)


async def test_a_long_read_is_stopped_and_run_again_on_a_thread(tmp_path: Path) -> None:
    threads: list[str] = []

    async def work(tx: Transaction) -> Row | None:
        threads.append(name_of_thread())
        return await tx.fetch_one(SLOW, STEPS)

    async with opened(tmp_path) as database:
        assert await database.read(work) == (STEPS,)
        assert threads[0] == "MainThread"
        assert threads[1].startswith("moothall-read")
        assert len(threads) == 2
        # The connection on the loop's thread is as good as new.
        assert await ids(database) == []


async def test_a_long_read_leaves_the_loop_free(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        long = LongRead()
        task = asyncio.create_task(database.read(long.work))
        await come(long.has_begun)
        for number in range(20):
            await database.write(inserting(number))
            assert len(await ids(database)) == number + 1
        assert not task.done()
        long.may_end.set()
        assert await task == ((0,), (0,))
        assert long.runs == 2


async def test_one_read_sees_one_state(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        await database.write(inserting(1))
        long = LongRead()
        task = asyncio.create_task(database.read(long.work))
        await come(long.has_begun)
        await database.write(inserting(2))
        assert len(await ids(database)) == 2
        long.may_end.set()
        assert await task == ((1,), (1,))


async def test_a_read_that_is_never_done_is_stopped(tmp_path: Path) -> None:
    async with opened(tmp_path, SqliteBounds(read_seconds_max=0.05)) as database:
        with pytest.raises(DeadlineExceededError, match=r"longer than 0\.05 s"):
            await database.read(lambda tx: tx.fetch_one(SLOW, 10**12))
        # Its thread is free again.
        tasks = [database.read(lambda tx: tx.fetch_one(COUNT)) for _ in range(10)]
        assert await asyncio.gather(*tasks) == [(0,)] * 10


async def test_waiting_for_a_thread_counts(tmp_path: Path) -> None:
    async with opened(tmp_path, SqliteBounds(read_seconds_max=0.1)) as database:
        outcomes = await asyncio.gather(
            *(database.read(lambda tx: tx.fetch_one(SLOW, 10**12)) for _ in range(12)),
            return_exceptions=True,
        )
        assert {type(outcome) for outcome in outcomes} == {DeadlineExceededError}


async def test_too_many_long_reads_are_refused(tmp_path: Path) -> None:
    async with opened(tmp_path, SqliteBounds(reads_waiting_max=4)) as database:
        longs = [LongRead() for _ in range(6)]
        tasks = [asyncio.create_task(database.read(long.work)) for long in longs]
        await come(longs[1].has_begun)
        for long in longs:
            long.may_end.set()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert outcomes[:4] == [((0,), (0,))] * 4
        assert [type(outcome) for outcome in outcomes[4:]] == [OverloadedError] * 2


async def test_a_caller_of_a_long_read_may_leave(tmp_path: Path) -> None:
    async with opened(tmp_path, SqliteBounds(reads_waiting_max=1)) as database:
        long = LongRead()
        task = asyncio.create_task(database.read(long.work))
        await come(long.has_begun)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        long.may_end.set()
        assert await database.read(lambda tx: tx.fetch_one(SLOW, STEPS)) == (STEPS,)


def closing_cases() -> dict[str, Callable[[LongRead], None]]:
    return {"running": lambda _long: None, "over": lambda long: long.may_end.set()}


@pytest.mark.parametrize("prepare", closing_cases().values(), ids=closing_cases().keys())
async def test_close_waits_for_long_reads(
    tmp_path: Path, prepare: Callable[[LongRead], None]
) -> None:
    async with opened(tmp_path) as database:
        long = LongRead()
        task = asyncio.create_task(database.read(long.work))
        await come(long.has_begun)
        prepare(long)
        closing = asyncio.create_task(database._reader.close())
        await asyncio.sleep(0)
        if not long.may_end.is_set():
            with pytest.raises(StorageUnavailableError, match="closing"):
                await database.read(LongRead().work)
            assert not closing.done()
        long.may_end.set()
        assert await task == ((0,), (0,))
        await closing
