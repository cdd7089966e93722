"""Snapshots: the rows as another process reads them, beside a hall that may be running.

No lock is taken from the hall and nothing is written. While a snapshot is open, the hall
cannot start its log anew, so it should be short.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import quote

import apsw

from moothall.core.errors import ConfigurationError
from moothall.ports.database import Transaction
from moothall.storage.sqlite.connection import OPEN_TIMEOUT_MS, open_reader
from moothall.storage.sqlite.transaction import SqliteTransaction, drive

T = TypeVar("T")


class Snapshot:
    """One state of a database, for as long as it is open.

    Attributes:
        connection: Inside a read transaction.
        tx: The same, as stores take it.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        """Hold the newest state; made by :func:`open_snapshot` or :func:`open_copy`."""
        self.connection = connection
        connection.execute("BEGIN")
        # BEGIN alone holds nothing: the first read does.
        self.fetch_all("SELECT count(*) FROM sqlite_schema")
        self.tx: Transaction = SqliteTransaction(connection, connection.cursor())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.connection.close()

    def fetch_all(self, sql: str) -> list[Any]:
        """Return the rows of a statement."""
        return self.connection.execute(sql).fetchall()

    def read(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run a read, which awaits nothing but its transaction."""
        return drive(work(self.tx))


def open_snapshot(path: Path) -> Snapshot:
    """Open the newest state of the database of a hall, which may be running.

    Raises:
        ConfigurationError: There is no such file, or it is no database.
    """
    check_is_there(path)
    return _open(path, lambda: _connect(path))


def check_is_there(path: Path) -> None:
    """Refuse a folder without a database.

    Raises:
        ConfigurationError: There is no such file, or this user may not look at it.
    """
    try:
        is_there = path.is_file()
    except OSError as error:
        msg = f"{path}: cannot be looked at: {error.strerror}; run this as the hall's user"
        raise ConfigurationError(msg) from None
    if not is_there:
        msg = f"{path.parent} holds no hall: there is no {path.name}; name its folder by --data"
        raise ConfigurationError(msg)


def open_copy(path: Path) -> Snapshot:
    """Open a file that nobody writes, and leave nothing beside it.

    Raises:
        ConfigurationError: There is no such file, or it is no database.
    """
    address = f"file:{quote(str(path.absolute()))}?immutable=1"
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    return _open(path, lambda: apsw.Connection(address, flags=flags))


def _connect(path: Path) -> apsw.Connection:
    """Connect to read, in such a way that the folder is left as it was.

    A connection that may not write makes a log where there is none, and cannot take it away
    again; one that may write would move a log that was left into the database.
    """
    if path.with_name(path.name + "-wal").exists():
        return open_reader(path)
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    connection.set_busy_timeout(OPEN_TIMEOUT_MS)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _open(path: Path, connect: Callable[[], apsw.Connection]) -> Snapshot:
    connection = None
    try:
        connection = connect()
        return Snapshot(connection)
    except apsw.Error as error:
        if connection is not None:
            connection.close()
        msg = f"{path}: cannot be read as a database: {error}; restore a backup if it is damaged"
        raise ConfigurationError(msg) from error
