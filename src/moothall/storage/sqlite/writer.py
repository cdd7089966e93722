"""The writer: many calls, one commit, one sync (group commit).

All calls that wait when the loop comes round form a batch: at most 256 calls or 5 ms.
They run one after the other in one transaction. One COMMIT makes all of them durable,
and only then is any of them answered.

A call that is refused before it has changed anything leaves nothing to undo, and nearly
all are: actions decide before they write. One that fails after a change must be undone
alone. A savepoint for each call would be a tenth of what a write costs, so there is none
until it is needed: the batch is rolled back and run again, this time and for a while
with savepoints.

A statement can end the whole transaction (a full disk does), and a COMMIT can fail for
what one call did (a deferred constraint). Then nothing of the batch counts, and its
calls are run again, one per commit: the guilty one fails alone. While calls run, every
commit is refused, so a call whose transaction has ended under it cannot write outside of
one, and none can make its neighbours durable before their time.

Where a sync is slow, the COMMIT alone leaves the loop's thread; where it is fast, the
two thread changes would cost more than they save. The writer decides by what it measures.

Whoever edits this file: :meth:`Writer._run_call` is paid by every write; and an exception
that leaves a callback of the loop would leave every caller waiting for ever.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any

import apsw
import structlog

from moothall.core.errors import OverloadedError, StorageUnavailableError
from moothall.core.histogram import SECONDS, Histogram
from moothall.storage.errors import TransactionEndedError
from moothall.storage.hooks import run_hooks
from moothall.storage.sqlite.bounds import SqliteBounds
from moothall.storage.sqlite.failure import is_sync_failure, translate_write
from moothall.storage.sqlite.transaction import SqliteTransaction, drive

LOCK_RETRY_SECONDS = 0.005

SAVEPOINT_CALLS = 1_000
"""How many calls get savepoints once one has failed after a change; more than a batch has."""

BATCH_CALLS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Bounds by which the sizes of batches are counted."""

_AVERAGE_WEIGHT = 0.1

Work = Callable[[SqliteTransaction], Awaitable[Any]]

_log = structlog.get_logger("moothall.writer")


class WaitingCall:
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
    """Owns the connection that writes. Lives on the loop's thread.

    Attributes:
        log_pages: Length of the log after the last commit, in pages.
        batch_calls: How many calls the batches had.
        commit_seconds: How long commits that wrote something took.
        commit_last_seconds: The last of them.
        on_commit: Called after each commit, before the hooks of its calls.
        on_batch: Called after each batch.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        bounds: SqliteBounds,
        *,
        on_sync_failure: Callable[[BaseException], None],
    ) -> None:
        """Write through ``connection``; call ``on_sync_failure`` if the disk cannot be trusted."""
        self._connection = connection
        self._cursor = connection.cursor()
        self._bounds = bounds
        self._on_sync_failure = on_sync_failure
        self._queue: deque[WaitingCall] = deque()
        self._alone: deque[WaitingCall] = deque()
        """Calls of a batch that was rolled back, to be run one per commit before all others."""
        self._is_busy = False
        self._is_paused = False
        self._refusal = ""
        """Why no write is accepted any more, if so."""
        self._distrusted_by: BaseException | None = None
        """The sync that failed, if one did."""
        self._is_failing = False
        self._locked_until = 0.0
        self._commit_seconds = 0.0
        self._has_written = False
        self._savepoints_left = 0
        """How many of the next calls get a savepoint."""
        self._is_lost = False
        """Whether the batch's transaction was rolled back, by whomever."""
        self._runs_again_whole = False
        """Whether that was only to undo one call of it."""
        self._schema_version: int | None = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="moothall-commit")
        self._idle = asyncio.Event()
        self._idle.set()
        self.log_pages = 0
        self.batch_calls = Histogram(BATCH_CALLS)
        self.commit_seconds = Histogram(SECONDS)
        self.commit_last_seconds = 0.0
        self.on_commit: Callable[[], None] = lambda: None
        self.on_batch: Callable[[], None] = lambda: None
        # Another program that holds the lock must not stop the loop; see `_wait_for_lock`.
        connection.set_busy_timeout(0)
        connection.set_wal_hook(self._note)
        connection.set_rollback_hook(self._note_rollback)

    @property
    def waiting(self) -> int:
        """How many calls wait for a batch."""
        return len(self._queue) + len(self._alone)

    async def run(self, work: Work) -> Any:
        """Run ``work`` in the next batch and return its result once it is durable.

        Raises:
            OverloadedError: Too many calls wait already.
            StorageUnavailableError: The disk is full, cannot be written or cannot be trusted.
        """
        if self._refusal:
            raise StorageUnavailableError(self._refusal)
        if len(self._queue) >= self._bounds.queue_calls_max:
            raise OverloadedError("too many writes are waiting", retry_after_ms=1_000)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._queue.append(WaitingCall(work, future))
        self._wake(loop)
        return await future

    def distrust(self, error: BaseException) -> None:
        """Stop for good: a sync has failed, so nothing more can be promised."""
        self._refusal = "the disk failed to sync"
        self._distrusted_by = error
        self._on_sync_failure(error)
        self._fail(self._take_all(), error)

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

    async def drain(self) -> None:
        """Accept nothing more and finish what waits."""
        self._refusal = self._refusal or "the database is closing"
        while self._is_busy or self._queue or self._alone:
            self._idle.clear()
            await self._idle.wait()

    async def close(self) -> None:
        """Finish what waits, then close the connection, which moves the log into the file."""
        await self.drain()
        self._thread.shutdown()
        await asyncio.to_thread(self._connection.close)

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start a batch in this round of the loop, after all calls that are ready now."""
        if not self._is_busy and not self._is_paused and (self._queue or self._alone):
            self._is_busy = True
            loop.call_soon(self._run_batch, loop)

    def _run_batch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run what waits and commit it."""
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
        except apsw.Error as error:
            self._not_begun(loop, error)
            return
        self._locked_until = 0.0
        self._is_lost = False
        connection.set_commit_hook(_refuse_commit)
        calls = self._run_calls()
        self.batch_calls.observe(len(calls))
        connection.set_commit_hook(None)
        if self._is_lost:
            self._poisoned(calls, None)
            self._done(loop)
        elif self._commit_seconds <= self._bounds.commit_seconds_inline_max:
            self._committed(loop, calls, self._commit())
        else:
            future = loop.run_in_executor(self._thread, self._commit)
            future.add_done_callback(lambda done: self._committed(loop, calls, done.result()))

    def _run_calls(self) -> list[WaitingCall]:
        """Run calls while the transaction stands, and return those that ran."""
        calls: list[WaitingCall] = []
        end = perf_counter() + self._bounds.batch_seconds_max
        queue, calls_max = self._queue, self._bounds.batch_calls_max
        if self._alone:
            queue, calls_max = self._alone, 1
        while queue and len(calls) < calls_max:
            call = queue.popleft()
            if call.future.cancelled():
                continue
            calls.append(call)
            self._run_call(call)
            if self._is_lost or perf_counter() > end:
                break
        return calls

    def _run_call(self, call: WaitingCall) -> None:
        """Run one call; an error undoes it and is kept for its caller."""
        tx = SqliteTransaction(self._connection, self._cursor)
        call.result, call.error, call.hooks = None, None, []
        has_savepoint = self._savepoints_left > 0
        changes = self._connection.total_changes()
        try:
            if has_savepoint:
                self._savepoints_left -= 1
                self._cursor.execute("SAVEPOINT call")
            call.result = drive(call.work(tx))
            self._check_not_lost()
            if has_savepoint:
                self._cursor.execute("RELEASE call")
            call.hooks = tx.hooks
        except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to this caller
            call.error = translate_write(error)
            self._undo(has_savepoint=has_savepoint, changes=changes)
            if is_sync_failure(error):
                self._roll_back()
                self.distrust(error)
        tx.end()

    def _check_not_lost(self) -> None:
        """Refuse a call that has gone on after its transaction had ended."""
        if self._is_lost:
            raise TransactionEndedError("the transaction ended while its call was running")

    def _undo(self, *, has_savepoint: bool, changes: int) -> None:
        """Undo what a call did; if that cannot be done alone, end the transaction.

        Args:
            has_savepoint: Whether it began with one.
            changes: How many rows the connection had changed before it began.
        """
        if self._is_lost:
            return
        if has_savepoint:
            try:
                self._connection.execute("ROLLBACK TO call")
                self._connection.execute("RELEASE call")
            except apsw.Error:
                # It has ended its own savepoint: it cannot be told from its neighbours any more.
                self._roll_back()
        elif self._has_changed(changes):
            self._savepoints_left = SAVEPOINT_CALLS
            self._runs_again_whole = True
            self._roll_back()
            self._schema_version = self._find_schema_version()

    def _has_changed(self, changes: int) -> bool:
        """Tell whether any row was changed since there were ``changes``, or a table made."""
        if self._connection.total_changes() != changes:
            return True
        # Which is not counted. Tables made by a call before this one lead to a second run, once.
        version = self._find_schema_version()
        return version is None or version != self._schema_version

    def _find_schema_version(self) -> int | None:
        """Return how often tables were made or changed; None if that cannot be read."""
        try:
            return int(self._connection.pragma("schema_version"))
        except apsw.Error:
            return None

    def _commit(self) -> apsw.Error | None:
        """Make the batch durable; return what went wrong instead of raising it."""
        self._has_written = False
        start = perf_counter()
        try:
            self._connection.execute("COMMIT")
        except apsw.Error as error:
            return error
        if self._has_written:
            seconds = perf_counter() - start
            self.commit_last_seconds = seconds
            self.commit_seconds.observe(seconds)
            self._commit_seconds += _AVERAGE_WEIGHT * (seconds - self._commit_seconds)
        return None

    def _note(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        """Take note of a commit that wrote something (maybe on the other thread)."""
        self.log_pages = pages
        self._has_written = True
        return apsw.SQLITE_OK

    def _note_rollback(self) -> None:
        """Take note that nothing of the batch is left."""
        self._is_lost = True

    def _committed(
        self, loop: asyncio.AbstractEventLoop, calls: list[WaitingCall], error: apsw.Error | None
    ) -> None:
        """Answer the batch, or have it run again call by call."""
        if error is not None:
            if is_sync_failure(error):
                self.distrust(error)
            self._poisoned(calls, error)
        else:
            run_hooks((self.on_commit,))
            for call in calls:
                if call.hooks:
                    run_hooks(call.hooks)
            for call in calls:
                call.settle()
            if self._is_failing and self._has_written:
                self._is_failing = False
                _log.info("writes are accepted again")
        self._done(loop)

    def _poisoned(self, calls: list[WaitingCall], error: apsw.Error | None) -> None:
        """Roll a batch back, and answer its one call or have its calls run again.

        Together, if one of them has only to be undone; otherwise each alone.

        Args:
            calls: The calls that ran.
            error: Why the COMMIT failed; None if the transaction has ended already.
        """
        runs_again_whole, self._runs_again_whole = self._runs_again_whole, False
        self._roll_back()
        if len(calls) > 1 and self._distrusted_by is None:
            if runs_again_whole:
                self._queue.extendleft(reversed(calls))
            else:
                self._alone.extend(calls)
            return
        for call in calls:
            if error is not None:
                call.error = translate_write(error)
            elif call.error is None and self._distrusted_by is not None:
                call.error = translate_write(self._distrusted_by)  # it was fine, and is lost
            self._tell(call.error)
            call.settle()

    def _not_begun(self, loop: asyncio.AbstractEventLoop, error: apsw.Error) -> None:
        """Wait while another program holds the lock, but not for ever; else fail what waits."""
        if isinstance(error, apsw.BusyError):
            now = perf_counter()
            self._locked_until = self._locked_until or now + self._bounds.lock_seconds_max
            if now < self._locked_until:
                loop.call_later(LOCK_RETRY_SECONDS, self._run_batch, loop)
                return
            self._locked_until = 0.0
        self._roll_back()
        self._fail(self._take_all(), error)
        self._done(loop)

    def _roll_back(self) -> None:
        """End the transaction if it still stands."""
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except apsw.Error as error:
            # SQLite rolls back all the same; if it did not, the next BEGIN fails and tells.
            _log.error("rollback failed", error=str(error))

    def _take_all(self) -> list[WaitingCall]:
        """Empty the queues."""
        calls = [*self._alone, *self._queue]
        self._alone.clear()
        self._queue.clear()
        return calls

    def _fail(self, calls: list[WaitingCall], error: BaseException) -> None:
        """Answer ``calls`` with what went wrong."""
        for call in calls:
            call.error = translate_write(error)
            self._tell(call.error)
            call.settle()

    def _tell(self, error: BaseException | None) -> None:
        """Log that writing fails, once until it works again: each call would repeat it."""
        if isinstance(error, StorageUnavailableError) and not self._is_failing:
            self._is_failing = True
            _log.error("writes are refused", error=str(error), cause=repr(error.__cause__))

    def _done(self, loop: asyncio.AbstractEventLoop) -> None:
        """End the batch and start the next one if calls wait."""
        self._is_busy = False
        self._idle.set()
        self._wake(loop)
        self.on_batch()


def _refuse_commit() -> bool:
    """Turn a commit into a rollback (SQLite's commit hook); set while calls run."""
    return True
