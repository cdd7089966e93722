"""Tail: how a node learns what the other nodes of its hall have done.

The bus carries hints, the database the truth. On a hint, and every 500 ms regardless, a node
reads the rows that are new: events, for those who follow feeds here, and notices, which say what
of its memory is out of date. What this node did itself comes the same way, so that all readers
see one order, and what a lost answer to a COMMIT leaves open is learned too.

Numbers may appear out of order: a transaction may take a number and commit after another one that
took a higher one. So each round asks first up to where the numbers are settled, then reads all
rows above the last settled number, and passes over those it knows. An event is pushed as soon as
it is seen. The cursor that goes with it stays at what is settled, so that whoever comes back with
it misses nothing, and names the event besides, so that they do not get it again: within a stream
events always appear in order, because a stream's number is taken under the stream's lock.

What is settled is always the number of a row that was committed, or below one: a server that
crashes may give out once more the numbers above, which nothing durable has.

On SQLite there is one node and one writer: commits go to the hub directly, and nothing of this
runs.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence

import structlog

from moothall.action.cursor import Place
from moothall.action.hub import FeedHub
from moothall.action.push import Push
from moothall.core.errors import StorageUnavailableError
from moothall.core.histogram import SECONDS, Histogram
from moothall.ports.bus import Bus
from moothall.ports.database import Database, Row, Transaction
from moothall.ports.learner import Learner
from moothall.ports.metrics import Measure

LOOK_EVERY_SECONDS = 0.5
"""How often a node looks when no hint comes."""

LOOK_APART_SECONDS = 0.01
"""From the beginning of one look to that of the next, at least: commits that come close together
are told and read together. A look for each of them would cost a third of what they cost."""

STALE_SECONDS = 2.0
"""After so long without a look that succeeded, signed calls are refused: a session may have ended
or a grant been taken away, and this node would not know."""

AWAY_SECONDS = 60.0
"""After so long without one, whoever remembers rows reads all of them anew: also those that count
what did not come, as of members who could do nothing meanwhile."""

RETRY_SECONDS = 0.1
ROWS_MAX = 2_000
"""Rows of each table that are read at once; when there are more, the next look comes at once."""

UNSETTLED_MAX = 500_000
"""Events above what is settled, which a node remembers, while a transaction of the hall is open."""

TOPIC = "changes"
"""Of the hints."""

# The newest that is there, not the last that was given out: see above.
_NEWEST = """
SELECT COALESCE((SELECT max(cursor) FROM action_event), 0),
       COALESCE((SELECT max(number) FROM action_notice), 0)
"""

_log = structlog.get_logger("moothall.tail")


class _Window:
    """The rows of one table above what is settled: each is handed on once.

    Attributes:
        seen: Numbers of those that were handed on.
        newest: The highest that was, ever.
    """

    def __init__(self, table: str, key: str, columns: str) -> None:
        """Read ``columns`` of ``table``, the first of which is ``key``, its number."""
        self.seen: set[int] = set()
        self.newest = 0
        self._find_numbers = f"SELECT array_agg({key}) FROM {table} WHERE {key} > $1 AND {key} < $2"
        self._find_late = (
            f"SELECT {columns} FROM {table} WHERE {key} = ANY ($1) ORDER BY {key} LIMIT $2"
        )
        # With the newest that is known, which is there unless it was swept.
        self._find_new = f"SELECT {columns} FROM {table} WHERE {key} >= $1 ORDER BY {key} LIMIT $2"
        self.was_swept = False
        """Whether rows may have been deleted since the last look, before they were read."""

    async def read(self, tx: Transaction, settled: int) -> list[Row]:
        """Return what is new, in order; ``ROWS_MAX`` of it at most."""
        late: list[Row] = []
        self.was_swept = False
        if settled < self.newest:
            # Numbers alone: while a transaction is open, there may be many that are known.
            row = await tx.fetch_one(self._find_numbers, settled, self.newest)
            assert row is not None
            if unknown := set(row[0] or ()) - self.seen:
                late = await tx.fetch_all(self._find_late, sorted(unknown), ROWS_MAX)
                if len(late) == ROWS_MAX:  # what is above these may only follow them
                    return late
        rows = await tx.fetch_all(self._find_new, self.newest, ROWS_MAX - len(late) + 1)
        is_there = bool(rows) and rows[0][0] == self.newest
        self.was_swept = self.newest > 0 and not is_there
        return late + (rows[1:] if is_there else rows[: ROWS_MAX - len(late)])

    def keep(self, rows: Sequence[Row]) -> None:
        """Remember that rows were handed on."""
        if rows:
            self.seen.update(row[0] for row in rows)
            self.newest = max(self.newest, rows[-1][0])

    def settle(self, settled: int) -> None:
        """Forget what nothing new can come below of."""
        self.seen = {number for number in self.seen if number > settled}


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
        self._events = _Window("action_event", "cursor", "cursor, stream, seq, kind, at_ms, data")
        self._notices = _Window("action_notice", "number", "number, topic, key")
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
        newest, horizon = await self._database.read(_find_beginning)
        self._events.newest, self._notices.newest = newest
        self.settled = self._hub.settled = min(horizon, max(newest))
        self._looked_at = asyncio.get_running_loop().time()

    def start(self, learners: Iterable[Learner]) -> None:
        """Follow from now on, on the running loop."""
        self._learners = {learner.topic: learner for learner in learners}
        self._bus.subscribe(TOPIC, lambda _payload: self._wake.set())
        self._bus.on_restored(self._wake.set)
        self._wake.set()  # loading may have taken long
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
            "tail_unsettled_events": len(self._events.seen),
            "bus_connected": float(self._bus.is_connected),
            "bus_hints_published_total": self._bus.published,
            "bus_hints_dropped_total": self._bus.dropped,
            "bus_hints_received_total": self._bus.received,
            "bus_reconnections_total": self._bus.reconnections,
        }

    async def look(self) -> None:
        """Read what is new and hand it on.

        Raises:
            StorageUnavailableError: The database cannot be reached, or a transaction has been open
                for so long that this node cannot remember all that came after it.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        was_away = began - self._looked_at > AWAY_SECONDS
        # First, in a transaction of its own: rows below are seen by whatever reads from now on.
        horizon = await self._database.read(_find_horizon)
        if len(self._events.seen) > UNSETTLED_MAX and horizon <= self.settled:
            raise StorageUnavailableError(
                "a transaction of this hall is open for too long",
                remedy="look for it in pg_stat_activity, and end it",
            )
        while True:
            # Two reads, because one of a single statement needs no transaction. Notices come later
            # and are taught first, or an event could go to somebody who may not see it any more.
            events = await self._database.read(lambda tx: self._events.read(tx, self.settled))
            notices = await self._database.read(lambda tx: self._notices.read(tx, self.settled))
            await self._teach(notices, is_all=was_away or self._notices.was_swept)
            was_away = False
            self._notices.keep(notices)
            if len(notices) < ROWS_MAX:
                break
        newest = max(self._events.newest, self._notices.newest, *(row[0] for row in events[-1:]))
        if len(events) == ROWS_MAX:
            newest = events[-1][0]
            self._wake.set()
        settled = max(self.settled, min(horizon, newest))
        self._hub.publish([make_push(row, settled) for row in events])
        self._events.keep(events)
        self.settled = self._hub.settled = settled
        self._events.settle(settled)
        self._notices.settle(settled)
        self._looked_at = began
        self._rounds.observe(loop.time() - began)

    async def _follow(self) -> None:
        """Look at each hint and at intervals, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            next_at = loop.time() + LOOK_APART_SECONDS
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
                await asyncio.sleep(next_at - loop.time())

    def _tell(self, error: Exception | None) -> None:
        """Log that looking fails, once until it succeeds."""
        if error is not None and not self._is_failing:
            _log.warning("this node has lost sight of its hall", error=str(error), exc_info=error)
        elif error is None and self._is_failing:
            _log.info("this node sees its hall again")
        self._is_failing = error is not None

    async def _teach(self, notices: Sequence[Row], *, is_all: bool) -> None:
        """Let each adapter read anew what has changed, each key once; or everything."""
        if is_all:
            for each in self._learners.values():
                await each.relearn(self._database, ())
        keys: dict[str, dict[str, None]] = {}
        for _, topic, key in notices:
            keys.setdefault(topic, {})[key] = None
        for topic, changed in keys.items():
            if (learner := self._learners.get(topic)) is not None:
                await learner.relearn(self._database, list(changed))


def make_push(row: Row, settled: int) -> Push:
    """Return the event of a row (number, stream, seq, kind, time, data) as its readers get it."""
    number, stream, seq, kind, at_ms, data = row
    place = Place(settled, (number,)) if number > settled else None
    return Push(stream, seq, number, kind, at_ms, data, place)


async def _find_horizon(tx: Transaction) -> int:
    """Return up to which number nothing new can appear."""
    horizon = await tx.find_horizon()
    assert horizon is not None, "an engine with several nodes has a horizon"
    return horizon.settled


async def _find_beginning(tx: Transaction) -> tuple[tuple[int, int], int]:
    """Return the newest event and the newest notice that are seen, and the horizon."""
    row = await tx.fetch_one(_NEWEST)
    assert row is not None
    return (row[0], row[1]), await _find_horizon(tx)
