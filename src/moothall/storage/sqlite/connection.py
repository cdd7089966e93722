"""How the file is opened."""

from pathlib import Path

import apsw

from moothall.core.errors import ConfigurationError

_ALWAYS = """
PRAGMA foreign_keys = ON;
PRAGMA trusted_schema = OFF;
PRAGMA temp_store = MEMORY;
PRAGMA cache_size = -32768;
"""

# The two `fullfsync` matter on macOS only, where a plain fsync leaves the drive's cache alone.
_WRITER = """
PRAGMA synchronous = FULL;
PRAGMA fullfsync = ON;
PRAGMA checkpoint_fullfsync = ON;
PRAGMA wal_autocheckpoint = 0;
PRAGMA journal_size_limit = 67108864;
"""

OPEN_TIMEOUT_MS = 5_000
"""How long opening waits for another process that is about to leave the file."""


def open_writer(path: Path, vfs: str | None = None) -> apsw.Connection:
    """Open a connection whose commits return after the log is synced.

    Args:
        path: The file; made if there is none.
        vfs: Name of the layer between SQLite and the disk, to simulate faults.

    Raises:
        ConfigurationError: The file cannot be opened, or its disk cannot do what is needed.
    """
    connection = None
    try:
        connection = apsw.Connection(str(path), vfs=vfs)
        connection.set_busy_timeout(OPEN_TIMEOUT_MS)
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchall()[0][0]
        connection.execute(_ALWAYS)
        connection.execute(_WRITER)
    except apsw.Error as error:
        if connection is not None:
            connection.close()
        msg = f"{path}: cannot be opened as a database: {error}"
        raise ConfigurationError(msg) from error
    if mode != "wal":
        connection.close()
        msg = f"{path}: this file system cannot keep a write-ahead log; use a local disk"
        raise ConfigurationError(msg)
    return connection


def open_reader(path: Path, vfs: str | None = None) -> apsw.Connection:
    """Open a connection that can only read."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY, vfs=vfs)
    connection.set_busy_timeout(OPEN_TIMEOUT_MS)
    connection.execute(_ALWAYS)
    connection.execute("PRAGMA query_only = ON")
    return connection
