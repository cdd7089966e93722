"""What every lease promises (``ports/lease.py``): never two holders, and soon another one."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar, cast

import pytest

from moothall.action.jobs import SoleHolder
from moothall.action.migrations import migrate
from moothall.ports.database import Database, Transaction
from moothall.ports.lease import Lease
from moothall.storage.postgres import RowLease
from moothall.testing import ManualClock
from tests.contract.databases import OpenDatabase, open_postgres

T = TypeVar("T")

pytestmark = pytest.mark.requirement("R36")

LEASE_SECONDS = 0.4
RENEW_SECONDS = 0.1
WAIT_SECONDS_MAX = 20.0


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[OpenDatabase]:
    opened = await open_postgres(tmp_path)
    await migrate(opened, ManualClock(), [], opened.engine)
    yield opened
    await opened.close()


class SlowAnswers:
    """A database whose answers to writes come late: the node is paused, or its network is."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.has_done = asyncio.Event()

    async def write(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        result = await self._database.write(work)
        self.has_done.set()
        await self.may_answer.wait()
        return result


def lease_of(database: object, holder: str) -> RowLease:
    return RowLease(
        cast("Database", database),
        holder,
        lease_seconds=LEASE_SECONDS,
        renew_seconds=RENEW_SECONDS,
    )


async def until_held(lease: Lease) -> float:
    """Return how long it took until a lease was held."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while not lease.is_held():  # noqa: ASYNC110 - a lease tells nobody
            await asyncio.sleep(0.002)
    return loop.time() - began


async def test_a_process_that_is_alone_holds_it_until_the_end(database: OpenDatabase) -> None:
    for lease in (SoleHolder(), RowLease(database, "one")):
        await lease.start()
        assert lease.is_held()
        await lease.close()


async def test_nobody_holds_it_before_they_asked(database: OpenDatabase) -> None:
    assert not lease_of(database, "one").is_held()


async def test_it_is_renewed(database: OpenDatabase) -> None:
    one, two = lease_of(database, "one"), lease_of(database, "two")
    await one.start()
    await two.start()
    await asyncio.sleep(3 * LEASE_SECONDS)  # longer than it lasts by itself
    assert one.is_held()
    assert not two.is_held()
    for lease in (one, two):
        await lease.close()


async def test_who_closes_lets_another_one_have_it_at_once(database: OpenDatabase) -> None:
    one = RowLease(database, "one")
    two = RowLease(database, "two", renew_seconds=0.01)
    await one.start()
    await two.start()
    assert not two.is_held()
    await one.close()
    assert not one.is_held()
    assert await until_held(two) < 4.0  # a lease lasts for eight seconds
    await two.close()


async def test_who_closes_believes_in_it_no_more_before_another_can_have_it(
    database: OpenDatabase,
) -> None:
    slow = SlowAnswers(database)
    one, two = lease_of(slow, "one"), lease_of(database, "two")
    await one.start()
    slow.has_done.clear()
    slow.may_answer.clear()
    closing = asyncio.create_task(one.close())
    await slow.has_done.wait()
    await two.start()
    assert two.is_held()
    assert not one.is_held()
    slow.may_answer.set()
    await closing
    await two.close()


async def test_who_is_gone_is_followed_when_the_lease_has_run_out(database: OpenDatabase) -> None:
    gone, two = lease_of(database, "gone"), lease_of(database, "two")
    await gone._ask()  # and never again
    began = asyncio.get_running_loop().time()
    await two.start()
    assert not two.is_held()
    await until_held(two)
    assert asyncio.get_running_loop().time() - began >= LEASE_SECONDS - 0.05
    assert not gone.is_held()
    await two.close()


async def test_an_answer_that_comes_too_late_is_not_believed(database: OpenDatabase) -> None:
    slow = SlowAnswers(database)
    one, two = lease_of(slow, "one"), lease_of(database, "two")
    slow.may_answer.clear()
    starting = asyncio.create_task(one.start())
    await slow.has_done.wait()
    await two.start()
    await until_held(two)
    slow.may_answer.set()
    await starting
    assert not one.is_held()
    assert two.is_held()
    for lease in (one, two):
        await lease.close()


async def test_whose_time_has_run_out_is_told(database: OpenDatabase) -> None:
    gone, is_lost = lease_of(database, "gone"), asyncio.Event()
    await gone._ask()  # and never again
    gone.on_lost = is_lost.set
    assert gone.is_held()
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        await is_lost.wait()
    assert not gone.is_held()


async def test_who_is_deposed_is_told_when_they_ask(database: OpenDatabase) -> None:
    one, is_lost = (
        RowLease(database, "one", lease_seconds=60.0, renew_seconds=0.01),
        asyncio.Event(),
    )
    await one.start()
    one.on_lost = is_lost.set
    assert one.is_held()
    await database.write(lambda tx: tx.execute("UPDATE action_lease SET holder = 'two'"))
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        await is_lost.wait()
    assert not one.is_held()
    await one.close()


@pytest.mark.parametrize("seed", range(3))
async def test_never_two_at_once(database: OpenDatabase, seed: int) -> None:
    chance = random.Random(seed)
    slow = [SlowAnswers(database) for _ in range(3)]
    leases = [lease_of(each, str(number)) for number, each in enumerate(slow)]
    loop = asyncio.get_running_loop()
    began = loop.time()
    held_by: set[int] = set()

    def is_going() -> bool:
        """For three seconds, or longer on a machine that is slow."""
        passed = loop.time() - began
        return passed < 3.0 or (len(held_by) < 2 and passed < WAIT_SECONDS_MAX)

    async def pause(database: SlowAnswers) -> None:
        while is_going():
            database.may_answer.clear()
            await asyncio.sleep(chance.uniform(0, 1.5 * LEASE_SECONDS))
            database.may_answer.set()
            await asyncio.sleep(chance.uniform(0, LEASE_SECONDS))

    async def watch() -> None:
        while is_going():
            holders = [number for number, lease in enumerate(leases) if lease.is_held()]
            assert len(holders) <= 1, f"seed {seed}: {holders} hold it"
            held_by.update(holders)
            await asyncio.sleep(0.001)

    for lease in leases:
        await lease.start()
    await asyncio.gather(watch(), *map(pause, slow))
    assert len(held_by) > 1, f"seed {seed}: it never changed hands"
    for lease in leases:
        await lease.close()
