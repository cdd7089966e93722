"""Each bound of the HTTPS door, reached on a real socket; the bounds are small to be quick."""

import asyncio
import datetime as dt
import socket
import ssl
from pathlib import Path

import pytest

from moothall.action.call import Call, Reply
from moothall.transports.tls import ServerTls, ensure_certificate
from tests.conformance.http_wire import (
    chunked,
    connect,
    get,
    on_both_loops,
    open_door,
    post,
    until,
)

# The door decides, not what the rows lie on.
pytestmark = [pytest.mark.requirement("R32"), pytest.mark.sqlite]


def padded(size_bytes: int) -> bytes:
    """Return a request whose head has exactly this size."""
    bare = len(get("/healthz", "X: "))
    return get("/healthz", "X: " + "x" * (size_bytes - bare))


@on_both_loops
async def test_a_head_may_have_its_size_and_not_a_byte_more() -> None:
    async with open_door(head_size_bytes_max=1_000) as door:
        async with connect(door) as wire:
            for _ in range(2):
                assert (await wire.ask(padded(1_000))).status == 200
            answer = await wire.ask(padded(1_001))
            assert (answer.status, answer.field) == (400, "headers")
            assert answer.headers["connection"] == "close"
            assert await wire.read_end() == b""
        async with connect(door) as wire:
            # The second head begins in the same piece in which the first ends.
            assert (await wire.ask(padded(600) + padded(600))).status == 200
            assert (await wire.read_answer()).status == 200


@on_both_loops
async def test_a_head_that_begins_behind_another_request_is_measured_alone() -> None:
    async with open_door(head_size_bytes_max=1_000) as door:
        for size_bytes, status in ((1_000, 200), (1_001, 400)):
            async with connect(door) as wire:
                head = padded(size_bytes)
                wire.send(post(body=b'"' + b"x" * 5_000 + b'"') + head[:-5])
                assert (await wire.read_answer()).status == 200
                assert (await wire.ask(head[-5:])).status == status


@on_both_loops
async def test_a_head_without_end_is_refused() -> None:
    async with open_door(head_size_bytes_max=1_000) as door, connect(door) as wire:
        await wire.send_pieces(get("/healthz")[:-2] + b"X: " + b"x" * 1_000)
        answer = await wire.read_answer()
        assert (answer.status, answer.field) == (400, "headers")


@on_both_loops
async def test_a_silent_connection_is_closed() -> None:
    async with open_door(head_timeout_ms=50) as door, connect(door) as wire:
        assert await wire.read_end() == b""


@on_both_loops
async def test_a_dripping_head_is_refused() -> None:
    # Enough for the first request where the machine stands still for a moment.
    async with open_door(head_timeout_ms=1_000) as door, connect(door) as wire:
        # A later request has the same time as the first, from its first byte on.
        assert (await wire.ask(post())).status == 200
        reading = asyncio.ensure_future(wire.read_answer())
        for byte in get("/healthz"):
            wire.send(bytes([byte]))
            done, _ = await asyncio.wait([reading], timeout=0.2)
            if done:
                break
        answer = await reading
        assert (answer.status, answer.json["code"]) == (504, "deadline_exceeded")


@on_both_loops
async def test_an_idle_connection_is_closed() -> None:
    async with open_door(idle_timeout_ms=50) as door, connect(door) as wire:
        assert (await wire.ask(post())).status == 200
        # Empty lines are no request.
        wire.send(b"\r\n")
        assert await wire.read_end() == b""


@on_both_loops
async def test_a_declared_body_that_is_too_large_is_refused_unread() -> None:
    async with open_door(body_size_bytes_max=100) as door:
        async with connect(door) as wire:
            assert (await wire.ask(post(body=b"1" * 100))).status == 200
        for request in (post(body=b"1" * 101), chunked(b"1" * 60, b"1" * 60)):
            async with connect(door) as wire:
                answer = await wire.ask(request)
                assert (answer.status, answer.field) == (400, "body")
                assert answer.json["details"]["size_bytes_max"] == 100
                assert answer.headers["connection"] == "close"
                assert await wire.read_end() == b""


@on_both_loops
async def test_a_refusal_is_read_by_a_client_that_still_sends() -> None:
    body = b"1" * 3_000_000
    async with open_door() as door, connect(door) as wire:
        wire.send(post(body=body))
        assert (await wire.read_answer()).field == "body"


@on_both_loops
async def test_a_dripping_body_is_refused() -> None:
    async with open_door(body_timeout_ms=50) as door, connect(door) as wire:
        wire.send(post(body=b'"abc"')[:-1])
        answer = await wire.read_answer()
        assert (answer.status, answer.json["code"]) == (504, "deadline_exceeded")
        assert answer.headers["connection"] == "close"


@on_both_loops
async def test_chunks_of_one_byte_are_honest() -> None:
    async with open_door(head_size_bytes_max=500) as door, connect(door) as wire:
        await wire.send_pieces(chunked(*[b"1"] * 500))
        assert (await wire.read_answer()).json["body"] == "1" * 500


@pytest.mark.parametrize(
    "padding",
    [b"3;" + b"x" * 2_000, b"3\r\nabc\r\n0\r\nX: " + b"x" * 2_000],
    ids=["extension", "trailer"],
)
@on_both_loops
async def test_framing_without_content_is_refused(padding: bytes) -> None:
    request = chunked().removesuffix(b"0\r\n\r\n")
    async with open_door(head_size_bytes_max=500) as door, connect(door) as wire:
        await wire.send_pieces(request + padding)
        answer = await wire.read_answer()
        assert (answer.status, answer.field) == (400, "body")
        assert await wire.read_end() == b""


@on_both_loops
@pytest.mark.requirement("R35")
async def test_a_source_has_only_so_many_connections() -> None:
    async with open_door(connections_per_source_max=2) as door:  # noqa: SIM117 - reads in steps
        async with connect(door) as first, connect(door) as second:
            assert (await first.ask(post())).status == 200
            assert (await second.ask(post())).status == 200
            async with connect(door) as third:
                third.send(post())
                assert await third.read_end() == b""
            assert door.connections == 2
            second.writer.close()
            await second.read_end()
            await until(lambda: door.connections == 1)
            async with connect(door) as fourth:
                assert (await fourth.ask(post())).status == 200


@on_both_loops
@pytest.mark.requirement("R35")
async def test_the_house_has_only_so_many_connections() -> None:
    async with open_door(connections_max=1) as door, connect(door) as first:
        assert (await first.ask(post())).status == 200
        async with connect(door) as second:
            second.send(post())
            assert await second.read_end() == b""


@on_both_loops
@pytest.mark.requirement("R35")
async def test_a_handshake_that_does_not_end_is_ended(tmp_path: Path) -> None:
    files = ensure_certificate(tmp_path / "tls", [], dt.datetime.now(dt.UTC))
    context = ServerTls(files).context
    async with open_door(context=context, handshake_timeout_ms=50) as door:
        async with connect(door) as silent:
            assert await silent.read_end() == b""
        async with connect(door) as plain:
            plain.send(get("/healthz"))
            assert b"HTTP/1.1" not in await plain.read_end()
        await until(lambda: door.connections == 0)


@on_both_loops
@pytest.mark.requirement("R35")
async def test_connections_are_counted_before_the_handshake(tmp_path: Path) -> None:
    files = ensure_certificate(tmp_path / "tls", [], dt.datetime.now(dt.UTC))
    trusting = ssl.create_default_context(cafile=files.certificate)
    context = ServerTls(files).context
    async with open_door(context=context, connections_per_source_max=1) as door, connect(door):
        await until(lambda: door.connections == 1)
        with pytest.raises(OSError):  # noqa: PT011 - how it ends is the system's choice
            await asyncio.open_connection("127.0.0.1", door.port, ssl=trusting)


@on_both_loops
async def test_pipelined_requests_are_bounded() -> None:
    release = asyncio.Event()

    async def wait(_call: Call) -> Reply:
        await release.wait()
        return Reply("r", b"{}")

    async with open_door(wait, pipelined_requests_max=3) as door, connect(door) as wire:
        wire.send(post() * 6)
        await asyncio.sleep(0)
        release.set()
        # One runs and three wait; they are answered before the refusal of the fifth.
        statuses = [(await wire.read_answer()).status for _ in range(4)]
        assert statuses == [200] * 4
        assert (await wire.read_answer()).field == "pipeline"
        assert await wire.read_end() == b""


@on_both_loops
@pytest.mark.requirement("R33")
async def test_a_client_that_does_not_read_is_cut_off() -> None:
    async def much(_call: Call) -> Reply:
        return Reply("r", b"x" * 20_000_000)

    async with open_door(much, write_timeout_ms=100) as door:
        with socket.create_connection(("127.0.0.1", door.port)) as client:
            client.sendall(post())
            await until(lambda: door.connections == 1)
            await until(lambda: door.connections == 0)
