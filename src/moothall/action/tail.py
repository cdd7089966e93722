"""Tail: how a node learns what the other nodes of its hall have done.

The bus carries hints, the database the truth. On a hint, and every 500 ms regardless, a node
reads the rows that are new: events, for those who follow feeds here, and notices, which say what
of its memory is out of date. What this node did itself comes the same way, so that all readers
see one order, and what a lost answer to a COMMIT leaves open is learned too.

Numbers may appear out of order: a transaction may take a number and commit after another one that
took a higher one. So each round asks first up to where the numbers are settled, then reads all
rows above the last settled number, and passes over those it knows. An event is pushed as soon as
it is seen; only the cursor that goes with it stays at what is settled, so that whoever comes back
with it misses nothing. Within a stream events always appear in order, because a stream's number
is taken under the stream's lock.

On SQLite there is one node and one writer: commits go to the hub directly, and nothing of this
runs.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence

import structlog

from moothall.action.hub import FeedHub
from moothall.action.push import Push
from moothall.core.errors import StorageUnavailableError
from moothall.core.histogram import SECONDS, Histogram
from moothall.ports.bus import Bus
from moothall.ports.database import Database, Horizon, Row, Transaction
from moothall.ports.learner import Learner
from moothall.ports.metrics import Measure

LOOK_EVERY_SECONDS = 0.5
"""How often a node looks when no hint comes."""

STALE_SECONDS = 2.0
"""After so long without a look that succeeded, signed calls are refused: a session may have ended
or a grant been taken away, and this node would not know."""

RETRY_SECONDS = 0.1
PAGE_ROWS = 1_000
NOTICES_KEPT_SECONDS = 3_600
"""A node that has not looked for so long cannot know what it missed, and reads all anew."""

TOPIC = "changes"
"""Of the hints."""

_EVENTS = """
SELECT stream, seq, cursor, kind, at_ms, data FROM action_event
WHERE cursor > $1 ORDER BY cursor LIMIT $2
"""
_NOTICES = """
SELECT number, topic, key FROM action_notice WHERE number > $1 ORDER BY number LIMIT $2
"""

_log = structlog.get_logger("moothall.tail")


class Tail:
    """Follows the rows of one hall for one node. Implements Measured and Health.

    Attributes:
        settled: Up to which number everything was given to the hub and to the learners.
    """

    def __init__(self, database: Database, bus: Bus, hub: FeedHub) -> None:
        """Read from ``database``, on connections that no call keeps waiting."""
        self._database = database
        self._bus = bus
        self._hub = hub
        self._learners: dict[str, Learner] = {}
        self._seen_events: set[int] = set()
        self._seen_notices: set[int] = set()
        self._wake = asyncio.Event()
        self._has_told = False
        """Whether the others are to be told that there is something new."""
        self._looked_at = float("-inf")
        self._task: asyncio.Task[None] | None = None
        self._rounds = Histogram(SECONDS)
        self._is_failing = False
        self.settled = 0

    async def begin(self) -> None:
        """Take the present as the beginning; what adapters load afterwards is not older."""
        self.settled = (await self._find_horizon()).settled
        self._looked_at = asyncio.get_running_loop().time()
        self._hub.settled = self.settled

    def start(self, learners: Iterable[Learner]) -> None:
        """Follow from now on, on the running loop."""
        self._learners = {learner.topic: learner for learner in learners}
        self._bus.subscribe(TOPIC, lambda _payload: self._wake.set())
        self._bus.on_restored(self._wake.set)
        self._task = asyncio.get_running_loop().create_task(self._follow())

    async def close(self) -> None:
        """Follow no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def tell(self) -> None:
        """Look soon, and let the others look: this node has committed something."""
        self._has_told = True
        self._wake.set()

    def check(self) -> None:
        """Refuse a call that relies on what this node remembers, if that may be out of date.

        Raises:
            StorageUnavailableError: No look has succeeded for two seconds.
        """
        if asyncio.get_running_loop().time() - self._looked_at > STALE_SECONDS:
            raise StorageUnavailableError(
                "this node has lost sight of its hall", remedy="try again later"
            )

    def find_trouble(self) -> str | None:
        """Implement Health."""
        try:
            self.check()
        except StorageUnavailableError as error:
            return str(error)
        return None

    def measures(self) -> Mapping[str, Measure]:
        """Implement Measured."""
        age = asyncio.get_running_loop().time() - self._looked_at
        return {
            "tail_age_seconds": age,
            "tail_round_duration_seconds": self._rounds,
            "tail_unsettled_events": len(self._seen_events),
            "bus_connected": float(self._bus.is_connected),
            "bus_hints_published_total": self._bus.published,
            "bus_hints_dropped_total": self._bus.dropped,
            "bus_hints_received_total": self._bus.received,
            "bus_reconnections_total": self._bus.reconnections,
        }

    async def look(self) -> None:
        """Read what is new and hand it on.

        Raises:
            StorageUnavailableError: The database cannot be reached.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        # First, in a transaction of its own: rows below are seen by whatever reads from now on.
        horizon = await self._find_horizon()
        pushes = await self._read(_EVENTS, self._seen_events, 2)
        notices = await self._read(_NOTICES, self._seen_notices, 0)
        # What members may do first, or an event could go to somebody who may not see it any more.
        if began - self._looked_at > NOTICES_KEPT_SECONDS:
            for learner in self._learners.values():
                await learner.relearn(self._database, ())
        await self._teach(notices)
        settled = max(self.settled, horizon.settled)
        self._hub.publish([Push(row[0], row[1], min(row[2], settled), *row[3:]) for row in pushes])
        self._seen_notices.update(row[0] for row in notices)
        self._seen_events.update(row[2] for row in pushes)
        self.settled = self._hub.settled = settled
        self._seen_events = {number for number in self._seen_events if number > settled}
        self._seen_notices = {number for number in self._seen_notices if number > settled}
        self._looked_at = began
        self._rounds.observe(loop.time() - began)

    async def _follow(self) -> None:
        """Look at each hint and at intervals, for ever."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            try:
                if self._has_told:
                    self._has_told = False
                    await self._bus.publish(TOPIC, b"")
                await self.look()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next look comes
                self._tell(error)
                await asyncio.sleep(RETRY_SECONDS)
                self._wake.set()
            else:
                self._tell(None)

    def _tell(self, error: Exception | None) -> None:
        """Log that looking fails, once until it succeeds."""
        if error is not None and not self._is_failing:
            _log.warning("this node has lost sight of its hall", error=str(error), exc_info=error)
        elif error is None and self._is_failing:
            _log.info("this node sees its hall again")
        self._is_failing = error is not None

    async def _find_horizon(self) -> Horizon:
        """Return how far the numbers have come."""
        horizon = await self._database.read(lambda tx: tx.find_horizon())
        assert horizon is not None, "an engine with several nodes has a horizon"
        return horizon

    async def _read(self, sql: str, seen: set[int], column: int) -> list[Row]:
        """Return the rows above what is settled that were not seen yet, on one snapshot."""
        settled = self.settled

        async def pages(tx: Transaction) -> list[Row]:
            found: list[Row] = []
            after = settled
            while True:
                page = await tx.fetch_all(sql, after, PAGE_ROWS)
                found += [row for row in page if row[column] not in seen]
                if len(page) < PAGE_ROWS:
                    return found
                after = page[-1][column]

        return await self._database.read(pages)

    async def _teach(self, notices: Sequence[Row]) -> None:
        """Let each adapter read anew what has changed, each key once."""
        keys: dict[str, dict[str, None]] = {}
        for _, topic, key in notices:
            keys.setdefault(topic, {})[key] = None
        for topic, changed in keys.items():
            if (learner := self._learners.get(topic)) is not None:
                await learner.relearn(self._database, list(changed))
