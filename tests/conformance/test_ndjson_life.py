"""The life of an NDJSON connection: slow, silent, dripping, leaving, and the house's own end."""

import asyncio
import functools
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from moothall.action.call import Call, Reply
from moothall.action.connections import CloseReason
from moothall.action.push import Push
from moothall.core.errors import ConfigurationError
from moothall.transports.jsonrpc import ConversationBounds
from moothall.transports.ndjson import NdjsonBounds
from tests.conformance.http_wire import on_both_loops, until
from tests.conformance.ndjson_wire import Site, Wire, call, connect, open_site

EVENT = Push("s", 1, 9, "happened", 5, '"' + "x" * 10_000 + '"')


@asynccontextmanager
async def without_complaint(
    caplog: pytest.LogCaptureFixture, level: int = logging.WARNING
) -> AsyncIterator[None]:
    """Fail where the loop was told of an error that nobody handled, or one was logged."""
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
    yield
    assert told == []
    assert [entry.message for entry in caplog.records if entry.levelno >= level] == []


def has_begun(site: Site, before: int) -> bool:
    """Tell whether a call has come since."""
    return site.pipeline.begun > before


@asynccontextmanager
async def connect_deaf(site: Site) -> AsyncIterator[Wire]:
    """Connect a client that reads only when asked to, with little room in its system."""
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    plain.setblocking(False)  # noqa: FBT003 - the standard library's way
    await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", site.door.port))
    reader, writer = await asyncio.open_connection(
        sock=plain,
        ssl=site.trusting,
        server_hostname="localhost" if site.trusting else None,
        limit=8_000_000,
    )
    wire = Wire(reader, writer)
    wire.rest()
    try:
        yield wire
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)


@on_both_loops
@pytest.mark.requirement("R33")
@pytest.mark.parametrize("insecure", [False, True], ids=["tls", "plain"])
async def test_slow_reader_is_closed_with_the_reason_and_its_queue_is_bounded(
    insecure: bool,  # noqa: FBT001 - given by pytest
) -> None:
    site_open = open_site(insecure=insecure, queued_bytes_max=200_000)
    async with site_open as site, connect_deaf(site) as slow, connect(site) as other:
        slow.send(call())
        await until(lambda: len(site.connections) == 2 and site.pipeline.begun == 1)
        connection, beside = site.connections
        sent = most = 0
        while not connection.is_ending:
            assert sent < 10_000
            sent += 1
            for each in (connection, beside):
                each.sink.send(each.sink.encode(EVENT, "feed"))
            assert (await other.read())["method"] == "event"
            most = max(most, connection.sink.queued_bytes)
        assert most < 200_000 + 2 * 11_000
        # Now it reads, and nothing of what was queued is missing.
        slow.read_on()
        told = await slow.read_rest()
        assert [it["method"] for it in told[1:]] == ["event"] * sent + ["closing"]
        assert told[-1]["params"]["reason"] == "slow_reader"
        assert "result" in await other.ask(call())


@on_both_loops
@pytest.mark.requirement("R33")
@pytest.mark.parametrize("insecure", [False, True], ids=["tls", "plain"])
async def test_one_large_write_is_counted_as_what_waits(
    insecure: bool,  # noqa: FBT001 - given by pytest
) -> None:
    site_open = open_site(insecure=insecure, write_timeout_ms=100)
    async with site_open as site, connect_deaf(site) as slow:
        slow.send(call())
        await until(lambda: site.pipeline.begun == 1)
        connection = site.only
        # More than the systems of both sides hold.
        connection.sink.send(connection.sink.encode(EVENT, "feed") * 2_000)
        assert connection.is_ending


@on_both_loops
@pytest.mark.requirement("R33")
async def test_client_that_never_reads_is_gone_when_its_time_is_over() -> None:
    site_open = open_site(queued_bytes_max=200_000, write_timeout_ms=100)
    async with site_open as site, connect_deaf(site) as slow:
        slow.send(call())
        await until(lambda: site.pipeline.begun == 1)
        connection = site.only
        while not connection.is_ending:
            connection.sink.send(connection.sink.encode(EVENT, "feed"))
            await asyncio.sleep(0)
        await until(lambda: site.door.connections == 0)


@on_both_loops
@pytest.mark.requirement("R33")
async def test_large_replies_reach_a_client_that_reads_late() -> None:
    async def much(_call: Call) -> Reply:
        return Reply("r", b'"' + b"x" * 300_000 + b'"')

    site_open = open_site(answer=much, queued_bytes_max=200_000)
    async with site_open as site, connect(site) as wire:
        wire.rest()
        wire.send(b"".join(call(number) for number in range(100)))
        await until(lambda: len(site.connections) == 1)
        connection = site.only
        await until(lambda: connection.sink.queued_bytes > 0)
        await asyncio.sleep(0.05)
        assert connection.sink.queued_bytes < 64 * 310_000
        wire.read_on()
        ids = [(await wire.read())["id"] for _ in range(100)]
        assert sorted(ids) == [*range(100)]


@on_both_loops
@pytest.mark.requirement("R13")
async def test_silent_client_is_asked_and_then_closed() -> None:
    async with open_site() as site, connect(site) as wire:
        await wire.ask(call())
        site.clock.advance(15_000)
        site.connections.look()
        assert (await wire.read())["method"] == "heartbeat"
        wire.send(b"\n")
        await until(lambda: site.only.heard_at == site.clock.monotonic())
        site.clock.advance(14_000)
        site.connections.look()
        assert not site.only.is_ending
        site.clock.advance(26_000)
        site.connections.look()
        (closing,) = await wire.read_rest()
        assert closing["params"]["reason"] == "silent"


@on_both_loops
@pytest.mark.requirement("R12")
async def test_client_that_does_not_sign_in_is_closed() -> None:
    async with open_site() as site, connect(site) as wire:
        await wire.ask(call())
        site.clock.advance(30_000)
        site.connections.look()
        (closing,) = await wire.read_rest()
        assert closing["params"]["reason"] == "unauthenticated"
        assert closing["params"]["message"]


@on_both_loops
@pytest.mark.requirement("R32")
async def test_dripping_line_is_refused() -> None:
    async with open_site(line_timeout_ms=100) as site, connect(site) as wire:
        # A later line has the same time as the first, from its first byte on.
        assert "result" in await wire.ask(call())
        reading = asyncio.ensure_future(wire.read_rest())
        for byte in call(params={"x": "x" * 1_000}):
            wire.send(bytes([byte]))
            done, _ = await asyncio.wait([reading], timeout=0.02)
            if done:
                break
        refusal, closing = await reading
        assert refusal["error"]["data"]["code"] == "deadline_exceeded"
        assert closing["params"]["reason"] == "protocol_error"


@on_both_loops
@pytest.mark.requirement("R35")
async def test_handshake_that_does_not_end_is_ended() -> None:
    async with open_site(handshake_timeout_ms=50) as site:
        site.trusting = None
        async with connect(site) as silent:
            assert await silent.read_rest() == []
        await until(lambda: site.door.connections == 0)


@on_both_loops
@pytest.mark.requirement("R35")
async def test_source_has_only_so_many_connections() -> None:
    async with open_site(connections_per_source_max=1) as site, connect(site) as first:
        assert "result" in await first.ask(call())
        with pytest.raises(OSError):  # noqa: PT011 - how it ends is the system's choice
            async with connect(site):
                pass
        assert "result" in await first.ask(call())


@on_both_loops
@pytest.mark.requirement("R32")
@pytest.mark.parametrize("way", ["close", "abort"])
async def test_client_may_leave_at_any_moment(way: str, caplog: pytest.LogCaptureFixture) -> None:
    async with without_complaint(caplog), open_site(line_timeout_ms=20) as site:
        moments = {
            "at once": b"",
            "in a line": call()[:20],
            "with a call in flight": call(1, "hall.hold"),
            "with calls that wait": b"".join(call(n, "hall.hold") for n in range(70)),
            "with what is none": b"hello\n",
            "after the end": b"hello\n" * 16,
        }
        for data in moments.values():
            begun = site.pipeline.begun
            async with connect(site) as wire:
                wire.send(data)
                if b"hall.hold" in data:
                    await until(functools.partial(has_begun, site, begun))
                if b"hello" in data:
                    await wire.read()
                if way == "close":
                    wire.writer.close()
                    await asyncio.sleep(0)
            if len(data) > 1_000:
                # Where reading has paused, only the next reply finds that nobody is there.
                site.pipeline.go_on.set()
            await until(lambda: len(site.connections) == 0 and site.door.connections == 0)
            site.pipeline.go_on.set()
            await asyncio.sleep(0)
            site.pipeline.go_on.clear()


@on_both_loops
@pytest.mark.requirement("R32")
@pytest.mark.parametrize("insecure", [False, True], ids=["tls", "plain"])
async def test_client_may_leave_while_much_is_written_to_it(
    insecure: bool,  # noqa: FBT001 - given by pytest
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Under TLS, asyncio shows only with the next turn that the socket below is gone, and warns.
    level = logging.WARNING if insecure else logging.ERROR
    async with without_complaint(caplog, level), open_site(insecure=insecure) as site:
        for pause in (0, 5):
            begun = site.pipeline.begun
            async with connect_deaf(site) as wire:
                wire.send(call())
                await until(functools.partial(has_begun, site, begun))
                connection = site.only
                for _ in range(50):
                    connection.sink.send(connection.sink.encode(EVENT, "feed"))
                    await asyncio.sleep(0)
            for _ in range(pause):
                connection.sink.send(connection.sink.encode(EVENT, "feed"))
                connection.sink.beat()
                await asyncio.sleep(0)
            connection.sink.send(connection.sink.encode(EVENT, "feed") * 2_000)
            await until(lambda: len(site.connections) == 0)


@on_both_loops
@pytest.mark.requirement("R5")
async def test_end_of_a_session_is_told_and_the_call_that_caused_it_is_answered() -> None:
    async def close_session(asked: Call) -> Reply:
        assert asked.connection is not None
        asked.connection.end(CloseReason.SESSION_ENDED)
        return Reply("r", b"{}")

    async with open_site(answer=close_session) as site, connect(site) as wire:
        wire.send(call(5))
        closing, reply = await wire.read_rest()
        assert closing["params"]["reason"] == "session_ended"
        assert reply["id"] == 5


@on_both_loops
@pytest.mark.requirement("R32")
async def test_what_comes_after_the_last_word_is_read_and_thrown_away() -> None:
    # A reset, which unread bytes would cause, could take the last word from the client.
    async with open_site(insecure=True, linger_timeout_ms=10_000) as site:
        async with connect(site) as wire:
            wire.send(b"hello\n" * 16)
            told = await wire.read_rest()
            assert told[-1]["params"]["reason"] == "protocol_error"
            await asyncio.wait_for(wire.send_pieces(call() * 20_000, 50_000), 5)
            await asyncio.sleep(0.02)
            assert site.door.connections == 1
            assert site.pipeline.begun == 0
        await until(lambda: site.door.connections == 0)


@on_both_loops
@pytest.mark.requirement("R36")
async def test_shutdown_is_told_first_and_calls_in_flight_end() -> None:
    async with open_site() as site, connect(site) as idle, connect(site) as busy:
        await idle.ask(call())
        busy.send(call(1, "hall.hold") + call(2, "hall.hold"))
        await until(lambda: site.pipeline.begun == 3)
        stopping = asyncio.ensure_future(site.door.stop())
        (closing,) = await idle.read_rest()
        assert closing["params"] == {
            "reason": "shutdown",
            "message": "the hall stops; connect again in a moment",
        }
        with pytest.raises(OSError):  # noqa: PT011 - refused or reset
            await asyncio.open_connection("127.0.0.1", site.door.port)
        assert (await busy.read())["params"]["reason"] == "shutdown"
        assert not stopping.done()
        # What comes after the end was told is not begun.
        busy.send(call(3))
        site.pipeline.go_on.set()
        assert sorted(told["id"] for told in await busy.read_rest()) == [1, 2]
        assert site.pipeline.begun == 3
        await stopping
        assert site.door.connections == 0


@on_both_loops
@pytest.mark.requirement("R36")
async def test_call_that_outlasts_the_stop_is_told_so() -> None:
    bounds = ConversationBounds(stop_timeout_ms=50)
    async with open_site(conversation=bounds) as site, connect(site) as wire:
        wire.send(call(1, "hall.hold"))
        await until(lambda: site.pipeline.begun == 1)
        await site.door.stop()
        closing, reply = await wire.read_rest()
        assert closing["params"]["reason"] == "shutdown"
        assert reply["error"]["data"]["code"] == "deadline_exceeded"


@on_both_loops
@pytest.mark.requirement("R36")
async def test_stop_does_not_wait_for_a_client_that_does_not_read() -> None:
    async with open_site(write_timeout_ms=100) as site, connect_deaf(site) as slow:
        slow.send(call())
        await until(lambda: site.pipeline.begun == 1)
        for _ in range(60):
            site.only.sink.send(site.only.sink.encode(EVENT, "feed"))
            await asyncio.sleep(0)
        await asyncio.wait_for(site.door.stop(), 5)
        assert site.door.connections == 0


def test_no_bound_can_be_switched_off() -> None:
    with pytest.raises(ConfigurationError):
        NdjsonBounds(line_size_bytes_max=0)
    with pytest.raises(ConfigurationError):
        ConversationBounds(calls_max=0)
