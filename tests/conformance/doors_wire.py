"""The same call at each door: minimal clients over real TLS, and what an answer says."""

import asyncio
import contextlib
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from moothall.app.config import Settings
from moothall.app.doors import DOORS, MakeDoor, OpenDoors, open_doors
from moothall.testing import OpenHall
from moothall.transports.tls import ServerTls
from tests.conformance.http_wire import Wire, post
from tests.conformance.websocket_wire import CLOSE, PING, TEXT, frame, handshake
from tests.plays.conftest import RunningHall

PIECE_SIZE_BYTES = 7
WAIT_S = 20.0
"""How long an answer may take; a test that waits for so long has failed."""


class Place(NamedTuple):
    """Where the doors of a hall are, and whom a client trusts there."""

    web_port: int
    line_port: int
    trusting: ssl.SSLContext


def place_of(hall: RunningHall) -> Place:
    return Place(hall.port, hall.ndjson_port, trust(hall.folder / "tls" / "certificate.pem"))


def trust(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate)


@asynccontextmanager
async def open_place(
    hall: OpenHall, tls: tuple[ServerTls, ssl.SSLContext], makers: Iterable[MakeDoor] = DOORS
) -> AsyncIterator[tuple[Place, OpenDoors]]:
    """Open the doors of a hall of this very process, so that its clock can be turned."""
    server, trusting = tls
    doors = await open_doors(hall.hall, Settings(port=0, ndjson_port=0), server, makers)
    web, line = (int(url.rpartition(":")[2]) for url in doors.urls[:2])
    try:
        yield Place(web, line, trusting), doors
    finally:
        await doors.close()


# --- connections ----------------------------------------------------------------------------------


@asynccontextmanager
async def dial(
    port: int, trusting: ssl.SSLContext, *, limit: int = 4_194_304
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async with asyncio.timeout(WAIT_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting, limit=limit)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        # One more turn for the transport to close its socket.
        await asyncio.sleep(0)


async def send_bytes(writer: asyncio.StreamWriter, data: bytes, piece_size_bytes: int) -> None:
    """Send whole, or in pieces; a server that has seen enough may close meanwhile."""
    step = piece_size_bytes or len(data)
    try:
        for start in range(0, len(data), step):
            writer.write(data[start : start + step])
            await writer.drain()
            await asyncio.sleep(0)
    except ConnectionError:
        return


class EndedError(Exception):
    """The connection is over."""


class Speaker(Protocol):
    """One connection that speaks JSON-RPC, seen from the client."""

    writer: asyncio.StreamWriter

    async def send(self, message: bytes, piece_size_bytes: int = 0) -> None: ...

    async def read(self) -> Any:
        """Return the next message; raises EndedError at the end."""
        ...


class LineSpeaker:
    """A message is a line."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def send(self, message: bytes, piece_size_bytes: int = 0) -> None:
        await send_bytes(self.writer, message + b"\n", piece_size_bytes)

    async def read(self) -> Any:
        try:
            async with asyncio.timeout(WAIT_S):
                return msgspec.json.decode(await self._reader.readuntil(b"\n"))
        except (asyncio.IncompleteReadError, ConnectionError):
            raise EndedError from None


class SocketSpeaker:
    """A message is a text frame; ``close_code`` is what the last frame said."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self.close_code: int | None = None

    async def send(self, message: bytes, piece_size_bytes: int = 0) -> None:
        await send_bytes(self.writer, frame(TEXT, message), piece_size_bytes)

    async def read(self) -> Any:
        try:
            async with asyncio.timeout(WAIT_S):
                return await self._read()
        except (asyncio.IncompleteReadError, ConnectionError):
            raise EndedError from None

    async def _read(self) -> Any:
        while True:
            first, length = await self._reader.readexactly(2)
            if length == 126:
                (length,) = struct.unpack("!H", await self._reader.readexactly(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", await self._reader.readexactly(8))
            payload = await self._reader.readexactly(length)
            if first & 0x0F == CLOSE:
                self.close_code = int.from_bytes(payload[:2], "big")
                raise EndedError
            if first & 0x0F != PING:
                return msgspec.json.decode(payload)


@asynccontextmanager
async def speak_lines(place: Place) -> AsyncIterator[LineSpeaker]:
    async with dial(place.line_port, place.trusting) as (reader, writer):
        yield LineSpeaker(reader, writer)


@asynccontextmanager
async def speak_socket(place: Place) -> AsyncIterator[SocketSpeaker]:
    async with dial(place.web_port, place.trusting) as (reader, writer):
        answer = await Wire(reader, writer).ask(handshake())
        assert answer.status == 101, answer
        yield SocketSpeaker(reader, writer)


Speak = Callable[[Place], AbstractAsyncContextManager[Speaker]]
SPEAKERS: dict[str, Speak] = {"websocket": speak_socket, "ndjson": speak_lines}


# --- calls ----------------------------------------------------------------------------------------


class Ask(NamedTuple):
    """A call, whichever door it goes through. ``body`` is JSON text, or is meant to be none."""

    action: str
    body: bytes = b"{}"
    token: str | None = None
    key: str | None = None
    deadline_ms: int | None = None


@dataclass(frozen=True)
class Outcome:
    """A result, or a problem without the id of its request."""

    result: Any = None
    problem: dict[str, Any] = field(default_factory=dict)
    rpc_code: int | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        return str(self.problem.get("name", ""))


def read_problem(problem: dict[str, Any], rpc_code: int | None = None) -> Outcome:
    told = dict(problem)
    assert told.pop("request_id")
    return Outcome(problem=told, rpc_code=rpc_code)


def encode_request(
    asked_id: object, ask: Ask, *, more: bytes = b"", without: str | None = None
) -> bytes:
    """Return a call as JSON-RPC; the body stands in it as it is."""
    members = {
        "jsonrpc": b'"2.0"',
        "id": msgspec.json.encode(asked_id),
        "method": msgspec.json.encode(ask.action),
        "params": ask.body,
    }
    meta = {"idempotency_key": ask.key, "deadline_ms": ask.deadline_ms}
    given = {name: value for name, value in meta.items() if value is not None}
    if given:
        members["meta"] = msgspec.json.encode(given)
    told = [
        b'"%b":%b' % (name.encode(), value)
        for name, value in members.items()
        if value and name != without
    ]
    return b"{" + b",".join(told) + more + b"}"


async def read_reply(speaker: Speaker) -> Any:
    """Return the next message that is no push."""
    while "method" in (message := await speaker.read()):
        pass
    return message


async def read_rest(speaker: Speaker) -> list[str]:
    """Return the reasons of what is said until the hall closes; nothing else may come."""
    reasons = []
    with contextlib.suppress(EndedError):
        while True:
            message = await speaker.read()
            assert message["method"] == "closing", message
            reasons.append(str(message["params"]["reason"]))
    return reasons


def read_outcome(reply: Any) -> Outcome:
    if "result" in reply:
        assert "error" not in reply
        return Outcome(reply["result"])
    assert reply["error"]["message"] == reply["error"]["data"]["title"]
    return read_problem(reply["error"]["data"], reply["error"]["code"])


async def call(speaker: Speaker, action: str, **request: Any) -> Any:
    """Call an action that must succeed, and return its result; pushes before it are dropped."""
    await speaker.send(encode_request(1, Ask(action, msgspec.json.encode(request))))
    outcome = read_outcome(await read_reply(speaker))
    assert not outcome.problem, outcome
    return outcome.result


async def ask_speaker(speaker: Speaker, ask: Ask, piece_size_bytes: int = 0) -> Outcome:
    """Sign in, if there is a token, and call; a token that is refused is the outcome."""
    if ask.token is not None:
        sign_in = Ask("identity.authenticate", msgspec.json.encode({"token": ask.token}))
        await speaker.send(encode_request(0, sign_in), piece_size_bytes)
        signed = read_outcome(await read_reply(speaker))
        if signed.problem:
            return signed
    await speaker.send(encode_request(1, ask), piece_size_bytes)
    return read_outcome(await read_reply(speaker))


async def ask_websocket(place: Place, ask: Ask, piece_size_bytes: int = 0) -> Outcome:
    async with speak_socket(place) as speaker:
        return await ask_speaker(speaker, ask, piece_size_bytes)


async def ask_websocket_with_header(place: Place, ask: Ask, piece_size_bytes: int = 0) -> Outcome:
    """Sign in by the header of the handshake; all but the token goes by messages."""
    async with dial(place.web_port, place.trusting) as (reader, writer):
        headers = [] if ask.token is None else [f"Authorization: Bearer {ask.token}"]
        wire = Wire(reader, writer)
        await send_bytes(writer, handshake(*headers), piece_size_bytes)
        answer = await wire.read_answer()
        if answer.status != 101:
            return read_problem(answer.json)
        speaker = SocketSpeaker(reader, writer)
        return await ask_speaker(speaker, ask._replace(token=None), piece_size_bytes)


async def ask_ndjson(place: Place, ask: Ask, piece_size_bytes: int = 0) -> Outcome:
    async with speak_lines(place) as speaker:
        return await ask_speaker(speaker, ask, piece_size_bytes)


async def ask_https(place: Place, ask: Ask, piece_size_bytes: int = 0) -> Outcome:
    headers = [] if ask.token is None else [f"Authorization: Bearer {ask.token}"]
    if ask.key is not None:
        headers.append(f"Idempotency-Key: {ask.key}")
    if ask.deadline_ms is not None:
        headers.append(f"Deadline-Ms: {ask.deadline_ms}")
    async with dial(place.web_port, place.trusting) as (reader, writer), asyncio.timeout(WAIT_S):
        await send_bytes(writer, post(ask.action, ask.body, *headers), piece_size_bytes)
        answer = await Wire(reader, writer).read_answer()
    assert answer.headers["request-id"]
    if answer.status == 200:
        assert answer.headers["content-type"] == "application/json"
        return Outcome(answer.json)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["status"] == answer.status
    return read_problem(answer.json)


AskDoor = Callable[..., Awaitable[Outcome]]
DOORS_ASKED: dict[str, AskDoor] = {
    "https": ask_https,
    "websocket": ask_websocket,
    "websocket, signed in by header": ask_websocket_with_header,
    "ndjson": ask_ndjson,
}
