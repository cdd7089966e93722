"""Connections of real halls: they end with the session, with idleness, and with the hall."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from tests.conformance.doors_wire import (
    DOORS_ASKED,
    SPEAKERS,
    Ask,
    EndedError,
    Place,
    Speaker,
    ask_https,
    call,
    encode_request,
    place_of,
    read_reply,
    read_rest,
    speak_lines,
    speak_socket,
)
from tests.conformance.events_wire import EventStream, follow_events
from tests.plays.conftest import PASSWORD, NewPerson, RunningHall, StartHall

FEED = "board/kart"
ROW = {"submitter": "old", "score": 1.0, "submitted_at_ms": 1}


class Member(NamedTuple):
    """Somebody who is signed in."""

    name: str
    member_id: str
    session_id: str
    token: str


class Hall(NamedTuple):
    """A hall that runs, with a board, and its administrator."""

    running: RunningHall
    place: Place
    boss: Member


@dataclass(frozen=True)
class Followers:
    """One session at three doors, following the same feed."""

    socket: Speaker
    line: Speaker
    stream: EventStream
    is_told: asyncio.Event = field(default_factory=asyncio.Event)

    async def read_closing(self) -> list[str]:
        """Return the reasons that were told, by the next message of each; then all must end.

        A call behind it is answered nothing.
        """
        messages = [await speaker.read() for speaker in (self.socket, self.line)]
        said = await self.stream.read()
        assert said is not None
        assert [*(each["method"] for each in messages), said.kind] == ["closing"] * 3
        for speaker in (self.socket, self.line):
            await speaker.send(encode_request("late", Ask("hall.ping")))
        self.is_told.set()
        assert [await read_rest(speaker) for speaker in (self.socket, self.line)] == [[], []]
        assert await self.stream.read() is None
        return [*(str(each["params"]["reason"]) for each in messages), said.data["reason"]]

    async def read_seqs(self, count: int) -> list[list[int]]:
        return [
            [(await self.socket.read())["params"]["seq"] for _ in range(count)],
            [(await self.line.read())["params"]["seq"] for _ in range(count)],
            await self.stream.read_seqs(count),
        ]


async def does(place: Place, action: str, who: Member | None = None, **request: Any) -> Any:
    """Call an action that must succeed, by HTTPS."""
    token = None if who is None else who.token
    outcome = await ask_https(place, Ask(action, msgspec.json.encode(request), token))
    assert not outcome.problem, outcome
    return outcome.result


async def sign_in(place: Place, name: str) -> Member:
    opened = await does(place, "identity.open_session", name=name, password=PASSWORD)
    return Member(name, opened["member_id"], opened["session_id"], opened["access_token"])


async def join(place: Place, name: str) -> Member:
    await does(place, "identity.register", name=name, password=PASSWORD)
    return await sign_in(place, name)


async def furnish(running: RunningHall) -> Hall:
    """Claim a fresh hall and make a board in it."""
    place = place_of(running)
    boss = await join(place, "boss")
    await does(place, "access.claim_administration", boss, secret=running.secret)
    board = {"name": "Kart", "direction": "descending", "board_id": "kart"}
    await does(place, "leaderboards.create_board", boss, **board, default_level="write")
    return Hall(running, place, boss)


@asynccontextmanager
async def follow(place: Place, who: Member, after: str = "now") -> AsyncIterator[Followers]:
    async with AsyncExitStack() as stack:
        socket = await stack.enter_async_context(speak_socket(place))
        line = await stack.enter_async_context(speak_lines(place))
        for speaker in (socket, line):
            await call(speaker, "identity.authenticate", token=who.token)
            subscribe = msgspec.json.encode({"feed": FEED, "after": after})
            await speaker.send(encode_request(1, Ask("feeds.subscribe", subscribe)))
        if after == "now":
            for speaker in (socket, line):
                assert "result" in await read_reply(speaker)
        stream = await stack.enter_async_context(
            follow_events(place, FEED, who.token, f"Last-Event-ID: {after}")
        )
        yield Followers(socket, line, stream)


@pytest.fixture(scope="module")
def hall(
    tmp_path_factory: pytest.TempPathFactory,
    engine: str,  # on each engine its own
) -> Iterator[Hall]:
    """One hall for the plays in which it goes on."""
    folder = tmp_path_factory.mktemp("connections")
    running = RunningHall(folder / "hall", "--config", str(without_limits(folder)))
    yield asyncio.run(furnish(running))
    running.stop()


def without_limits(folder: Path) -> Path:
    file = folder / "moothall.toml"
    file.write_text("limits_scale = 1000.0\n")
    return file


# --- the end of a session -------------------------------------------------------------------------


async def log_out(hall: Hall, ada: Member) -> None:
    await does(hall.place, "identity.close_session", ada)


async def revoke(hall: Hall, ada: Member) -> None:
    other = await sign_in(hall.place, ada.name)
    await does(hall.place, "identity.revoke_session", other, session_id=ada.session_id)


async def close_others(hall: Hall, ada: Member) -> None:
    await does(hall.place, "identity.close_other_sessions", await sign_in(hall.place, ada.name))


async def sign_out_everywhere(hall: Hall, ada: Member) -> None:
    await does(hall.place, "identity.revoke_sessions_of", hall.boss, member=ada.name)


async def remove_member(hall: Hall, ada: Member) -> None:
    await does(hall.place, "identity.remove_member", hall.boss, member=ada.name)


async def remove_account(hall: Hall, ada: Member) -> None:
    await does(hall.place, "identity.remove_account", ada, password=PASSWORD)


WAYS: list[Callable[[Hall, Member], Awaitable[None]]] = [
    log_out,
    revoke,
    close_others,
    sign_out_everywhere,
    remove_member,
    remove_account,
]


@pytest.mark.requirement("R5")
@pytest.mark.parametrize("end_session", WAYS, ids=lambda way: way.__name__.replace("_", "-"))
async def test_a_session_that_ends_takes_its_connections_along(
    hall: Hall, end_session: Callable[[Hall, Member], Awaitable[None]]
) -> None:
    ada = await join(hall.place, f"ada_{end_session.__name__}"[:20])
    bob = hall.boss
    async with follow(hall.place, ada) as hers, follow(hall.place, bob) as his:
        closing = asyncio.create_task(hers.read_closing())
        await end_session(hall, ada)
        async with asyncio.timeout(1.0):
            await hers.is_told.wait()
        assert await closing == ["session_ended"] * 3
        for door in DOORS_ASKED.values():
            outcome = await door(hall.place, Ask("identity.get_self", token=ada.token))
            assert outcome.name == "unauthenticated"
        # Others go on.
        row = {**ROW, "ref": end_session.__name__}  # a row that the board has already says nothing
        await does(hall.place, "leaderboards.import_entries", bob, board_id="kart", entries=[row])
        seqs = await his.read_seqs(1)
        assert seqs[0] == seqs[1] == seqs[2]


@pytest.mark.requirement("R5")
@pytest.mark.requirement("R31")
@pytest.mark.parametrize("door", SPEAKERS)
async def test_logging_out_on_a_connection_is_answered_and_ends_the_others(
    hall: Hall, door: str
) -> None:
    ada = await join(hall.place, f"ann_{door}")
    async with SPEAKERS[door](hall.place) as mine, follow(hall.place, ada) as others:
        await call(mine, "identity.authenticate", token=ada.token)
        closing = asyncio.create_task(others.read_closing())
        await mine.send(encode_request("out", Ask("identity.close_session")))
        async with asyncio.timeout(1.0):
            said = [await mine.read(), await mine.read()]
            await others.is_told.wait()
        with pytest.raises(EndedError):
            await mine.read()
        assert await closing == ["session_ended"] * 3
        # The end is told at once; the reply of the call that brought it may stand behind it.
        by_kind = {"closing" if "method" in each else "reply": each for each in said}
        assert len(by_kind) == 2
        assert by_kind["reply"]["id"] == "out"
        assert "result" in by_kind["reply"]
        assert by_kind["closing"]["params"]["reason"] == "session_ended"


@pytest.mark.requirement("R4")
@pytest.mark.requirement("R5")
async def test_a_session_outlives_its_connections(hall: Hall) -> None:
    ada = await join(hall.place, "survivor")
    for _ in range(3):
        async with follow(hall.place, ada):
            pass
    for door in DOORS_ASKED.values():
        outcome = await door(hall.place, Ask("identity.get_self", token=ada.token))
        assert outcome.result["name"] == "survivor"


# --- idleness -------------------------------------------------------------------------------------


async def watch_until_idle(watcher: Speaker, session_id: str) -> None:
    """Read the hall's own feed until it tells that a session ended by idleness.

    The watcher calls something in between, or they would be signed out as well.
    """
    while True:
        await watcher.send(encode_request(1, Ask("identity.get_self")))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                while True:
                    told = await watcher.read()
                    ended = told.get("params", {})
                    if ended.get("data", {}).get("session_id") == session_id:
                        assert ended["kind"] == "identity.session_ended"
                        assert ended["data"]["reason"] == "idle"
                        return


@pytest.mark.requirement("R13")
async def test_who_does_nothing_is_signed_out_and_told_why(start_hall: StartHall) -> None:
    running = start_hall("idle", "--set", "sessions.idle_timeout_ms=2000")
    hall = await furnish(running)
    ada = await join(hall.place, "ada")
    async with follow(hall.place, ada) as hers, speak_lines(hall.place) as watcher:
        await call(watcher, "identity.authenticate", token=hall.boss.token)
        await call(watcher, "feeds.subscribe", feed="identity")
        closing = asyncio.create_task(hers.read_closing())
        async with asyncio.timeout(15):
            await watch_until_idle(watcher, ada.session_id)
        async with asyncio.timeout(1.0):
            await hers.is_told.wait()
        assert await closing == ["idle"] * 3
        outcome = await ask_https(hall.place, Ask("identity.get_self", token=ada.token))
        assert outcome.name == "unauthenticated"
        # Whoever did something is still there.
        assert (await call(watcher, "identity.get_self"))["name"] == "boss"


# --- the end of the hall --------------------------------------------------------------------------


@pytest.mark.requirement("R36")
@pytest.mark.requirement("R42")
async def test_an_administrator_stops_the_hall_and_everybody_comes_back(
    start_hall: StartHall, new_person: NewPerson
) -> None:
    running = start_hall("stopped")
    hall = await furnish(running)
    ada, gone = await join(hall.place, "ada"), await join(hall.place, "gone")
    await does(hall.place, "identity.close_session", gone)
    person = new_person()
    person.meets(running)
    await asyncio.to_thread(person.does, "login", "boss", "--password-stdin", stdin=f"{PASSWORD}\n")
    async with follow(hall.place, ada) as hers:

        def imported(at_ms: int) -> dict[str, Any]:
            return {"board_id": "kart", "entries": [{**ROW, "submitted_at_ms": at_ms}]}

        for at_ms in range(5):
            await does(hall.place, "leaderboards.import_entries", hall.boss, **imported(at_ms))
        first, second, third = await hers.read_seqs(3)
        assert first == second == third
        await hers.socket.read()
        cursor = (await hers.socket.read())["params"]["cursor"]
        await hers.line.read()
        await hers.line.read()
        await hers.stream.read_seqs(2)
        # It is a client as well, and told like the others.
        stopping = asyncio.create_task(
            asyncio.to_thread(person.does, "hall", "shutdown", "--json", "--yes")
        )
        assert await hers.read_closing() == ["shutdown"] * 3
        told = json.loads(await stopping)
        assert told["open_connections"] >= 3
    assert await asyncio.to_thread(running.wait) == 0
    again = place_of(start_hall("stopped", port=running.port))
    assert again.web_port == running.port
    async with follow(again, ada, cursor) as hers:
        for at_ms in (5, 6):
            await does(again, "leaderboards.import_entries", hall.boss, **imported(at_ms))
        last = first[-1] + 2
        assert await read_seqs_of_all(hers, 2) == [[last + 1, last + 2]] * 3
    refused = await ask_https(again, Ask("identity.get_self", token=gone.token))
    assert refused.name == "unauthenticated"
    ranking = await does(again, "leaderboards.list_entries", ada, board_id="kart")
    assert [standing["name"] for standing in ranking["standings"]] == ["old"]


async def read_seqs_of_all(hers: Followers, count: int) -> list[list[int]]:
    """Return the numbers of the next events; answers to ``feeds.subscribe`` lie between them."""
    found = []
    for speaker in (hers.socket, hers.line):
        seqs: list[int] = []
        while len(seqs) < count:
            told = await speaker.read()
            if "method" in told:
                seqs.append(told["params"]["seq"])
            else:
                assert "result" in told, told
        found.append(seqs)
    return [*found, await hers.stream.read_seqs(count)]


# --- what an operator sees ------------------------------------------------------------------------


@pytest.mark.requirement("R110")
async def test_an_operator_sees_and_closes_connections(hall: Hall, new_person: NewPerson) -> None:
    ada = await join(hall.place, "seen")
    person = new_person()
    person.meets(hall.running)
    await asyncio.to_thread(person.does, "login", "boss", "--password-stdin", stdin=f"{PASSWORD}\n")
    async with follow(hall.place, ada) as hers:
        shown = await asyncio.to_thread(person.does, "connection", "list")
        for word in ("websocket", "ndjson", "events", "127.0.0.1", FEED):
            assert word in shown, shown
        page = json.loads(await asyncio.to_thread(person.does, "connection", "list", "--json"))
        mine = {
            seen["door"]: seen["connection_id"]
            for seen in page["connections"]
            if seen["member_id"] == ada.member_id
        }
        assert set(mine) == {"websocket", "ndjson", "events"}
        for connection_id in mine.values():
            await asyncio.to_thread(person.does, "connection", "close", connection_id, "--yes")
        assert await hers.read_closing() == ["closed_by_administrator"] * 3
    # Its session goes on.
    assert (await does(hall.place, "identity.get_self", ada))["name"] == "seen"
