"""The server goes away for a while: nodes say so, lose nothing, and go on by themselves."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from moothall.action.cursor import find_extent
from moothall.action.tail import STALE_SECONDS
from moothall.ports.database import Transaction
from moothall.testing import OpenHall, ProblemError, Visitor, open_test_hall
from tests.nodes.test_tail import ROOMS, follow, newest, send
from tests.servers.postgres import PostgresServer

WAIT_SECONDS_MAX = 30.0


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    one = PostgresServer(is_safe=True)
    yield one
    one.remove()


@pytest.fixture
async def hall(server: PostgresServer, tmp_path: Path) -> AsyncIterator[OpenHall]:
    name = f"outage_{abs(hash(str(tmp_path))):x}"
    server.run_sql(f"CREATE DATABASE {name}")
    async with open_test_hall(tmp_path, functions=[ROOMS], database=server.url(name)) as opened:
        yield opened


async def until_refused(hall: OpenHall, who: Visitor) -> ProblemError:
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while True:
            try:
                await hall.call("identity.get_self", as_=who)
            except ProblemError as error:
                if "lost sight" in str(error):
                    return error
            await asyncio.sleep(0.05)


async def until_served(hall: OpenHall, who: Visitor) -> None:
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while True:
            try:
                await send(hall, who, "a", "after")
            except ProblemError as error:
                if error.code != "unavailable":
                    raise
                await asyncio.sleep(0.02)
            else:
                return


@pytest.mark.requirement("R36")
async def test_the_server_is_away_and_comes_back(server: PostgresServer, hall: OpenHall) -> None:
    ada = await hall.member("ada")
    reader = await follow(hall, ada, "wire/a")
    await send(hall, ada, "a", "before")
    assert (await reader.next_event()).data == {"word": "before"}
    tail = hall.hall.foundation.tail
    assert tail is not None
    await asyncio.to_thread(server.stop)
    stopped = time.monotonic()
    refused = await until_refused(hall, ada)
    assert refused.code == "unavailable"
    assert time.monotonic() - stopped < STALE_SECONDS + 3.0
    assert tail.find_trouble() is not None
    await asyncio.to_thread(server.start)
    started = time.monotonic()
    await until_served(hall, ada)
    assert (await reader.next_event()).data == {"word": "after"}
    assert time.monotonic() - started < 5.0  # about one second on a machine that is not busy
    assert tail.find_trouble() is None


@pytest.mark.requirement("R36")
async def test_the_first_call_after_a_restart_succeeds(
    server: PostgresServer, hall: OpenHall
) -> None:
    ada = await hall.member("ada")
    await asyncio.gather(*(send(hall, ada, "a") for _ in range(20)))  # many connections
    server.restart()  # the loop does not turn meanwhile, so nobody sees connections end
    await asyncio.gather(*(send(hall, ada, "a") for _ in range(20)))
    assert len(await hall.events("wire/a")) == 40


@pytest.mark.requirement("R33")
async def test_no_cursor_lies_above_what_a_crash_leaves(
    server: PostgresServer, hall: OpenHall
) -> None:
    """Of numbers that were never committed the server keeps nothing, and gives them out again."""
    server.run_sql("ALTER SYSTEM SET wal_writer_delay = '10s'")
    server.run_sql("SELECT pg_reload_conf()")
    ada = await hall.member("ada")
    await send(hall, ada, "a", "before")
    before = await hall.hall.database.read(find_extent)

    async def take_and_fail(tx: Transaction) -> None:
        await tx.fetch_all("SELECT nextval('action_number') FROM generate_series(1, 200)")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await hall.hall.database.write(take_and_fail)
    extent = await hall.hall.database.read(find_extent)
    assert extent.last > before.last + 100
    tail = hall.hall.foundation.tail
    assert tail is not None
    await tail.look()
    highest = max(extent.settled, tail.settled)
    server.kill()
    server.start()
    await until_served(hall, ada)
    assert await newest(hall, "a") > highest
    reader = await follow(hall, ada, "wire/a", after=hall.cursor(highest))
    assert (await reader.next_event()).data == {"word": "after"}
