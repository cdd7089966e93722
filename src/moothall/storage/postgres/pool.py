"""Connections: as many as are needed, up to a bound, and new ones when the server comes back.

The driver's own pool asks the server to forget a connection's state after each use, for one more
round trip; nothing here leaves any state behind.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

import asyncpg
import structlog

from moothall.core.errors import OverloadedError, StorageUnavailableError
from moothall.storage.postgres.address import Address
from moothall.storage.postgres.bounds import PostgresBounds
from moothall.storage.postgres.failure import translate

_log = structlog.get_logger("moothall.database")

TRANSACTION_LIMIT_SINCE = 17
"""The PostgreSQL that ends a transaction of many slow statements by itself; before, only each
statement has its limit."""

STATEMENTS_KEPT = 1_000
"""Prepared statements of each connection."""


class Pool:
    """Connections to one database. Lives on the loop's thread.

    Attributes:
        waiting: Calls that wait for a connection.
        preparation: SQL that is run on each connection when it is new; empty for none.
    """

    def __init__(
        self, address: Address, size: int, bounds: PostgresBounds, *, is_read_only: bool = False
    ) -> None:
        """Open at most ``size`` connections, each when it is needed first.

        Args:
            address: Where.
            size: How many.
            bounds: Of waiting.
            is_read_only: Whether the server refuses to write on them.
        """
        self._address = address
        self._bounds = bounds
        self._is_read_only = is_read_only
        self._free = asyncio.Semaphore(size)
        self._idle: list[Any] = []
        self._refused_until = 0.0
        self._is_failing = False
        self._is_closing = False
        self.waiting = 0
        self.preparation = ""

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """Lend a connection that is in no transaction.

        Raises:
            OverloadedError: Too many calls wait already.
            StorageUnavailableError: There is none to be had.
        """
        if self._is_closing:
            raise StorageUnavailableError("the database is closing")
        if perf_counter() < self._refused_until:
            raise _unavailable("the database cannot be reached")
        await self._wait_for_turn()
        try:
            connection = await self._take()
            try:
                yield connection
            finally:
                self._give_back(connection)
        finally:
            self._free.release()

    async def close(self) -> None:
        """Lend no more, and close what is idle; the caller has seen to it that none is lent."""
        self._is_closing = True
        for connection in self._idle:
            await _close(connection)
        self._idle.clear()

    async def _wait_for_turn(self) -> None:
        """Return when a connection may be taken, in the order of asking."""
        if not self._free.locked():
            await self._free.acquire()
            return
        if self.waiting >= self._bounds.queue_calls_max:
            raise OverloadedError("too many calls wait for the database", retry_after_ms=1_000)
        self.waiting += 1
        try:
            async with asyncio.timeout(self._bounds.wait_seconds_max):
                await self._free.acquire()
        except TimeoutError:
            raise _unavailable("no connection to the database became free") from None
        finally:
            self.waiting -= 1

    async def _take(self) -> Any:
        """Return an idle connection, or a new one."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        try:
            async with asyncio.timeout(self._bounds.connect_seconds_max):
                connection = await self._connect()
        except Exception as error:
            self._refused_until = perf_counter() + self._bounds.outage_seconds
            if not self._is_failing:  # once until it works again: each call would repeat it
                self._is_failing = True
                _log.error("the database cannot be reached", error=str(error) or repr(error))
            told = translate(error)
            if told is error:  # it refuses us: who asks can do nothing about it
                told = _unavailable("the database refuses this hall")
                told.__cause__ = error
            raise told from error
        if self._is_failing:
            self._is_failing = False
            _log.info("the database is reached again")
        return connection

    async def _connect(self) -> Any:
        bounds = self._bounds
        connection = await asyncpg.connect(
            self._address.url,
            password=self._address.password,
            timeout=bounds.connect_seconds_max,
            # A standby knows nothing of the locks by which the horizon is told.
            target_session_attrs="primary",
            statement_cache_size=STATEMENTS_KEPT,
            max_cached_statement_lifetime=0,
            server_settings={
                "application_name": "moothall",
                "statement_timeout": _milliseconds(bounds.statement_seconds_max),
                "lock_timeout": _milliseconds(bounds.lock_seconds_max),
                "idle_in_transaction_session_timeout": _milliseconds(bounds.answer_seconds_max),
                "default_transaction_isolation": "read committed",
                "default_transaction_read_only": "on" if self._is_read_only else "off",
                "jit": "off",
                # Every statement has its index. Where the server guesses badly how many rows lie
                # between two positions, it would read a whole board, and sort it, for a page.
                "enable_seqscan": "off",
                "enable_bitmapscan": "off",
            },
        )
        try:
            if connection.get_server_version().major >= TRANSACTION_LIMIT_SINCE:
                limit = _milliseconds(bounds.write_seconds_max)
                await connection.execute(f"SET transaction_timeout = {limit}")
            # Sums are numbers of any size to PostgreSQL, and of 64 bits to us.
            await connection.set_type_codec(
                "numeric", schema="pg_catalog", encoder=str, decoder=_read_numeric, format="text"
            )
            if self.preparation:
                await connection.execute(self.preparation)
        except BaseException:  # also where the caller leaves meanwhile
            connection.terminate()
            raise
        return connection

    def _give_back(self, connection: Any) -> None:
        """Keep a connection for the next call, unless it is broken or left in a transaction."""
        if connection.is_closed():
            # What broke it may have broken the idle ones too, which notice only when they are used.
            for idle in self._idle:
                idle.terminate()
            self._idle.clear()
        elif self._is_closing or connection.is_in_transaction():
            connection.terminate()
        else:
            self._idle.append(connection)


async def _close(connection: Any) -> None:
    """Close a connection in good order if it can be done soon."""
    try:
        await connection.close(timeout=1.0)
    except Exception:  # noqa: BLE001 - the server ends it by itself
        connection.terminate()


def _read_numeric(text: str) -> int | float:
    """Return a number as SQLite would."""
    return float(text) if "." in text else int(text)


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1_000))


def _unavailable(reason: str) -> StorageUnavailableError:
    return StorageUnavailableError(reason, remedy="try again later")
