"""Two calls at the same time: what each engine promises, and what a call must lock for it.

Two works meet in the middle, so that what can go wrong does. On SQLite the second one waits for
the first, which is why the tests state the outcome and not the way to it. Where a work leaves its
lock out, PostgreSQL shows the anomaly by its name: so each test is known to be able to fail.

The names are those of Berenson et al., "A Critique of ANSI SQL Isolation Levels" (1995), and of
Adya, "Weak Consistency" (1999).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from moothall.core.codes import Code
from moothall.core.errors import ActionError
from moothall.ports.database import Transaction
from moothall.storage.postgres.transaction import PostgresTransaction
from tests.contract.databases import (
    ADAPTERS,
    Adapter,
    OpenDatabase,
    open_postgres,
    opened,
    run_script,
)

pytestmark = pytest.mark.requirement("R103")

SCHEMA = """
CREATE TABLE account (id BIGINT PRIMARY KEY, value BIGINT NOT NULL);
CREATE TABLE ward (id BIGINT PRIMARY KEY);
CREATE TABLE doctor (id BIGINT PRIMARY KEY, ward_id BIGINT NOT NULL, is_on_call BIGINT NOT NULL);
INSERT INTO account VALUES (1, 50), (2, 50);
INSERT INTO ward VALUES (1);
INSERT INTO doctor VALUES (1, 1, 1), (2, 1, 1);
"""

GET = "SELECT value FROM account WHERE id = $1"
SET = "UPDATE account SET value = $2 WHERE id = $1"
BLOCKED = """
SELECT 1 FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' LIMIT 1
"""

Step = Callable[[Transaction], Awaitable[Any]]


class RefusedError(ActionError):
    """A refusal, as rooms raise them."""

    code = Code.FAILED_PRECONDITION


class Meeting:
    """Lets two works be in the middle at the same time, if nothing keeps one of them out."""

    def __init__(self) -> None:
        self._came = 0
        self.begun = asyncio.Event()
        self._over = asyncio.Event()

    async def wait(self, tx: Transaction) -> None:
        """Wait for the other work, or until it is seen to wait for a lock."""
        self._came += 1
        self.begun.set()
        if self._came == 2:
            self._over.set()
        await pause(tx, self._over)

    async def watch(self, database: OpenDatabase) -> None:
        """End the meeting when one work waits for a lock of the other."""
        while not await database.read(lambda tx: tx.fetch_one(BLOCKED)):  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.002)
        self._over.set()

    def end(self) -> None:
        """Let whoever comes later pass: the other one has ended."""
        self._over.set()


async def pause(tx: Transaction, until: asyncio.Event) -> None:
    """Wait in the middle of a work, as if a statement took so long.

    Not on SQLite, where a work runs to its end in one step.
    """
    if isinstance(tx, PostgresTransaction):
        tx.is_waiting = True
        await until.wait()
        tx.is_waiting = False


@pytest.fixture(params=list(ADAPTERS.values()), ids=list(ADAPTERS))
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OpenDatabase]:
    adapter: Adapter = request.param
    async with opened(adapter, tmp_path) as database:
        await run_script(database, SCHEMA)
        yield database


@pytest.fixture
async def postgres(tmp_path: Path) -> AsyncIterator[OpenDatabase]:
    async with opened(open_postgres, tmp_path) as database:
        await run_script(database, SCHEMA)
        yield database


async def run_both(database: OpenDatabase, meeting: Meeting, *works: Awaitable[Any]) -> list[Any]:
    """Run calls at the same time; return what each returned or raised."""

    async def run(work: Awaitable[Any]) -> Any:
        try:
            return await work
        finally:
            meeting.end()

    watch = None
    if database.engine == "postgres":
        watch = asyncio.get_running_loop().create_task(meeting.watch(database))
    try:
        return await asyncio.gather(*(run(work) for work in works), return_exceptions=True)
    finally:
        if watch is not None:
            watch.cancel()


async def value(tx: Transaction, number: int) -> int:
    row = await tx.fetch_one(GET, number)
    assert row is not None
    return int(row[0])


async def values(database: OpenDatabase) -> tuple[int, int]:
    async def both(tx: Transaction) -> tuple[int, int]:
        return await value(tx, 1), await value(tx, 2)

    return await database.read(both)


# --- What holds without a lock --------------------------------------------------------------------


async def test_no_dirty_write(database: OpenDatabase) -> None:
    """G0: of two calls that write the same rows in opposite order, one is last in all of them."""
    meeting = Meeting()

    def writing(mark: int, *order: int) -> Step:
        async def work(tx: Transaction) -> None:
            await tx.execute(SET, order[0], mark)
            await meeting.wait(tx)
            await tx.execute(SET, order[1], mark)

        return work

    ended = await run_both(
        database,
        meeting,
        database.write(writing(7, 1, 2)),
        database.write(writing(8, 2, 1)),
    )
    assert ended == [None, None], "a deadlock is run again"
    assert await values(database) in {(7, 7), (8, 8)}


async def test_no_dirty_read(database: OpenDatabase) -> None:
    """G1a, aborted read: what is rolled back was never seen."""
    meeting = Meeting()

    async def aborts(tx: Transaction) -> None:
        await tx.execute(SET, 1, 999)
        await meeting.wait(tx)
        raise RefusedError

    async def reads(tx: Transaction) -> int:
        seen = await value(tx, 1)
        await meeting.wait(tx)
        return seen

    _, seen = await run_both(database, meeting, database.write(aborts), database.read(reads))
    assert seen == 50


async def test_no_intermediate_read(database: OpenDatabase) -> None:
    """G1b: a call's changes are seen together or not at all."""
    meeting = Meeting()

    async def changes_twice(tx: Transaction) -> None:
        await tx.execute(SET, 1, 999)
        await meeting.wait(tx)
        await tx.execute(SET, 1, 60)

    async def reads(tx: Transaction) -> int:
        seen = await value(tx, 1)
        await meeting.wait(tx)
        return seen

    works = database.write(changes_twice), database.read(reads)
    _, seen = await run_both(database, meeting, *works)
    assert seen in {50, 60}
    assert (await values(database))[0] == 60


async def test_no_read_skew_within_a_read(database: OpenDatabase) -> None:
    """A5A, G-single: all statements of a READ see one state."""
    meeting, moved = Meeting(), asyncio.Event()

    async def reads(tx: Transaction) -> int:
        first = await value(tx, 1)
        await meeting.wait(tx)
        await pause(tx, moved)
        return first + await value(tx, 2)

    async def moves(tx: Transaction) -> None:
        await meeting.wait(tx)
        await tx.execute(SET, 1, 10)
        await tx.execute(SET, 2, 90)

    async def move() -> None:
        await database.write(moves)
        moved.set()

    total, _ = await run_both(database, meeting, database.read(reads), move())
    assert total == 100


# --- What a lock is for ---------------------------------------------------------------------------


def adding(meeting: Meeting, *, is_locked: bool) -> Step:
    """Read a number and write one more."""

    async def work(tx: Transaction) -> None:
        read = tx.lock_rows if is_locked else tx.fetch_all
        [(seen,)] = await read(GET, 1)
        await meeting.wait(tx)
        await tx.execute(SET, 1, seen + 1)

    return work


async def test_no_update_is_lost_where_rows_are_locked(database: OpenDatabase) -> None:
    """P4: both additions count."""
    meeting = Meeting()
    works = [database.write(adding(meeting, is_locked=True)) for _ in range(2)]
    assert await run_both(database, meeting, *works) == [None, None]
    assert (await values(database))[0] == 52


async def test_an_update_is_lost_without_the_lock(postgres: OpenDatabase) -> None:
    meeting = Meeting()
    works = [postgres.write(adding(meeting, is_locked=False)) for _ in range(2)]
    assert await run_both(postgres, meeting, *works) == [None, None]
    assert (await values(postgres))[0] == 51


def checking_the_sum(meeting: Meeting, *, is_locked: bool) -> Step:
    """Return the sum of two rows that are read one after the other, in a WRITE."""

    async def work(tx: Transaction) -> int:
        if is_locked:
            await tx.lock_rows("SELECT id FROM account ORDER BY id")
        first = await value(tx, 1)
        await meeting.wait(tx)
        return first + await value(tx, 2)

    return work


async def move_beside(database: OpenDatabase, *, is_locked: bool) -> int:
    """Return which sum a WRITE sees while 40 are moved from one row to the other."""
    meeting = Meeting()

    async def moves(tx: Transaction) -> None:
        await tx.execute(SET, 1, 10)
        await tx.execute(SET, 2, 90)

    async def move() -> None:
        if database.engine == "postgres":
            await meeting.begun.wait()
        await database.write(moves)

    checking = database.write(checking_the_sum(meeting, is_locked=is_locked))
    total, _ = await run_both(database, meeting, checking, move())
    return int(total)


async def test_no_read_skew_within_a_write_that_locks(database: OpenDatabase) -> None:
    assert await move_beside(database, is_locked=True) == 100


async def test_read_skew_within_a_write_without_the_lock(postgres: OpenDatabase) -> None:
    assert await move_beside(postgres, is_locked=False) == 140


PROTECTIONS = ["parent", "name"]


async def protect(tx: Transaction, by: str) -> None:
    """Lock the parent of a set of rows, or a name, or nothing."""
    if by == "parent":
        await tx.lock_rows("SELECT id FROM ward WHERE id = 1")
    elif by == "name":
        await tx.lock("doctors.ward:1")


def hiring(meeting: Meeting, number: int, by: str) -> Step:
    """Add a doctor to a ward that takes three."""

    async def work(tx: Transaction) -> None:
        await protect(tx, by)
        row = await tx.fetch_one("SELECT count(*) FROM doctor WHERE ward_id = 1")
        await meeting.wait(tx)
        assert row is not None
        if row[0] >= 3:
            raise RefusedError
        await tx.execute("INSERT INTO doctor VALUES ($1, 1, 0)", number)

    return work


async def hire_two(database: OpenDatabase, by: str) -> list[bool]:
    """Let two be hired at the same time; return which of them were refused."""
    meeting = Meeting()
    works = [database.write(hiring(meeting, number, by)) for number in (3, 4)]
    ended = await run_both(database, meeting, *works)
    return sorted(isinstance(each, RefusedError) for each in ended)


@pytest.mark.parametrize("by", PROTECTIONS)
async def test_no_phantom_where_the_parent_or_a_name_is_locked(
    database: OpenDatabase, by: str
) -> None:
    """P3: of two who take the last place, one gets it."""
    assert await hire_two(database, by) == [False, True]


async def test_a_phantom_without_the_lock(postgres: OpenDatabase) -> None:
    assert await hire_two(postgres, "nothing") == [False, False]


def going_off(meeting: Meeting, number: int, by: str) -> Step:
    """Let a doctor go off call, if another one stays."""

    async def work(tx: Transaction) -> None:
        await protect(tx, by)
        sql = "SELECT id FROM doctor WHERE is_on_call = 1 AND id <> $1"
        others = await tx.fetch_all(sql, number)
        await meeting.wait(tx)
        if not others:
            raise RefusedError
        await tx.execute("UPDATE doctor SET is_on_call = 0 WHERE id = $1", number)

    return work


async def count_left(database: OpenDatabase, by: str) -> int:
    """Let both doctors go off call at the same time; return how many are left."""
    meeting = Meeting()
    await run_both(
        database, meeting, *(database.write(going_off(meeting, each, by)) for each in (1, 2))
    )
    rows = await database.read(
        lambda tx: tx.fetch_all("SELECT id FROM doctor WHERE is_on_call = 1")
    )
    return len(rows)


@pytest.mark.parametrize("by", PROTECTIONS)
async def test_no_write_skew_where_the_parent_or_a_name_is_locked(
    database: OpenDatabase, by: str
) -> None:
    """A5B, G2-item: one doctor stays on call."""
    assert await count_left(database, by) == 1


async def test_write_skew_without_the_lock(postgres: OpenDatabase) -> None:
    assert await count_left(postgres, "nothing") == 0


async def test_of_two_who_insert_the_same_key_the_second_sees_the_first(
    database: OpenDatabase,
) -> None:
    """A check before an insertion needs no lock where a key is unique."""
    meeting = Meeting()

    async def takes(tx: Transaction) -> str:
        found = await tx.fetch_one("SELECT 1 FROM ward WHERE id = 9")
        await meeting.wait(tx)
        if found is not None:
            return "taken"
        await tx.execute("INSERT INTO ward VALUES (9)")
        return "got it"

    ended = await run_both(database, meeting, *(database.write(takes) for _ in range(2)))
    assert sorted(ended) == ["got it", "taken"]
