"""What a read asks of PostgreSQL: no more than it needs, and always of one state."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from moothall.ports.database import Row, Transaction
from moothall.storage.postgres import PostgresBounds, PostgresDatabase
from moothall.storage.postgres.snapshot import TEXTS_MAX, Experience
from moothall.storage.postgres.transaction import PostgresTransaction
from tests.contract.databases import (
    OpenDatabase,
    open_postgres,
    opened,
    run_script,
)

pytestmark = pytest.mark.requirement("R103")

FIRST = "SELECT value FROM account WHERE id = 1"
SECOND = "SELECT value FROM account WHERE id = 2"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[OpenDatabase]:
    async with opened(open_postgres, tmp_path) as database:
        await run_script(
            database,
            "CREATE TABLE account (id BIGINT PRIMARY KEY, value BIGINT NOT NULL);"
            "INSERT INTO account VALUES (1, 50), (2, 50);",
        )
        yield database


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count what transactions ask, by the first word."""
    counted: Counter[str] = Counter()
    plain = PostgresTransaction._wait

    async def count(tx: Any, method: Any, *arguments: Any) -> Any:
        counted[arguments[0].split(maxsplit=1)[0]] += 1
        return await plain(tx, method, *arguments)

    monkeypatch.setattr(PostgresTransaction, "_wait", count)
    return counted


async def read_one(tx: Transaction) -> int:
    row = await tx.fetch_one(FIRST)
    assert row is not None
    return int(row[0])


async def test_a_read_that_asks_nothing_has_no_transaction(
    database: OpenDatabase, asked: Counter[str]
) -> None:
    async def ask_nothing(_tx: Transaction) -> str:
        return "pong"

    assert await database.read(ask_nothing) == "pong"
    assert asked.total() == 0


async def test_a_statement_that_was_alone_before_has_no_transaction(
    database: OpenDatabase, asked: Counter[str]
) -> None:
    await database.read(read_one)
    assert asked == {"BEGIN": 1, "SELECT": 1}
    asked.clear()
    await database.read(read_one)
    assert asked == {"SELECT": 1}


async def test_two_statements_see_one_state_though_the_first_was_asked_alone(
    database: OpenDatabase, asked: Counter[str]
) -> None:
    """A transfer is committed between them: the read is run again and sees all of it."""
    await database.read(read_one)
    runs = 0

    async def transfer(tx: Transaction) -> None:
        await tx.execute("UPDATE account SET value = value - 10 WHERE id = 1")
        await tx.execute("UPDATE account SET value = value + 10 WHERE id = 2")

    async def read_both(tx: Transaction) -> tuple[int, int]:
        nonlocal runs
        runs += 1
        first = await read_one(tx)
        if runs == 1:
            assert isinstance(tx, PostgresTransaction)
            tx.is_waiting = True  # as if the statement took so long
            await database.write(transfer)
            tx.is_waiting = False
        second = await tx.fetch_one(SECOND)
        assert second is not None
        return first, int(second[0])

    assert await database.read(read_both) == (40, 60)
    assert runs == 2
    asked.clear()
    await database.read(read_both)
    assert asked == {"BEGIN": 1, "SELECT": 2}  # it has learned that there is a second one


async def test_a_read_whose_first_row_never_rests_is_answered(database: OpenDatabase) -> None:
    """It was alone so far; the second run does not try that again."""
    for _ in range(20):
        await database.read(read_one)

    async def change(tx: Transaction) -> None:
        await tx.execute("UPDATE account SET value = value + 1 WHERE id IN (1, 2)")

    async def read_both(tx: Transaction) -> tuple[int, int]:
        first = await read_one(tx)
        assert isinstance(tx, PostgresTransaction)
        tx.is_waiting = True
        await database.write(change)
        tx.is_waiting = False
        second = await tx.fetch_one(SECOND)
        assert second is not None
        return first, int(second[0])

    assert await database.read(read_both) == (51, 51)


async def test_a_second_statement_goes_on_where_nothing_has_changed(
    database: OpenDatabase, asked: Counter[str]
) -> None:
    await database.read(read_one)
    asked.clear()

    async def read_both(tx: Transaction) -> int:
        row = await tx.fetch_one(SECOND) if await read_one(tx) else None
        assert row is not None
        return int(row[0])

    assert await database.read(read_both) == 50
    assert asked == {"BEGIN": 1, "SELECT": 3}


async def test_a_read_that_writes_is_refused_also_where_it_is_alone(
    database: OpenDatabase,
) -> None:
    async def write(tx: Transaction) -> int:
        return await tx.execute("UPDATE account SET value = 0")

    assert isinstance(database, PostgresDatabase)
    database._experience.learn("UPDATE account SET value = 0", is_alone=True)
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await database.read(write)
    assert await database.read(read_one) == 50


ONE_READER = PostgresBounds(readers=1)


@pytest.fixture
async def narrow(database: OpenDatabase) -> AsyncIterator[PostgresDatabase]:
    """The same database with one connection, which is never fresh."""
    assert isinstance(database, PostgresDatabase)
    found = await PostgresDatabase.open(database._writers._address, bounds=ONE_READER)
    yield found
    await found.close()


async def read_first(sql: str, tx: Transaction) -> Row | None:
    return await tx.fetch_one(sql, 1)


async def read_twice(tx: Transaction) -> int:
    assert await read_one(tx) > 0
    row = await tx.fetch_one(SECOND)
    assert row is not None
    return int(row[0])


async def test_a_wrong_argument_leaves_nothing_to_the_next_read(narrow: PostgresDatabase) -> None:
    """The driver has prepared the statement by then, in a transaction that it leaves open."""
    sql = "SELECT value FROM account WHERE id = $1 AND value > 0"
    narrow._experience.learn(sql, is_alone=True)
    with pytest.raises(asyncpg.DataError):
        await narrow.read(lambda tx: tx.fetch_one(sql, "no number"))
    assert await narrow.read(read_twice) == 50


@pytest.mark.requirement("R35")
async def test_whoever_leaves_in_the_middle_leaves_nothing_to_the_next_read(
    narrow: PostgresDatabase,
) -> None:
    """At each turn of the loop, alone and in a transaction."""
    left = 0
    for turns in range(1, 300):
        sql = f"SELECT value FROM account WHERE id = $1 AND value > -{turns}"
        narrow._experience.learn(sql, is_alone=bool(turns % 2))
        leaving = asyncio.create_task(narrow.read(partial(read_first, sql)))
        for _ in range(turns // 2):
            await asyncio.sleep(0)
        left += leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        assert await narrow.read(read_twice) == 50, f"left after {turns // 2} turns"
    assert left > 10


def test_what_is_learned_is_bounded_and_follows_what_is_usual() -> None:
    experience = Experience()
    experience.learn("first", is_alone=True)
    assert experience.expects_no_other("first")
    experience.learn("first", is_alone=False)
    assert not experience.expects_no_other("first")
    for _ in range(100):
        experience.learn("first", is_alone=True)
    experience.learn("first", is_alone=False)
    assert experience.expects_no_other("first"), "one of many decides nothing"
    for _ in range(20):
        experience.learn("first", is_alone=False)
    assert not experience.expects_no_other("first")
    for number in range(TEXTS_MAX):
        experience.learn(f"{number}", is_alone=True)
    assert len(experience._credit) <= TEXTS_MAX
    assert experience.expects_no_other(f"{TEXTS_MAX - 1}")
