"""A door on loopback and a client that sends the very bytes it is given."""

import asyncio
import datetime as dt
import functools
import inspect
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
import uvloop

from moothall.action.call import Call, Reply
from moothall.action.connections import Connections
from moothall.testing import ManualClock
from moothall.transports.backend import Backend
from moothall.transports.http import Documents, HttpBounds, HttpServer
from moothall.transports.http.origins import read_origins
from moothall.transports.listener import Endpoint, ListenerBounds
from moothall.transports.ndjson import NdjsonBounds
from moothall.transports.proxies import read_networks
from moothall.transports.tls import ServerTls, ensure_certificate

OPENAPI = b'{"openapi":"3.1.0"}'
JWKS = b'{"keys":[]}'
DESCRIPTION = b'{"issuer":"https://hall.test"}'
DOCUMENTS = ("/openapi.json", "/.well-known/jwks.json", "/.well-known/moothall", "/healthz")
REFUSAL_ID = "request-of-the-door"


@dataclass
class Answer:
    """What a client reads: status, headers in lower case, body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def field(self) -> str:
        """The field that a problem blames."""
        return str(self.json["details"]["field"])


class Wire:
    """One connection, seen from the client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def send_pieces(self, data: bytes, size_bytes: int = 7) -> None:
        for start in range(0, len(data), size_bytes):
            self.writer.write(data[start : start + size_bytes])
            try:
                await self.writer.drain()
            except ConnectionError:
                # The server had seen enough; what it said is still there to read.
                return
            # The server's turn, so that pieces do not join in its socket.
            await asyncio.sleep(0)

    async def read_answer(self, *, has_body: bool = True) -> Answer:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")[:-2]
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
        }
        length = int(headers.get("content-length", "0")) if has_body else 0
        return Answer(int(first.split(" ")[1]), headers, await self._reader.readexactly(length))

    async def read_end(self) -> bytes:
        """Return what comes until the server closes; a reset is an end too."""
        try:
            return await self._reader.read()
        except ConnectionError:
            return b""

    async def ask(self, data: bytes) -> Answer:
        self.send(data)
        return await self.read_answer()


async def echo(call: Call) -> Reply:
    """Answer a call with what the door understood."""
    seen = {
        "action": call.action,
        "body": bytes(call.body).decode(),
        "source": call.source,
        "token": call.token,
        "key": call.idempotency_key,
        "deadline_ms": call.deadline_ms,
    }
    return Reply("request-of-the-call", msgspec.json.encode(seen))


Bounds = TypeVar("Bounds", HttpBounds, NdjsonBounds)


def make_bounds(kind: type[Bounds], **values: Any) -> Bounds:
    """Return bounds of a door by their names, those of its listener among them."""
    names = {field.name for field in fields(ListenerBounds)}
    listener = {name: values.pop(name) for name in names & set(values)}
    return replace(kind(), listener=replace(kind().listener, **listener), **values)


def make_backend(
    answer: Callable[[Call], Awaitable[Reply]],
    charge_source: Callable[[str], float] = lambda _source: 0.0,
) -> Backend:
    """Return a house that knows nothing but how to answer."""
    clock = ManualClock()
    return Backend(answer, Connections(clock), clock, str, lambda: REFUSAL_ID, charge_source)


DOCUMENT_MAKERS = Documents(
    openapi=lambda: OPENAPI, jwks=lambda: JWKS, describe=lambda: DESCRIPTION
)


@asynccontextmanager
async def open_door(
    answer: Callable[[Call], Awaitable[Reply]] = echo,
    *,
    context: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
    origins: Iterable[str] = (),
    trusted_proxies: Iterable[str] = (),
    charge_source: Callable[[str], float] = lambda _source: 0.0,
    **bounds: int,
) -> AsyncIterator[HttpServer]:
    door = HttpServer(
        make_backend(answer, charge_source),
        Endpoint(
            host=host,
            port=0,
            context=context,
            insecure=context is None,
            trusted_proxies=read_networks(trusted_proxies),
        ),
        DOCUMENT_MAKERS,
        origins=read_origins(origins),
        bounds=make_bounds(HttpBounds, **bounds),
    )
    await door.start()
    try:
        yield door
    finally:
        await door.stop()


@asynccontextmanager
async def connect(door: HttpServer, context: ssl.SSLContext | None = None) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port, ssl=context)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()
        # One more turn for the transport to close its socket.
        await asyncio.sleep(0)


@dataclass(frozen=True)
class BothEnds:
    """TLS as the door has it, and as a client that trusts the door's certificate."""

    server: ssl.SSLContext
    client: ssl.SSLContext


def make_tls(folder: Path) -> BothEnds:
    files = ensure_certificate(folder / "tls", [], dt.datetime.now(dt.UTC))
    client = ssl.create_default_context(cafile=files.certificate)
    return BothEnds(ServerTls(files).context, client)


async def ask_both_ways(door: HttpServer, tls: BothEnds, request: bytes) -> Answer:
    """Ask whole and in pieces of seven bytes, over TLS, and return the one answer."""
    async with connect(door, tls.client) as whole, connect(door, tls.client) as pieces:
        at_once = await whole.ask(request)
        await pieces.send_pieces(request)
        in_pieces = await pieces.read_answer()
    for answer in (at_once, in_pieces):
        del answer.headers["date"]
    assert in_pieces == at_once
    return at_once


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what the door shows only as a number."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.001)


def post(action: str = "hall.ping", body: bytes = b"{}", *headers: str) -> bytes:
    """Return a well-formed call, with more headers if wanted."""
    lines = [
        f"POST /v1/{action} HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def chunked(*chunks: bytes, trailer: bytes = b"") -> bytes:
    """Return a call whose body comes in chunks."""
    head = (
        b"POST /v1/hall.ping HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return head + body + b"0\r\n" + trailer + b"\r\n"


def get(path: str, *headers: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


def on_both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on asyncio's own loop and on uvloop: the door must not care."""

    @functools.wraps(test)
    def run(
        loop_factory: Callable[[], asyncio.AbstractEventLoop], *args: object, **values: object
    ) -> None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(test(*args, **values))

    parameter = inspect.Parameter("loop_factory", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    signature = inspect.signature(test)
    signed: Any = run
    signed.__signature__ = inspect.Signature([parameter, *signature.parameters.values()])
    loops = [asyncio.new_event_loop, uvloop.new_event_loop]
    marked: Callable[..., None] = pytest.mark.parametrize(
        "loop_factory", loops, ids=["asyncio", "uvloop"]
    )(run)
    return marked
