"""No reader misses an event, at whichever node, and nobody waits for somebody else's transaction.

Numbers do not appear in their order: a transaction that took a low one may commit after those
that took higher ones (decision 0016). A reader who comes back gets each event once all the same.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from moothall.action.restore import renew_epoch
from moothall.app.place import keep_place
from moothall.storage.postgres import PostgresDatabase, read_address
from moothall.testing import OpenConnection, OpenHall, ProblemError, Visitor, open_test_hall
from tests.servers.nodes import Nodes, open_nodes
from tests.servers.postgres import drop_database, make_database

pytestmark = pytest.mark.requirement("R33")

ROOMS = Path(__file__).parent / "rooms"

WIRES = ("a", "b", "c", "d")
PAIRS = ("a/b", "b/c", "c/d", "d/a")
WRITERS = 12
WORDS = 12
"""That each writer sends."""
READERS = 6

WAIT_SECONDS_MAX = 20.0


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[Nodes]:
    async with open_nodes(tmp_path, 3, functions=[ROOMS]) as opened:
        yield opened


@pytest.fixture
async def ada(nodes: Nodes) -> Visitor:
    return await nodes.halls[0].member("ada")


async def send(hall: OpenHall, who: Visitor, wires: Iterable[str], word: str = "") -> None:
    await hall.call("wires.send_word", {"wires": [*wires], "word": word}, as_=who)


async def follow(hall: OpenHall, who: Visitor, feed: str, **after: str) -> OpenConnection:
    reader = await hall.connect(as_=who)
    await reader.call("feeds.subscribe", feed=feed, **after)
    await reader.until_live(feed)
    return reader


def number_of(cursor: str) -> int:
    """Return up to which number all is settled for who has a cursor."""
    return int(cursor.partition(".")[2].partition("-")[0])


async def newest(hall: OpenHall, wire: str) -> int:
    """Return the number of the last word that went along a wire."""
    stream = f"wire/{wire}"
    rows = await hall.rows("SELECT max(cursor) FROM action_event WHERE stream = $1", stream)
    return int(rows[0][0])


@asynccontextmanager
async def foreign(url: str) -> AsyncIterator[Any]:
    """Open a transaction of another program, which has an id as one that writes has."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("BEGIN; SELECT pg_current_xact_id()")
        yield connection
        await connection.execute("ROLLBACK")
    finally:
        await connection.close()


@asynccontextmanager
async def held_up(hall: OpenHall, who: Visitor, wires: str) -> "AsyncIterator[asyncio.Event]":
    """Keep a word for two wires from being committed once it has its number on the first.

    Setting the event lets it go on; at the end it was committed.
    """
    release = asyncio.Event()
    async with foreign(hall.settings.database) as other:
        await other.execute(
            "SELECT 1 FROM action_stream WHERE stream = $1 FOR UPDATE", f"wire/{wires[1]}"
        )
        sending = asyncio.create_task(send(hall, who, wires, "late"))
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            pid = await other.fetchval("SELECT pg_backend_pid()")
            while not await other.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))", pid
            ):
                await asyncio.sleep(0.01)
                await other.execute("SELECT pg_stat_clear_snapshot()")  # kept for a transaction

        async def let_go() -> None:
            await release.wait()
            await other.execute("ROLLBACK")
            await sending

        letting_go = asyncio.create_task(let_go())
        try:
            yield release
        finally:
            release.set()
            await letting_go


# --- Many writers, and readers that break off -----------------------------------------------------


class Follower:
    """A reader of two wires who breaks off at random, and comes back at any node."""

    def __init__(self, nodes: Nodes, who: Visitor, pair: str, seed: int) -> None:
        self._nodes = nodes
        self._who = who
        self._feed = f"pair/{pair}"
        self._chance = random.Random(seed)
        self._seed = seed
        self.seen: dict[str, int] = defaultdict(int)
        self.cursor = ""

    async def begin(self) -> None:
        """Take the present as the beginning."""
        reader = await self._nodes.halls[0].connect(as_=self._who)
        self.cursor = (await reader.call("feeds.subscribe", feed=self._feed))["cursor"]
        reader.leave()

    async def read(self, wanted: dict[str, int]) -> None:
        """Read until so many words were seen on each wire."""
        while any(self.seen[stream] < count for stream, count in wanted.items()):
            reader = await self._chance.choice(self._nodes.halls).connect(as_=self._who)
            await reader.call("feeds.subscribe", feed=self._feed, after=self.cursor)
            for _ in range(self._chance.randrange(1, 40)):
                event = await reader.next_event()
                told = f"seed {self._seed}: after {self.seen[event.stream]} came {event}"
                self.cursor = event.cursor
                assert event.seq == self.seen[event.stream] + 1, told
                self.seen[event.stream] = event.seq
                if all(self.seen[stream] == count for stream, count in wanted.items()):
                    break
            reader.leave()


@pytest.mark.parametrize("seed", range(3))
async def test_who_breaks_off_misses_nothing_of_what_many_nodes_write(
    nodes: Nodes, ada: Visitor, seed: int
) -> None:
    chance = random.Random(seed)
    plan = [
        [chance.sample(WIRES, chance.randint(1, 3)) for _ in range(WORDS)] for _ in range(WRITERS)
    ]
    counts = {f"wire/{w}": sum(w in wires for words in plan for wires in words) for w in WIRES}
    followers = [
        Follower(nodes, ada, PAIRS[number % len(PAIRS)], seed * 100 + number)
        for number in range(READERS)
    ]
    for follower in followers:
        await follower.begin()

    async def write(number: int) -> None:
        for word, wires in enumerate(plan[number]):
            # A busy machine may let a call wait for too long; it is repeated, as clients do.
            key, request = f"{number}-{word}", {"wires": wires}
            while True:
                try:
                    await nodes.halls[number % 3].call("wires.send_word", request, as_=ada, key=key)
                except ProblemError as error:
                    if error.code not in {"unavailable", "deadline_exceeded"}:
                        raise
                else:
                    break

    async with asyncio.timeout(100):
        await asyncio.gather(
            *(write(number) for number in range(WRITERS)),
            *(
                follower.read({f"wire/{w}": counts[f"wire/{w}"] for w in PAIRS[n % 4].split("/")})
                for n, follower in enumerate(followers)
            ),
        )
    for wire in WIRES:
        rows = await nodes.halls[0].events(f"wire/{wire}")
        assert [row.seq for row in rows] == [*range(1, counts[f"wire/{wire}"] + 1)]


# --- A transaction of ours that stays open --------------------------------------------------------


async def test_nobody_waits_for_a_word_that_is_held_up_and_nobody_misses_it(
    nodes: Nodes, ada: Visitor
) -> None:
    first, second, third = nodes.halls
    await send(first, ada, "ab")
    live = await follow(second, ada, "pair/a/c")
    async with held_up(first, ada, "ab") as release:
        # Who begins now, and breaks off before anything came, has this cursor.
        late = await third.connect(as_=ada)
        begun = (await late.call("feeds.subscribe", feed="pair/a/c"))["cursor"]
        await send(third, ada, "c", "soon")
        soon = await live.next_event()
        assert soon.data == {"word": "soon"}
        broken_off = await follow(third, ada, "pair/a/c", after=begun)
        paged = await broken_off.next_event()  # from the rows, not from the tail
        assert paged.data == {"word": "soon"}
        for reader in (late, broken_off):
            reader.leave()
        resumed = await follow(first, ada, "pair/a/c", after=soon.cursor)
        release.set()
        for reader in (live, resumed):
            assert (await reader.next_event()).data["word"] == "late"
    number = await newest(first, "a")
    assert number < await newest(first, "c")
    for cursor in (begun, soon.cursor, paged.cursor):
        assert number_of(cursor) < number
    again = await follow(second, ada, "pair/a/c", after=begun)
    assert {(await again.next_event()).data["word"] for _ in range(2)} == {"soon", "late"}
    for cursor in (soon.cursor, paged.cursor):
        again = await follow(second, ada, "pair/a/c", after=cursor)
        assert (await again.next_event()).data["word"] == "late"


@pytest.mark.parametrize("feed", ["wire/c", "pair/c/d"])
@pytest.mark.parametrize("by", ["cursor", "acknowledgement"])
async def test_who_comes_back_while_a_word_is_held_up_gets_each_word_once(
    nodes: Nodes, ada: Visitor, feed: str, by: str
) -> None:
    first, *others = nodes.halls
    wires = feed.split("/")[1:]
    await send(first, ada, "ab")
    begun = await first.connect(as_=ada)
    after = {"after": (await begun.call("feeds.subscribe", feed=feed))["cursor"]}
    begun.leave()
    settled: set[str] = set()
    async with held_up(first, ada, "ab"):
        for number in range(8):
            # At one node the event comes right after the commit, at another from the rows.
            reader = await follow(others[number % 2], ada, feed, **after)
            for part in ("one", "two"):
                wire = wires[number % len(wires)]
                await send(others[number % 3 == 0], ada, wire, f"{number} {part}")
            event = await reader.next_event()
            assert event.data["word"] == f"{number} one"
            reader.leave()
            reader = await follow(others[number % 2 - 1], ada, feed, after=event.cursor)
            event = await reader.next_event()
            assert event.data["word"] == f"{number} two"
            after = {"after": event.cursor}
            if by == "acknowledgement":
                await reader.call("feeds.acknowledge", feed=feed, cursor=event.cursor)
                after = {}
            settled.add(event.cursor.partition("-")[0])
            reader.leave()
        assert len(settled) == 1, "the word that is held up holds back what is settled"
    await send(first, ada, wires[-1], "last")
    reader = await follow(first, ada, feed, **after)
    assert (await reader.next_event()).data["word"] == "last"


async def test_now_begins_after_what_was_told_already(nodes: Nodes, ada: Visitor) -> None:
    first, second, _ = nodes.halls
    await send(first, ada, "ab")
    async with held_up(first, ada, "ab"):
        await send(second, ada, "cd", "before")
        for feed in ("wire/c", "pair/c/d"):
            reader = await follow(second, ada, feed, after="now")
            await send(first, ada, "c", "after")
            assert (await reader.next_event()).data["word"] == "after"
            reader.leave()


async def test_a_word_that_comes_late_is_pushed_once(nodes: Nodes, ada: Visitor) -> None:
    first, second, _ = nodes.halls
    await send(first, ada, "ab")
    live = await follow(second, ada, "pair/a/c")
    async with held_up(first, ada, "ab") as release:
        for number in range(5):
            await send(second, ada, "c", str(number))
            assert (await live.next_event()).data == {"word": str(number)}
        release.set()
        assert (await live.next_event()).data == {"word": "late"}
    await send(first, ada, "c", "last")
    assert (await live.next_event()).data == {"word": "last"}


# --- Transactions of others -----------------------------------------------------------------------


async def check_that_nothing_lags(hall: OpenHall, who: Visitor, reader: OpenConnection) -> None:
    """Send words until one is pushed with its own number, as it is when nothing is unsettled."""
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while True:
            await send(hall, who, "a")
            number, event = await newest(hall, "a"), await reader.next_event()
            if number_of(event.cursor) == number:
                break
    answer = await (await hall.connect(as_=who)).call("feeds.subscribe", feed="wire/a", after="now")
    assert number_of(answer["cursor"]) >= number


async def test_transactions_of_others_hold_nothing_back(nodes: Nodes, ada: Visitor) -> None:
    hall = nodes.halls[0]
    reader = await follow(nodes.halls[1], ada, "wire/a")
    name = hall.settings.database.partition("?")[0].rpartition("/")[2]
    other = await make_database(f"{name}_foreign")
    try:
        async with foreign(hall.settings.database), foreign(other):
            await check_that_nothing_lags(hall, ada, reader)
    finally:
        await drop_database(f"{name}_foreign")


async def test_locks_of_others_hold_nothing_back(nodes: Nodes, ada: Visitor) -> None:
    hall = nodes.halls[0]
    reader = await follow(nodes.halls[1], ada, "wire/a")
    async with foreign(hall.settings.database) as other:
        await other.execute("SELECT pg_advisory_xact_lock(n) FROM generate_series(0, 2000) AS n")
        await other.execute("SELECT pg_advisory_xact_lock(n, 1) FROM generate_series(0, 100) AS n")
        await other.execute("SELECT pg_advisory_xact_lock_shared((1::bigint << 62) | 1)")
        await check_that_nothing_lags(hall, ada, reader)


async def go_beyond(hall: OpenHall, who: Visitor, other: OpenHall) -> None:
    """Let a hall come to higher numbers than another one, whose locks then would hold it back."""
    last = "SELECT last_value FROM action_number"
    while (await hall.rows(last))[0][0] <= (await other.rows(last))[0][0] + 10:
        await send(hall, who, "d")


@asynccontextmanager
async def halls_of_one_database(folder: Path) -> AsyncIterator[list[OpenHall]]:
    """Open two halls in two schemas of one database."""
    name = f"schemas_{random.SystemRandom().getrandbits(48):x}"
    url = await make_database(name)
    connection = await asyncpg.connect(url)
    try:
        for number in range(2):
            role = f"{name}_{number}"
            await connection.execute(
                f"CREATE ROLE {role} LOGIN; CREATE SCHEMA {role} AUTHORIZATION {role};"
                f"ALTER ROLE {role} SET search_path = {role}"
            )
        urls = [url.replace("//hall@", f"//{name}_{number}@") for number in range(2)]
        async with (
            open_test_hall(folder / "one", functions=[ROOMS], database=urls[0]) as one,
            open_test_hall(folder / "two", functions=[ROOMS], database=urls[1]) as two,
        ):
            yield [one, two]
    finally:
        await drop_database(name)
        await connection.close()
        connection = await asyncpg.connect(url.replace(f"/{name}", "/postgres"))
        for number in range(2):
            await connection.execute(f"DROP ROLE {name}_{number}")
        await connection.close()


async def test_two_halls_in_one_database_do_not_hold_each_other_up(tmp_path: Path) -> None:
    async with halls_of_one_database(tmp_path) as (one, two):
        ada, bob = await one.member("ada"), await two.member("bob")
        reader = await follow(two, bob, "wire/a")
        await send(one, ada, "ab")
        await go_beyond(two, bob, one)
        async with held_up(one, ada, "ab"):
            await check_that_nothing_lags(two, bob, reader)
        await check_that_nothing_lags(one, ada, await follow(one, ada, "wire/a"))


async def test_two_halls_of_one_server_do_not_hold_each_other_up(
    nodes: Nodes, ada: Visitor, tmp_path: Path
) -> None:
    async with open_test_hall(tmp_path / "other", functions=[ROOMS]) as other:
        assert other.settings.database != nodes.halls[0].settings.database
        bob = await other.member("bob")
        reader = await follow(other, bob, "wire/a")
        await send(nodes.halls[0], ada, "ab")
        await go_beyond(other, bob, nodes.halls[0])
        async with held_up(nodes.halls[0], ada, "ab"):
            await check_that_nothing_lags(other, bob, reader)


# --- Numbers that begin anew ----------------------------------------------------------------------


async def test_a_cursor_of_before_a_restore_is_refused(tmp_path: Path) -> None:
    name = f"restored_{random.SystemRandom().getrandbits(48):x}"
    url = await make_database(name)

    def open_hall(address: str) -> AbstractAsyncContextManager[OpenHall]:
        return open_test_hall(tmp_path, functions=[ROOMS], database=address)

    try:
        async with open_hall(url) as hall:
            ada = await hall.member("ada")
            await send(hall, ada, "a", "kept")
        restored = await make_database(f"{name}_again", template=name)
        async with open_hall(url) as hall:
            reader = await follow(hall, ada, "wire/a")
            for _ in range(3):
                await send(hall, ada, "a", "lost")
            cursor = (await reader.next_event()).cursor
        database = await PostgresDatabase.open(read_address(restored))
        await database.write(lambda tx: renew_epoch(tx, "restored"))
        await database.write(keep_place)
        await database.close()
        async with open_hall(restored) as hall:
            for _ in range(10):  # the numbers that the lost ones had are given out once more
                await send(hall, ada, "a", "new")
            assert await newest(hall, "a") > number_of(cursor)
            with pytest.raises(ProblemError) as caught:
                await follow(hall, ada, "wire/a", after=cursor)
            assert caught.value.name == "cursor_expired"
            reader = await follow(hall, ada, "wire/a", after=hall.cursor(0))
            words = [(await reader.next_event()).data["word"] for _ in range(11)]
            assert words == ["kept", *["new"] * 10]
    finally:
        await drop_database(f"{name}_again")
        await drop_database(name)
