"""The room's tables by themselves, in memory, for tests that need no hall."""

from functools import cache
from pathlib import Path

import apsw

import moothall.services
from moothall.action.migrations import read_migrations

MIGRATIONS = Path(moothall.services.__path__[0], "leaderboards", "migrations")


def open_tables() -> apsw.Connection:
    """Return a database in memory with the room's tables and nothing in them."""
    connection = apsw.Connection(":memory:")
    connection.deserialize("main", _migrated())
    return connection


@cache
def _migrated() -> bytes:
    """Apply the room's migrations; that takes longer than most of what is done with them."""
    connection = apsw.Connection(":memory:")
    for step in read_migrations("leaderboards", MIGRATIONS, "sqlite"):
        connection.execute(step.sql)
    content = connection.serialize("main")
    connection.close()
    return content
