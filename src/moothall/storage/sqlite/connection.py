"""How the file is opened, and what its errors mean."""

import re
from functools import lru_cache
from pathlib import Path

import apsw

from moothall.core.errors import ActionError, StorageUnavailableError

_BARE = re.compile(r"\$(\d+)")

_ALWAYS = """
PRAGMA foreign_keys = ON;
PRAGMA trusted_schema = OFF;
PRAGMA temp_store = MEMORY;
PRAGMA cache_size = -32768;
"""

_WRITER = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA wal_autocheckpoint = 0;
PRAGMA journal_size_limit = 67108864;
"""

BUSY_TIMEOUT_MS = 5_000


@lru_cache(maxsize=4_096)
def rewrite_parameters(sql: str) -> str:
    """Turn ``$1`` into ``?1``; SQLite numbers a bare ``$1`` by first appearance instead."""
    return _BARE.sub(r"?\1", sql)


def open_writer(path: Path) -> apsw.Connection:
    """Open the one connection that writes; a commit returns after the log is synced."""
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    connection.execute(_ALWAYS)
    connection.execute(_WRITER)
    return connection


def open_reader(path: Path) -> apsw.Connection:
    """Open a connection that can only read."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    connection.execute(_ALWAYS)
    connection.execute("PRAGMA query_only = ON")
    return connection


def is_sync_failure(error: BaseException) -> bool:
    """Tell whether the disk failed to sync: what it holds now is unknown (see fsyncgate).

    The pages may be marked clean though they never reached the disk, so neither trying
    again nor going on is safe; only a restart reads what is really there.
    """
    return isinstance(error, apsw.IOError) and getattr(error, "extendedresult", 0) in {
        apsw.SQLITE_IOERR_FSYNC,
        apsw.SQLITE_IOERR_DIR_FSYNC,
    }


def translate(error: apsw.Error) -> Exception:
    """Return what the pipeline makes of a driver's error; a bug stays what it is."""
    if isinstance(error, apsw.FullError):
        return StorageUnavailableError("the disk is full", remedy="try again later")
    if isinstance(error, apsw.ReadOnlyError | apsw.IOError | apsw.BusyError | apsw.CantOpenError):
        return StorageUnavailableError("the disk cannot be written", remedy="try again later")
    return error


def is_expected(error: BaseException) -> bool:
    """Tell whether ``error`` is an ordinary end of a call rather than a fault."""
    return isinstance(error, ActionError)
