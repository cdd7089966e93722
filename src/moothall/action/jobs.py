"""Jobs: housekeeping that no call asks for, at intervals, by one process of the hall.

A job is declared in a room's ``jobs.py`` and runs as a FLOW does: it has no transaction and
opens short ones. Each step must bear repeating, because a job may be cut off at any moment
and begins anew. What fails is logged and tried again at the next interval.
"""

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from moothall.action.context import Context
from moothall.action.declare import Effect, room_of
from moothall.action.idempotency import ReplyClock, sweep_replies
from moothall.action.service import ROOM_PREFIX
from moothall.core.errors import DeclarationError
from moothall.core.units import HOUR_MS
from moothall.ports.lease import Lease

if TYPE_CHECKING:
    from moothall.action.house import House

NOTICES_KEPT_MS = 2 * HOUR_MS
"""A node that was away for longer reads everything anew (`action/tail.py`)."""

# By the newest one, so that no node's clock matters.
_SWEEP_NOTICES = """
DELETE FROM action_notice WHERE number IN (
  SELECT number FROM action_notice
  WHERE at_ms < (SELECT max(at_ms) FROM action_notice) - $1 ORDER BY number LIMIT 500)
"""

JobHandler = Callable[[Context], Awaitable[None]]

_log = structlog.get_logger("moothall.jobs")


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A declared job. Made by :func:`job` only."""

    room: str
    name: str
    every_ms: int
    handler: JobHandler
    effect: Effect = Effect.FLOW
    is_of_each_node: bool = False


def job(*, every_ms: int, is_of_each_node: bool = False) -> Callable[[JobHandler], Job]:
    """Declare a job, which runs at start and then every ``every_ms``.

    Its principal is ``room:<room>``. A step that changes something leaves an audit row,
    unless it says ``outcome=None``.

    Args:
        every_ms: How long it rests after each run.
        is_of_each_node: Whether every node of a hall runs it, for what each keeps of its own;
            otherwise one of them does.

    Raises:
        DeclarationError: It is no ``async def`` function of ``ctx``, or runs too often.
    """

    def declare(handler: JobHandler) -> Job:
        name = f"{handler.__module__}.{getattr(handler, '__qualname__', handler)}"
        if not inspect.iscoroutinefunction(handler):
            msg = f"{name}: a job is an 'async def' function of ctx"
            raise DeclarationError(msg)
        if len(inspect.signature(handler).parameters) != 1:
            msg = f"{name}: a job takes (ctx)"
            raise DeclarationError(msg)
        if every_ms < EVERY_MS_MIN:
            msg = f"{name}: every_ms must be at least {EVERY_MS_MIN}"
            raise DeclarationError(msg)
        room = room_of(name, handler.__module__, "jobs")
        name = f"{room}.{handler.__name__}"
        return Job(room, name, every_ms, handler, is_of_each_node=is_of_each_node)

    return declare


EVERY_MS_MIN = 100


async def repeat(ctx: Context, step: Callable[[Context], Awaitable[int]]) -> None:
    """Take a step until it has nothing left to do; for a job or a FLOW.

    Each step is a transaction of its own, so that calls pass between two.

    Args:
        ctx: Of the job or FLOW.
        step: Does some of the work and returns how much; 0 when none is left.
    """
    while await ctx.write(step, outcome=None):
        pass


async def _sweep_replies(ctx: Context) -> None:
    """Forget old remembered replies."""
    await repeat(ctx, lambda step: sweep_replies(step.tx, ctx.use(ReplyClock).now_ms()))


async def _keep_reply_clock(ctx: Context) -> None:
    """Write down how far the clock of remembered replies went."""
    await ctx.write(lambda step: ctx.use(ReplyClock).keep(step.tx), outcome=None)


async def _sweep_notices(ctx: Context) -> None:
    """Delete notices that every node has read long ago."""
    await repeat(ctx, lambda step: step.tx.execute(_SWEEP_NOTICES, NOTICES_KEPT_MS))


KEEP_REPLY_CLOCK = "action.keep_reply_clock"

FRAMEWORK_JOBS = (
    Job("action", "action.sweep_replies", 30_000, _sweep_replies),
    Job("action", KEEP_REPLY_CLOCK, 600_000, _keep_reply_clock, is_of_each_node=True),
    Job("action", "action.sweep_notices", 600_000, _sweep_notices),
)
"""What the framework itself keeps house of."""


class SoleHolder:
    """Implements Lease where only one process can open the data, as on SQLite."""

    def __init__(self) -> None:
        """Hold it; it is never lost."""
        self.on_lost: Callable[[], None] = lambda: None

    async def start(self) -> None:
        """Do nothing: there is nobody to ask."""

    async def close(self) -> None:
        """Do nothing: there is nobody to let have it."""

    def is_held(self) -> bool:
        """Hold it always."""
        return True


@dataclass(slots=True)
class JobTally:
    """How the runs of one job ended since the start."""

    runs: int = 0
    failures: int = 0
    succeeded_at_ms: int | None = None
    """When the last run that succeeded ended (UTC epoch milliseconds); None before the first."""


class JobRunner:
    """Runs the jobs of a house, each in a task of its own."""

    def __init__(self, house: "House", jobs: Iterable[Job], lease: Lease) -> None:
        """Run ``jobs`` while ``lease`` is held, and cut them off when it is lost."""
        self._house = house
        self._jobs = {job.name: job for job in jobs}
        self._lease = lease
        lease.on_lost = self._cut_off
        self._leased: set[asyncio.Timeout] = set()
        """Runs under way of jobs that one node of a hall runs."""
        self._tasks: list[asyncio.Task[None]] = []
        self.tallies = {name: JobTally() for name in self._jobs}

    def start(self) -> None:
        """Begin, on the running loop."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._repeat(job)) for job in self._jobs.values()]

    async def stop(self) -> None:
        """Cut the jobs off between two steps, and return when they have ended."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks = []

    async def run(self, name: str, *, is_sole: bool = False) -> None:
        """Run one job once, now; what it raises is raised.

        A job that one node of a hall runs begins only while this node holds the lease, and is cut
        off between two steps when the lease is lost.

        Args:
            name: Of the job.
            is_sole: There is no other node, whatever the lease says.
        """
        found, tally = self._jobs[name], self.tallies[name]
        needs_lease = not (found.is_of_each_node or is_sole)
        if needs_lease and not self._lease.is_held():
            return
        tally.runs += 1
        bound = asyncio.timeout(None)
        try:
            async with bound:
                if needs_lease:
                    self._leased.add(bound)
                try:
                    await found.handler(self._context(found))
                finally:
                    self._leased.discard(bound)
        except Exception as error:
            if isinstance(error, TimeoutError) and bound.expired():
                _log.info("job cut off: this node keeps house no more", job=name)
                return
            tally.failures += 1
            raise
        tally.succeeded_at_ms = self._house.clock.now_ms()

    async def _repeat(self, found: Job) -> None:
        """Run one job at its interval."""
        while True:
            try:
                await self.run(found.name)
            except Exception as error:  # noqa: BLE001 - the next interval tries again
                _log.warning("job failed", job=found.name, exc_info=error)
            await asyncio.sleep(found.every_ms / 1_000)

    def _cut_off(self) -> None:
        """End the runs that another node may begin now."""
        now = asyncio.get_running_loop().time()
        while self._leased:  # each once: it may take its time to end
            self._leased.pop().reschedule(now)

    def _context(self, found: Job) -> Context:
        """Return the context of one run."""
        return Context(
            self._house,
            found,
            None,
            actor=f"{ROOM_PREFIX}{found.room}",
            session_id="",
            source="",
            request_id="",
            now_ms=self._house.clock.now_ms(),
        )
