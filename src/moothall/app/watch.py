"""Watch: what a hall's process tells whoever watches over it, from the start to the end.

It is there before the hall is, and after it: a balancer and an orchestrator ask while a hall
starts, and while it stops. What they ask by is the private door (``private_door.py``).
"""

import asyncio
from collections.abc import Iterator
from enum import StrEnum

import msgspec

from moothall.action.hub import FeedHub
from moothall.action.push import Push
from moothall.app.compose import Hall
from moothall.app.doors import OpenDoors
from moothall.app.metrics import CONTENT_TYPE, Reading, read_metrics, render
from moothall.core.errors import ActionError
from moothall.core.histogram import SECONDS, Histogram
from moothall.ports.database import Row, Transaction
from moothall.ports.metrics import Health, Measured

DATABASE_SECONDS_MAX = 2.0
"""After how long without an answer the database counts as away."""

JSON = "application/json"


class Phase(StrEnum):
    """Where a hall is in its life."""

    STARTING = "starting"
    OPEN = "open"
    STOPPING = "stopping"


class Answer(msgspec.Struct, frozen=True):
    """What the private door answers: a status of HTTP, a body, and its type."""

    status: int
    body: bytes
    content_type: str = JSON


class Watch:
    """Answers ``/livez``, ``/readyz`` and ``/metrics`` for one process."""

    def __init__(self) -> None:
        """Begin before the hall is there."""
        self._phase = Phase.STARTING
        self._hall: Hall | None = None
        self._doors: OpenDoors | None = None
        self._measured: list[Measured] = []
        self._health: list[Health] = []
        self._feed_lag = Histogram(SECONDS)

    def opened(self, hall: Hall, doors: OpenDoors) -> None:
        """Tell of ``hall``, whose doors are open now."""
        self._hall, self._doors, self._phase = hall, doors, Phase.OPEN
        # Some parts are behind several ports.
        behind = {id(part): part for part in (hall.database, *hall.house.ports.values())}.values()
        self._measured = [part for part in behind if isinstance(part, Measured)]
        self._health = [part for part in behind if isinstance(part, Health)]
        clock = hall.house.clock

        def note_lag(newest: Push) -> None:
            # Clocks of two nodes may differ, and one may be set back.
            self._feed_lag.observe(max(0, clock.now_ms() - newest.at_ms) / 1_000)

        hall.house.use(FeedHub).on_delivery = note_lag

    def stopping(self) -> None:
        """Say from now on that no calls should come here."""
        self._phase = Phase.STOPPING

    async def answer(self, path: str) -> Answer | None:
        """Answer a GET of ``path``; None where there is nothing."""
        match path:
            case "/livez":
                # Whoever reads this knows that the loop turns; more is not asked.
                return Answer(200, b'{"status":"alive"}')
            case "/readyz":
                return await self._tell_readiness()
            case "/metrics":
                # What renders is imported at the first scrape, and that takes a while.
                text = await asyncio.to_thread(render, [*self._read()])
                return Answer(200, text, CONTENT_TYPE)
            case _:
                return None

    def _read(self) -> Iterator[Reading]:
        yield Reading("open", self._phase is Phase.OPEN)
        if self._hall is not None and self._doors is not None:
            doors = self._doors.doors
            yield from read_metrics(self._hall, doors, self._measured, self._feed_lag)

    async def _tell_readiness(self) -> Answer:
        """Answer 200, or 503 with the reasons."""
        reasons = await self._find_reasons()
        status = "not ready" if reasons else "ready"
        body = msgspec.json.encode({"status": status, "reasons": reasons})
        return Answer(503 if reasons else 200, body)

    async def _find_reasons(self) -> list[str]:
        """Return why no calls should come here now; none if they should."""
        if self._phase is not Phase.OPEN or self._hall is None:
            return [f"the hall is {self._phase}"]
        found = [await _ask_database(self._hall)]
        found += [part.find_trouble() for part in self._health]
        return [reason for reason in found if reason is not None]


async def _ask_database(hall: Hall) -> str | None:
    """Return what is wrong if the database does not answer a small read in its time."""
    try:
        async with asyncio.timeout(DATABASE_SECONDS_MAX):
            await hall.database.read(_read_row)
    except TimeoutError:
        return f"the database has not answered for {DATABASE_SECONDS_MAX:g} s"
    except ActionError as error:
        return f"the database cannot be read ({error.name})"
    return None


async def _read_row(tx: Transaction) -> Row | None:
    return await tx.fetch_one("SELECT last_seq FROM action_stream LIMIT 1")
