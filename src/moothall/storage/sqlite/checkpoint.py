"""Checkpoints: what the log holds is moved into the file, away from the loop's thread.

A passive checkpoint runs beside the writer and the readers. It can never start the log
anew while calls keep coming. So when the log has grown large all the same, long reads that
have not begun wait for those that have; then the writer pauses for one short checkpoint,
by which little is left to move. The writer itself never waits for a reader.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apsw
import structlog

from moothall.core.errors import ConfigurationError
from moothall.storage.sqlite.bounds import SqliteBounds
from moothall.storage.sqlite.connection import open_writer
from moothall.storage.sqlite.failure import is_sync_failure
from moothall.storage.sqlite.reader import Reader
from moothall.storage.sqlite.writer import Writer

LOCK_TIMEOUT_MS = 100
"""How long the writer may have to wait for a read that another program has begun."""

_log = structlog.get_logger("moothall.checkpoint")


class Checkpointer:
    """Watches the size of the log; at most one checkpoint runs at a time."""

    def __init__(
        self,
        path: Path,
        writer: Writer,
        reader: Reader,
        bounds: SqliteBounds,
        vfs: str | None = None,
    ) -> None:
        """Serve the log that ``writer`` writes and ``reader`` reads."""
        self._path = path
        self._vfs = vfs
        self._bounds = bounds
        self._writer = writer
        self._reader = reader
        self._seen_pages = 0
        self._task: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="moothall-checkpoint")
        self._own: apsw.Connection | None = None
        writer.on_batch = self._look

    async def close(self) -> None:
        """Wait for the checkpoint that runs; start no other."""
        self._writer.on_batch = lambda: None
        if self._task is not None:
            await self._task
        self._thread.shutdown()
        if self._own is not None:
            self._own.close()

    def _look(self) -> None:
        """Start a checkpoint if the log has grown enough since the last one."""
        pages = self._writer.log_pages
        # The log was started anew.
        self._seen_pages = min(self._seen_pages, pages)
        is_due = pages - self._seen_pages >= self._bounds.log_pages_wish
        if is_due and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._checkpoint())

    async def _checkpoint(self) -> None:
        """Move what can be moved; start the log anew if it is too long."""
        try:
            await self._run(apsw.SQLITE_CHECKPOINT_PASSIVE)
            if self._writer.log_pages >= self._bounds.log_pages_max:
                await self._start_anew()
        except (apsw.Error, ConfigurationError) as error:
            # The log keeps everything until a later checkpoint succeeds.
            _log.warning("checkpoint failed", error=str(error))
            if is_sync_failure(error):
                self._writer.distrust(error)
        finally:
            # Also after a failure: the next attempt waits until the log has grown again.
            self._seen_pages = self._writer.log_pages

    async def _start_anew(self) -> None:
        """Move everything, so that the next commit begins at the front of the log."""
        await self._reader.pause()
        try:
            await self._run(apsw.SQLITE_CHECKPOINT_PASSIVE)
            await self._writer.pause()
            try:
                await self._run(apsw.SQLITE_CHECKPOINT_RESTART)
            finally:
                self._writer.resume()
        finally:
            self._reader.resume()

    async def _run(self, mode: int) -> None:
        """Run one checkpoint on the thread."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._run_on_thread, mode)

    def _run_on_thread(self, mode: int) -> None:
        """Run one checkpoint on the thread's own connection."""
        if self._own is None:
            self._own = open_writer(self._path, self._vfs)
            self._own.set_busy_timeout(LOCK_TIMEOUT_MS)
        self._own.wal_checkpoint(mode=mode)
