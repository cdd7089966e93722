"""SqliteDatabase: implements ``ports.database.Database`` on one file."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from moothall.ports.database import Transaction
from moothall.storage.sqlite.checkpoint import Checkpointer
from moothall.storage.sqlite.connection import open_writer
from moothall.storage.sqlite.reader import Reader
from moothall.storage.sqlite.writer import Writer

T = TypeVar("T")


class SqliteDatabase:
    """The file, its writer and its readers. Make it with :meth:`open` on a running loop."""

    engine = "sqlite"

    def __init__(self, writer: Writer, reader: Reader, checkpointer: Checkpointer) -> None:
        """Made by :meth:`open`."""
        self._writer = writer
        self._reader = reader
        self._checkpointer = checkpointer

    @classmethod
    def open(
        cls, path: Path, *, on_sync_failure: Callable[[BaseException], None]
    ) -> "SqliteDatabase":
        """Open or create the file at ``path``."""
        connection = open_writer(path)
        writer = Writer(connection, on_sync_failure=on_sync_failure)
        return cls(writer, Reader(path), Checkpointer(path, connection, writer))

    async def read(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run ``work`` on a snapshot."""
        return await self._reader.run(work)

    async def write(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run ``work`` and return its result once it is durable."""
        result: T = await self._writer.run(work)
        return result

    async def close(self) -> None:
        """Finish what waits and close the file."""
        await self._checkpointer.close()
        await self._writer.close()
        self._reader.close()
