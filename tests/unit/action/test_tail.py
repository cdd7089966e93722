"""The tail: every row once, in the order of its stream, whatever commits between two reads."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import asyncpg
import pytest

from moothall.action import tail as tail_module
from moothall.action.cursor import find_extent
from moothall.action.migrations import migrate
from moothall.action.push import Push
from moothall.action.tail import LOOK_APART_SECONDS, ROWS_MAX, Tail
from moothall.bus import MemoryBus
from moothall.core.errors import StorageUnavailableError
from moothall.ports.database import Database, Transaction
from moothall.storage.postgres import PostgresDatabase
from moothall.storage.postgres.transaction import (
    BEGIN_WRITE,
    PREPARE_WRITE,
    PostgresTransaction,
)
from moothall.testing import ManualClock
from tests.contract.databases import open_postgres

if TYPE_CHECKING:
    from moothall.action.hub import FeedHub

T = TypeVar("T")

ADD = """
INSERT INTO action_event (stream, seq, kind, at_ms, data)
SELECT $1, n, 'kind', 0, '{}' FROM generate_series($2::bigint, $3::bigint) AS n ORDER BY n
RETURNING cursor
"""


class Recorder:
    """Stands for the hub, and for a learner: it writes down what it is given."""

    topic = "topic"

    def __init__(self) -> None:
        self.settled: int | None = None
        self.given: list[Any] = []
        self.batches: list[int] = []
        self.failures = 0

    def publish(self, pushes: Sequence[Push]) -> None:
        self.batches.append(len(pushes))
        self.given += [(push.stream, push.seq) for push in pushes]

    async def relearn(self, _database: Database, keys: Sequence[str]) -> None:
        if self.failures:
            self.failures -= 1
            raise StorageUnavailableError("the database went away")
        self.given += [("learned", key) for key in keys] or [("learned", None)]


class Interrupted:
    """A database in which something happens after a chosen read."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.reads = 0
        self.at = -1
        self.then: Callable[[], Awaitable[object]] | None = None

    async def read(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        result = await self._database.read(work)
        if self.reads == self.at and self.then is not None:
            await self.then()
        self.reads += 1
        return result


class Scene:
    """A tail on a real database, and connections that write beside it."""

    def __init__(self, database: PostgresDatabase, url: str) -> None:
        self.database = database
        self.recorder = Recorder()
        self.between = Interrupted(database)
        self.tail = self.make_tail()
        self._url = url
        self._connections: list[asyncpg.Connection] = []

    def make_tail(self) -> Tail:
        hub = cast("FeedHub", self.recorder)
        return Tail(cast("Database", self.between), MemoryBus("hall"), hub)

    async def begin_write(self) -> asyncpg.Connection:
        """Begin a write of another node, as ours do."""
        connection = await asyncpg.connect(self._url)
        self._connections.append(connection)
        await connection.execute(PREPARE_WRITE)
        await connection.execute(BEGIN_WRITE)
        return connection

    async def add(self, stream: str, first: int, last: int | None = None) -> None:
        """Commit events of a stream."""
        await self.database.write(lambda tx: tx.fetch_all(ADD, stream, first, last or first))

    async def notice(self, key: str) -> None:
        await self.database.write(lambda tx: tx.tell_nodes("topic", key))

    def learn(self) -> None:
        """Let the recorder learn, without letting the tail look by itself."""
        self.tail._learners = {"topic": self.recorder}

    async def close(self) -> None:
        for connection in self._connections:
            await connection.close()


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    database = await open_postgres(tmp_path)
    assert isinstance(database, PostgresDatabase)
    await migrate(database, ManualClock(), [], database.engine)
    opened = Scene(database, database._writers._address.url)
    await opened.tail.begin()
    try:
        yield opened
    finally:
        await opened.close()
        await database.close()


@pytest.mark.requirement("R33")
@pytest.mark.parametrize("at", range(3))
async def test_what_commits_between_two_reads_is_not_passed_over(scene: Scene, at: int) -> None:
    late = await scene.begin_write()
    await late.fetch(ADD, "late", 1, 1)
    await scene.add("soon", 1)
    scene.between.reads = 0
    scene.between.at, scene.between.then = at, lambda: late.execute("COMMIT")
    for _ in range(3):
        await scene.tail.look()
    await scene.add("soon", 2)
    await scene.tail.look()
    assert sorted(scene.recorder.given) == [("late", 1), ("soon", 1), ("soon", 2)]
    assert scene.recorder.given.index(("soon", 1)) < scene.recorder.given.index(("soon", 2))


@pytest.mark.requirement("R33")
async def test_a_notice_that_comes_after_the_events_were_read_is_learned_before_they_go_out(
    scene: Scene,
) -> None:
    scene.learn()
    await scene.add("soon", 1)
    scene.between.reads = 0
    scene.between.at, scene.between.then = 1, lambda: scene.notice("key")
    await scene.tail.look()
    assert scene.recorder.given == [("learned", "key"), ("soon", 1)]


async def test_commits_that_come_close_together_are_read_together(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    began_at: list[float] = []
    loop = asyncio.get_running_loop()
    plain, enough = scene.tail.look, asyncio.Event()

    async def look() -> None:
        began_at.append(loop.time())
        await plain()
        if len(began_at) == 10:
            enough.set()
        scene.tail.tell()  # as if something were committed all the time

    monkeypatch.setattr(scene.tail, "look", look)
    scene.tail.start([])
    try:
        async with asyncio.timeout(30):
            await enough.wait()
    finally:
        await scene.tail.close()
    apart = [later - earlier for earlier, later in itertools.pairwise(began_at)]
    assert min(apart) > 0.9 * LOOK_APART_SECONDS


async def test_a_look_where_nothing_is_new_takes_three_round_trips(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each node looks twice a second, and after each commit of the hall."""
    await scene.add("soon", 1)
    await scene.notice("key")
    for _ in range(2):  # what is alone is learned
        await scene.tail.look()
    asked: list[str] = []
    plain = PostgresTransaction._wait

    async def note(tx: Any, method: Any, *arguments: Any) -> Any:
        asked.append(arguments[0])
        return await plain(tx, method, *arguments)

    monkeypatch.setattr(PostgresTransaction, "_wait", note)
    await scene.tail.look()
    assert len(asked) == 3, asked


@pytest.mark.requirement("R33")
async def test_what_is_settled_stays_below_what_is_open(scene: Scene) -> None:
    await scene.add("soon", 1)
    late = await scene.begin_write()
    number = await late.fetchval(ADD, "late", 1, 1)
    await scene.add("soon", 2)
    await scene.tail.look()
    assert scene.tail.settled < number
    assert scene.recorder.settled == scene.tail.settled
    extent = await scene.database.read(find_extent)
    assert extent.settled < number < extent.last
    await late.execute("COMMIT")
    await scene.tail.look()
    assert scene.tail.settled > number
    assert scene.recorder.given == [("soon", 1), ("soon", 2), ("late", 1)]


@pytest.mark.requirement("R36")
async def test_numbers_that_a_crash_gives_out_again_are_never_settled(scene: Scene) -> None:
    await scene.add("s", 1)
    undone = await scene.begin_write()
    await undone.fetch(ADD, "undone", 1, 100)
    await undone.execute("ROLLBACK")
    await scene.tail.look()
    newest = await scene.database.read(
        lambda tx: tx.fetch_one("SELECT max(cursor) FROM action_event")
    )
    assert newest is not None
    assert scene.tail.settled == newest[0]
    assert (await scene.database.read(find_extent)).settled == newest[0]
    another = scene.make_tail()
    await another.begin()
    assert another.settled == newest[0]


async def test_a_tail_that_begins_while_something_is_open_gets_it(scene: Scene) -> None:
    late = await scene.begin_write()
    await late.fetch(ADD, "late", 1, 1)
    await late.execute("INSERT INTO action_notice (topic, key, at_ms) VALUES ('topic', 'late', 0)")
    await scene.add("soon", 1)
    await scene.notice("soon")
    scene.tail = scene.make_tail()
    await scene.tail.begin()
    scene.learn()
    await late.execute("COMMIT")
    await scene.tail.look()
    assert ("late", 1) in scene.recorder.given
    assert ("learned", "late") in scene.recorder.given


@pytest.mark.requirement("R33")
async def test_after_an_outage_rows_come_in_bounded_portions(scene: Scene) -> None:
    count = 3 * ROWS_MAX + 7
    late = await scene.begin_write()
    await late.fetch(ADD, "late", 1, ROWS_MAX + 1)
    await scene.add("s", 1, count)
    for _ in range(3):
        await scene.tail.look()
    await late.execute("COMMIT")
    for _ in range(4):
        await scene.tail.look()
    assert max(scene.recorder.batches) <= ROWS_MAX
    given = scene.recorder.given
    assert [seq for stream, seq in given if stream == "s"] == [*range(1, count + 1)]
    assert [seq for stream, seq in given if stream == "late"] == [*range(1, ROWS_MAX + 2)]
    assert scene.tail.measures()["tail_unsettled_events"] == 0


async def test_many_notices_are_all_learned_before_any_event_is_given(scene: Scene) -> None:
    scene.learn()
    await scene.database.write(
        lambda tx: tx.execute(
            "INSERT INTO action_notice (topic, key, at_ms) "
            "SELECT 'topic', n::text, 0 FROM generate_series(1, $1::bigint) AS n",
            2 * ROWS_MAX + 1,
        )
    )
    await scene.add("s", 1)
    await scene.tail.look()
    assert scene.recorder.given[-1] == ("s", 1)
    learned = [int(key) for what, key in scene.recorder.given if what == "learned"]
    assert learned == [*range(1, 2 * ROWS_MAX + 2)]


async def test_a_learner_that_fails_loses_nothing(scene: Scene) -> None:
    scene.learn()
    scene.recorder.failures = 2
    await scene.notice("key")
    await scene.add("s", 1)
    for _ in range(2):
        with pytest.raises(StorageUnavailableError):
            await scene.tail.look()
        assert scene.recorder.given == []
    await scene.tail.look()
    assert scene.recorder.given == [("learned", "key"), ("s", 1)]
    await scene.tail.look()
    assert len(scene.recorder.given) == 2


async def test_who_was_away_until_notices_were_swept_learns_everything_anew(scene: Scene) -> None:
    scene.learn()
    await scene.notice("known")
    await scene.tail.look()
    await scene.notice("missed")
    await scene.notice("newest")
    await scene.database.write(
        lambda tx: tx.execute("DELETE FROM action_notice WHERE key <> 'newest'")
    )
    scene.recorder.given.clear()
    await scene.tail.look()
    assert scene.recorder.given[0] == ("learned", None)
    scene.recorder.given.clear()
    await scene.tail.look()
    assert scene.recorder.given == []


async def test_who_was_away_for_a_minute_learns_everything_anew(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.learn()
    await scene.tail.look()
    scene.recorder.given.clear()
    await scene.tail.look()
    assert scene.recorder.given == []
    monkeypatch.setattr(tail_module, "AWAY_SECONDS", 0.0)
    await scene.tail.look()
    assert scene.recorder.given[0] == ("learned", None)


async def test_what_is_remembered_has_a_bound(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_module, "UNSETTLED_MAX", 10)
    late = await scene.begin_write()
    await late.fetch(ADD, "late", 1, 1)
    await scene.add("s", 1, 11)
    await scene.tail.look()
    await scene.add("s", 12, 20)
    with pytest.raises(StorageUnavailableError, match="open for too long"):
        await scene.tail.look()
    await late.execute("COMMIT")
    await scene.tail.look()
    assert sorted(scene.recorder.given) == [("late", 1), *(("s", seq) for seq in range(1, 21))]


async def test_a_node_that_cannot_look_says_so(scene: Scene) -> None:
    scene.tail.check()
    loop = asyncio.get_running_loop()
    scene.tail._looked_at = loop.time() - tail_module.STALE_SECONDS - 0.1
    with pytest.raises(StorageUnavailableError):
        scene.tail.check()
    assert scene.tail.find_trouble() == "this node has lost sight of its hall"
    await scene.tail.look()
    scene.tail.check()
    assert scene.tail.find_trouble() is None
