"""How the file is opened."""

import os
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

# Each connection is used by one thread at a time, so that SQLite's lock around each of its
# functions would only cost time.
_READ_WRITE = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_NOMUTEX
_READ_ONLY = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_NOMUTEX

_OWNER_ONLY = 0o600
_ANYBODY_ELSE = 0o077
_ENDINGS = ("-wal", "-shm")

OPEN_TIMEOUT_MS = 5_000
"""How long opening waits for another process that is about to leave the file."""


def make_private(path: Path) -> None:
    """Let nobody but its owner read the database, and make its file if there is none.

    SQLite gives the files beside it (``-wal``, ``-shm``) its permissions when it makes them.
    Call it before the file is opened: opening and closing it here would take SQLite's locks.

    Raises:
        ConfigurationError: The file cannot be made, or belongs to somebody else.
    """
    try:
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, _OWNER_ONLY))
        except FileExistsError:
            for file in (path, *(path.with_name(path.name + end) for end in _ENDINGS)):
                if file.exists() and file.stat().st_mode & _ANYBODY_ELSE:
                    file.chmod(_OWNER_ONLY)
    except OSError as error:
        msg = f"{path}: cannot be opened as a database: {error.strerror}"
        raise ConfigurationError(msg) from error


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
        connection = apsw.Connection(str(path), flags=_READ_WRITE, vfs=vfs)
        connection.set_busy_timeout(OPEN_TIMEOUT_MS)
        _keep_plans(connection)
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
    connection = apsw.Connection(str(path), flags=_READ_ONLY, vfs=vfs)
    connection.set_busy_timeout(OPEN_TIMEOUT_MS)
    _keep_plans(connection)
    connection.execute(_ALWAYS)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _keep_plans(connection: apsw.Connection) -> None:
    """Prepare each statement once, whatever its parameters are.

    Built with STAT4, as here, SQLite otherwise prepares a statement with ORDER BY anew for
    each new set of parameters, which took three times as long as running it.
    """
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
