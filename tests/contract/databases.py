"""The databases that keep the promise of ``ports/database.py``, each behind one face."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from hashlib import blake2b
from pathlib import Path
from typing import NoReturn, Protocol, TypeVar

from moothall.ports.database import Database, Transaction
from moothall.storage.postgres import PostgresBounds, PostgresDatabase, read_address
from moothall.storage.sqlite import SqliteDatabase
from tests.servers.postgres import make_database

T = TypeVar("T")

Work = Callable[[Transaction], Awaitable[T]]


class OpenDatabase(Database, Protocol):
    """A database with its end."""

    async def close(self) -> None: ...


class Adapter(Protocol):
    """Opens a database that lives at ``place``: the same one each time."""

    async def __call__(self, place: Path) -> OpenDatabase: ...


def never(error: BaseException) -> NoReturn:
    """Stand for the end of the process in tests whose disk is good."""
    raise AssertionError from error


async def open_sqlite(place: Path) -> OpenDatabase:
    return SqliteDatabase.open(place / "hall.sqlite", on_sync_failure=never)


_PATIENT = PostgresBounds(
    wait_seconds_max=60.0, statement_seconds_max=30.0, lock_seconds_max=30.0, write_seconds_max=60.0
)
"""Hundreds of calls wait for each other here, on a machine that may be busy."""


async def make_postgres(place: Path) -> str:
    """Return the address of the one database that belongs to a place."""
    digest = blake2b(str(place).encode(), digest_size=8).hexdigest()
    return await make_database(f"contract_{digest}")


async def open_postgres(place: Path) -> OpenDatabase:
    return await PostgresDatabase.open(read_address(await make_postgres(place)), bounds=_PATIENT)


ADAPTERS: dict[str, Adapter] = {"sqlite": open_sqlite, "postgres": open_postgres}


@asynccontextmanager
async def opened(adapter: Adapter, place: Path) -> AsyncIterator[OpenDatabase]:
    database = await adapter(place)
    try:
        yield database
    finally:
        await database.close()


async def run_script(database: Database, sql: str) -> None:
    await database.write(lambda tx: tx.execute_script(sql))


async def count(database: Database, table: str) -> int:
    row = await database.read(lambda tx: tx.fetch_one(f"SELECT count(*) FROM {table}"))
    assert row is not None
    return int(row[0])
