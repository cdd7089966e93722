"""The private door: what it answers, and how little anybody can make it do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from moothall.app.config import Settings
from moothall.app.private_door import (
    CONNECTIONS_MAX,
    HEAD_BYTES_MAX,
    SECONDS_MAX,
    PrivateDoor,
    open_private_door,
)
from moothall.app.watch import Answer, Watch
from moothall.core.errors import ConfigurationError

# The door decides, not what the rows lie on.
pytestmark = pytest.mark.sqlite

WAIT_S = 10.0


async def respond(path: str) -> Answer | None:
    if path == "/broken":
        raise ValueError(path)
    return Answer(200, b'{"path":"here"}') if path == "/here" else None


@asynccontextmanager
async def open_door(seconds_max: float = SECONDS_MAX) -> AsyncIterator[PrivateDoor]:
    door = PrivateDoor(respond, "127.0.0.1", 0, seconds_max=seconds_max)
    await door.start()
    try:
        yield door
    finally:
        await door.stop()


async def send(door: PrivateDoor, *pieces: bytes) -> bytes:
    """Send bytes, and return all that comes until the door closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    try:
        async with asyncio.timeout(WAIT_S):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


async def test_a_get_is_answered_and_the_connection_closed() -> None:
    async with open_door() as door:
        answer = await send(door, b"GET /here?x=1 HTTP/1.1\r\nHost: a\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"HTTP/1.1 200 OK",
        b"Content-Type: application/json",
        b"Content-Length: 15",
        b"Cache-Control: no-store",
        b"X-Content-Type-Options: nosniff",
        b"Connection: close",
    ]
    assert body == b'{"path":"here"}'


async def test_a_head_has_the_headers_and_no_body() -> None:
    async with open_door() as door:
        answer = await send(door, b"HEAD /here HTTP/1.1\r\nHost: a\r\n\r\n")
    assert b"Content-Length: 15\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


async def test_bytes_may_come_one_by_one() -> None:
    request = b"GET /here HTTP/1.0\r\n\r\n"
    async with open_door() as door:
        answer = await send(door, *(request[at : at + 1] for at in range(len(request))))
    assert status_of(answer) == 200


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /nowhere HTTP/1.1\r\n\r\n", 404),
        (b"POST /here HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 405),
        (b"DELETE /here HTTP/1.1\r\n\r\n", 405),
        (b"GET /here HTTP/1.1\r\nContent-Length: 1\r\n\r\n", 413),
        (b"GET /here HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", 413),
        (b"GET here HTTP/1.1\r\n\r\n", 400),
        (b"GET /here HTTP/2\r\n\r\n", 400),
        (b"GET /he re HTTP/1.1\r\n\r\n", 400),
        (b"GET /h\xff HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"GET /here HTTP/1.1\r\nX: " + b"x" * HEAD_BYTES_MAX, 431),
    ],
)
async def test_all_else_is_refused(request_bytes: bytes, status: int) -> None:
    async with open_door() as door:
        answer = await send(door, request_bytes)
    assert status_of(answer) == status
    assert (b"Allow: GET, HEAD\r\n" in answer) == (status == 405)


async def test_a_bug_answers_500_and_tells_nothing() -> None:
    async with open_door() as door:
        with capture_logs() as logs:
            answer = await send(door, b"GET /broken HTTP/1.1\r\n\r\n")
    assert status_of(answer) == 500
    assert b"ValueError" not in answer
    assert [log["event"] for log in logs] == ["the private door failed"]


@pytest.mark.requirement("R35")
async def test_who_is_slow_is_cut_off() -> None:
    async with open_door(seconds_max=0.05) as door:
        assert await send(door, b"GET /here HTTP/1.1\r\n") == b""


@pytest.mark.requirement("R35")
async def test_connections_are_few_and_a_seat_is_free_again() -> None:
    async with open_door() as door:
        held = [await asyncio.open_connection("127.0.0.1", door.port) for _ in range(8)]
        assert len(held) == CONNECTIONS_MAX
        assert await send(door, b"GET /here HTTP/1.1\r\n\r\n") == b""
        reader, writer = held.pop()
        writer.write(b"GET /here HTTP/1.1\r\n\r\n")
        assert status_of(await reader.read()) == 200
        writer.close()
        assert status_of(await send(door, b"GET /here HTTP/1.1\r\n\r\n")) == 200
        for _, other in held:
            other.close()


async def test_stopping_cuts_off_who_says_nothing() -> None:
    async with open_door() as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        # Its turn came before that of the next, which is answered.
        assert status_of(await send(door, b"GET /here HTTP/1.1\r\n\r\n")) == 200
        async with asyncio.timeout(SECONDS_MAX / 2):
            await door.stop()
            assert await reader.read() == b""
        writer.close()


async def test_a_default_port_that_is_taken_ends_no_start() -> None:
    async with open_door() as door:
        follows = Settings(port=door.port - 1, ndjson_port=0)
        assert follows.watch_port == door.port
        with capture_logs() as logs:
            async with open_private_door(follows, Watch()) as second:
                assert second is None
        (log,) = logs
        assert log["event"].startswith("no metrics")
        assert log["port"] == door.port
        with pytest.raises(ConfigurationError, match=r"metrics_port: .*choose another"):
            async with open_private_door(Settings(port=0, metrics_port=door.port), Watch()):
                pass


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (Settings(port=9_443, metrics_port=9_443), "a door of the hall listens at 9443"),
        (Settings(port=9_443, metrics_port=9_444), "a door of the hall listens at 9444"),
        (Settings(port=0, metrics_host=""), "metrics_host: it is empty"),
        (Settings(port=0, metrics_host="192.0.2.1"), "cannot listen at '192.0.2.1' port 0"),
    ],
)
async def test_settings_that_cannot_be_are_refused(settings: Settings, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        async with open_private_door(settings, Watch()):
            pass


async def test_it_listens_at_this_machine_wherever_the_doors_do() -> None:
    everywhere = Settings(host="0.0.0.0", port=0)  # noqa: S104 - to show that it is not used
    async with open_private_door(everywhere, Watch()) as door:
        assert door is not None
        assert status_of(await send(door, b"GET /livez HTTP/1.1\r\n\r\n")) == 200
        assert status_of(await send(door, b"GET /readyz HTTP/1.1\r\n\r\n")) == 503
        assert door._server is not None
        assert {one.getsockname()[0] for one in door._server.sockets} == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("settings", "port"),
    [
        (Settings(), 8_445),
        (Settings(port=443), 445),
        (Settings(ndjson_port=9_000), 9_001),
        (Settings(port=0), 0),
        (Settings(port=65_535, ndjson_port=65_534), 0),
        (Settings(metrics_port=0), 0),
        (Settings(metrics_port=7_000), 7_000),
        (Settings(metrics_port=-1), None),
    ],
)
def test_its_port_follows_those_of_the_doors(settings: Settings, port: int | None) -> None:
    assert settings.watch_port == port
