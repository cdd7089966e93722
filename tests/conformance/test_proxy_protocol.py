"""Behind a balancer that passes TCP through: each connection is its client's, at every door."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from moothall.action.call import Call, Reply
from moothall.core.errors import ConfigurationError
from moothall.transports import listener
from moothall.transports.http import HttpBounds, HttpServer
from moothall.transports.listener import Endpoint
from moothall.transports.ndjson import NdjsonBounds, NdjsonServer
from moothall.transports.proxies import read_networks
from moothall.transports.proxy_protocol import ProxyHeader, find_header
from moothall.transports.websocket import WebSockets
from tests.conformance.balancer import (
    LOCAL,
    SIGNATURE,
    UNKNOWN,
    header_v1,
    header_v2,
    open_balancer,
)
from tests.conformance.doors_wire import (
    Ask,
    EndedError,
    LineSpeaker,
    SocketSpeaker,
    Speaker,
    ask_speaker,
)
from tests.conformance.http_wire import (
    DOCUMENT_MAKERS,
    BothEnds,
    Wire,
    echo,
    make_backend,
    make_bounds,
    make_tls,
    on_both_loops,
    post,
    until,
)
from tests.conformance.websocket_wire import handshake

# The door decides, not what the rows lie on.
pytestmark = [pytest.mark.requirement("R30"), pytest.mark.sqlite]

CLIENT, OTHER = "198.51.100.7", "2001:db8::7"
US = ("127.0.0.0/30",)
LONG_MS = 60_000
"""A time that no test waits for: what ends before it ended for another reason."""
PROXY_LOG = "moothall.transports.listener"


@dataclass
class House:
    """Doors over one echo, and what it was asked."""

    http: HttpServer
    lines: NdjsonServer
    tls: BothEnds | None
    calls: list[Call] = field(default_factory=list)
    charged: list[str] = field(default_factory=list)

    @property
    def connections(self) -> int:
        return self.http.connections + self.lines.connections

    def port_of(self, door: str) -> int:
        return self.lines.port if door == "ndjson" else self.http.port


@asynccontextmanager
async def open_house(
    tls: BothEnds | None,
    *,
    trusted: Iterable[str] = US,
    proxy_protocol: bool = True,
    host: str = "127.0.0.1",
    **bounds: int,
) -> AsyncIterator[House]:
    async def answer(call: Call) -> Reply:
        house.calls.append(call)
        return await echo(call)

    def charge(source: str) -> float:
        house.charged.append(source)
        return 0.0

    backend = make_backend(answer, charge)
    sockets = WebSockets(backend)
    endpoint = Endpoint(
        host=host,
        port=0,
        context=tls.server if tls else None,
        insecure=tls is None,
        trusted_proxies=read_networks(trusted),
        proxy_protocol=proxy_protocol,
    )
    web = HttpServer(
        backend,
        endpoint,
        DOCUMENT_MAKERS,
        open_socket=sockets.open,
        bounds=make_bounds(HttpBounds, **bounds),
    )
    lines = NdjsonServer(
        backend, endpoint, bounds=make_bounds(NdjsonBounds, linger_timeout_ms=100, **bounds)
    )
    house = House(web, lines, tls)
    await web.start()
    await lines.start()
    try:
        yield house
    finally:
        await web.stop()
        await sockets.stop()
        await lines.stop()
        assert house.connections == 0


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def dial(
    port: int,
    header: bytes = b"",
    tls: ssl.SSLContext | None = None,
    *,
    piece_size_bytes: int = 0,
) -> AsyncIterator[Streams]:
    """Connect as a balancer would, say ``header``, and then begin TLS as its client would."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        step = piece_size_bytes or len(header) or 1
        for start in range(0, len(header), step):
            writer.write(header[start : start + step])
            await writer.drain()
            # The server's turn, so that pieces do not join in its socket.
            await asyncio.sleep(0)
        if tls is not None:
            await writer.start_tls(tls, server_hostname="localhost")
        yield reader, writer
    finally:
        writer.transport.abort()
        # One more turn for the transport to close its socket.
        await asyncio.sleep(0)


async def ask_https(streams: Streams, *headers: str) -> Any:
    answer = await Wire(*streams).ask(post("hall.ping", b"{}", *headers))
    assert answer.status == 200, answer
    return answer.json


async def ask_websocket(streams: Streams, *headers: str) -> Any:
    assert (await Wire(*streams).ask(handshake(*headers))).status == 101
    return await _ask(SocketSpeaker(*streams))


async def ask_ndjson(streams: Streams) -> Any:
    return await _ask(LineSpeaker(*streams))


async def _ask(speaker: Speaker) -> Any:
    return (await ask_speaker(speaker, Ask("hall.ping"))).result


DOORS: dict[str, Callable[..., Awaitable[Any]]] = {
    "https": ask_https,
    "websocket": ask_websocket,
    "ndjson": ask_ndjson,
}
each_door = pytest.mark.parametrize("door", DOORS)
plain_or_tls = pytest.mark.parametrize("is_tls", [True, False], ids=["tls", "plain"])


async def read_end(streams: Streams) -> bytes:
    """Return what comes until the hall closes, long before its other bounds; a reset is an end."""
    async with asyncio.timeout(8):
        return await Wire(*streams).read_end()


async def call_behind(house: House, door: str, header: bytes) -> None:
    """Call behind a header; a door that takes it for garbage answers so, or closes."""
    trusting = house.tls.client if house.tls else None
    with contextlib.suppress(AssertionError, OSError, EndedError, asyncio.IncompleteReadError):
        async with dial(house.port_of(door), header, trusting) as streams:
            await DOORS[door](streams)


# --- whose a connection is ------------------------------------------------------------------------


@each_door
@plain_or_tls
@pytest.mark.parametrize("make_header", [header_v1, header_v2])
@on_both_loops
async def test_a_balancer_names_its_client(
    tmp_path: Path, *, door: str, is_tls: bool, make_header: Callable[[str], bytes]
) -> None:
    """Through one, with its header and the client's first bytes in one piece."""
    tls = make_tls(tmp_path) if is_tls else None
    clients = [CLIENT, OTHER]
    headers = iter(map(make_header, clients))
    async with (
        open_house(tls) as house,
        open_balancer(house.port_of(door), lambda: next(headers)) as port,
    ):
        for client in clients:
            async with dial(port, tls=tls.client if tls else None) as streams:
                assert (await DOORS[door](streams))["source"] == client
        # Limits of calls, not only what the trail knows.
        assert set(house.charged) == set(clients)
        assert [call.source for call in house.calls] == clients


@each_door
@pytest.mark.parametrize(
    "header",
    [
        header_v1(CLIENT),
        header_v2(CLIENT),
        header_v2(f"::ffff:{CLIENT}"),
        header_v2(CLIENT, bytes(536 - 28)),
    ],
)
@on_both_loops
async def test_a_header_may_come_in_single_bytes(tmp_path: Path, door: str, header: bytes) -> None:
    tls = make_tls(tmp_path)
    async with (
        open_house(tls) as house,
        dial(house.port_of(door), header, tls.client, piece_size_bytes=1) as streams,
    ):
        assert (await DOORS[door](streams))["source"] == CLIENT


@pytest.mark.parametrize("header", [LOCAL, UNKNOWN, b"PROXY UNKNOWN ::1 ::1 1 1\r\n"])
@each_door
@on_both_loops
async def test_a_balancer_that_names_nobody_speaks_for_itself(
    tmp_path: Path, door: str, header: bytes
) -> None:
    """It looks whether the hall is well, and as often as it likes."""
    tls = make_tls(tmp_path)
    async with open_house(tls, connections_per_source_max=1) as house:
        port = house.port_of(door)
        async with (
            dial(port, header, tls.client) as first,
            dial(port, header, tls.client) as second,
        ):
            for streams in (first, second):
                assert (await DOORS[door](streams))["source"] == "127.0.0.1"


@pytest.mark.parametrize("door", ["https", "websocket"])
@pytest.mark.parametrize(
    ("header", "source"),
    [
        (header_v2(CLIENT), CLIENT),
        (header_v1(OTHER), OTHER),
        # Not a word about a client: what comes may still be one's.
        (LOCAL, "127.0.0.1"),
        (UNKNOWN, "127.0.0.1"),
        # The balancer passes on for a proxy that is trusted itself, and writes such headers.
        (header_v2("127.0.0.2"), "203.0.113.9"),
    ],
)
@on_both_loops
async def test_no_client_smuggles_an_address_through_tls(
    tmp_path: Path, door: str, header: bytes, source: str
) -> None:
    tls = make_tls(tmp_path)
    async with (
        open_house(tls) as house,
        dial(house.port_of(door), header, tls.client) as streams,
    ):
        lie = "X-Forwarded-For: 203.0.113.9"
        assert (await DOORS[door](streams, lie))["source"] == source


# --- seats and turns ------------------------------------------------------------------------------


@pytest.mark.requirement("R35")
@each_door
@on_both_loops
async def test_seats_are_counted_for_the_client(tmp_path: Path, door: str) -> None:
    tls = make_tls(tmp_path)
    async with open_house(tls, connections_per_source_max=1) as house:
        port, ask = house.port_of(door), DOORS[door]
        async with dial(port, header_v2(CLIENT), tls.client) as first:
            await ask(first)
            async with dial(port, header_v2(CLIENT)) as second:
                assert await read_end(second) == b""
            await call_behind(house, door, header_v1(CLIENT))
            assert len(house.calls) == 1
            assert house.http.listener.refused + house.lines.listener.refused == 2
            async with dial(port, header_v2(OTHER), tls.client) as other:
                assert (await ask(other))["source"] == OTHER
        await until(lambda: house.connections == 0)
        async with dial(port, header_v1(CLIENT), tls.client) as again:
            assert (await ask(again))["source"] == CLIENT


@pytest.mark.requirement("R35")
@on_both_loops
async def test_the_house_is_full_before_any_header(tmp_path: Path) -> None:
    tls = make_tls(tmp_path)
    async with open_house(tls, connections_max=2, proxy_header_timeout_ms=LONG_MS) as house:
        async with dial(house.http.port), dial(house.http.port):
            await until(lambda: house.connections == 2)
            async with dial(house.http.port, header_v2(CLIENT)) as third:
                assert await read_end(third) == b""
        await until(lambda: house.connections == 0)


@pytest.mark.requirement("R13")
@on_both_loops
async def test_a_crowd_of_one_client_does_not_delay_another(tmp_path: Path) -> None:
    """One handshake a second: without turns the other would wait for half a minute."""
    tls = make_tls(tmp_path)
    async with open_house(tls, handshakes_per_second_max=1) as house:
        crowd = [
            socket.create_connection(("127.0.0.1", house.http.port), timeout=20) for _ in range(30)
        ]
        for one in crowd:
            one.sendall(header_v2(CLIENT))
        await until(lambda: house.connections == 30)
        try:
            async with (
                asyncio.timeout(15),
                dial(house.http.port, header_v2(OTHER), tls.client) as streams,
            ):
                assert (await ask_https(streams))["source"] == OTHER
        finally:
            for one in crowd:
                one.close()


# --- who may not ----------------------------------------------------------------------------------


@each_door
@plain_or_tls
@pytest.mark.parametrize("header", [header_v1(CLIENT), header_v2(CLIENT), LOCAL, b""])
@on_both_loops
async def test_nobody_else_names_a_client(
    tmp_path: Path, *, door: str, is_tls: bool, header: bytes
) -> None:
    tls = make_tls(tmp_path) if is_tls else None
    async with open_house(tls, trusted=["10.0.0.0/8"], proxy_header_timeout_ms=LONG_MS) as house:
        async with dial(house.port_of(door)) as streams:
            streams[1].write(header)
            assert await read_end(streams) == b""
        await call_behind(house, door, header)
        assert (house.calls, house.connections) == ([], 0)


@each_door
@plain_or_tls
@pytest.mark.parametrize("make_header", [header_v1, header_v2])
@on_both_loops
async def test_without_the_setting_a_header_is_garbage(
    tmp_path: Path, *, door: str, is_tls: bool, make_header: Callable[[str], bytes]
) -> None:
    tls = make_tls(tmp_path) if is_tls else None
    async with open_house(tls, proxy_protocol=False) as house:
        await call_behind(house, door, make_header(CLIENT))
        await until(lambda: house.connections == 0)
        # In plain text a header is a bad line to NDJSON, and lines behind it are read.
        assert {call.source for call in house.calls} <= {"127.0.0.1"}
        assert not house.calls or (door, is_tls) == ("ndjson", False)


@each_door
@plain_or_tls
@pytest.mark.parametrize("make_header", [header_v1, header_v2])
@on_both_loops
async def test_a_second_header_is_garbage(
    tmp_path: Path, *, door: str, is_tls: bool, make_header: Callable[[str], bytes]
) -> None:
    """A client that begins with one of its own chooses no address."""
    tls = make_tls(tmp_path) if is_tls else None
    async with open_house(tls) as house:
        await call_behind(house, door, make_header(CLIENT) + make_header("203.0.113.9"))
        await until(lambda: house.connections == 0)
        assert {call.source for call in house.calls} <= {CLIENT}
        assert not house.calls or (door, is_tls) == ("ndjson", False)


GARBAGE = {
    "a client without a balancer": b"\x16\x03\x01\x02\x00\x01\x00",
    "a request": post(),
    "a line without an end": b"PROXY TCP4 " + b"1" * 200,
    "a line of another family": b"PROXY TCP5 198.51.100.7 198.51.100.7 1 1\r\n",
    "a name": b"PROXY TCP4 localhost localhost 1 1\r\n",
    "version 3": SIGNATURE + b"\x31\x11\x00\x0c" + bytes(12),
    "no command": SIGNATURE + b"\x2f\x11\x00\x0c" + bytes(12),
    "no family": SIGNATURE + b"\x21\x91\x00\x0c" + bytes(12),
    "too short for its family": SIGNATURE + b"\x21\x21\x00\x0c" + bytes(12),
    "too long": header_v2(CLIENT, bytes(536 - 27)),
    "far too long": SIGNATURE + b"\x21\x11\xff\xff",
}


def complaints(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [(entry.levelno, entry.message) for entry in caplog.records if entry.name == PROXY_LOG]


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE)
@on_both_loops
async def test_garbage_ends_the_connection_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    caplog.set_level(logging.DEBUG, PROXY_LOG)
    tls = make_tls(tmp_path)
    async with open_house(tls, proxy_header_timeout_ms=LONG_MS) as house:
        async with dial(house.http.port, data) as streams:
            assert await read_end(streams) == b""
        await until(lambda: house.connections == 0)
        ((level, told),) = complaints(caplog)
        assert level == logging.DEBUG
        assert told.startswith("no connection through 127.0.0.1: ")
        async with dial(house.http.port, header_v2(CLIENT), tls.client) as streams:
            assert (await ask_https(streams))["source"] == CLIENT


@pytest.mark.parametrize("header", [b"", b"\r", SIGNATURE, header_v1(CLIENT)[:-1]])
@on_both_loops
async def test_a_header_has_its_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, header: bytes
) -> None:
    caplog.set_level(logging.DEBUG, PROXY_LOG)
    async with (
        open_house(make_tls(tmp_path), proxy_header_timeout_ms=50) as house,
        dial(house.http.port, header) as streams,
    ):
        assert await read_end(streams) == b""
        assert complaints(caplog) == [
            (
                logging.DEBUG,
                "no connection through 127.0.0.1: its header was not whole within 50 ms",
            )
        ]


@on_both_loops
async def test_bytes_that_drip_do_not_lengthen_the_time(tmp_path: Path) -> None:
    async with (
        open_house(make_tls(tmp_path), proxy_header_timeout_ms=100) as house,
        dial(house.http.port) as (reader, writer),
    ):
        sent = 0
        end = asyncio.ensure_future(read_end((reader, writer)))
        writer.write(b"PROXY UNKNOWN ")
        while not end.done() and sent < 90:
            writer.write(b"x")
            sent += 1
            await asyncio.wait({end}, timeout=0.01)
        assert await end == b""
        assert sent < 90, "it ended by its length"


@on_both_loops
async def test_half_a_header_costs_nothing_while_the_rest_is_awaited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that were looked at and left in the socket would wake the hall again at once."""
    looks: list[bytes] = []

    def look(data: bytes) -> ProxyHeader | None:
        looks.append(data)
        return find_header(data)

    monkeypatch.setattr(listener, "find_header", look)
    half = header_v2(CLIENT)[:20]
    async with (
        open_house(make_tls(tmp_path), proxy_header_timeout_ms=200) as house,
        dial(house.http.port, half) as streams,
    ):
        assert await read_end(streams) == b""
    assert looks[-1] == half
    assert len(looks) <= len(half)


@pytest.mark.parametrize("header", [b"", b"PROXY", header_v2(CLIENT)[:20]])
@pytest.mark.parametrize("way", ["close", "reset", "half"])
@on_both_loops
async def test_a_balancer_may_leave_within_its_header(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, header: bytes, way: str
) -> None:
    caplog.set_level(logging.DEBUG, PROXY_LOG)
    async with open_house(make_tls(tmp_path), proxy_header_timeout_ms=LONG_MS) as house:
        connection = socket.create_connection(("127.0.0.1", house.http.port))
        connection.sendall(header)
        await until(lambda: house.connections == 1)
        if way == "half":
            connection.shutdown(socket.SHUT_WR)
        else:
            if way == "reset":
                linger = b"\x01\0\0\0\0\0\0\0"
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            connection.close()
        await until(lambda: house.connections == 0)
        connection.close()
        assert [level for level, _ in complaints(caplog)] == [logging.DEBUG]


@on_both_loops
async def test_the_end_of_listening_waits_for_no_header(tmp_path: Path) -> None:
    async with (
        open_house(make_tls(tmp_path), proxy_header_timeout_ms=LONG_MS) as house,
        dial(house.http.port, b"PROXY") as begun,
        dial(house.http.port) as silent,
    ):
        await until(lambda: house.connections == 2)
        async with asyncio.timeout(20):
            await house.http.stop()
        assert house.connections == 0
        assert [await read_end(begun), await read_end(silent)] == [b"", b""]


def test_a_door_for_nobody_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="list your balancers in trusted_proxies"):
        Endpoint(host="127.0.0.1", port=0, context=None, insecure=True, proxy_protocol=True)
