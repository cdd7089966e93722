"""Callers that leave, connections that break, others in the way: nothing is lost or leaks."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from moothall.core.errors import DeadlineExceededError, OverloadedError, StorageUnavailableError
from moothall.ports.database import Row, Transaction
from moothall.storage.postgres import PostgresBounds, PostgresDatabase, read_address
from moothall.storage.postgres.pool import Pool
from tests.contract.databases import run_script
from tests.servers.postgres import drop_database, make_database

pytestmark = pytest.mark.requirement("R36")

WAIT_SECONDS_MAX = 20.0
STEPS = 40
"""Turns of the loop within which a short call has ended."""

BOUNDS = PostgresBounds(
    writers=3,
    readers=2,
    wait_seconds_max=1.0,
    statement_seconds_max=2.5,  # it may wait for two locks, one after the other
    lock_seconds_max=1.0,
    answer_seconds_max=4.0,
)
SCHEMA = """
CREATE TABLE counter (id BIGINT PRIMARY KEY, value BIGINT NOT NULL);
INSERT INTO counter VALUES (1, 0), (2, 0);
"""
ADD = "UPDATE counter SET value = value + 1 WHERE id = $1"


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    name = f"faults_{abs(hash(str(tmp_path))):x}"
    yield await make_database(name)
    await drop_database(name)


@asynccontextmanager
async def opened(url: str, bounds: PostgresBounds = BOUNDS) -> AsyncIterator[PostgresDatabase]:
    database = await PostgresDatabase.open(read_address(url), bounds=bounds)
    try:
        yield database
    finally:
        await database.close()


@pytest.fixture
async def database(url: str) -> AsyncIterator[PostgresDatabase]:
    async with opened(url) as database:
        await run_script(database, SCHEMA)
        yield database


@pytest.fixture
async def other(url: str) -> AsyncIterator[Any]:
    """Another program."""
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


def adding(number: int = 1) -> Any:
    async def work(tx: Transaction) -> None:
        await tx.execute(ADD, number)

    return work


async def value(database: PostgresDatabase, number: int = 1) -> int:
    row = await database.read(
        lambda tx: tx.fetch_one("SELECT value FROM counter WHERE id = $1", number)
    )
    assert row is not None
    return int(row[0])


async def until_waiting(other: Any, what: str, count: int = 1) -> list[int]:
    """Return the process ids of the hall's connections once so many wait for something."""
    sql = (
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'moothall' "
        "AND datname = current_database() AND state = 'active' AND wait_event_type = $1"
    )
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while len(rows := await other.fetch(sql, what)) < count:
            await asyncio.sleep(0.01)
            await other.execute("SELECT pg_stat_clear_snapshot()")  # kept for a transaction
    return [row[0] for row in rows]


def check_clean(pool: Pool, size: int) -> None:
    """Check that all connections came back, and that none is in a transaction."""
    assert pool._free._value == size
    assert pool.waiting == 0
    for connection in pool._idle:
        assert not connection.is_in_transaction()


# --- Callers that leave ---------------------------------------------------------------------------


@pytest.mark.parametrize("is_fresh", [False, True], ids=["known", "fresh"])
async def test_a_caller_may_leave_a_read_at_any_moment(
    url: str, database: PostgresDatabase, other: Any, *, is_fresh: bool
) -> None:
    async def work(tx: Transaction) -> list[Row]:
        await tx.fetch_one("SELECT 1")
        await tx.nested(lambda: tx.fetch_one("SELECT 2"))
        return await tx.fetch_all("SELECT value FROM counter ORDER BY id")

    for step in range(STEPS):
        async with opened(url) if is_fresh else _same(database) as used:
            task = asyncio.create_task(used.read(work))
            for _ in range(step):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert await used.read(work) == [(0,), (0,)], f"after step {step}"
            check_clean(used._readers, BOUNDS.readers)
    rows = await other.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'moothall' "
        "AND datname = current_database() AND state <> 'idle'"
    )
    assert rows == 0


@asynccontextmanager
async def _same(database: PostgresDatabase) -> AsyncIterator[PostgresDatabase]:
    yield database


async def test_a_caller_may_leave_a_write_at_any_moment(database: PostgresDatabase) -> None:
    done = 0
    for step in range(STEPS):
        task = asyncio.create_task(database.write(adding()))
        for _ in range(step):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        done += 1
        await database.write(adding(2))
    await asyncio.gather(*database._running)
    assert await value(database) <= done
    assert await value(database, 2) == STEPS
    check_clean(database._writers, BOUNDS.writers)


async def test_a_connection_that_cannot_be_prepared_is_closed(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Any] = []

    async def fail(connection: Any, *_arguments: object, **_options: object) -> None:
        kept.append(connection)
        raise OSError

    async with opened(url) as database:
        monkeypatch.setattr(asyncpg.Connection, "set_type_codec", fail)
        with pytest.raises(StorageUnavailableError):
            await database.read(lambda tx: tx.fetch_one("SELECT 1"))
        assert all(connection.is_closed() for connection in kept)
        assert kept


# --- Others in the way ----------------------------------------------------------------------------


async def test_when_all_writers_wait_for_one_row_reads_go_on(
    url: str, database: PostgresDatabase, other: Any
) -> None:
    await other.execute("BEGIN; SELECT 1 FROM counter WHERE id = 1 FOR UPDATE")
    calls = [asyncio.create_task(database.write(adding())) for _ in range(BOUNDS.writers + 2)]
    await until_waiting(other, "Lock", BOUNDS.writers)
    assert await value(database) == 0
    async with opened(url, replace(BOUNDS, writers=1)) as aside:  # as the tail and the lease have
        await aside.write(adding(2))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {StorageUnavailableError}
    await other.execute("ROLLBACK")
    await database.write(adding())
    assert await value(database) == 1


async def test_too_many_calls_are_refused_at_once(url: str, database: PostgresDatabase) -> None:
    async with opened(url, replace(BOUNDS, writers=1, queue_calls_max=5)) as small:
        outcomes = await asyncio.gather(
            *(small.write(adding()) for _ in range(10)), return_exceptions=True
        )
    refused = [outcome for outcome in outcomes if outcome is not None]
    assert [type(outcome) for outcome in refused] == [OverloadedError] * 4
    assert await value(database) == 6


async def test_a_deadlock_is_run_again(url: str, database: PostgresDatabase) -> None:
    async def cross(used: PostgresDatabase, first: int, second: int) -> None:
        async def work(tx: Transaction) -> None:
            await tx.execute(ADD, first)
            await tx.fetch_one("SELECT pg_sleep(0.1)")
            await tx.execute(ADD, second)

        await used.write(work)

    async with opened(url, PostgresBounds()) as used:  # the server looks after a second
        await asyncio.gather(cross(used, 1, 2), cross(used, 2, 1))
        assert used.measures()["write_reruns_total"]
    assert (await value(database), await value(database, 2)) == (2, 2)


async def test_a_key_that_another_was_quicker_to_take_is_met_once_more(
    database: PostgresDatabase, other: Any
) -> None:
    runs = 0

    async def work(tx: Transaction) -> str:
        nonlocal runs
        runs += 1
        if await tx.fetch_one("SELECT 1 FROM counter WHERE id = 3"):
            return "it is there"
        await tx.execute("INSERT INTO counter VALUES (3, 0)")
        return "made"

    await other.execute("BEGIN; INSERT INTO counter VALUES (3, 0)")
    call = asyncio.create_task(database.write(work))
    await until_waiting(other, "Lock")
    await other.execute("COMMIT")
    assert (await call, runs) == ("it is there", 2)


async def test_a_key_that_is_broken_by_mistake_is_told(database: PostgresDatabase) -> None:
    runs = 0

    async def work(tx: Transaction) -> None:
        nonlocal runs
        runs += 1
        await tx.execute("INSERT INTO counter VALUES (1, 0)")

    with pytest.raises(asyncpg.UniqueViolationError):
        await database.write(work)
    assert runs == 2


async def test_a_table_that_another_node_has_changed_is_read_anew(
    database: PostgresDatabase, other: Any
) -> None:
    assert await value(database) == 0
    await database.write(adding())
    await other.execute("ALTER TABLE counter ALTER value TYPE INTEGER")
    assert await value(database) == 1
    await other.execute("ALTER TABLE counter ALTER value TYPE BIGINT")
    await database.write(
        lambda tx: tx.fetch_one("SELECT value FROM counter WHERE id = $1 FOR UPDATE", 1)
    )
    await other.execute("ALTER TABLE counter ALTER value TYPE INTEGER")
    found = await database.write(
        lambda tx: tx.fetch_one("SELECT value FROM counter WHERE id = $1 FOR UPDATE", 1)
    )
    assert found == (1,)


# --- The bounds of a statement --------------------------------------------------------------------


async def test_a_statement_that_takes_too_long_is_ended(database: PostgresDatabase) -> None:
    with pytest.raises(DeadlineExceededError):
        await database.read(lambda tx: tx.fetch_one("SELECT pg_sleep(30)"))
    with pytest.raises(StorageUnavailableError, match="too long"):  # it may have waited for others
        await database.write(lambda tx: tx.fetch_one("SELECT pg_sleep(30)"))
    check_clean(database._readers, BOUNDS.readers)
    check_clean(database._writers, BOUNDS.writers)


async def test_who_waits_too_long_for_a_row_is_refused(
    database: PostgresDatabase, other: Any
) -> None:
    await other.execute("BEGIN; SELECT 1 FROM counter WHERE id = 1 FOR UPDATE")
    with pytest.raises(StorageUnavailableError, match="too many calls change the same"):
        await database.write(adding())
    await other.execute("ROLLBACK")
    await database.write(adding())


async def test_a_server_that_is_silent_is_given_up(url: str, database: PostgresDatabase) -> None:
    bounds = replace(BOUNDS, statement_seconds_max=20.0, answer_seconds_max=0.3)
    async with opened(url, bounds) as impatient:
        with pytest.raises(StorageUnavailableError):
            await impatient.read(lambda tx: tx.fetch_one("SELECT pg_sleep(10)"))
        await impatient.write(adding())
    assert await value(database) == 1


@pytest.mark.parametrize("arguments", [("text",), (1, 2), ()], ids=["kind", "more", "fewer"])
async def test_wrong_arguments_are_a_bug_and_no_outage(
    database: PostgresDatabase, arguments: tuple[object, ...]
) -> None:
    for run in (database.read, database.write):
        with pytest.raises((asyncpg.InterfaceError, asyncpg.DataError)):
            await run(lambda tx: tx.fetch_one("SELECT 1 FROM counter WHERE id = $1", *arguments))


# --- Connections that break -----------------------------------------------------------------------

END_ALL = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE application_name = 'moothall' AND datname = current_database()
"""


async def test_idle_connections_that_died_are_noticed_by_nobody(
    database: PostgresDatabase, other: Any
) -> None:
    for _ in range(3):
        await asyncio.gather(*(value(database) for _ in range(4)))
        await asyncio.gather(*(database.write(adding()) for _ in range(4)))
        # Of another connection's answer the hall's know nothing yet.
        await other.execute(END_ALL)
        await asyncio.gather(value(database), database.write(adding()))


@pytest.mark.usefixtures("database")
async def test_when_one_connection_is_dead_the_idle_ones_are_not_trusted(url: str) -> None:
    """As after a failover or behind a firewall: nobody says that a connection is over."""
    async with opened(url, replace(BOUNDS, answer_seconds_max=0.3)) as used:
        await asyncio.gather(*(value(used) for _ in range(4)))
        assert len(used._readers._idle) == BOUNDS.readers
        pids = [connection.get_server_pid() for connection in used._readers._idle]
        try:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            assert await value(used) == 0
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)


async def test_work_whose_connection_breaks_is_run_again(
    database: PostgresDatabase, other: Any
) -> None:
    await other.execute("BEGIN; SELECT 1 FROM counter WHERE id = 1 FOR UPDATE")
    call = asyncio.create_task(database.write(adding()))
    (pid,) = await until_waiting(other, "Lock")
    await other.execute(f"SELECT pg_terminate_backend({pid}, 5000)")
    await other.execute("ROLLBACK")
    await call
    assert await value(database) == 1
    check_clean(database._writers, BOUNDS.writers)


async def test_what_became_of_a_commit_that_broke_is_not_guessed(
    database: PostgresDatabase, other: Any
) -> None:
    await other.execute(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN PERFORM pg_sleep(1.2); RETURN NULL; END';"
        "CREATE CONSTRAINT TRIGGER at_commit AFTER UPDATE ON counter "
        "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait()"
    )
    runs = 0

    async def work(tx: Transaction) -> None:
        nonlocal runs
        runs += 1
        await tx.execute(ADD, 1)

    call = asyncio.create_task(database.write(work))
    (pid,) = await until_waiting(other, "Timeout")
    await other.execute(f"SELECT pg_terminate_backend({pid}, 5000)")
    with pytest.raises(StorageUnavailableError, match="not known whether this was done"):
        await call
    assert runs == 1
    await other.execute("DROP TRIGGER at_commit ON counter")
    await database.write(adding())
    assert await value(database) == 1
    check_clean(database._writers, BOUNDS.writers)
