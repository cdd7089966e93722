"""A door that the project does not know: JSON-RPC behind a length, over TLS.

It touches nothing of ``src/``: it is made here and handed to ``open_doors`` beside the others, and
has the calls, the feeds, the bounds and the end that they have.
"""

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
import pytest

from moothall.action.connections import CloseReason, Connections
from moothall.app.compose import Hall
from moothall.app.config import Settings
from moothall.app.doors import DOORS, OpenDoors, backend_of
from moothall.core.units import MEBIBYTE, MINUTE_MS
from moothall.testing import OpenHall, Visitor, open_test_hall
from moothall.transports.admission import Seat
from moothall.transports.jsonrpc import (
    HEARTBEAT,
    Calls,
    Conversation,
    ConversationBounds,
    frame_too_large,
)
from moothall.transports.listener import Endpoint, Listener
from moothall.transports.tls import ServerTls
from tests.conformance.doors_wire import (
    WAIT_S,
    Ask,
    EndedError,
    Place,
    ask_https,
    ask_speaker,
    call,
    dial,
    encode_request,
    open_place,
    read_reply,
    read_rest,
    send_bytes,
    speak_lines,
)

pytestmark = [pytest.mark.requirement("R31"), pytest.mark.requirement("R40")]

BOARD = {"board_id": "kart", "name": "Kart", "direction": "descending", "default_level": "write"}
LINGER_S = 0.2


# --- the door -------------------------------------------------------------------------------------


class LengthConnection(asyncio.Protocol):
    """One connection: four bytes of length before each message. The Wire of its conversation."""

    def __init__(self, door: "LengthDoor", seat: Seat) -> None:
        self._door = door
        self._seat = seat
        self._held = b""
        self.transport: asyncio.Transport
        self.conversation: Conversation

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=MEBIBYTE // 4)
        self.conversation = self._door.converse(self, self._seat.source)

    def connection_lost(self, exc: Exception | None) -> None:
        self.conversation.lost()
        self._door.open.discard(self)
        self._seat.release()

    def data_received(self, data: bytes) -> None:
        self._held += data
        while len(self._held) >= 4:
            (size,) = struct.unpack_from("!I", self._held)
            if size > MEBIBYTE:
                self.conversation.refuse(frame_too_large(MEBIBYTE), is_last=True)
                self._held = b""
            elif len(self._held) < 4 + size:
                return
            else:
                message, self._held = self._held[4 : 4 + size], self._held[4 + size :]
                self.conversation.receive(message)

    def pause_writing(self) -> None:
        self.conversation.paused()

    def resume_writing(self) -> None:
        self.conversation.resumed()

    @property
    def queued_bytes(self) -> int:
        return self.transport.get_write_buffer_size()

    def frame(self, message: bytes) -> bytes:
        return struct.pack("!I", len(message)) + message

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def pause_reading(self) -> None:
        self.transport.pause_reading()

    def resume_reading(self) -> None:
        self.transport.resume_reading()

    def beat(self) -> None:
        self.write(self.frame(HEARTBEAT))

    def close(self, reason: CloseReason, message: str) -> None:
        asyncio.get_running_loop().call_later(LINGER_S, self.transport.close)


class LengthDoor:
    """The door: made by ``open_doors`` like the project's own."""

    def __init__(self, hall: Hall, settings: Settings, tls: ServerTls | None) -> None:
        self._backend = backend_of(hall)
        self._calls = Calls()
        self.open: set[LengthConnection] = set()
        self._listener = Listener(
            lambda seat: LengthConnection(self, seat),
            Endpoint(
                host=settings.host,
                port=0,
                context=None if tls is None else tls.context,
                insecure=tls is None,
            ),
        )

    @property
    def url(self) -> str:
        return f"length://localhost:{self._listener.port}"

    async def start(self) -> None:
        await self._listener.start()

    async def stop(self) -> None:
        await self._listener.close_listeners()
        for connection in list(self.open):
            connection.conversation.connection.end(CloseReason.SHUTDOWN)
        await self._calls.stop(1.0)
        if not await self._listener.wait_until_empty(2.0):
            for connection in list(self.open):
                connection.transport.abort()
            await self._listener.wait_until_empty(1.0)

    def converse(self, connection: LengthConnection, source: str) -> Conversation:
        self.open.add(connection)
        return Conversation(
            self._backend,
            connection,
            door="length",
            source=source,
            calls=self._calls,
            bounds=ConversationBounds(),
        )


# --- its client -----------------------------------------------------------------------------------


class LengthSpeaker:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def send(self, message: bytes, piece_size_bytes: int = 0) -> None:
        await send_bytes(self.writer, struct.pack("!I", len(message)) + message, piece_size_bytes)

    async def read(self) -> Any:
        try:
            async with asyncio.timeout(WAIT_S):
                (size,) = struct.unpack("!I", await self._reader.readexactly(4))
                return msgspec.json.decode(await self._reader.readexactly(size))
        except (asyncio.IncompleteReadError, ConnectionError):
            raise EndedError from None


class Site(NamedTuple):
    hall: OpenHall
    place: Place
    doors: OpenDoors
    port: int
    boss: Visitor


@pytest.fixture
async def site(tmp_path: Path, tls: tuple[ServerTls, ssl.SSLContext]) -> AsyncIterator[Site]:
    async with open_test_hall(tmp_path) as hall:
        boss = await hall.administrator("boss")
        await hall.call("leaderboards.create_board", BOARD, as_=boss)
        async with open_place(hall, tls, (*DOORS, LengthDoor)) as (place, doors):
            assert [url.partition(":")[0] for url in doors.urls] == ["https", "ndjson", "length"]
            port = int(doors.urls[2].rpartition(":")[2])
            yield Site(hall, place, doors, port, boss)
        assert len(hall.hall.house.use(Connections)) == 0


@asynccontextmanager
async def speak(site: Site) -> AsyncIterator[LengthSpeaker]:
    async with dial(site.port, site.place.trusting) as (reader, writer):
        yield LengthSpeaker(reader, writer)


# --- what it does ---------------------------------------------------------------------------------


@pytest.mark.parametrize("piece_size_bytes", [0, 7])
async def test_a_fourth_door_answers_as_the_others_do(site: Site, piece_size_bytes: int) -> None:
    token = site.boss.token
    asks = [
        Ask("hall.pin"),
        Ask("hall.ping", b"[]"),
        Ask("identity.get_self"),
        Ask("identity.get_self", token=token),
        Ask("identity.get_self", token="rubbish"),
        Ask("leaderboards.get_board", b'{"board_id":"kart"}', token),
        Ask("leaderboards.get_board", b'{"board_id":"none"}', token),
        Ask("leaderboards.submit_score", b'{"board_id":"kart","score":1}', token, key="one"),
        Ask("leaderboards.submit_score", b'{"board_id":"kart","score":2}', token, key="one"),
        Ask("leaderboards.submit_score", b'{"board_id":"kart","score":"x"}', token),
    ]
    for ask in asks:
        async with speak(site) as speaker:
            told = await ask_speaker(speaker, ask, piece_size_bytes)
        assert told == await ask_https(site.place, ask), ask


@pytest.mark.requirement("R33")
async def test_a_fourth_door_serves_feeds(site: Site) -> None:
    score = {"board_id": "kart", "score": 1.0}
    feed = "board/kart/moderation"
    async with speak(site) as mine, speak_lines(site.place) as other:
        for speaker in (mine, other):
            await call(speaker, "identity.authenticate", token=site.boss.token)
            await call(speaker, "feeds.subscribe", feed=feed)
        page = await site.hall.call("hall.list_connections", as_=site.boss)
        assert {seen.door: seen.feeds for seen in page.connections} == {
            "length": [feed],
            "ndjson": [feed],
        }
        for _ in range(10):
            await site.hall.call("leaderboards.submit_score", score, as_=site.boss)
        events = [await mine.read() for _ in range(10)]
        assert tell(events) == tell([await other.read() for _ in range(10)])
        cursor = events[4]["params"]["cursor"]
    async with speak(site) as again:
        await call(again, "identity.authenticate", token=site.boss.token)
        subscribe = msgspec.json.encode({"feed": feed, "after": cursor})
        await again.send(encode_request(1, Ask("feeds.subscribe", subscribe)))
        told: list[Any] = []
        while len(told) < 5:  # a repeated number is dropped, as clients do
            said = await again.read()
            if "method" in said and said["params"]["seq"] > 5 + len(told):
                told.append(said)
        assert tell(told) == tell(events[5:])


def tell(events: list[Any]) -> list[Any]:
    """Return what events tell; where a cursor stands is the hall's to choose."""
    return [{**each["params"], "cursor": ""} for each in events]


@pytest.mark.requirement("R32")
async def test_a_fourth_door_has_the_bounds_of_the_others(site: Site) -> None:
    async with speak(site) as speaker:
        await speaker.send(b"[]")
        assert (await speaker.read())["error"]["code"] == -32600
        speaker.writer.write(struct.pack("!I", MEBIBYTE + 1))
        refusal = await speaker.read()
        assert refusal["error"]["data"]["details"]["size_bytes_max"] == MEBIBYTE
        assert await read_rest(speaker) == ["protocol_error"]


@pytest.mark.requirement("R5")
@pytest.mark.requirement("R13")
async def test_a_fourth_door_is_told_what_ends_its_connections(site: Site) -> None:
    ada = await site.hall.member("ada")
    async with speak(site) as signed, speak(site) as stranger:
        await call(signed, "identity.authenticate", token=ada.token)
        await stranger.send(encode_request(1, Ask("hall.ping")))
        await read_reply(stranger)
        await site.hall.call("identity.close_session", as_=ada)
        assert await read_rest(signed) == ["session_ended"]
        site.hall.clock.advance(MINUTE_MS)
        site.hall.look_after_connections()
        assert await read_rest(stranger) == ["silent"]


@pytest.mark.requirement("R42")
async def test_a_fourth_door_tells_clients_when_the_hall_stops(site: Site) -> None:
    async with speak(site) as one, speak(site) as two:
        await call(one, "identity.authenticate", token=site.boss.token)
        await call(two, "hall.ping")
        closing = asyncio.create_task(site.doors.close())
        assert await read_rest(one) == ["shutdown"]
        assert await read_rest(two) == ["shutdown"]
        async with asyncio.timeout(WAIT_S):
            await closing
