"""Reads on snapshots: short ones at once on the loop's thread, long ones on another.

Most reads take microseconds, and a change of threads would cost more than they do. So a
read runs where it stands, but for 1 ms at most; whatever takes longer is stopped and run
again on a reader thread, where it may take 5 s.

Reads of one round of the event loop share a snapshot: beginning and ending one costs as
much as a small read. It ends with the next commit, before its hooks run and before anything
that waits for it goes on, so whoever was told that a write is durable reads it.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import TypeVar

import apsw

from moothall.core.errors import DeadlineExceededError, OverloadedError, StorageUnavailableError
from moothall.storage.sqlite.bounds import SqliteBounds
from moothall.storage.sqlite.connection import open_reader
from moothall.storage.sqlite.failure import translate_read
from moothall.storage.sqlite.transaction import SqliteTransaction, drive

T = TypeVar("T")

THREADS = 2

INLINE_STEPS = 10_000
"""Virtual machine steps between two looks at the clock; about 200 µs."""

THREAD_STEPS = 100_000
"""The same on a thread, about 2 ms: each look must wait for the interpreter's lock."""

Work = Callable[[SqliteTransaction], Awaitable[T]]


class _Snapshots:
    """One read-only connection with a time limit for what runs on it."""

    def __init__(self, path: Path, vfs: str | None, steps: int) -> None:
        self._end = 0.0
        self._is_open = False
        self.connection = open_reader(path, vfs)
        self._cursor = self.connection.cursor()
        self.connection.set_progress_handler(self._is_late, steps)

    def run(self, work: Work[T], end: float, end_later: Callable[[], object] | None = None) -> T:
        """Run ``work`` on one state of the data, until ``end`` at most.

        Args:
            work: The read.
            end: On the steady clock.
            end_later: Sees to it that :meth:`end_snapshot` is called soon; until then
                other reads share the snapshot. Without it the snapshot ends here.
        """
        self._end = end
        if not self._is_open:
            self.connection.execute("BEGIN")
            self._is_open = True
            if end_later is not None:
                end_later()
        tx = SqliteTransaction(self.connection, self._cursor)
        try:
            return drive(work(tx))
        except apsw.Error:
            self.end_snapshot()
            raise
        finally:
            tx.end()
            self._end = float("inf")
            if end_later is None:
                self.end_snapshot()

    def end_snapshot(self) -> None:
        """Let the state go that reads have shared; the next read takes the newest one."""
        if self._is_open:
            self._is_open = False
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the connection."""
        self.end_snapshot()
        self.connection.close()

    def _is_late(self) -> bool:
        return perf_counter() > self._end


class Reader:
    """Runs reads; lives on the loop's thread and owns the reader threads."""

    def __init__(self, path: Path, bounds: SqliteBounds, vfs: str | None = None) -> None:
        """Read the file at ``path``, which exists."""
        self._path = path
        self._vfs = vfs
        self._inline_seconds_max = bounds.read_seconds_inline_max
        self._bounds = bounds
        self._inline = _Snapshots(path, vfs, INLINE_STEPS)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="moothall-read")
        self._local = threading.local()
        self._opened: list[_Snapshots] = []
        self._is_closing = False
        self._waiting = 0
        self._none_waits = asyncio.Event()
        self._none_waits.set()
        self._running = 0
        self._none_runs = asyncio.Event()
        self._none_runs.set()
        self._may_start = asyncio.Event()
        self._may_start.set()

    @property
    def running(self) -> int:
        """How many long reads have been given to the threads and have not ended."""
        return self._running

    @property
    def waiting(self) -> int:
        """How many long reads wait until they may start."""
        # A caller who has left does not wait any more, though the read may still run.
        return max(0, self._waiting - self._running)

    async def run(self, work: Work[T]) -> T:
        """Run ``work`` on a snapshot.

        Raises:
            DeadlineExceededError: It took longer than 5 s.
            OverloadedError: Too many long reads run or wait already.
            StorageUnavailableError: The disk cannot be read.
        """
        try:
            end = perf_counter() + self._inline_seconds_max
            return self._inline.run(work, end, self._end_in_next_round)
        except apsw.InterruptError:
            pass
        except apsw.Error as error:
            raise translate_read(error) from error
        return await self._run_long(work)

    async def pause(self) -> None:
        """Return when no long read runs, and start none until :meth:`resume`."""
        self._may_start.clear()
        await self._none_runs.wait()

    def resume(self) -> None:
        """Go on."""
        self._may_start.set()

    def end_shared(self) -> None:
        """Let the snapshot go that reads on the loop's thread share."""
        self._inline.end_snapshot()

    async def close(self) -> None:
        """Finish the reads that run or wait, accept no long one, and close the connections."""
        self._is_closing = True
        await self._none_waits.wait()
        await asyncio.to_thread(self._threads.shutdown)
        for snapshots in (self._inline, *self._opened):
            snapshots.close()

    def _end_in_next_round(self) -> None:
        """End the shared snapshot before whatever becomes ready from now on."""
        asyncio.get_running_loop().call_soon(self._inline.end_snapshot)

    async def _run_long(self, work: Work[T]) -> T:
        """Run ``work`` on a reader thread, as soon as one is free."""
        seconds = self._bounds.read_seconds_max
        end = perf_counter() + seconds
        if self._is_closing:
            raise StorageUnavailableError("the database is closing")
        if self._waiting >= self._bounds.reads_waiting_max:
            raise OverloadedError("too many long reads are waiting", retry_after_ms=1_000)
        self._waiting += 1
        self._none_waits.clear()
        try:
            await self._may_start.wait()
            return await asyncio.wrap_future(self._submit(work, end))
        except apsw.InterruptError:
            raise DeadlineExceededError(f"the read took longer than {seconds:g} s") from None
        except apsw.Error as error:
            raise translate_read(error) from error
        finally:
            self._waiting -= 1
            if self._waiting == 0:
                self._none_waits.set()

    def _submit(self, work: Work[T], end: float) -> "Future[T]":
        """Give ``work`` to the threads; it counts as running until it has really ended.

        A caller may leave before that, which stops the waiting and not the thread.
        """
        loop = asyncio.get_running_loop()
        future = self._threads.submit(self._run_on_thread, work, end)
        self._running += 1
        self._none_runs.clear()
        future.add_done_callback(lambda _done: loop.call_soon_threadsafe(self._ended))
        return future

    def _ended(self) -> None:
        """Count a long read that has ended."""
        self._running -= 1
        if self._running == 0:
            self._none_runs.set()

    def _run_on_thread(self, work: Work[T], end: float) -> T:
        """Run ``work`` on this thread's own connection."""
        snapshots = getattr(self._local, "snapshots", None)
        if snapshots is None:
            snapshots = self._local.snapshots = _Snapshots(self._path, self._vfs, THREAD_STEPS)
            self._opened.append(snapshots)
        return snapshots.run(work, end)
