"""A hall's PostgreSQL database as the commands see it that work beside the nodes, or without them.

One connection, without the bounds by which a node answers its callers in time.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from moothall.action.migrations import FRAMEWORK_MIGRATIONS, FRAMEWORK_ROOM, check_known
from moothall.action.migrations import read_migrations as read_steps
from moothall.app.config import Settings
from moothall.core.errors import ConfigurationError
from moothall.ports.database import Transaction
from moothall.storage.postgres import PostgresBounds, PostgresDatabase, read_address
from moothall.storage.postgres.database import check_server
from moothall.storage.postgres.failure import translate
from moothall.storage.postgres.pool import Pool
from moothall.storage.postgres.snapshot import BEGIN_READ
from moothall.storage.postgres.transaction import PostgresTransaction

UNBOUNDED_SECONDS = 7 * 86_400.0
"""For work that takes as long as it takes."""

LEASE_LOOK_SECONDS = 0.25
LEASE_LOOKS_MAX = 40
"""Together 10 s: longer than a lease of a node that is gone lasts."""

_RELATIONS = """
SELECT c.relname FROM pg_class AS c
WHERE c.relnamespace = current_schema()::regnamespace
  AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
  AND NOT EXISTS (SELECT 1 FROM pg_depend AS d
    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY c.relname LIMIT 1
"""
_NODES = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'moothall' AND pid <> pg_backend_pid()
"""
_LEASE = """
SELECT max(until_ms) FROM action_lease
WHERE until_ms > (extract(epoch FROM clock_timestamp()) * 1000)::bigint
"""
_STEPS = "SELECT number, digest FROM action_migration WHERE room = $1 ORDER BY number"


@asynccontextmanager
async def open_session(
    settings: Settings, seconds: float = UNBOUNDED_SECONDS
) -> AsyncIterator[Any]:
    """Lend a connection to the database that the settings name.

    Args:
        settings: Of the hall.
        seconds: How long one statement may take.

    Raises:
        ConfigurationError: The address cannot be used, or the server refuses us or is no server
            for a hall.
        StorageUnavailableError: It cannot be reached.
    """
    address = read_address(settings.database, settings.database_password_file)
    bounds = PostgresBounds(
        statement_seconds_max=seconds,
        lock_seconds_max=seconds,
        answer_seconds_max=seconds,
        write_seconds_max=UNBOUNDED_SECONDS,  # of the whole, not of one statement
    )
    pool = Pool(address, 1, bounds)
    try:
        async with pool.connection() as connection:
            await check_server(connection)
            yield connection
    except ConfigurationError:
        raise
    except Exception as error:
        raise explain(error) from error
    finally:
        await pool.close()


def explain(error: BaseException) -> BaseException:
    """Return what an operator is told of a failure of the server; a bug stays what it is."""
    cause = error.__cause__ or error
    told = translate(cause)
    if told is cause and _is_of_server(cause):
        return ConfigurationError(f"settings: database: the server refuses: {cause}")
    return error if told is cause else told


def _is_of_server(error: BaseException) -> bool:
    import asyncpg  # noqa: PLC0415 - heavy

    return isinstance(error, asyncpg.PostgresError)


def transaction_of(connection: Any) -> PostgresTransaction:
    """Return an open transaction of a connection, as stores take it."""
    return PostgresTransaction(connection, UNBOUNDED_SECONDS)


@asynccontextmanager
async def open_state(connection: Any) -> AsyncIterator[Transaction]:
    """Read one state of the rows, as a snapshot does."""
    await connection.execute(BEGIN_READ)
    try:
        yield transaction_of(connection)
    finally:
        if not connection.is_closed():
            await connection.execute("ROLLBACK")


async def find_relation(connection: Any) -> str | None:
    """Return the name of any table, view or sequence of the database; None if it is empty."""
    found: str | None = await connection.fetchval(_RELATIONS)
    return found


async def check_is_hall(connection: Any) -> None:
    """Refuse a database in which there is no hall.

    Raises:
        ConfigurationError: With the remedy.
    """
    if await connection.fetchval("SELECT to_regclass('action_epoch') IS NULL"):
        msg = (
            "settings: database: there is no hall in it; name another database, or move one there: "
            "moothall migrate"
        )
        raise ConfigurationError(msg)


async def has_nodes(connection: Any) -> bool:
    """Tell whether any node of the hall is alive.

    A node has connections that say what they are; should a pooler between hide them, it renews its
    lease. A lease that nobody renews, as in a database that was restored just now, is waited out.
    """
    if await connection.fetchval(_NODES):
        return True
    if await connection.fetchval("SELECT to_regclass('action_lease') IS NULL"):
        return False
    held = await connection.fetchval(_LEASE)
    for _ in range(LEASE_LOOKS_MAX):
        until = await connection.fetchval(_LEASE)
        if until is None:
            return False
        if until != held:
            return True
        await asyncio.sleep(LEASE_LOOK_SECONDS)
    return True


async def check_no_nodes(connection: Any) -> None:
    """Refuse to change what a node may be using.

    Raises:
        ConfigurationError: One is alive.
    """
    if await has_nodes(connection):
        msg = (
            "settings: database: a node of the hall runs on it; stop all nodes first (of one that "
            "was killed the database knows some seconds later)"
        )
        raise ConfigurationError(msg)


async def read_schema_of(connection: Any, rooms: Any) -> dict[str, int]:
    """Return how many migrations each room lacks in the database.

    Raises:
        ConfigurationError: One of them was edited, or a later release was here.
    """
    missing: dict[str, int] = {}
    for name, folder in [(FRAMEWORK_ROOM, FRAMEWORK_MIGRATIONS), *rooms]:
        steps = read_steps(name, folder, PostgresDatabase.engine)
        known = [(row[0], row[1]) for row in await connection.fetch(_STEPS, name)]
        check_known(name, steps, known)
        if len(known) < len(steps):
            missing[name] = len(steps) - len(known)
    return missing
