"""Opening a database of a test: bounds lowered, disk meddled with, statements written down."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import apsw

from moothall.ports.database import Transaction
from moothall.storage.sqlite import SqliteBounds, SqliteDatabase
from moothall.testing import SimulatedDisk
from tests.contract.databases import never, run_script

FILE = "hall.sqlite"
SCHEMA = "CREATE TABLE item (id INTEGER PRIMARY KEY, text TEXT NOT NULL DEFAULT '')"
INSERT = "INSERT INTO item (id, text) VALUES ($1, $2)"
WAIT_S = 20
SLOW = """
WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < $1)
SELECT max(n) FROM number
"""
"""Takes the longer, the greater its parameter: about 0.1 s for a million."""


@asynccontextmanager
async def opened(
    folder: Path,
    bounds: SqliteBounds | None = None,
    disk: SimulatedDisk | None = None,
    on_sync_failure: Callable[[BaseException], None] = never,
) -> AsyncIterator[SqliteDatabase]:
    """Open the database in `folder`, with one table in it."""
    is_fresh = not (folder / FILE).exists()
    database = SqliteDatabase.open(
        folder / FILE,
        on_sync_failure=on_sync_failure,
        bounds=bounds,
        vfs=disk.vfs if disk else None,
    )
    try:
        if is_fresh:
            await run_script(database, SCHEMA)
        yield database
    finally:
        await database.close()


def inserting(number: int, text: str = "") -> Callable[[Transaction], Awaitable[int]]:
    async def work(tx: Transaction) -> int:
        await tx.execute(INSERT, number, text)
        return number

    return work


async def ids(database: SqliteDatabase) -> list[int]:
    rows = await database.read(lambda tx: tx.fetch_all("SELECT id FROM item ORDER BY id"))
    return [row[0] for row in rows]


async def come(event: threading.Event) -> None:
    """Wait, without stopping the loop, for what another thread does."""
    assert await asyncio.to_thread(event.wait, WAIT_S)


def connection_of(database: SqliteDatabase) -> apsw.Connection:
    """Return the connection that writes."""
    return database._writer._connection


def trace(database: SqliteDatabase) -> list[str]:
    """Return a list that each statement of the writer will be added to."""
    statements: list[str] = []

    def note(_cursor: apsw.Cursor, sql: str, _bindings: Any) -> bool:
        statements.append(sql)
        return True

    connection_of(database).exec_trace = note
    return statements


class Beat:
    """A clock that goes on only when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def go_on(self, seconds: float) -> None:
        self.now += seconds
