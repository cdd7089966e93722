"""What must hold of the PostgreSQL server under a hall of several nodes.

Each function returns what is wrong, and nothing if all is well. They read and never write, and
need no more rights than the hall's own user has.
"""

import time
from typing import Any

from moothall.action.checks import Finding, Level
from moothall.app.config import Settings
from moothall.app.foundation import ASIDE_READERS, ASIDE_WRITERS
from moothall.core.units import MEBIBYTE

CLOCKS_APART_MS_MAX = 5_000
"""Between this machine and the server: nodes whose clocks differ disagree about what is over."""

LONG_TRANSACTION_SECONDS = 300
"""From then on it keeps the server from reusing the room of old rows."""

AGE_MAX = 1_500_000_000
"""Of the oldest transaction that rows may show; at two thousand million the server stops."""

NODES_MIN = 2
"""As many nodes should find connections: a new one starts before the old one has ended."""

FINDINGS_MAX = 10

_LIMITS = """
SELECT current_setting('max_connections')::int
    - current_setting('superuser_reserved_connections')::int
    - coalesce(current_setting('reserved_connections', true), '0')::int,
  (SELECT datconnlimit FROM pg_database WHERE datname = current_database()),
  (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user),
  (SELECT count(*) FROM pg_stat_activity
    WHERE datname IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend'
    AND NOT (datname = current_database() AND coalesce(application_name, '') = 'moothall'))
"""
"""Of other users' connections the hall's user sees the database, and neither kind nor name."""
_LONG = """
SELECT pid, coalesce(application_name, ''), extract(epoch FROM clock_timestamp() - xact_start)::int
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
  AND xact_start < clock_timestamp() - make_interval(secs => $1)
ORDER BY xact_start LIMIT $2
"""
_PREPARED = """
SELECT gid, extract(epoch FROM clock_timestamp() - prepared)::int FROM pg_prepared_xacts
WHERE database = current_database() AND prepared < clock_timestamp() - make_interval(secs => $1)
ORDER BY prepared LIMIT $2
"""
_LARGEST = """
SELECT relname, pg_total_relation_size(oid) FROM pg_class
WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace ORDER BY 2 DESC LIMIT 1
"""


async def check_promises(connection: Any) -> list[Finding]:
    """What was acknowledged is on the server's disk."""
    found = []
    for name, lost in (
        ("fsync", "a loss of power may destroy the database"),
        ("full_page_writes", "a loss of power may leave half of a page"),
        ("synchronous_commit", "a loss of power undoes what was acknowledged"),
    ):
        if await connection.fetchval("SELECT current_setting($1)", name) == "off":
            remedy = f"set {name} = on in postgresql.conf (or for the hall's user) and reload it"
            found.append(Finding(f"{name} is off: {lost}", remedy))
    return found


async def check_role(connection: Any) -> list[Finding]:
    """The server takes writes and tidies up by itself."""
    found = []
    if await connection.fetchval("SELECT pg_is_in_recovery()"):
        remedy = "name the primary in the address; of several hosts there, nodes find it"
        found.append(Finding("this is a standby, which takes no writes", remedy))
    if await connection.fetchval("SELECT current_setting('autovacuum')") == "off":
        told = "autovacuum is off: tables grow, and slow down, without end"
        found.append(Finding(told, "set autovacuum = on in postgresql.conf and reload it"))
    age = await connection.fetchval(
        "SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()"
    )
    if age > AGE_MAX:
        told = f"the oldest rows are {age} transactions old, and at 2,000,000,000 the server stops"
        found.append(Finding(told, "run VACUUM (FREEZE) on the database", Level.WARNING))
    return found


async def check_connections(connection: Any, settings: Settings) -> list[Finding]:
    """The server has connections for two nodes with these settings, beside what others hold."""
    room, of_database, of_user, others = await connection.fetchrow(_LIMITS)
    bounds = [room - others, *(each for each in (of_database, of_user) if each >= 0)]
    of_node = (
        settings.database_writers_max
        + settings.database_readers_max
        + ASIDE_WRITERS
        + ASIDE_READERS
    )
    nodes = max(0, min(bounds)) // of_node
    if nodes >= NODES_MIN:
        return []
    told = f"{max(0, min(bounds))} connections are to be had, and a node takes up to {of_node}"
    remedy = (
        "raise max_connections (or the limit of the database or its user), or lower "
        "database_writers_max and database_readers_max"
    )
    return [Finding(told, remedy, Level.WARNING if nodes else Level.FAILED)]


async def check_transactions(connection: Any) -> list[Finding]:
    """No transaction has been open for minutes."""
    found = []
    for pid, name, seconds in await connection.fetch(_LONG, LONG_TRANSACTION_SECONDS, FINDINGS_MAX):
        told = (
            f"process {pid} of the server ({name or 'no name'}) holds a transaction for {seconds} s"
        )
        remedy = f"end that program, or: SELECT pg_terminate_backend({pid})"
        found.append(Finding(told, remedy, Level.WARNING))
    for name, seconds in await connection.fetch(_PREPARED, LONG_TRANSACTION_SECONDS, FINDINGS_MAX):
        told = f"a prepared transaction ({name}) waits for {seconds} s"
        found.append(Finding(told, f"ROLLBACK PREPARED '{name}'", Level.WARNING))
    return found


async def check_clocks(connection: Any) -> list[Finding]:
    """This machine's clock and the server's agree."""
    began_ms = time.time_ns() // 1_000_000
    server_ms = await connection.fetchval(
        "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"
    )
    ended_ms = time.time_ns() // 1_000_000
    apart_ms = max(began_ms - server_ms, server_ms - ended_ms, 0)
    if apart_ms <= CLOCKS_APART_MS_MAX:
        return []
    told = f"this machine's clock and the server's are {apart_ms // 1_000} s apart"
    return [Finding(told, "set both right, and keep them so (NTP)", Level.WARNING)]


async def describe_size(connection: Any) -> str:
    """Return what the rows take on the server's disk, which alone knows how much is free."""
    size_bytes = await connection.fetchval("SELECT pg_database_size(current_database())")
    name, table_bytes = await connection.fetchrow(_LARGEST)
    return (
        f"The rows take {size_bytes // MEBIBYTE} MiB on the server, of which {name} takes "
        f"{table_bytes // MEBIBYTE} MiB"
    )
