"""One call's view of the file; and how a coroutine is run that must never suspend."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import apsw

from moothall.ports.database import Row
from moothall.storage.sqlite.connection import rewrite_parameters

T = TypeVar("T")


class SuspendedError(RuntimeError):
    """A handler awaited something else than its transaction."""


class SqliteTransaction:
    """Implements ``ports.database.Transaction``; its methods never suspend."""

    __slots__ = ("_connection", "_depth", "_execute", "hooks")

    def __init__(self, connection: apsw.Connection) -> None:
        """Work on ``connection``, which is inside a transaction."""
        self._connection = connection
        self._execute = connection.execute
        self._depth = 0
        self.hooks: list[Callable[[], None]] = []

    async def fetch_one(self, sql: str, *params: Any) -> Row | None:
        """Return the first row, or None."""
        # Running the cursor to its end is what completes a statement with RETURNING.
        rows = self._execute(rewrite_parameters(sql), params).fetchall()
        return rows[0] if rows else None

    async def fetch_all(self, sql: str, *params: Any) -> list[Row]:
        """Return all rows."""
        rows: list[Row] = self._execute(rewrite_parameters(sql), params).fetchall()
        return rows

    async def execute(self, sql: str, *params: Any) -> int:
        """Run one statement and return how many rows it changed."""
        self._execute(rewrite_parameters(sql), params)
        return self._connection.changes()

    async def execute_script(self, sql: str) -> None:
        """Run several statements."""
        self._execute(sql)

    async def lock_rows(self, sql: str, *params: Any) -> list[Row]:
        """Read rows; the one writer needs no lock."""
        return await self.fetch_all(sql, *params)

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


def drive(awaitable: Awaitable[T]) -> T:
    """Run a coroutine to its end at once.

    Raises:
        SuspendedError: It awaited something that is not ready, such as a timer or the
            network, which would hold up every other call; the message names the line.
    """
    coroutine: Coroutine[Any, Any, T] = awaitable  # type: ignore[assignment]
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    where = _line_of(coroutine)
    coroutine.close()
    msg = f"{where}: a READ or WRITE may await only its transaction; make it a FLOW"
    raise SuspendedError(msg)


def _line_of(coroutine: Any) -> str:
    """Return file and line at which the innermost Python coroutine is suspended."""
    where = "unknown"
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None)
        if frame is not None:
            where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        coroutine = getattr(coroutine, "cr_await", None)
    return where
