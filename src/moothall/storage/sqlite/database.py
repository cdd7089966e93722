"""SqliteDatabase: implements ``ports.database.Database`` on one file."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar

import apsw

from moothall.core.errors import ConfigurationError
from moothall.ports.database import Transaction
from moothall.ports.metrics import Measure
from moothall.storage.sqlite.bounds import SqliteBounds
from moothall.storage.sqlite.checkpoint import Checkpointer
from moothall.storage.sqlite.connection import make_private, open_writer
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
        # Else a read of this round of the loop could be older than what a hook has learned.
        writer.on_commit = reader.end_shared

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        on_sync_failure: Callable[[BaseException], None],
        bounds: SqliteBounds | None = None,
        vfs: str | None = None,
    ) -> "SqliteDatabase":
        """Open or create the file at ``path``; only its owner can read it.

        Args:
            path: The file; its folder exists.
            on_sync_failure: Called when the disk can no longer be trusted; ends the process.
                Should it return, every later write is refused.
            bounds: Instead of the defaults, in tests.
            vfs: Name of an apsw VFS instead of the system's, in tests.

        Raises:
            ConfigurationError: The file cannot be opened, or is no database.
        """
        bounds = bounds or SqliteBounds()
        make_private(path)
        connection = open_writer(path, vfs)
        try:
            # After a failed sync the log may be whole in the system's memory and have a hole
            # on the disk, and a commit behind a hole is lost with the power. So what was read
            # is written once more, into the file, before anything is promised on top of it.
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            reader = Reader(path, bounds, vfs)
        except BaseException as error:
            connection.close()
            if isinstance(error, apsw.Error):
                msg = f"{path}: cannot be opened as a database: {error}"
                raise ConfigurationError(msg) from error
            raise
        writer = Writer(connection, bounds, on_sync_failure=on_sync_failure)
        return cls(writer, reader, Checkpointer(path, writer, reader, bounds, vfs))

    def measures(self) -> Mapping[str, Measure]:
        """Implement ``ports.metrics.Measured``."""
        writer, reader = self._writer, self._reader
        return {
            "writes_waiting": writer.waiting,
            "write_batch_calls": writer.batch_calls,
            "commit_duration_seconds": writer.commit_seconds,
            "commit_last_duration_seconds": writer.commit_last_seconds,
            "long_reads_running": reader.running,
            "reads_waiting": reader.waiting,
            "log_pages": writer.log_pages,
        }

    async def read(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run ``work`` on a snapshot."""
        return await self._reader.run(work)

    async def write(
        self,
        work: Callable[[Transaction], Awaitable[T]],
        *,
        lane: str = "",  # noqa: ARG002 - there is one writer, and nobody waits for a lock
    ) -> T:
        """Run ``work`` and return its result once it is durable."""
        result: T = await self._writer.run(work)
        return result

    async def close(self) -> None:
        """Finish what waits and close the file; later calls are refused."""
        # The writer's connection goes last: whoever is last moves the log into the file.
        await self._writer.drain()
        await self._checkpointer.close()
        await self._reader.close()
        await self._writer.close()
