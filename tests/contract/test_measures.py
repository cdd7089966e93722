"""What a database measures of itself is listed, and moves with what it does."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from moothall.app.metrics import METRICS
from moothall.core.histogram import Histogram
from moothall.ports.database import Transaction
from moothall.ports.metrics import Measured
from tests.contract.databases import ADAPTERS, Adapter, OpenDatabase, opened, run_script

CALLS = 40
"""More than any engine carries out at once."""


@pytest.fixture(params=list(ADAPTERS.values()), ids=list(ADAPTERS))
def adapter(request: pytest.FixtureRequest) -> Adapter:
    chosen: Adapter = request.param
    return chosen


@pytest.fixture
async def database(adapter: Adapter, tmp_path: Path) -> AsyncIterator[OpenDatabase]:
    async with opened(adapter, tmp_path) as database:
        yield database


def commits(database: OpenDatabase) -> int:
    assert isinstance(database, Measured)
    measures = database.measures()
    for name, value in measures.items():
        assert isinstance(value, Histogram) == (METRICS[name].kind == "histogram")
    seconds, last = measures["commit_duration_seconds"], measures["commit_last_duration_seconds"]
    assert isinstance(seconds, Histogram)
    assert isinstance(last, float)
    assert (last > 0) == (sum(seconds.counts) > 0)
    return sum(seconds.counts)


async def insert(tx: Transaction) -> None:
    await tx.execute("INSERT INTO note (text) VALUES ('x')")


async def test_commits_are_counted(database: OpenDatabase) -> None:
    before = commits(database)
    await run_script(database, "CREATE TABLE note (text TEXT)")
    assert commits(database) == before + 1
    await database.write(insert)
    assert commits(database) == before + 2


async def test_who_waits_is_counted_and_nobody_waits_for_ever(database: OpenDatabase) -> None:
    assert isinstance(database, Measured)
    await run_script(database, "CREATE TABLE note (text TEXT)")
    tasks = [asyncio.create_task(database.write(insert)) for _ in range(CALLS)]
    most: list[float] = []
    while not all(task.done() for task in tasks):
        waiting = database.measures()["writes_waiting"]
        assert isinstance(waiting, int)
        most.append(waiting)
        await asyncio.sleep(0)
    assert 0 < max(most) <= CALLS
    assert database.measures()["writes_waiting"] == 0
