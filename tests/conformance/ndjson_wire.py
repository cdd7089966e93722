"""An NDJSON door on loopback, over TLS, and a client that sends the very bytes it is given."""

import asyncio
import datetime as dt
import functools
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import msgspec

from moothall.action.call import Call, Reply
from moothall.action.connections import Connection, ConnectionBounds, Connections
from moothall.core.errors import UnknownActionError
from moothall.core.names import near_matches
from moothall.testing import ManualClock
from moothall.transports.backend import Backend
from moothall.transports.jsonrpc import ConversationBounds
from moothall.transports.listener import Endpoint
from moothall.transports.ndjson import NdjsonBounds, NdjsonServer
from moothall.transports.tls import ServerTls, ensure_certificate
from tests.conformance.http_wire import make_bounds

ACTIONS = ["hall.ping", "hall.get_status", "hall.hold"]


class Pipeline:
    """Stands in for the house: echoes, holds calls back, and knows no other action."""

    def __init__(self) -> None:
        self.begun = 0
        self.go_on = asyncio.Event()
        self.held: dict[str, asyncio.Event] = {}

    async def answer(self, call: Call) -> Reply:
        self.begun += 1
        if call.action not in ACTIONS:
            error = UnknownActionError("no such action", near=near_matches(call.action, ACTIONS))
            return Reply("r", problem=error.problem("r"))
        if call.action == "hall.hold":
            await self.go_on.wait()
        seen = {"body": bytes(call.body).decode(), "source": call.source, "token": call.token}
        return Reply("r", msgspec.json.encode(seen))


@dataclass
class Site:
    """A door that is open, and what stands behind it."""

    door: NdjsonServer
    pipeline: Pipeline
    connections: Connections
    clock: ManualClock
    trusting: ssl.SSLContext | None

    @property
    def only(self) -> Connection:
        """The one connection there is."""
        (connection,) = self.connections
        return connection


class Wire:
    """One connection, seen from the client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def rest(self) -> None:
        """Read nothing, as long as this client's system has room."""
        self._transport.pause_reading()

    def read_on(self) -> None:
        """Read again."""
        self._transport.resume_reading()

    @property
    def _transport(self) -> asyncio.Transport:
        return cast("asyncio.Transport", self.writer.transport)  # uvloop has its own classes

    async def send_pieces(self, data: bytes, size_bytes: int = 7) -> None:
        for start in range(0, len(data), size_bytes):
            self.writer.write(data[start : start + size_bytes])
            await self.writer.drain()
            # The server's turn, so that pieces do not join in its socket.
            await asyncio.sleep(0)

    async def read(self) -> Any:
        """Return the next message."""
        return msgspec.json.decode(await self._reader.readuntil(b"\n"))

    async def read_rest(self) -> list[Any]:
        """Return what comes until the server closes; a reset is an end too."""
        told = []
        try:
            while line := await self._reader.readline():
                told.append(msgspec.json.decode(line))
        except ConnectionError:
            pass
        return told

    async def ask(self, data: bytes) -> Any:
        self.send(data)
        return await self.read()


def call(asked_id: object = 1, method: str = "hall.ping", **members: object) -> bytes:
    """Return a well-formed call as a line."""
    told = {"jsonrpc": "2.0", "id": asked_id, "method": method} | members
    return msgspec.json.encode(told) + b"\n"


@functools.cache
def certificate() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the server's side of TLS and a client's that trusts it."""
    with tempfile.TemporaryDirectory() as folder:
        files = ensure_certificate(Path(folder) / "tls", [], dt.datetime.now(dt.UTC))
        return ServerTls(files).context, ssl.create_default_context(cafile=files.certificate)


@asynccontextmanager
async def open_site(
    *,
    insecure: bool = False,
    queued_bytes_max: int = 1_048_576,
    conversation: ConversationBounds | None = None,
    answer: Callable[[Call], Awaitable[Reply]] | None = None,
    **bounds: int,
) -> AsyncIterator[Site]:
    context, trusting = certificate()
    pipeline, clock = Pipeline(), ManualClock()
    connections = Connections(clock, ConnectionBounds(queued_bytes_max=queued_bytes_max))
    backend = Backend(
        answer or pipeline.answer,
        connections,
        clock,
        cursor_of=lambda push: f"epoch.{push.cursor}",
        make_request_id=lambda: "request-of-the-door",
    )
    door = NdjsonServer(
        backend,
        Endpoint(
            host="127.0.0.1", port=0, context=None if insecure else context, insecure=insecure
        ),
        bounds=replace(
            make_bounds(
                NdjsonBounds, **{"linger_timeout_ms": 100, "write_timeout_ms": 2_000} | bounds
            ),
            conversation=conversation or ConversationBounds(),
        ),
    )
    await door.start()
    try:
        yield Site(door, pipeline, connections, clock, None if insecure else trusting)
    finally:
        pipeline.go_on.set()
        await door.stop()
        assert (door.connections, len(connections)) == (0, 0)


@asynccontextmanager
async def connect(site: Site) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", site.door.port, ssl=site.trusting, limit=8_000_000
    )
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()
        # One more turn for the transport to close its socket.
        await asyncio.sleep(0)
