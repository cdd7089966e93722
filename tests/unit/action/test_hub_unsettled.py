"""The hub where events appear out of the order of their numbers, as on PostgreSQL.

Transactions take numbers and commit in any order, and two nodes see that at different times. The
rows are real, and so are hubs and cursors; the nodes' looks are played here, so that thousands of
orders can be tried. The real tail and the real engine stand in ``tests/nodes``.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import pytest

from moothall.action.connections import Connection, Connections
from moothall.action.cursor import Cursors, Extent, Place, read_cursor
from moothall.action.feed import OpenFeed
from moothall.action.hub import FeedHub
from moothall.action.migrations import migrate
from moothall.action.push import Push
from moothall.action.tail import make_push
from moothall.action.token import Claims
from moothall.core.errors import StorageUnavailableError
from moothall.ports.database import Database, Transaction
from moothall.storage.sqlite import SqliteDatabase
from moothall.testing.clock import ManualClock
from tests.unit.action.test_hub import EverybodyMay, Reader

pytestmark = pytest.mark.requirement("R33")

T = TypeVar("T")

NODES = 2
WRITES = 60
TURNS_MAX = 12
ADD = "INSERT INTO action_event (cursor, stream, seq, kind, at_ms, data) VALUES"
NEW = "SELECT cursor, stream, seq, kind, at_ms, data FROM action_event WHERE cursor > $1"


class Got(NamedTuple):
    """An event as a reader got it."""

    stream: str
    seq: int
    cursor: str


class Sink(Reader):
    """Takes what is sent, with the cursor as clients see it."""

    def __init__(self, cursors: Cursors) -> None:
        super().__init__()
        self._cursors = cursors
        self.got: list[Got] = []

    def encode(self, push: Push, feed: str) -> bytes:
        assert feed
        return f"{push.stream} {push.seq} {self._cursors.of(push)}\n".encode()

    def send(self, data: bytes) -> None:
        for line in data.decode().splitlines():
            stream, seq, cursor = line.split()
            self.got.append(Got(stream, int(seq), cursor))
        self.came.set()


class World:
    """Rows, transactions that write them, and who follows."""

    def __init__(self, database: Database, chance: random.Random) -> None:
        self.database = database
        self.chance = chance
        self.cursors = Cursors()
        self.epoch = ""
        self.last = 0
        self.open: list[int] = []
        """The last number of all when each open transaction began."""
        self.seqs: dict[str, int] = {}
        self.is_over = False
        self._locks: dict[str, asyncio.Lock] = {}

    async def wait(self) -> None:
        for _ in range(self.chance.randrange(TURNS_MAX)):
            await asyncio.sleep(0)

    async def write(self, streams: Sequence[str]) -> None:
        """Number events of some streams, one after the other; commit at any time later."""
        key = self.last
        self.open.append(key)
        rows = []
        locks = [self._locks.setdefault(stream, asyncio.Lock()) for stream in sorted(streams)]
        for stream, lock in zip(sorted(streams), locks, strict=True):
            await lock.acquire()  # as a stream's row is locked until the commit
            self.last += 1
            self.seqs[stream] = self.seqs.get(stream, 0) + 1
            rows.append((self.last, stream, self.seqs[stream]))
            await self.wait()

        async def commit(tx: Transaction) -> None:
            for row in rows:
                await tx.execute(f"{ADD} ($1, $2, $3, 'k', 0, '{{}}')", *row)

        await self.database.write(commit)
        self.open.remove(key)
        for lock in locks:
            lock.release()

    def read_cursor(self, text: str) -> Place:
        place = read_cursor(text, Extent(self.epoch, 0, 0, self.last))
        assert place is not None, text
        return place


class Flaky:
    """The database, which answers late and now and then is away for a reader."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.engine = world.database.engine

    async def close(self) -> None:
        await self._world.database.close()

    async def read(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        await self._world.wait()
        result = await self._world.database.read(work)
        await self._world.wait()
        if self._world.chance.random() < 0.02:
            raise StorageUnavailableError("the database went away")
        return result

    async def write(self, work: Callable[[Transaction], Awaitable[T]], *, lane: str = "") -> T:
        return await self._world.database.write(work, lane=lane)


class Node:
    """A hub, and what it has seen."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.hub = FeedHub(Flaky(world), EverybodyMay())
        self.hub.settled = 0
        self._connections = Connections(ManualClock())
        self._seen: set[int] = set()

    def connect(self) -> Connection:
        connection = self._connections.open("test", "192.0.2.1", Sink(self._world.cursors))
        self._connections.bind(connection, "t", Claims("m", "s", 1, 1.0, "d"))
        return connection

    def leave(self, connection: Connection) -> None:
        self._connections.forget(connection)

    async def follow(self) -> None:
        """Look at times, as a tail does: the horizon first, then what is new."""
        while not self._world.is_over:
            await self._look()
            await self._world.wait()

    async def _look(self) -> None:
        hub, world = self.hub, self._world
        horizon = min(world.open, default=world.last)
        await world.wait()
        assert hub.settled is not None
        settled = hub.settled
        rows = await world.database.read(lambda tx: tx.fetch_all(f"{NEW} ORDER BY cursor", settled))
        new = [row for row in rows if row[0] not in self._seen]
        newest = max([row[0] for row in rows], default=settled)
        settled = max(settled, min(horizon, newest))
        hub.publish([make_push(row, settled) for row in new])
        self._seen |= {row[0] for row in new}
        hub.settled = settled


class Story:
    """One reader who breaks off, pauses and comes back; what it got by stream."""

    def __init__(self, world: World, nodes: list[Node], streams: tuple[str, ...]) -> None:
        self._world = world
        self._nodes = nodes
        self._feed = OpenFeed("+".join(streams), "x:y", "", streams)
        self._at = Place(0)
        self.seqs = dict.fromkeys(streams, 0)
        self.repeats = 0
        self.acknowledged = Place(0)

    async def read(self, wanted: dict[str, int]) -> None:
        """Follow until all was seen."""
        chance = self._world.chance
        while any(self.seqs[stream] < wanted[stream] for stream in self.seqs):
            node = chance.choice(self._nodes)
            connection = node.connect()
            sink = connection.sink
            assert isinstance(sink, Sink)
            following = node.hub.subscribe(connection, self._feed, self._at, "m")
            for _ in range(chance.randrange(1, 12)):
                if chance.random() < 0.2:
                    following.pause()
                    await self._world.wait()
                    following.resume()
                if not sink.got:
                    sink.came.clear()
                    if all(self.seqs[stream] >= wanted[stream] for stream in self.seqs):
                        break
                    await asyncio.wait_for(sink.came.wait(), 10)
                if sink.got:
                    self._take(sink.got.pop(0))
            node.leave(connection)

    def _take(self, got: Got) -> None:
        before = self.seqs[got.stream]
        assert got.seq <= before + 1, f"a gap: after {before} came {got}"
        self.repeats += got.seq <= before
        self.seqs[got.stream] = max(before, got.seq)
        self._at = self._world.read_cursor(got.cursor)
        is_newer = self._at.is_newer(self.acknowledged)
        assert is_newer or len(self.seqs) > 1, f"{self._at} after {self.acknowledged}"
        self.acknowledged = self._at if is_newer else self.acknowledged


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = SqliteDatabase.open(tmp_path / "hall.sqlite", on_sync_failure=lambda _error: None)
    await migrate(opened, ManualClock(), [], opened.engine)
    yield opened
    await opened.close()


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moothall.action.hub.RETRY_SECONDS", 0.0)


async def play(
    database: Database, seed: int, feeds: Sequence[tuple[str, ...]], readers: int = 3
) -> list[Story]:
    """Let transactions write to all streams of ``feeds`` while readers follow and break off."""
    chance = random.Random(seed)
    world = World(database, chance)
    await database.read(world.cursors.load)
    world.epoch = world.cursors.text(Place(0)).partition(".")[0]
    nodes = [Node(world) for _ in range(NODES)]
    names = sorted({stream for feed in feeds for stream in feed})
    plan = [chance.sample(names, chance.randint(1, min(3, len(names)))) for _ in range(WRITES)]
    wanted = {name: sum(name in each for each in plan) for name in names}
    stories = [Story(world, nodes, feed) for feed in feeds for _ in range(readers)]

    async def write() -> None:
        for first in range(0, WRITES, 5):
            await asyncio.gather(*(world.write(each) for each in plan[first : first + 5]))

    async def read() -> None:
        await asyncio.gather(write(), *(story.read(wanted) for story in stories))
        world.is_over = True

    try:
        async with asyncio.timeout(30):
            await asyncio.gather(read(), *(node.follow() for node in nodes))
    finally:
        world.is_over = True
    return stories


def check_no_repeats(stories: list[Story], seed: int) -> None:
    repeats = {"+".join(story.seqs): story.repeats for story in stories if story.repeats}
    assert not repeats, f"seed {seed}: {repeats}"


@pytest.mark.parametrize("seed", range(25))
async def test_who_breaks_off_while_nothing_settles_gets_everything_once(
    database: Database, seed: int
) -> None:
    feeds = [("a",), ("b",), ("a", "b"), ("a", "c"), ("a", "b", "c", "d")]
    check_no_repeats(await play(database, seed, feeds), seed)


@pytest.mark.parametrize("seed", range(25))
async def test_what_happens_while_nobody_follows_comes_once(database: Database, seed: int) -> None:
    check_no_repeats(await play(database, seed, [("a", "b")], readers=1), seed)


@pytest.mark.parametrize("seed", range(10))
async def test_readers_of_more_streams_than_a_cursor_names_miss_nothing(
    database: Database, seed: int
) -> None:
    await play(database, seed, [tuple("abcdefg")])
