"""Database and Transaction: rows, and the promise that what is acknowledged stays.

One SQL text serves both engines: parameters are written ``$1``, ``$2``; statements
may use ``ON CONFLICT`` and ``RETURNING``.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias, TypeVar

T = TypeVar("T")

Row: TypeAlias = tuple[Any, ...]
"""Columns in the order of the statement; a store turns them into models."""


class Transaction(Protocol):
    """One view of the data, and in a write the right to change it.

    All methods are awaited on both engines. On SQLite they never suspend, which is
    what lets the writer run many calls one after the other in a single commit.
    """

    async def fetch_one(self, sql: str, *params: object) -> Row | None:
        """Return the first row, or None."""
        ...

    async def fetch_all(self, sql: str, *params: object) -> list[Row]:
        """Return all rows; the statement carries its own LIMIT."""
        ...

    async def execute(self, sql: str, *params: object) -> int:
        """Run one statement and return the number of rows it changed."""
        ...

    async def execute_script(self, sql: str) -> None:
        """Run several statements without parameters; for migrations only."""
        ...

    async def lock_rows(self, sql: str, *params: object) -> list[Row]:
        """Read rows on which the call decides, and keep others from changing them.

        ``sql`` names its rows in key order. PostgreSQL adds ``FOR UPDATE``; SQLite
        has one writer and adds nothing.
        """
        ...

    async def nested(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run ``work`` in a savepoint of its own: if it raises, only it is undone."""
        ...

    def on_commit(self, hook: Callable[[], None]) -> None:
        """Call ``hook`` once the change is durable and before it is acknowledged.

        For what is kept in memory beside the rows. A hook must not raise and must
        not wait. Hooks of work that is rolled back are dropped.
        """
        ...


class Database(Protocol):
    """Transactions, one per call of ``read`` or ``write``.

    ``work`` may be run more than once, each time on a fresh transaction after the
    one before was rolled back, so it must keep nothing from an earlier run.
    """

    async def read(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run ``work`` on a snapshot.

        Raises:
            DeadlineExceededError: It took longer than 5 s.
        """
        ...

    async def write(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run ``work`` and return its result once its changes are durable.

        Raises:
            OverloadedError: Too many calls wait already.
            StorageUnavailableError: The disk is full or cannot be written.
        """
        ...
