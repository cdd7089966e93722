"""Writes that change the same take turns before they take a connection of PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from moothall.core.errors import OverloadedError, StorageUnavailableError
from moothall.ports.database import Transaction
from moothall.storage.postgres import PostgresBounds, PostgresDatabase, read_address
from tests.contract.databases import make_postgres, run_script

LANE_WRITERS = 2
BOUNDS = PostgresBounds(writers=6, lane_writers=LANE_WRITERS)
ADD = "UPDATE counter SET value = value + 1 WHERE id = $1"


@pytest.fixture
async def url(tmp_path: Path) -> str:
    return await make_postgres(tmp_path)


@pytest.fixture
async def database(url: str) -> AsyncIterator[PostgresDatabase]:
    database = await PostgresDatabase.open(read_address(url), bounds=BOUNDS)
    try:
        await run_script(
            database,
            "CREATE TABLE counter (id BIGINT PRIMARY KEY, value BIGINT NOT NULL);"
            "INSERT INTO counter VALUES (1, 0), (2, 0)",
        )
        yield database
    finally:
        await database.close()


class Crowd:
    """Writes to one row, of which it notes how many run at once."""

    def __init__(self) -> None:
        self.running = 0
        self.most = 0

    async def add(self, tx: Transaction) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await tx.execute(ADD, 1)
        finally:
            self.running -= 1


async def test_few_writes_of_one_lane_run_at_once(database: PostgresDatabase) -> None:
    crowd = Crowd()
    await asyncio.gather(*(database.write(crowd.add, lane="board/kart") for _ in range(40)))
    row = await database.read(lambda tx: tx.fetch_one("SELECT value FROM counter WHERE id = 1"))
    assert row == (40,)
    assert crowd.most <= LANE_WRITERS
    assert database._lanes._lanes == {}, "nobody waits, so nothing is remembered"


async def test_writes_without_a_lane_take_more(database: PostgresDatabase) -> None:
    crowd = Crowd()
    await asyncio.gather(*(database.write(crowd.add) for _ in range(40)))
    assert crowd.most > LANE_WRITERS


async def test_other_lanes_go_on_while_one_waits_for_a_lock(
    database: PostgresDatabase, url: str
) -> None:
    other = await PostgresDatabase.open(read_address(url))
    is_held, may_end = asyncio.Event(), asyncio.Event()

    async def hold(tx: Transaction) -> None:
        await tx.execute(ADD, 1)
        is_held.set()
        tx.is_waiting = True  # type: ignore[attr-defined] # as if a statement took so long
        await may_end.wait()

    async def add(tx: Transaction) -> None:
        await tx.execute(ADD, 2)

    try:
        holding = asyncio.create_task(other.write(hold))
        await is_held.wait()
        waiting = [
            asyncio.create_task(database.write(Crowd().add, lane="board/kart"))
            for _ in range(2 * BOUNDS.writers)
        ]
        await asyncio.gather(*(database.write(add, lane=f"board/{n}") for n in range(20)))
        assert not any(task.done() for task in waiting)
        may_end.set()
        await asyncio.gather(holding, *waiting)
    finally:
        await other.close()
    row = await database.read(lambda tx: tx.fetch_all("SELECT value FROM counter ORDER BY id"))
    assert row == [(2 * BOUNDS.writers + 1,), (20,)]


async def test_who_waits_too_long_in_a_lane_is_refused(
    url: str, database: PostgresDatabase
) -> None:
    hasty = await PostgresDatabase.open(
        read_address(url), bounds=replace(BOUNDS, lane_writers=1, wait_seconds_max=0.05)
    )
    is_held, may_end = asyncio.Event(), asyncio.Event()

    async def hold(tx: Transaction) -> None:
        await tx.execute(ADD, 1)
        is_held.set()
        tx.is_waiting = True  # type: ignore[attr-defined] # as above
        await may_end.wait()

    try:
        holding = asyncio.create_task(hasty.write(hold, lane="board/kart"))
        await is_held.wait()
        with pytest.raises(StorageUnavailableError, match="change the same"):
            await hasty.write(Crowd().add, lane="board/kart")
        may_end.set()
        await holding
        await hasty.write(Crowd().add, lane="board/kart")
        assert (hasty._lanes._lanes, hasty._lanes.waiting) == ({}, 0)
    finally:
        await hasty.close()


async def test_one_lane_cannot_take_all_that_may_wait(database: PostgresDatabase, url: str) -> None:
    bounds = replace(BOUNDS, lane_writers=1, lane_calls_max=3)
    small = await PostgresDatabase.open(read_address(url), bounds=bounds)
    is_held, may_end = asyncio.Event(), asyncio.Event()

    async def hold(tx: Transaction) -> None:
        await tx.execute(ADD, 1)
        is_held.set()
        tx.is_waiting = True  # type: ignore[attr-defined] # as above
        await may_end.wait()

    async def add(tx: Transaction) -> None:
        await tx.execute(ADD, 2)

    try:
        holding = asyncio.create_task(small.write(hold, lane="board/kart"))
        await is_held.wait()
        waiting = [asyncio.create_task(small.write(add, lane="board/kart")) for _ in range(2)]
        for _ in range(20):  # turns of the loop, until both are in line
            await asyncio.sleep(0)
        with pytest.raises(OverloadedError, match="change the same"):
            await small.write(add, lane="board/kart")
        await small.write(add, lane="board/golf")
        await small.write(add)
        assert small.measures()["writes_waiting_in_lanes"] == 2
        may_end.set()
        await asyncio.gather(holding, *waiting)
    finally:
        await small.close()
    row = await database.read(lambda tx: tx.fetch_all("SELECT value FROM counter ORDER BY id"))
    assert row == [(1,), (4,)]
