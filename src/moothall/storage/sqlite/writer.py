"""The writer: many calls, one commit, one sync (group commit).

All calls that wait when the loop comes round form a batch: at most 256 calls or 5 ms.
Each runs in a savepoint of its own, so a refusal undoes only itself. One COMMIT makes
all of them durable, and only then is any of them answered.

A statement can end the whole transaction (a full disk does), and a COMMIT can fail for
what one call did (a deferred constraint). Then nothing of the batch counts, and its
calls are run again, one per commit: the guilty one fails alone.

Where a sync is slow, the COMMIT alone leaves the loop's thread; where it is fast, the
two thread changes would cost more than they save. The writer decides by what it measures.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any

import apsw

from moothall.core.errors import OverloadedError
from moothall.storage.sqlite.connection import is_sync_failure, translate
from moothall.storage.sqlite.transaction import SqliteTransaction, drive

BATCH_CALLS_MAX = 256
BATCH_SECONDS_MAX = 0.005
QUEUE_CALLS_MAX = 20_000
COMMIT_SECONDS_INLINE_MAX = 0.002
"""A COMMIT that takes longer than this, on average, is given to another thread."""

_AVERAGE_WEIGHT = 0.1

Work = Callable[[SqliteTransaction], Awaitable[Any]]


class Job:
    """One call that waits for the writer, and where its result goes."""

    __slots__ = ("error", "future", "hooks", "result", "work")

    def __init__(self, work: Work, future: "asyncio.Future[Any]") -> None:
        """Run ``work``, answer by ``future``."""
        self.work = work
        self.future = future
        self.result: Any = None
        self.error: BaseException | None = None
        self.hooks: list[Callable[[], None]] = []

    def settle(self) -> None:
        """Answer; the caller may have gone meanwhile."""
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class Writer:
    """Owns the connection that writes. Lives on the loop's thread."""

    def __init__(
        self, connection: apsw.Connection, *, on_sync_failure: Callable[[BaseException], None]
    ) -> None:
        """Write through ``connection``; call ``on_sync_failure`` if the disk cannot be trusted."""
        self._connection = connection
        self._on_sync_failure = on_sync_failure
        self._queue: deque[Job] = deque()
        self._is_busy = False
        self._is_paused = False
        self._commit_seconds = 0.0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="moothall-commit")
        self._idle = asyncio.Event()
        self._idle.set()
        self.on_batch: Callable[[], None] = lambda: None

    async def run(self, work: Work) -> Any:
        """Run ``work`` in the next batch and return its result once it is durable.

        Raises:
            OverloadedError: Too many calls wait already.
        """
        if len(self._queue) >= QUEUE_CALLS_MAX:
            raise OverloadedError("too many writes are waiting", retry_after_ms=1_000)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._queue.append(Job(work, future))
        self._wake(loop)
        return await future

    async def pause(self) -> None:
        """Return when no batch runs, and start none until :meth:`resume`."""
        self._is_paused = True
        while self._is_busy:
            self._idle.clear()
            await self._idle.wait()

    def resume(self) -> None:
        """Go on."""
        self._is_paused = False
        self._wake(asyncio.get_running_loop())

    async def close(self) -> None:
        """Finish what waits, then close the connection."""
        while self._queue or self._is_busy:
            self._idle.clear()
            await self._idle.wait()
        self._thread.shutdown()
        self._connection.close()

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start a batch in this round of the loop, after all calls that are ready now."""
        if self._queue and not self._is_busy and not self._is_paused:
            self._is_busy = True
            loop.call_soon(self._run_batch, loop)

    def _run_batch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run what waits and commit it."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except apsw.Error as error:
            self._fail(self._take_all(), error)
            self._done(loop)
            return
        jobs, is_whole = self._run_jobs()
        if not is_whole:
            self._run_alone(jobs)
            self._done(loop)
        elif self._commit_seconds <= COMMIT_SECONDS_INLINE_MAX:
            self._committed(loop, jobs, self._commit())
        else:
            future = loop.run_in_executor(self._thread, self._commit)
            future.add_done_callback(lambda done: self._committed(loop, jobs, done.result()))

    def _run_jobs(self) -> tuple[list[Job], bool]:
        """Run jobs from the queue; tell whether the transaction still stands after them."""
        jobs: list[Job] = []
        end = perf_counter() + BATCH_SECONDS_MAX
        queue = self._queue
        while queue and len(jobs) < BATCH_CALLS_MAX:
            job = queue.popleft()
            if job.future.cancelled():
                continue
            jobs.append(job)
            self._run_job(job)
            if not self._connection.in_transaction:
                return jobs, False
            if perf_counter() > end:
                break
        return jobs, True

    def _run_job(self, job: Job) -> None:
        """Run one job in its savepoint; an error undoes it and is kept for its caller."""
        execute = self._connection.execute
        tx = SqliteTransaction(self._connection)
        job.result, job.error, job.hooks = None, None, []
        execute("SAVEPOINT call")
        try:
            job.result = drive(job.work(tx))
            execute("RELEASE call")
            job.hooks = tx.hooks
        except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to this caller
            job.error = translate(error) if isinstance(error, apsw.Error) else error
            if self._connection.in_transaction:
                execute("ROLLBACK TO call")
                execute("RELEASE call")
            if is_sync_failure(error):
                self._on_sync_failure(error)

    def _commit(self) -> apsw.Error | None:
        """Make the batch durable; return what went wrong instead of raising it."""
        start = perf_counter()
        try:
            self._connection.execute("COMMIT")
        except apsw.Error as error:
            return error
        finally:
            seconds = perf_counter() - start
            self._commit_seconds += _AVERAGE_WEIGHT * (seconds - self._commit_seconds)
        return None

    def _committed(
        self, loop: asyncio.AbstractEventLoop, jobs: list[Job], error: apsw.Error | None
    ) -> None:
        """Answer the batch, or run it again call by call."""
        if error is None:
            for job in jobs:
                for hook in job.hooks:
                    hook()
            for job in jobs:
                job.settle()
        elif is_sync_failure(error):
            self._on_sync_failure(error)
            self._fail(jobs, error)
        else:
            self._roll_back()
            self._run_alone(jobs)
        self._done(loop)

    def _run_alone(self, jobs: list[Job]) -> None:
        """Run each job in a commit of its own, so that none poisons its neighbours."""
        self._roll_back()
        for job in jobs:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except apsw.Error as error:
                self._fail([job], error)
                continue
            self._run_job(job)
            error_at_commit = self._commit() if self._connection.in_transaction else None
            if error_at_commit is not None:
                self._roll_back()
                if is_sync_failure(error_at_commit):
                    self._on_sync_failure(error_at_commit)
                self._fail([job], error_at_commit)
                continue
            for hook in job.hooks:
                hook()
            job.settle()

    def _roll_back(self) -> None:
        """End the transaction if it still stands."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _take_all(self) -> list[Job]:
        """Empty the queue."""
        jobs = list(self._queue)
        self._queue.clear()
        return jobs

    @staticmethod
    def _fail(jobs: list[Job], error: apsw.Error) -> None:
        """Answer ``jobs`` with what went wrong."""
        for job in jobs:
            job.error = translate(error)
            job.settle()

    def _done(self, loop: asyncio.AbstractEventLoop) -> None:
        """End the batch and start the next one if calls wait."""
        self._is_busy = False
        self._idle.set()
        self.on_batch()
        self._wake(loop)
