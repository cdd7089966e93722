"""The hub alone, where pages overtake what is published, and what is published overtakes pages.

On SQLite's own thread neither happens; a commit on the other thread, a slow read or another
engine bring both, so here reads and publishing are held up at random.
"""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pytest

from moothall.action.connections import CloseReason, Connection, Connections
from moothall.action.cursor import Place
from moothall.action.event import Event
from moothall.action.feed import OpenFeed
from moothall.action.hub import PAGE_ROWS, FeedHub
from moothall.action.migrations import migrate
from moothall.action.outbox import Outbox
from moothall.action.push import Push
from moothall.action.token import Claims
from moothall.ports.database import Database, Transaction
from moothall.storage.sqlite import SqliteDatabase
from moothall.storage.sqlite.bounds import SqliteBounds
from moothall.testing.clock import ManualClock

STREAMS = ("a", "b")
EVENTS = 150

T = TypeVar("T")


class Happened(Event):
    """Something."""

    number: int


Happened.__module__ = "play.events"


class EverybodyMay:
    """An authority that lets everybody follow everything."""

    version = 0

    def allows(self, principal: str, permission: str, path: str) -> bool:
        return bool(principal and permission) and path is not None

    def keep(self, principal: str) -> bool:
        return bool(principal)

    async def admit(self, database: Database, principal: str) -> None:
        raise NotImplementedError(database, principal)

    def release(self, principal: str) -> None:
        assert principal

    async def rights_of(self, tx: Transaction, principal: str) -> Any:
        raise NotImplementedError(tx, principal)


class Reader:
    """Takes what is sent, as numbers by stream."""

    queued_bytes = 0

    def __init__(self) -> None:
        self.seen: list[tuple[str, int, int]] = []
        self.came = asyncio.Event()

    def encode(self, push: Push, feed: str) -> bytes:
        assert feed == "both"
        return f"{push.stream} {push.seq} {push.cursor}\n".encode()

    def encode_end(self, feed: str, reason: str) -> bytes:
        raise AssertionError((feed, reason))

    def send(self, data: bytes) -> None:
        for line in data.decode().splitlines():
            stream, seq, cursor = line.split()
            self.seen.append((stream, int(seq), int(cursor)))
        self.came.set()

    async def drained(self) -> None:
        return None

    def beat(self) -> None:
        raise AssertionError

    def end(self, reason: CloseReason) -> None:
        raise AssertionError(reason)


class HeldUp:
    """A real database whose answers come late, and a hub that is told late; order is kept."""

    def __init__(self, database: Database, chance: random.Random) -> None:
        self._database = database
        self._chance = chance
        self._waiting: deque[Sequence[Push]] = deque()
        self.engine = database.engine
        self.hub: FeedHub

    async def close(self) -> None:
        await self._database.close()

    async def read(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        result = await self._database.read(work)
        for _ in range(self._chance.randrange(6)):
            await asyncio.sleep(0)
        return result

    async def write(self, work: Callable[[Transaction], Awaitable[T]], *, lane: str = "") -> T:
        return await self._database.write(work, lane=lane)

    def publish(self, pushes: Sequence[Push]) -> None:
        self._waiting.append(pushes)
        self._publish_later(self._chance.randrange(6))

    def _publish_later(self, turns: int) -> None:
        if turns:
            asyncio.get_running_loop().call_soon(self._publish_later, turns - 1)
        else:
            self.hub.publish(self._waiting.popleft())


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = SqliteDatabase.open(
        tmp_path / "hall.sqlite",
        on_sync_failure=lambda _error: None,
        bounds=SqliteBounds(batch_calls_max=4),
    )
    await migrate(opened, ManualClock(), [], opened.engine)
    yield opened
    await opened.close()


@pytest.mark.requirement("R35")
async def test_a_reader_who_missed_much_lets_others_have_their_turn(database: Database) -> None:
    outbox, connections = Outbox(), Connections(ManualClock())
    missed = 10 * PAGE_ROWS
    events = [("a", Happened(number=number)) for number in range(missed)]
    await database.write(lambda tx: outbox.write(tx, events, 0))
    hub, sink, at_turn = FeedHub(database, EverybodyMay()), Reader(), []
    connection = connections.open("test", "192.0.2.1", sink)
    connections.bind(connection, "t", Claims("m", "s", 1, 1.0, "d"))
    subscription = hub.subscribe(connection, OpenFeed("both", "x:y", "", ("a",)), Place(0), "m")
    while hub.is_catching_up(subscription):
        at_turn.append(len(sink.seen))
        await asyncio.sleep(0)
    assert len(sink.seen) == missed
    steps = [after - before for before, after in pairwise([*at_turn, missed])]
    assert max(steps) == PAGE_ROWS


@pytest.mark.requirement("R33")
@pytest.mark.parametrize("seed", range(8))
async def test_readers_of_two_streams_miss_nothing_and_see_nothing_twice(
    database: Database, seed: int
) -> None:
    chance = random.Random(seed)
    held_up = HeldUp(database, chance)
    hub = held_up.hub = FeedHub(held_up, EverybodyMay())
    outbox = Outbox(held_up.publish)
    connections = Connections(ManualClock())
    feed = OpenFeed("both", "x:y", "", STREAMS)

    async def write(number: int) -> None:
        stream = chance.choice(STREAMS)
        events = [(stream, Happened(number=number))]
        await database.write(lambda tx: outbox.write(tx, events, 0))

    async def write_all() -> None:
        for start in range(0, EVENTS, 3):
            await asyncio.gather(*(write(start + one) for one in range(3)))

    def connect(sink: Reader) -> Connection:
        connection = connections.open("test", "192.0.2.1", sink)
        connections.bind(connection, "t", Claims("m", "s", 1, 1.0, "d"))
        return connection

    async def read() -> list[tuple[str, int, int]]:
        """Follow, break off at any moment, and come back with the last cursor."""
        seen: list[tuple[str, int, int]] = []
        while len(seen) < EVENTS:
            sink = Reader()
            connection = connect(sink)
            hub.subscribe(connection, feed, Place(seen[-1][2] if seen else 0), "m")
            wanted = len(seen) + chance.randrange(1, 40)
            while len(seen) + len(sink.seen) < min(wanted, EVENTS):
                sink.came.clear()
                await asyncio.wait_for(sink.came.wait(), 10)
            connections.forget(connection)
            seen += sink.seen
        return seen

    results = await asyncio.gather(write_all(), *(read() for _ in range(10)))
    rows = await database.read(
        lambda tx: tx.fetch_all("SELECT stream, seq, cursor FROM action_event ORDER BY cursor")
    )
    assert len(rows) == EVENTS
    for seen in results[1:]:
        assert seen == rows
    assert hub.readers == 0
