"""One call's view of the database; and how its coroutine is kept from waiting for anything else."""

import re
from collections.abc import Awaitable, Callable, Generator, Sequence
from functools import lru_cache
from itertools import chain
from types import CoroutineType
from typing import Any, NoReturn, TypeVar

import asyncpg

from moothall.ports.database import Horizon, Row
from moothall.storage.errors import TransactionEndedError
from moothall.storage.postgres.dialect import SEQUENCE, translate
from moothall.storage.suspension import end_suspended

T = TypeVar("T")

Statement = tuple[str, tuple[Any, ...]]

ENDED = "this transaction is over; a task cannot take it along"

APPENDED_MAX = 8
"""Insertions that wait for each other, at most."""

_PARAMETER = re.compile(r"\$(\d+)")

_TAG = f"(((('{SEQUENCE}'::regclass::oid::bigint) & 32767) | 32768) << 47)"
"""The upper bits of the keys by which writes say from which number on they take; of this hall."""

_MASK = (1 << 47) - 1

_SCRIPT_SECONDS = 86_400.0

# A write takes the lock before any number, so its numbers are higher than the key. Who looks for
# the horizon reads the last number first: a write whose lock is not there yet takes higher ones.
# Prepared once for each connection, because it would be parsed and planned for each write.
PREPARE_WRITE = (
    "PREPARE begin_write AS "
    f"SELECT pg_advisory_xact_lock_shared((SELECT {_TAG} | last_value FROM {SEQUENCE}))"
)
BEGIN_WRITE = "BEGIN; EXECUTE begin_write"
# The locks are looked at for each row of the first part, so after it was read: the last number
# must be older than the view of the locks.
_HORIZON = f"""
WITH numbers AS MATERIALIZED (SELECT last_value FROM {SEQUENCE})
SELECT last_value, (
  SELECT min(((classid::bigint << 32) | objid::bigint) & {_MASK}) FROM pg_locks
  WHERE locktype = 'advisory' AND objsubid = 1 AND numbers.last_value > 0
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND ((classid::bigint << 32) | objid::bigint) & ~{_MASK}::bigint = {_TAG})
FROM numbers
"""
# Without the bit that is set in each of those keys, so that none is taken for one.
_LOCK = f"SELECT pg_advisory_xact_lock(hashtextextended($1, 0) & {(1 << 62) - 1})"


_NO_LIMITS = """
SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0;
SELECT set_config(name, '0', true) FROM pg_settings WHERE name = 'transaction_timeout'
"""
_NOTICE = """
INSERT INTO action_notice (topic, key, at_ms)
VALUES ($1, $2, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)
"""


class PostgresTransaction:
    """Implements ``ports.database.Transaction`` on one connection of the pool."""

    __slots__ = (
        "_appended",
        "_connection",
        "_depth",
        "_has_ended",
        "_on_notice",
        "_seconds",
        "hooks",
        "is_waiting",
    )

    engine = "postgres"

    def __init__(
        self, connection: Any, seconds: float, on_notice: Callable[[], None] | None = None
    ) -> None:
        """Work on ``connection``, which is inside a transaction.

        Args:
            connection: The driver's.
            seconds: How long the server may be silent.
            on_notice: Called after the commit of a change that nodes must learn of; None for a
                read, which locks nothing.
        """
        self._connection = connection
        self._seconds = seconds
        self._on_notice = on_notice
        self._depth = 0
        self._has_ended = False
        self._appended: list[Statement] = []
        self.hooks: list[Callable[[], None]] = []
        self.is_waiting = False
        """Whether a statement is under way: the only thing that may be waited for."""

    async def fetch_one(self, sql: str, *params: Any) -> Row | None:
        """Return the first row, or None."""
        row = await self._wait(self._connection.fetchrow, sql, *params)
        return None if row is None else tuple(row)

    async def fetch_all(self, sql: str, *params: Any) -> list[Row]:
        """Return all rows."""
        return [tuple(row) for row in await self._wait(self._connection.fetch, sql, *params)]

    async def execute(self, sql: str, *params: Any) -> int:
        """Run one statement and return how many rows it changed."""
        status: str = await self._wait(self._connection.execute, sql, *params)
        count = status.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def append(self, sql: str, *params: Any) -> None:
        """Run an insertion with what is asked next, or before the commit."""
        if self._on_notice is None:
            raise asyncpg.ReadOnlySQLTransactionError(
                f"a read-only transaction appends nothing: {sql}"
            )
        if self._has_ended:
            raise TransactionEndedError(ENDED)
        self._appended.append((sql, params))
        if len(self._appended) == APPENDED_MAX:
            await self.flush()

    async def append_returning(self, sql: str, *params: Any) -> Row | None:
        """Run an insertion with those that wait, and return its first row."""
        appended, self._appended = [*self._appended, (sql, params)], []
        row = await self._wait(self._connection.fetchrow, *_joined(appended))
        return None if row is None else tuple(row)

    async def flush(self) -> None:
        """Run the insertions that wait."""
        if self._appended:
            appended, self._appended = self._appended, []
            await self._wait(self._connection.execute, *_joined(appended))

    async def execute_script(self, sql: str) -> None:
        """Run several statements of a migration, translated from SQLite's words."""
        await self.lift_limits()
        await self._run(translate(sql))

    async def lift_limits(self) -> None:
        """Let this transaction take as long as it takes."""
        self._seconds = _SCRIPT_SECONDS
        await self._run(_NO_LIMITS)

    async def lock_rows(self, sql: str, *params: Any) -> list[Row]:
        """Read rows and keep others from changing them; a read only reads them."""
        if self._on_notice is None:
            return await self.fetch_all(sql, *params)
        return await self.fetch_all(f"{sql} FOR NO KEY UPDATE", *params)

    async def lock(self, name: str) -> None:
        """Hold the lock ``name`` until the transaction ends."""
        if self._on_notice is not None:
            await self._wait(self._connection.execute, _LOCK, name)

    async def find_horizon(self) -> Horizon:
        """Return how far the numbers have come."""
        return await self._find_horizon(self._wait)

    async def _find_horizon(self, wait: Callable[..., Awaitable[Any]]) -> Horizon:
        last, held = await wait(self._connection.fetchrow, _HORIZON)
        return Horizon(last if held is None else min(last, held), last)

    async def tell_nodes(self, topic: str, key: str) -> None:
        """Leave a notice for every node."""
        await self.append(_NOTICE, topic, key)
        if self._on_notice is not None:
            self.hooks.append(self._on_notice)

    async def nested(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run ``work`` in a savepoint of its own."""
        self._depth += 1
        name = f"nested_{self._depth}"
        hooks = len(self.hooks)
        await self._run(f"SAVEPOINT {name}")
        try:
            result = await work()
            await self.flush()
        except GeneratorExit:
            raise  # the whole call is being ended
        except BaseException:
            del self.hooks[hooks:]
            self._appended.clear()
            await self._run(f"ROLLBACK TO {name}; RELEASE {name}")
            raise
        else:
            await self._run(f"RELEASE {name}")
            return result
        finally:
            self._depth -= 1

    def on_commit(self, hook: Callable[[], None]) -> None:
        """Call ``hook`` after the commit."""
        self.hooks.append(hook)

    def end(self) -> None:
        """Refuse whatever is still asked of this transaction: its connection may serve another."""
        self._connection = _Ended()
        self._has_ended = True

    async def _run(self, sql: str) -> None:
        await self._wait(self._connection.execute, sql)

    async def _wait(self, method: Callable[..., Any], *arguments: Any) -> Any:
        """Wait for the server, which alone may be waited for."""
        if self._appended:
            await self.flush()
        self.is_waiting = True
        try:
            return await method(*arguments, timeout=self._seconds)
        finally:
            self.is_waiting = False


def _joined(statements: Sequence[Statement]) -> tuple[Any, ...]:
    """Return one statement that runs several, and its parameters."""
    if len(statements) == 1:
        sql, params = statements[0]
        return (sql, *params)
    text = _join(tuple((sql, len(params)) for sql, params in statements))
    return (text, *chain.from_iterable(params for _, params in statements))


@lru_cache(maxsize=1_000)
def _join(statements: tuple[tuple[str, int], ...]) -> str:
    """Return one statement that runs several, given with the numbers of their parameters.

    All but the last become parts of a WITH, which PostgreSQL runs to their end in any order; the
    last may begin with a WITH of its own.
    """
    texts, used = [], 0
    for sql, count in statements:
        texts.append(_moved(sql, used).strip())
        used += count
    *before, last = texts
    parts = [f"appended_{number} AS ({text})" for number, text in enumerate(before, start=1)]
    if last.startswith("WITH "):
        parts.append(last.removeprefix("WITH "))
        return f"WITH {', '.join(parts)}"
    return f"WITH {', '.join(parts)} {last}"


def _moved(sql: str, used: int) -> str:
    """Return a statement whose parameters are numbered from behind ``used`` others."""
    return _PARAMETER.sub(lambda found: f"${int(found[1]) + used}", sql)


class Guarded:
    """An awaitable that runs a work and ends it if it waits for anything but its transaction."""

    __slots__ = ("_coroutine", "_tx")

    def __init__(self, awaitable: Awaitable[T], tx: PostgresTransaction) -> None:
        """Run what a work returned for ``tx``."""
        is_coroutine = type(awaitable) is CoroutineType
        self._coroutine: Any = awaitable if is_coroutine else awaitable.__await__()
        self._tx = tx

    def __await__(self) -> Generator[Any, Any, Any]:
        """Pass on what the driver waits for.

        Raises:
            SuspendedError: It awaited something that is not ready; the message names the line.
        """
        coroutine, tx = self._coroutine, self._tx
        resume: Callable[[Any], Any] = coroutine.send
        value: Any = None
        while True:
            try:
                waits_for = resume(value)
            except StopIteration as stop:
                return stop.value
            if not tx.is_waiting:
                if waits_for is not None:  # a future: take back that somebody waits for it
                    waits_for._asyncio_future_blocking = False  # noqa: SLF001 - asyncio's protocol
                raise end_suspended(coroutine)
            try:
                value = yield waits_for
                resume = coroutine.send
            except BaseException as error:  # noqa: BLE001 - it is the coroutine's
                resume, value = coroutine.throw, error


class _Ended:
    """Stands where the connection was."""

    def __getattr__(self, name: str) -> NoReturn:
        """Answer whoever kept a transaction for later."""
        raise TransactionEndedError(ENDED)
