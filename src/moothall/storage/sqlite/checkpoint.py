"""Checkpoints: what the log holds is moved into the file, away from the loop's thread.

A passive checkpoint runs beside the writer and the readers. It can never empty the log
while calls keep coming; so when the log has grown large all the same, the writer pauses
for one checkpoint that starts the log anew. By then little is left to move.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apsw
import structlog

from moothall.storage.sqlite.connection import open_writer
from moothall.storage.sqlite.writer import Writer

LOG_PAGES_WISH = 2_000
"""Pages of 4 KiB in the log at which a checkpoint begins (8 MiB)."""

LOG_PAGES_MAX = 16_000
"""Pages at which the writer pauses for a checkpoint that starts the log anew (64 MiB)."""

_log = structlog.get_logger("moothall.checkpoint")


class Checkpointer:
    """Watches the size of the log; at most one checkpoint runs at a time."""

    def __init__(self, path: Path, connection: apsw.Connection, writer: Writer) -> None:
        """Serve the log that ``connection`` writes."""
        self._path = path
        self._writer = writer
        self._pages = 0
        self._done_pages = 0
        self._task: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="moothall-checkpoint")
        self._own: apsw.Connection | None = None
        connection.set_wal_hook(self._note)
        writer.on_batch = self._look

    async def close(self) -> None:
        """Wait for the checkpoint that runs."""
        if self._task is not None:
            await self._task
        self._thread.shutdown()
        if self._own is not None:
            self._own.close()

    def _note(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        """Remember the size of the log after a commit (may be another thread)."""
        self._pages = pages
        return apsw.SQLITE_OK

    def _look(self) -> None:
        """Start a checkpoint if the log has grown enough since the last one."""
        if self._pages < self._done_pages:
            self._done_pages = 0
        is_due = self._pages - self._done_pages >= LOG_PAGES_WISH
        if is_due and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._checkpoint())

    async def _checkpoint(self) -> None:
        """Move what can be moved; start the log anew if it is too long."""
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._thread, self._run, apsw.SQLITE_CHECKPOINT_PASSIVE)
            self._done_pages = self._pages
            if self._pages >= LOG_PAGES_MAX:
                await self._writer.pause()
                try:
                    mode = apsw.SQLITE_CHECKPOINT_RESTART
                    await loop.run_in_executor(self._thread, self._run, mode)
                finally:
                    self._writer.resume()
        except apsw.Error as error:
            # The log keeps everything until a later checkpoint succeeds.
            _log.warning("checkpoint failed", error=str(error))

    def _run(self, mode: int) -> None:
        """Run one checkpoint on the thread's own connection."""
        if self._own is None:
            self._own = open_writer(self._path)
        self._own.wal_checkpoint(mode=mode)
