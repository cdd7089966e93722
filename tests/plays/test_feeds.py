"""Feeds at the real doors, while everybody who writes and reads breaks off at random."""

import asyncio
import random
import struct
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
import pytest

from tests.conformance.doors_wire import (
    SPEAKERS,
    WAIT_S,
    Ask,
    EndedError,
    Place,
    ask_https,
    call,
    dial,
    encode_request,
    place_of,
    speak_lines,
)
from tests.conformance.http_wire import Wire, get
from tests.conformance.websocket_wire import TEXT, frame, handshake
from tests.plays.conftest import PASSWORD, RunningHall

BOARDS = ("kart", "golf", "chess")
WRITERS = 4
WRITES = 120
SEED = 4
CUT_BYTES_MAX = 8_000
"""A reader breaks off after so many bytes at most; an event has about 250."""
SUBMIT = "leaderboards.submit_score"


# --- readers that look at bytes -------------------------------------------------------------------


class Decoder(Protocol):
    """Makes events of bytes, in whatever pieces they come; ``held`` is what is not whole yet."""

    held: bytes

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]: ...


class Lines:
    def __init__(self) -> None:
        self.held = b""

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        *lines, self.held = (self.held + data).split(b"\n")
        for line in lines:
            yield from read_message(line)


class Frames:
    def __init__(self) -> None:
        self.held = b""

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        self.held += data
        while len(self.held) >= 4:
            size, start = self.held[1], 2
            if size == 126:
                (size,), start = struct.unpack_from("!H", self.held, 2), 4
            assert self.held[1] < 127
            if len(self.held) < start + size:
                return
            opcode, message = self.held[0] & 0x0F, self.held[start : start + size]
            self.held = self.held[start + size :]
            if opcode == TEXT:
                yield from read_message(message)


class Events:
    """Takes chunks by pieces as well, or a reader who breaks off within each gets nowhere."""

    def __init__(self) -> None:
        self.held = b""
        self._framing = b""
        self._left = 0

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        self.held += b"".join(self._content(data))
        *blocks, self.held = self.held.split(b"\n\n")
        for block in blocks:
            if not block.startswith(b":"):
                fields = dict(line.split(b": ", 1) for line in block.split(b"\n"))
                assert fields[b"event"] == b"event", block
                event = msgspec.json.decode(fields[b"data"])
                assert event["cursor"] == fields[b"id"].decode()
                yield event

    def _content(self, data: bytes) -> Iterator[bytes]:
        """Yield what chunks hold."""
        while data:
            if self._left:
                yield data[: self._left]
                self._left, data = max(0, self._left - len(data)), data[self._left :]
                continue
            self._framing, data = self._framing + data[:1], data[1:]
            length = self._framing.removeprefix(b"\r\n")
            if length.endswith(b"\r\n"):
                self._left, self._framing = int(length, 16), b""
                assert self._left, "nobody ended the stream"


def read_message(message: bytes) -> Iterator[dict[str, Any]]:
    told = msgspec.json.decode(message)
    if "method" not in told:
        assert "result" in told, told
        return
    assert told["method"] in {"event", "heartbeat"}, told
    if told["method"] == "event":
        yield told["params"]


@dataclass
class Reader:
    """Follows feeds, breaks off, comes back, and remembers what it saw."""

    place: Place
    token: str
    door: str
    chance: random.Random
    cursors: dict[str, str]
    seen: dict[str, list[Any]] = field(default_factory=dict)
    cuts: int = 0
    cuts_within: int = 0
    repeats: int = 0

    async def follow_until(self, wanted: dict[str, int]) -> None:
        """Return when everything was seen that will have been written."""
        while any(len(self.seen.get(feed, ())) < wanted[feed] for feed in self.cursors):
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._follow(wanted)

    async def _follow(self, wanted: dict[str, int]) -> None:
        """Follow until it has read as many bytes as chance allows, or all there is."""
        left = self.chance.randint(0, CUT_BYTES_MAX)
        async with self._open() as (reader, decoder):
            while left > 0:
                async with asyncio.timeout(WAIT_S):
                    data = await reader.read(min(left, self.chance.randint(1, 2_000)))
                assert data, "nobody but the reader breaks off"
                left -= len(data)
                for event in decoder.feed(data):
                    self._see(event)
                if all(len(self.seen.get(feed, ())) >= wanted[feed] for feed in self.cursors):
                    return
            self.cuts += 1
            self.cuts_within += bool(decoder.held)

    def _see(self, event: dict[str, Any]) -> None:
        feed, seq = event["feed"], event["seq"]
        assert event["stream"] == feed
        seen = self.seen.setdefault(feed, [])
        if seq <= len(seen):
            self.repeats += 1
            assert seen[seq - 1] == event["data"]
            return
        assert seq == len(seen) + 1, f"{self.door} misses what lies before {feed} {seq}"
        seen.append(event["data"])
        self.cursors[feed] = event["cursor"]

    def _open(self) -> AbstractAsyncContextManager[tuple[asyncio.StreamReader, Decoder]]:
        if self.door == "events":
            return self._open_stream()
        return self._open_socket() if self.door == "websocket" else self._open_lines()

    def _requests(self) -> list[bytes]:
        sign_in = Ask("identity.authenticate", msgspec.json.encode({"token": self.token}))
        after = [{"feed": feed, "after": cursor} for feed, cursor in self.cursors.items()]
        asks = [Ask("feeds.subscribe", msgspec.json.encode(each)) for each in after]
        return [encode_request(0, sign_in), *(encode_request(1, each) for each in asks)]

    @asynccontextmanager
    async def _open_lines(self) -> AsyncIterator[tuple[asyncio.StreamReader, Decoder]]:
        async with dial(self.place.line_port, self.place.trusting) as (reader, writer):
            # The first call is answered before the others are begun, or they had no member.
            first, *rest = self._requests()
            writer.write(first + b"\n")
            await reader.readuntil(b"\n")
            self._send(writer, b"".join(each + b"\n" for each in rest))
            yield reader, Lines()

    @asynccontextmanager
    async def _open_socket(self) -> AsyncIterator[tuple[asyncio.StreamReader, Decoder]]:
        async with dial(self.place.web_port, self.place.trusting) as (reader, writer):
            wire = Wire(reader, writer)
            answer = await wire.ask(handshake(f"Authorization: Bearer {self.token}"))
            assert answer.status == 101
            requests = self._requests()[1:]
            self._send(writer, b"".join(frame(TEXT, each) for each in requests))
            yield reader, Frames()

    @asynccontextmanager
    async def _open_stream(self) -> AsyncIterator[tuple[asyncio.StreamReader, Decoder]]:
        ((feed, cursor),) = self.cursors.items()
        headers = [f"Authorization: Bearer {self.token}", f"Last-Event-ID: {cursor}"]
        async with dial(self.place.web_port, self.place.trusting) as (reader, writer):
            answer = await Wire(reader, writer).ask(get(f"/v1/feeds/{feed}", *headers))
            assert answer.status == 200, answer
            yield reader, Events()

    def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        """Send all, or break off in the middle of it."""
        if self.chance.random() < 0.1:
            writer.write(data[: self.chance.randrange(len(data))])
            self.cuts += 1
            raise ConnectionAbortedError
        writer.write(data)


# --- writers --------------------------------------------------------------------------------------


async def write(place: Place, token: str, plan: list[tuple[str, float]], seed: int) -> int:
    """Write what is planned, each once; return how often it broke off in between."""
    chance, left, cuts = random.Random(seed), list(enumerate(plan)), 0
    while left:
        speak = SPEAKERS[chance.choice([*SPEAKERS])]
        with suppress(EndedError, ConnectionError):
            async with speak(place) as speaker:
                await call(speaker, "identity.authenticate", token=token)
                while left:
                    number, (board, score) = left[0]
                    body = msgspec.json.encode({"board_id": board, "score": score})
                    request = encode_request(1, Ask(SUBMIT, body, key=f"{seed}-{number}"))
                    if chance.random() < 0.05:
                        # Perhaps it is done and perhaps not; the key makes it one deed.
                        await speaker.send(request)
                        cuts += 1
                        break
                    await speaker.send(request)
                    told = await speaker.read()
                    assert "result" in told, told
                    left.pop(0)
    return cuts


# --- the play -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hall(
    tmp_path_factory: pytest.TempPathFactory,
    engine: str,  # on each engine its own
) -> Iterator[RunningHall]:
    folder = tmp_path_factory.mktemp("feeds")
    (folder / "moothall.toml").write_text("limits_scale = 1000.0\n")
    running = RunningHall(folder / "hall", "--config", str(folder / "moothall.toml"))
    yield running
    running.stop()


async def does(place: Place, action: str, token: str | None = None, **request: Any) -> Any:
    outcome = await ask_https(place, Ask(action, msgspec.json.encode(request), token))
    assert not outcome.problem, outcome
    return outcome.result


async def join(place: Place, name: str) -> str:
    await does(place, "identity.register", name=name, password=PASSWORD)
    opened = await does(place, "identity.open_session", name=name, password=PASSWORD)
    return str(opened["access_token"])


@pytest.mark.requirement("R33")
@pytest.mark.requirement("R34")
async def test_whoever_breaks_off_resumes_without_gap_and_without_repeat(
    hall: RunningHall,
) -> None:
    chance, place = random.Random(SEED), place_of(hall)
    boss = await join(place, "boss")
    await does(place, "access.claim_administration", boss, secret=hall.secret)
    for board in BOARDS:
        fields = {"name": board, "direction": "descending", "default_level": "write"}
        await does(place, "leaderboards.create_board", boss, **fields, board_id=board)
    writers = [await join(place, f"writer{number}") for number in range(WRITERS)]
    plans = [
        [(chance.choice(BOARDS), float(1_000 * writer + number)) for number in range(WRITES)]
        for writer in range(WRITERS)
    ]
    counts = Counter(f"board/{board}/moderation" for plan in plans for board, _ in plan)
    async with speak_lines(place) as speaker:
        await call(speaker, "identity.authenticate", token=boss)
        start = (await call(speaker, "feeds.subscribe", feed=next(iter(counts))))["cursor"]
    readers = [
        Reader(place, boss, door, random.Random(SEED * 100 + number), dict.fromkeys(feeds, start))
        for number, (door, feeds) in enumerate(
            [
                ("websocket", [*counts]),
                ("ndjson", [*counts]),
                ("websocket", [*counts][:2]),
                ("ndjson", [*counts][1:]),
                ("events", [*counts][:1]),
                ("events", [*counts][2:]),
            ]
        )
    ]
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        following = [group.create_task(reader.follow_until(counts)) for reader in readers]
        writing = [
            group.create_task(write(place, token, plan, SEED * 1_000 + number))
            for number, (token, plan) in enumerate(zip(writers, plans, strict=True))
        ]
    assert len(following) == 6
    # Each write is there once, and in one order for all.
    for feed, count in counts.items():
        told = [reader.seen[feed] for reader in readers if feed in reader.seen]
        assert all(each == told[0] for each in told)
        scores = [data["score"] for data in told[0]]
        wanted = [score for plan in plans for board, score in plan if board == feed.split("/")[1]]
        assert (len(scores), sorted(scores)) == (count, sorted(wanted))
    # It was a test at all: everybody broke off often, some of it within a frame.
    assert min(reader.cuts for reader in readers) > 3
    assert sum(reader.cuts_within for reader in readers) > 10
    assert sum(task.result() for task in writing) > 5
    assert await has_forgotten(place, boss)


async def has_forgotten(place: Place, token: str) -> bool:
    """Tell whether the hall let go of everybody who left."""
    async with asyncio.timeout(WAIT_S):
        while (await does(place, "hall.list_connections", token))["open"]:
            pass
    return True
