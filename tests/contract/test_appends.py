"""Insertions that nobody asks anything of, sent together (``ports/database.py``, ``append``)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from moothall.ports.database import Row, Transaction
from moothall.storage.postgres.transaction import _HORIZON, APPENDED_MAX, PostgresTransaction, _join
from tests.contract.databases import ADAPTERS, Adapter, OpenDatabase, opened, run_script

SCHEMA = """
CREATE TABLE member (id BIGINT PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE entry (id BIGINT PRIMARY KEY, member_id BIGINT NOT NULL REFERENCES member (id));
"""
MEMBER = "INSERT INTO member (id, name) VALUES ($1, $2)"
ENTRY = "INSERT INTO entry (id, member_id) VALUES ($1, $2)"
BROKEN_KEY = "constraint|UNIQUE"

Work = Callable[[Transaction], Awaitable[Any]]


@pytest.fixture(params=list(ADAPTERS.values()), ids=list(ADAPTERS))
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OpenDatabase]:
    adapter: Adapter = request.param
    async with opened(adapter, tmp_path) as database:
        await run_script(database, SCHEMA)
        yield database


async def members(tx: Transaction) -> list[Row]:
    return await tx.fetch_all("SELECT id, name FROM member ORDER BY id")


async def read(database: OpenDatabase, sql: str = "SELECT id FROM member ORDER BY id") -> list[int]:
    rows = await database.read(lambda tx: tx.fetch_all(sql))
    return [row[0] for row in rows]


@pytest.mark.parametrize("count", [1, 2, APPENDED_MAX, APPENDED_MAX + 1, 3 * APPENDED_MAX + 1])
async def test_all_that_was_appended_is_committed(database: OpenDatabase, count: int) -> None:
    async def work(tx: Transaction) -> None:
        for number in range(count):
            await tx.append(MEMBER, number, f"member {number}")

    await database.write(work)
    assert await read(database) == list(range(count))


async def test_the_next_statement_sees_what_was_appended(database: OpenDatabase) -> None:
    async def work(tx: Transaction) -> None:
        await tx.append(MEMBER, 1, "ada")
        assert await members(tx) == [(1, "ada")]
        await tx.append(MEMBER, 2, "bob")
        await tx.append(MEMBER, 3, "cy")
        assert await tx.execute("UPDATE member SET name = 'bea' WHERE id = 2") == 1
        await tx.append(MEMBER, 4, "dee")
        assert await tx.lock_rows("SELECT id FROM member WHERE id = 4 ORDER BY id") == [(4,)]

    await database.write(work)
    assert await database.read(members) == [(1, "ada"), (2, "bea"), (3, "cy"), (4, "dee")]


async def test_tables_of_one_key_are_appended_together(database: OpenDatabase) -> None:
    """Keys are checked when all rows are there."""

    async def work(tx: Transaction) -> Row | None:
        await tx.append(MEMBER, 7, "ada $2 'quoted'")
        return await tx.append_returning(f"{ENTRY} RETURNING id, member_id", 70, 7)

    assert await database.write(work) == (70, 7)
    assert await database.read(members) == [(7, "ada $2 'quoted'")]


async def test_a_row_is_returned_for_one_alone_too(database: OpenDatabase) -> None:
    async def work(tx: Transaction) -> Row | None:
        return await tx.append_returning(f"{MEMBER} RETURNING name", 1, "ada")

    assert await database.write(work) == ("ada",)


async def test_a_broken_key_undoes_the_call(database: OpenDatabase) -> None:
    async def work(tx: Transaction) -> None:
        await tx.append(MEMBER, 1, "ada")
        await tx.append(MEMBER, 1, "bob")

    with pytest.raises(Exception, match=BROKEN_KEY):
        await database.write(work)
    assert await read(database) == []


async def test_a_refused_call_appends_nothing(database: OpenDatabase) -> None:
    async def work(tx: Transaction) -> NoReturn:
        await tx.append(MEMBER, 1, "ada")
        raise LookupError

    with pytest.raises(LookupError):
        await database.write(work)
    assert await read(database) == []


async def test_only_what_a_savepoint_holds_is_undone(database: OpenDatabase) -> None:
    async def work(tx: Transaction) -> None:
        async def refuse() -> NoReturn:
            await tx.append(MEMBER, 2, "bob")
            raise LookupError

        async def keep() -> None:
            await tx.append(MEMBER, 3, "cy")

        await tx.append(MEMBER, 1, "ada")
        with pytest.raises(LookupError):
            await tx.nested(refuse)
        await tx.nested(keep)
        await tx.append(MEMBER, 4, "dee")

    await database.write(work)
    assert await read(database) == [1, 3, 4]


async def test_a_key_that_breaks_in_a_savepoint_is_told_there(database: OpenDatabase) -> None:
    async def work(tx: Transaction) -> None:
        async def repeat() -> None:
            await tx.append(MEMBER, 1, "bob")

        await tx.append(MEMBER, 1, "ada")
        with pytest.raises(Exception, match=BROKEN_KEY):
            await tx.nested(repeat)
        await tx.append(MEMBER, 2, "bea")

    await database.write(work)
    assert await database.read(members) == [(1, "ada"), (2, "bea")]


async def test_a_read_appends_nothing(database: OpenDatabase) -> None:
    async def work(tx: Transaction) -> None:
        await tx.append(MEMBER, 1, "ada")

    with pytest.raises(Exception, match=r"read-?only"):
        await database.read(work)
    assert await read(database) == []


async def test_hooks_run_once_the_rows_are_there(database: OpenDatabase) -> None:
    looking: list[asyncio.Task[list[int]]] = []

    async def work(tx: Transaction) -> None:
        # It is carried out at the next turn of the loop, in which the write may still be under way.
        tx.on_commit(lambda: looking.append(asyncio.ensure_future(read(database))))
        await tx.append(MEMBER, 1, "ada")

    await database.write(work)
    assert [await look for look in looking] == [[1]]


async def test_hooks_do_not_run_where_a_key_breaks_at_the_end(database: OpenDatabase) -> None:
    told: list[str] = []

    async def work(tx: Transaction) -> None:
        tx.on_commit(lambda: told.append("hook"))
        await tx.append(MEMBER, 1, "ada")
        await tx.append(MEMBER, 1, "bob")

    with pytest.raises(Exception, match=BROKEN_KEY):
        await database.write(work)
    assert told == []


@pytest.mark.parametrize("database", [ADAPTERS["postgres"]], ids=["postgres"], indirect=True)
async def test_what_was_appended_takes_one_round_trip(
    database: OpenDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    plain = PostgresTransaction._wait

    async def note(tx: Any, method: Any, *arguments: Any) -> Any:
        asked.append(arguments[0])
        return await plain(tx, method, *arguments)

    async def work(tx: Transaction) -> None:
        await tx.append(MEMBER, 1, "ada")
        await tx.append(MEMBER, 2, "bob")
        await tx.append_returning(f"{MEMBER} RETURNING id", 3, "cy")

    monkeypatch.setattr(PostgresTransaction, "_wait", note)
    await database.write(work)
    assert len(asked) == 1, asked


@pytest.mark.requirement("R33")
@pytest.mark.parametrize("database", [ADAPTERS["postgres"]], ids=["postgres"], indirect=True)
async def test_the_last_number_is_read_before_the_locks(database: OpenDatabase) -> None:
    """Else a write that begins between would be missed, and readers pass over its events.

    A part of the plan that depends on nothing may be carried out first.
    """
    plan = await database.read(lambda tx: tx.fetch_all(f"EXPLAIN {_HORIZON}"))
    told = "\n".join(row[0] for row in plan)
    # For each row of the first part: the locks depend on what was read there.
    assert "SubPlan" in told, told
    assert told.index("(numbers.last_value > 0)") < told.index("pg_lock_status"), told


def test_statements_are_joined_with_parameters_of_their_own() -> None:
    ten = f"INSERT INTO a VALUES ({', '.join(f'${number}' for number in range(1, 11))})"
    joined = _join(((ten, 10), ("INSERT INTO b VALUES ($2, $1, $2)", 2)))
    assert joined == f"WITH appended_1 AS ({ten}) INSERT INTO b VALUES ($12, $11, $12)"
    taking = "\nWITH c AS (INSERT INTO c VALUES ($1) RETURNING d) INSERT INTO e SELECT d FROM c"
    assert _join((("INSERT INTO a VALUES ($1)", 1), (taking, 1))) == (
        "WITH appended_1 AS (INSERT INTO a VALUES ($1)), "
        "c AS (INSERT INTO c VALUES ($2) RETURNING d) INSERT INTO e SELECT d FROM c"
    )
