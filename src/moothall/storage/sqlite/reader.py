"""Reads on snapshots: short ones at once on the loop's thread, long ones on another.

Most reads take microseconds, and a change of threads would cost more than they do. So a
read runs where it stands, but for 1 ms at most; whatever takes longer is stopped and run
again on a reader thread, where it may take 5 s.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import TypeVar

import apsw

from moothall.core.errors import DeadlineExceededError
from moothall.storage.sqlite.connection import open_reader, translate
from moothall.storage.sqlite.transaction import SqliteTransaction, drive

T = TypeVar("T")

INLINE_SECONDS_MAX = 0.001
THREAD_SECONDS_MAX = 5.0
THREADS = 2
PROGRESS_STEPS = 1_000
"""Virtual machine steps between two looks at the clock; about 20 µs."""

Work = Callable[[SqliteTransaction], Awaitable[T]]


class _Snapshots:
    """One read-only connection with a time limit for what runs on it."""

    def __init__(self, path: Path) -> None:
        self._end = 0.0
        self.connection = open_reader(path)
        self.connection.set_progress_handler(self._is_late, PROGRESS_STEPS)

    def run(self, work: Work[T], seconds: float) -> T:
        """Run ``work`` on the state of this moment."""
        connection = self.connection
        self._end = perf_counter() + seconds
        connection.execute("BEGIN")
        try:
            return drive(work(SqliteTransaction(connection)))
        finally:
            self._end = float("inf")
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _is_late(self) -> bool:
        return perf_counter() > self._end


class Reader:
    """Runs reads; lives on the loop's thread and owns the reader threads."""

    def __init__(self, path: Path) -> None:
        """Read the file at ``path``, which exists."""
        self._path = path
        self._inline = _Snapshots(path)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="moothall-read")
        self._local = threading.local()
        self._opened: list[_Snapshots] = []

    async def run(self, work: Work[T]) -> T:
        """Run ``work`` on a snapshot.

        Raises:
            DeadlineExceededError: It took longer than 5 s.
        """
        try:
            return self._inline.run(work, INLINE_SECONDS_MAX)
        except apsw.InterruptError:
            pass
        except apsw.Error as error:
            raise translate(error) from error
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, self._run_on_thread, work)
        except apsw.InterruptError:
            raise DeadlineExceededError("the read took longer than 5 s") from None
        except apsw.Error as error:
            raise translate(error) from error

    def close(self) -> None:
        """Wait for the reads that run and close the connections."""
        self._threads.shutdown()
        for snapshots in (self._inline, *self._opened):
            snapshots.connection.close()

    def _run_on_thread(self, work: Work[T]) -> T:
        """Run ``work`` on this thread's own connection."""
        snapshots = getattr(self._local, "snapshots", None)
        if snapshots is None:
            snapshots = self._local.snapshots = _Snapshots(self._path)
            self._opened.append(snapshots)
        return snapshots.run(work, THREAD_SECONDS_MAX)
