"""PostgresDatabase: implements ``ports.database.Database`` on a server that several nodes share.

A WRITE runs at READ COMMITTED, in a task of its own: a caller who leaves cannot stop it halfway.
Work that another call was in the way of (a deadlock, a key that another was quicker to take) is
run again. So is work whose connection broke, except in its COMMIT: whether that was done nobody
knows, and the caller is told to try again; an idempotency key makes that safe.

A READ runs at REPEATABLE READ, on one state of the data (``snapshot``).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from random import SystemRandom
from time import perf_counter
from typing import Any, TypeVar

import asyncpg
import structlog

from moothall.core.errors import ActionError, ConfigurationError, StorageUnavailableError
from moothall.core.histogram import SECONDS, Histogram
from moothall.ports.database import Transaction
from moothall.ports.metrics import Measure
from moothall.storage.errors import TransactionEndedError
from moothall.storage.hooks import run_hooks
from moothall.storage.postgres.address import Address
from moothall.storage.postgres.bounds import PostgresBounds
from moothall.storage.postgres.dialect import SEQUENCE
from moothall.storage.postgres.failure import breaks_key, is_unreachable, may_pass, translate
from moothall.storage.postgres.lanes import Lanes
from moothall.storage.postgres.pool import Pool
from moothall.storage.postgres.snapshot import Experience, Snapshot
from moothall.storage.postgres.transaction import (
    BEGIN_WRITE,
    PREPARE_WRITE,
    Guarded,
    PostgresTransaction,
)

T = TypeVar("T")

Work = Callable[[Transaction], Awaitable[Any]]

VERSION_MIN = 14
"""The oldest PostgreSQL that is taken."""

_BACKOFF_SECONDS = 0.002
_random = SystemRandom()
_log = structlog.get_logger("moothall.database")


class PostgresDatabase:
    """The server, seen by one node. Make it with :meth:`open` on a running loop.

    Attributes:
        on_notice: Called after each commit of something that nodes must learn of.
    """

    engine = "postgres"

    def __init__(self, address: Address, bounds: PostgresBounds) -> None:
        """Made by :meth:`open`, which checks the server first."""
        self._bounds = bounds
        self._writers = Pool(address, bounds.writers, bounds)
        self._readers = Pool(address, bounds.readers, bounds, is_read_only=True)
        self._lanes = Lanes(bounds)
        self._experience = Experience()
        self.on_notice: Callable[[], None] = lambda: None
        self._commit_seconds = Histogram(SECONDS)
        self._commit_last_seconds = 0.0
        self._reruns = 0
        self._running: set[asyncio.Task[Any]] = set()
        self._is_closing = False

    @classmethod
    async def open(
        cls, address: Address, *, bounds: PostgresBounds | None = None
    ) -> "PostgresDatabase":
        """Meet the server, and make the sequence of the hall's numbers if there is none.

        Args:
            address: Where it is, from ``read_address``.
            bounds: Instead of the defaults, in tests.

        Raises:
            ConfigurationError: The server refuses us, or cannot be used.
            StorageUnavailableError: It cannot be reached.
        """
        database = cls(address, bounds or PostgresBounds())
        try:
            await database._prepare()
        except BaseException:
            await database.close()
            raise
        return database

    def measures(self) -> Mapping[str, Measure]:
        """Implement ``ports.metrics.Measured``."""
        return {
            "writes_waiting": self._writers.waiting,
            "writes_waiting_in_lanes": self._lanes.waiting,
            "reads_waiting": self._readers.waiting,
            "commit_duration_seconds": self._commit_seconds,
            "commit_last_duration_seconds": self._commit_last_seconds,
            "write_reruns_total": self._reruns,
        }

    async def read(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run ``work`` on a snapshot."""
        for is_second_run in (False, True):
            try:
                async with self._readers.connection() as connection:
                    result: T = await self._read_on(connection, work, is_second_run=is_second_run)
                    return result
            except (StorageUnavailableError, asyncpg.ReadOnlySQLTransactionError):
                raise  # the latter: a READ that writes is a bug and stays one
            except Exception as error:
                if is_second_run or not (is_unreachable(error) or may_pass(error)):
                    raise _told(error, is_write=False) from error
        raise AssertionError

    async def write(self, work: Callable[[Transaction], Awaitable[T]], *, lane: str = "") -> T:
        """Run ``work`` and return its result once it is durable."""
        if self._is_closing:
            raise StorageUnavailableError("the database is closing")
        task = asyncio.get_running_loop().create_task(self._write(work, lane))
        self._running.add(task)
        task.add_done_callback(self._forget)
        result: T = await asyncio.shield(task)
        return result

    async def close(self) -> None:
        """Finish the writes that run or wait and close all connections."""
        self._is_closing = True
        while self._running:
            await asyncio.wait(self._running)
        await self._writers.close()
        await self._readers.close()

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        """Let go of a write that has ended; its caller may have left."""
        self._running.discard(task)
        if not task.cancelled():
            task.exception()

    async def _read_on(self, connection: Any, work: Work, *, is_second_run: bool) -> Any:
        """Run a read on a connection."""
        seconds = self._bounds.answer_seconds_max
        tx = Snapshot(connection, seconds, self._experience, is_second_run=is_second_run)
        is_unsure = False
        try:
            return await Guarded(work(tx), tx)
        except TimeoutError:
            connection.terminate()  # the server is silent; another connection may find it
            raise
        except ActionError:
            raise
        except BaseException:
            # Between preparing a statement and running it the driver leaves a transaction open.
            is_unsure = True
            raise
        finally:
            tx.end()
            if tx.has_begun or is_unsure:
                await _roll_back(connection)

    async def _write(self, work: Work, lane: str) -> Any:
        """Run a write, again where that may help."""
        end = perf_counter() + self._bounds.write_seconds_max
        broken_keys = lost = 0
        for run in range(1, self._bounds.runs_max + 1):
            attempt = _Attempt(self._bounds.answer_seconds_max, self.on_notice)
            try:
                async with self._lanes.turn(lane), self._writers.connection() as connection:
                    result = await attempt.run(connection, work)
                    self._commit_last_seconds = attempt.commit_seconds
                    self._commit_seconds.observe(attempt.commit_seconds)
                    return result
            except StorageUnavailableError:
                raise
            except Exception as error:
                broken_keys += breaks_key(error)
                lost += is_unreachable(error)
                helps = (may_pass(error) and broken_keys <= 1) or (
                    is_unreachable(error) and not attempt.is_committing and lost <= 1
                )
                if not helps or run == self._bounds.runs_max or perf_counter() > end:
                    if attempt.is_committing and is_unreachable(error):
                        raise _unsure(error) from error
                    raise _told(error, is_write=True) from error
            self._reruns += 1
            await asyncio.sleep(_random.uniform(0, _BACKOFF_SECONDS * min(run, 10)))
        raise AssertionError

    async def _prepare(self) -> None:
        """Check the server, and make the sequence."""
        try:
            async with self._writers.connection() as connection:
                await check_server(connection)
                if await connection.fetchval("SELECT to_regclass($1)", SEQUENCE) is None:
                    await make_sequence(connection)
                    await _warn(connection)
                await connection.execute(PREPARE_WRITE)
            self._writers.preparation = PREPARE_WRITE
        except StorageUnavailableError as error:
            cause = error.__cause__
            if isinstance(cause, asyncpg.PostgresError) and not is_unreachable(cause):
                msg = f"settings: database: the server refuses: {cause}"
                raise ConfigurationError(msg) from cause
            raise
        except asyncpg.InsufficientPrivilegeError as error:
            msg = f"settings: database: {error}; grant the hall's user CREATE on its schema"
            raise ConfigurationError(msg) from error
        except asyncpg.LockNotAvailableError as error:
            msg = (
                "settings: database: another process is making the tables of a hall in it "
                "(moothall migrate); start again when that has ended"
            )
            raise ConfigurationError(msg) from error


class _Attempt:
    """One run of a write.

    Attributes:
        is_committing: Whether the COMMIT was sent, so that nobody knows what came of it.
        commit_seconds: How long it took.
    """

    __slots__ = ("_on_notice", "_seconds", "commit_seconds", "is_committing")

    def __init__(self, seconds: float, on_notice: Callable[[], None]) -> None:
        """Give the server up after it was silent for ``seconds``."""
        self._seconds = seconds
        self._on_notice = on_notice
        self.is_committing = False
        self.commit_seconds = 0.0

    async def run(self, connection: Any, work: Work) -> Any:
        """Run the work and commit it."""
        tx = PostgresTransaction(connection, self._seconds, self._on_notice)
        try:
            await connection.execute(BEGIN_WRITE, timeout=self._seconds)
            try:
                awaitable = work(tx)
            except StopIteration as error:
                # A task refuses it, because it would end its caller's coroutine.
                raise RuntimeError("the work of a write raised StopIteration") from error
            result = await Guarded(awaitable, tx)
            await tx.flush()
        except BaseException:
            tx.end()
            await _roll_back(connection)
            raise
        tx.end()
        self.is_committing = True
        begun = perf_counter()
        status = await connection.execute("COMMIT", timeout=self._seconds)
        self.commit_seconds = perf_counter() - begun
        self.is_committing = False
        if status != "COMMIT":  # a failed statement has ended it, and its author went on
            raise TransactionEndedError("a statement of this call failed, so nothing was kept")
        run_hooks(tx.hooks)
        return result


async def _roll_back(connection: Any) -> None:
    """End a transaction; a connection that cannot is given up."""
    try:
        if not connection.is_closed():
            await connection.execute("ROLLBACK", timeout=1.0)
    except Exception:  # noqa: BLE001 - whatever it is, the server rolls back what is not committed
        connection.terminate()
    except BaseException:  # whoever waits for it leaves
        connection.terminate()
        raise


async def check_server(connection: Any) -> None:
    """Refuse a server that cannot keep a hall's rows as they are.

    Raises:
        ConfigurationError: It is too old, or has another encoding.
    """
    version = connection.get_server_version().major
    if version < VERSION_MIN:
        msg = f"settings: database: PostgreSQL {version} is too old; {VERSION_MIN} is the oldest"
        raise ConfigurationError(msg)
    encoding = await connection.fetchval("SHOW server_encoding")
    if encoding != "UTF8":
        msg = f"settings: database: its encoding is {encoding}; create it with ENCODING 'UTF8'"
        raise ConfigurationError(msg)


async def _warn(connection: Any) -> None:
    """Say what a server does that a hall cannot make good."""
    for name in ("fsync", "synchronous_commit"):
        if await connection.fetchval(f"SHOW {name}") == "off":
            _log.warning("the database may lose what was acknowledged", setting=f"{name} = off")


async def lock_making(connection: Any) -> None:
    """Be the only one who makes a hall in this database, until the transaction ends."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtext($1))", SEQUENCE)


async def make_sequence(connection: Any) -> None:
    """Make the sequence, once for all nodes that start now."""
    async with connection.transaction():
        await lock_making(connection)
        if await connection.fetchval("SELECT to_regclass($1)", SEQUENCE) is None:
            await connection.execute(f"CREATE SEQUENCE {SEQUENCE}")
            # So that the next number is above the last one from the beginning.
            await connection.execute(f"SELECT nextval('{SEQUENCE}')")


def _told(error: Exception, *, is_write: bool) -> BaseException:
    """Return what a caller is told, and log what only the operator can do something about."""
    told = translate(error, is_write=is_write)
    if is_unreachable(error):
        _log.warning("the database failed", error=str(error) or repr(error))
    return told


def _unsure(error: BaseException) -> StorageUnavailableError:
    """Return what the caller learns of a commit whose answer was lost."""
    told = StorageUnavailableError(
        "the database was lost during the commit, so it is not known whether this was done",
        remedy="send it again with the same idempotency key, or look first",
    )
    told.__cause__ = error
    return told
