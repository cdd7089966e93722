"""A WebSocket client that sends the very frames it is given, over real TLS."""

import asyncio
import datetime as dt
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from moothall.action.call import Call, Reply
from moothall.action.connections import ConnectionBounds, Connections
from moothall.testing import ManualClock
from moothall.transports.backend import Backend
from moothall.transports.http import HttpBounds, HttpServer
from moothall.transports.http.origins import Origins
from moothall.transports.listener import Endpoint
from moothall.transports.tls import ServerTls, ensure_certificate
from moothall.transports.websocket import WebSocketBounds, WebSockets
from tests.conformance.http_wire import DOCUMENT_MAKERS, REFUSAL_ID, Wire, echo, make_bounds

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
CONTINUATION = 0x0
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
MASK = b"\x9a\x01\xfe\x37"

Said = tuple[str, object]


class Contexts(NamedTuple):
    """Both sides of TLS."""

    server: ssl.SSLContext
    client: ssl.SSLContext


def make_contexts(folder: Path) -> Contexts:
    files = ensure_certificate(folder, [], dt.datetime.now(dt.UTC))
    trusting = ssl.create_default_context(cafile=files.certificate)
    return Contexts(ServerTls(files).context, trusting)


@dataclass
class Site:
    """A hall of doors only: what is behind them is a function."""

    http: HttpServer
    sockets: WebSockets
    connections: Connections
    clock: ManualClock
    contexts: Contexts | None

    async def stop(self) -> None:
        await self.http.stop()
        await self.sockets.stop()

    @property
    def client(self) -> ssl.SSLContext | None:
        return None if self.contexts is None else self.contexts.client


@asynccontextmanager
async def open_site(
    contexts: Contexts | None = None,
    answer: Callable[[Call], Awaitable[Reply]] = echo,
    *,
    sockets: WebSocketBounds | None = None,
    connections: ConnectionBounds | None = None,
    origins: Origins = frozenset(),
    **bounds: int,
) -> AsyncIterator[Site]:
    clock = ManualClock()
    known = Connections(clock, connections)
    backend = Backend(
        answer,
        known,
        clock,
        cursor_of=lambda push: f"epoch.{push.cursor}",
        make_request_id=lambda: REFUSAL_ID,
    )
    behind = WebSockets(backend, bounds=sockets or WebSocketBounds(linger_timeout_ms=20))
    door = HttpServer(
        backend,
        Endpoint(
            host="127.0.0.1",
            port=0,
            context=None if contexts is None else contexts.server,
            insecure=contexts is None,
        ),
        DOCUMENT_MAKERS,
        open_socket=behind.open,
        origins=origins,
        bounds=make_bounds(HttpBounds, **{"linger_timeout_ms": 20, **bounds}),
    )
    site = Site(door, behind, known, clock, contexts)
    await door.start()
    try:
        yield site
    finally:
        await site.stop()


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0) -> bytes:
    """Return a client's frame."""
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 65_536:
        length = b"\xfe" + struct.pack("!H", size)
    else:
        length = b"\xff" + struct.pack("!Q", size)
    mask = (MASK * (size // 4 + 1))[:size]
    content = bytes(map(int.__xor__, payload, mask))
    return bytes([(0x80 if fin else 0) | rsv << 4 | opcode]) + length + MASK + content


def request(number: int = 1, size_bytes: int = 0, method: str = "hall.ping") -> bytes:
    """Return a request, with spaces up to a size."""
    text = b'{"jsonrpc":"2.0","id":%d,"method":"%b"}' % (number, method.encode())
    return text.ljust(size_bytes)


def close(code: int | None = 1000, reason: bytes = b"") -> bytes:
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason)


def handshake(*headers: str, path: str = "/v1/socket", without: str = "-") -> bytes:
    """Return a well-formed opening, with more headers, or without those that begin so."""
    lines = [
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: keep-alive, Upgrade",
        f"Sec-WebSocket-Key: {KEY}",
        "Sec-WebSocket-Version: 13",
    ]
    kept = [line for line in lines if not line.startswith(without)]
    return "\r\n".join([f"GET {path} HTTP/1.1", *kept, *headers, "", ""]).encode()


class Socket:
    """One WebSocket, seen from the client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self.wire = Wire(reader, writer)

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def open(self, *headers: str) -> None:
        answer = await self.wire.ask(handshake(*headers))
        assert answer.status == 101, answer

    async def read_frame(self) -> tuple[int, bytes]:
        """Return opcode and payload; ours are whole and not masked."""
        first, length = await self._reader.readexactly(2)
        assert first & 0x70 == 0
        assert first & 0x80
        assert length & 0x80 == 0
        if length == 126:
            (length,) = struct.unpack("!H", await self._reader.readexactly(2))
            assert length > 125
        elif length == 127:
            (length,) = struct.unpack("!Q", await self._reader.readexactly(8))
            assert length > 65_535
        return first & 0x0F, await self._reader.readexactly(length)

    async def read_said(self) -> Said:
        """Return what the next frame says, in a word."""
        opcode, payload = await self.read_frame()
        if opcode == CLOSE:
            return "close", int.from_bytes(payload[:2], "big") if payload else None
        if opcode in (PING, PONG):
            return {PING: "ping", PONG: "pong"}[opcode], payload
        assert opcode == TEXT
        message: Any = msgspec.json.decode(payload)
        if "method" in message:
            return message["method"], message["params"]["reason"]
        return "reply" if "result" in message else "refusal", message["id"]

    async def read_all(self) -> list[Said]:
        """Return what is said until the server closes."""
        said: list[Said] = []
        while True:
            try:
                said.append(await self.read_said())
            except (asyncio.IncompleteReadError, ConnectionError):
                return said

    async def ask(self, number: int = 1) -> None:
        """Have a call answered."""
        self.send(frame(TEXT, request(number)))
        assert await self.read_said() == ("reply", number)


@asynccontextmanager
async def connect(site: Site, *, limit: int = 2**16) -> AsyncIterator[Socket]:
    """Return a connection whose handshake is to come."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1",
        site.http.port,
        ssl=site.client,
        server_hostname=None if site.client is None else "localhost",
        limit=limit,
    )
    try:
        yield Socket(reader, writer)
    finally:
        writer.transport.abort()
        # One more turn for the transport to close its socket.
        await asyncio.sleep(0)


@asynccontextmanager
async def open_socket(site: Site, *headers: str) -> AsyncIterator[Socket]:
    async with connect(site) as socket:
        await socket.open(*headers)
        yield socket
