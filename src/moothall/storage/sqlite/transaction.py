"""One call's view of the file; and how a coroutine is run that must never suspend."""

from collections.abc import Awaitable, Callable
from types import CoroutineType
from typing import Any, NoReturn, TypeVar

import apsw

from moothall.ports.database import Row
from moothall.storage.errors import TransactionEndedError
from moothall.storage.sqlite.parameters import rewrite_parameters
from moothall.storage.suspension import end_suspended

T = TypeVar("T")


class SqliteTransaction:
    """Implements ``ports.database.Transaction``; its methods never suspend."""

    __slots__ = ("_connection", "_depth", "_execute", "hooks")

    engine = "sqlite"

    def __init__(self, connection: apsw.Connection, cursor: apsw.Cursor) -> None:
        """Work on ``connection``, which is inside a transaction.

        ``cursor`` is one of its cursors, used again and again: a fresh one for each
        statement would be a fifth of what most of them cost.
        """
        self._connection = connection
        self._execute: Callable[..., Any] = cursor.execute
        self._depth = 0
        self.hooks: list[Callable[[], None]] = []

    async def fetch_one(self, sql: str, *params: Any) -> Row | None:
        """Return the first row, or None."""
        # Running the cursor to its end is what completes a statement with RETURNING.
        rows: list[Row] = self._execute(rewrite_parameters(sql), params).fetchall()
        return rows[0] if rows else None

    async def fetch_all(self, sql: str, *params: Any) -> list[Row]:
        """Return all rows."""
        rows: list[Row] = self._execute(rewrite_parameters(sql), params).fetchall()
        return rows

    async def execute(self, sql: str, *params: Any) -> int:
        """Run one statement and return how many rows it changed."""
        self._execute(rewrite_parameters(sql), params).fetchall()
        return self._connection.changes()

    async def append(self, sql: str, *params: Any) -> None:
        """Run an insertion now: nothing is gained by waiting."""
        self._execute(rewrite_parameters(sql), params).fetchall()

    async def append_returning(self, sql: str, *params: Any) -> Row | None:
        """Run an insertion and return the first row."""
        return await self.fetch_one(sql, *params)

    async def execute_script(self, sql: str) -> None:
        """Run several statements."""
        self._execute(sql).fetchall()

    async def lock_rows(self, sql: str, *params: Any) -> list[Row]:
        """Read rows; the one writer needs no lock."""
        return await self.fetch_all(sql, *params)

    async def lock(self, name: str) -> None:
        """Do nothing: there is one writer."""

    async def lift_limits(self) -> None:
        """Do nothing: a write has none."""

    async def find_horizon(self) -> None:
        """Return None: numbers appear in their order."""

    async def tell_nodes(self, topic: str, key: str) -> None:
        """Do nothing: there is one node."""

    async def nested(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run ``work`` in a savepoint of its own."""
        self._depth += 1
        name = f"nested_{self._depth}"
        hooks = len(self.hooks)
        self._execute(f"SAVEPOINT {name}")
        try:
            result = await work()
        except BaseException:
            del self.hooks[hooks:]
            if self._connection.in_transaction:
                self._execute(f"ROLLBACK TO {name}; RELEASE {name}")
            raise
        else:
            self._execute(f"RELEASE {name}")
            return result
        finally:
            self._depth -= 1

    def on_commit(self, hook: Callable[[], None]) -> None:
        """Call ``hook`` after the commit."""
        self.hooks.append(hook)

    def end(self) -> None:
        """Refuse whatever is still asked of this transaction: the next call may have begun."""
        self._execute = _refuse


def _refuse(*_arguments: object) -> NoReturn:
    """Answer whoever kept a transaction for later."""
    raise TransactionEndedError("this transaction is over; a task cannot take it along")


def drive(awaitable: Awaitable[T]) -> T:
    """Run a coroutine to its end at once.

    Raises:
        SuspendedError: It awaited something that is not ready, such as a timer or the
            network, which would hold up every other call; the message names the line.
    """
    coroutine: Any = awaitable if type(awaitable) is CoroutineType else awaitable.__await__()
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise end_suspended(coroutine)
