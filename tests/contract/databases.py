"""The databases that keep the promise of ``ports/database.py``, each behind one face."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn, Protocol, TypeVar

from moothall.ports.database import Database, Transaction
from moothall.storage.sqlite import SqliteDatabase

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


ADAPTERS: dict[str, Adapter] = {"sqlite": open_sqlite}


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
