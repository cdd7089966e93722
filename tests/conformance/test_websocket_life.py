"""How a WebSocket lives and ends: told why, within its time, and its seat given back."""

import asyncio
import contextlib
from typing import cast

import msgspec
import pytest

from moothall.action.call import Call, Reply
from moothall.action.connections import CloseReason
from moothall.transports.jsonrpc import ConversationBounds
from moothall.transports.websocket import WebSocketBounds
from tests.conformance.http_wire import echo, get, on_both_loops, until
from tests.conformance.websocket_wire import (
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Contexts,
    Site,
    Socket,
    close,
    connect,
    frame,
    handshake,
    make_contexts,
    open_site,
    open_socket,
    request,
)

pytestmark = pytest.mark.requirement("R31")


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> Contexts:
    return make_contexts(tmp_path_factory.mktemp("tls"))


async def is_empty(site: Site) -> None:
    """Wait until nobody sits in the house any more."""
    await until(lambda: site.http.connections == len(site.connections) == 0)


# --- the end, told --------------------------------------------------------------------------------

CODES = {
    CloseReason.SHUTDOWN: 1012,
    CloseReason.SESSION_ENDED: 1008,
    CloseReason.IDLE: 1008,
    CloseReason.SILENT: 1008,
    CloseReason.UNAUTHENTICATED: 1008,
    CloseReason.TOKEN_EXPIRED: 1008,
    CloseReason.SLOW_READER: 1013,
    CloseReason.PROTOCOL_ERROR: 1002,
    CloseReason.ADMINISTRATOR: 1008,
}


@on_both_loops
async def test_every_reason_has_its_code_and_its_name_is_said(contexts: Contexts) -> None:
    assert set(CODES) == set(CloseReason)
    async with open_site(contexts) as site:
        for reason, code in CODES.items():
            async with open_socket(site) as socket:
                (connection,) = site.connections
                connection.end(reason)
                assert await socket.read_said() == ("closing", reason.value)
                opcode, payload = await socket.read_frame()
                assert (opcode, payload[2:]) == (0x8, reason.value.encode())
                assert int.from_bytes(payload[:2], "big") == code
                # It stays open for the client's close frame, and hears nothing else.
                socket.send(frame(PING, b"?") + frame(TEXT, request()) + close(code))
                assert await socket.read_all() == []
                await is_empty(site)


@pytest.mark.requirement("R34")
@on_both_loops
async def test_a_door_that_stops_says_1012_and_lets_calls_end(contexts: Contexts) -> None:
    go = asyncio.Event()

    async def answer(call: Call) -> Reply:
        await go.wait()
        return await echo(call)

    async with open_site(contexts, answer) as site, open_socket(site) as socket:
        socket.send(frame(TEXT, request()))
        await until(lambda: len(site.sockets.calls) == 1)
        stopping = asyncio.ensure_future(site.stop())
        assert await socket.read_said() == ("closing", "shutdown")
        go.set()
        assert await socket.read_said() == ("reply", 1)
        assert await socket.read_said() == ("close", 1012)
        socket.send(close(1012))
        assert await socket.read_all() == []
        await stopping
        assert site.http.connections == len(site.connections) == 0


@pytest.mark.requirement("R34")
@on_both_loops
async def test_a_client_that_does_not_answer_does_not_hold_the_door_up(contexts: Contexts) -> None:
    async with (
        open_site(contexts, stop_timeout_ms=100) as site,
        open_socket(site),
        asyncio.timeout(5),
    ):
        await site.stop()
        assert site.http.connections == len(site.connections) == 0


@on_both_loops
async def test_who_does_not_close_is_cut_off(contexts: Contexts) -> None:
    bounds = WebSocketBounds(close_timeout_ms=50)
    async with open_site(contexts, sockets=bounds) as site, open_socket(site) as socket:
        site.connections.end_all(CloseReason.ADMINISTRATOR)
        assert await socket.read_all() == [
            ("closing", "closed_by_administrator"),
            ("close", 1008),
        ]
        await is_empty(site)


@on_both_loops
async def test_a_fault_is_told_to_who_goes_on_sending(contexts: Contexts) -> None:
    bounds = WebSocketBounds(linger_timeout_ms=100)
    async with open_site(contexts, sockets=bounds) as site, open_socket(site) as socket:
        # It reads only after it has sent; a reset would have taken our words from it by then.
        reads(socket).pause_reading()
        socket.send(frame(3))
        for _ in range(20):
            socket.send(frame(TEXT, b"x" * 10_000))
            for _ in range(5):
                await asyncio.sleep(0)
        reads(socket).resume_reading()
        assert await socket.read_all() == [("closing", "protocol_error"), ("close", 1002)]
        await is_empty(site)


# --- seats ----------------------------------------------------------------------------------------


@pytest.mark.requirement("R32")
@on_both_loops
async def test_a_seat_comes_back_however_a_connection_ends(contexts: Contexts) -> None:
    async def abort(socket: Socket) -> None:
        socket.writer.transport.abort()

    async def leave(socket: Socket) -> None:
        socket.writer.close()
        with contextlib.suppress(ConnectionError):
            await socket.writer.wait_closed()

    async def leave_within_a_message(socket: Socket) -> None:
        socket.send(frame(TEXT, b"x" * 1_000)[:500])
        await leave(socket)

    async def say_goodbye(socket: Socket) -> None:
        socket.send(close())
        assert await socket.read_all() == [("close", 1000)]

    async def misbehave(socket: Socket) -> None:
        socket.send(b"\xff" * 100)
        assert (await socket.read_all())[-1] == ("close", 1002)

    async def leave_after_a_fault(socket: Socket) -> None:
        socket.send(b"\xff" * 100)
        await socket.read_said()
        await abort(socket)

    async with open_site(contexts, connections_max=1) as site:
        for end in (
            abort,
            leave,
            leave_within_a_message,
            say_goodbye,
            misbehave,
            leave_after_a_fault,
        ):
            async with open_socket(site) as socket:
                # The seat is the one of the request.
                assert site.http.connections == len(site.connections) == 1
                await end(socket)
                await is_empty(site)


# --- time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_first", [False, True])
@on_both_loops
async def test_no_timer_of_the_request_outlives_it(
    contexts: Contexts,
    is_first: bool,  # noqa: FBT001 - a parameter of the table
) -> None:
    async with (
        open_site(contexts, head_timeout_ms=60, idle_timeout_ms=60, write_timeout_ms=60) as site,
        connect(site) as socket,
    ):
        if is_first:
            # The head of the first request has a timer.
            await socket.wire.send_pieces(handshake())
            assert (await socket.wire.read_answer(has_body=False)).status == 101
        else:
            # The idle timer is set behind an answer.
            await socket.wire.ask(get("/healthz"))
            await socket.open()
        loop = asyncio.get_running_loop()
        until_s = loop.time() + 0.2
        while loop.time() < until_s:
            await socket.ask()


@pytest.mark.requirement("R32")
@on_both_loops
async def test_a_message_that_drips_is_ended(contexts: Contexts) -> None:
    bounds = WebSocketBounds(message_timeout_ms=100, close_timeout_ms=50, linger_timeout_ms=20)
    beginnings = (b"\x81", frame(TEXT, b"x" * 1_000)[:900], frame(TEXT, b"x", fin=False))
    async with open_site(contexts, sockets=bounds) as site:
        for beginning in beginnings:
            async with open_socket(site) as socket:
                await socket.ask()
                socket.send(beginning)
                assert await socket.read_all() == [
                    ("closing", "protocol_error"),
                    ("close", 1008),
                ]


@pytest.mark.requirement("R32")
@on_both_loops
async def test_pings_between_fragments_give_a_message_no_more_time(contexts: Contexts) -> None:
    bounds = WebSocketBounds(message_timeout_ms=100, linger_timeout_ms=20)
    async with open_site(contexts, sockets=bounds) as site, open_socket(site) as socket:
        socket.send(frame(TEXT, b"{", fin=False))
        async with asyncio.timeout(5):
            while True:
                socket.send(frame(PING, b"?") + frame(CONTINUATION, b" ", fin=False))
                said = await socket.read_said()
                if said != ("pong", b"?"):
                    break
        assert said == ("closing", "protocol_error")
        assert await socket.read_said() == ("close", 1008)


@on_both_loops
async def test_each_message_has_its_own_time(contexts: Contexts) -> None:
    bounds = WebSocketBounds(message_timeout_ms=100)
    async with open_site(contexts, sockets=bounds) as site, open_socket(site) as socket:
        # Each piece ends one message and begins the next, for longer than one may take.
        whole = frame(TEXT, request())
        loop = asyncio.get_running_loop()
        until_s = loop.time() + 0.3
        socket.send(whole[:10])
        while loop.time() < until_s:
            socket.send(whole[10:] + whole[:10])
            assert await socket.read_said() == ("reply", 1)


@pytest.mark.requirement("R34")
@on_both_loops
async def test_who_is_silent_is_asked_and_then_ended(contexts: Contexts) -> None:
    async with open_site(contexts) as site, open_socket(site) as socket:
        (connection,) = site.connections
        connection.claims = None
        site.clock.advance(16_000)
        site.connections.look()
        assert await socket.read_said() == ("ping", b"")
        # A pong is a sign of life.
        socket.send(frame(PONG))
        await until(lambda: connection.heard_at == site.clock.monotonic())
        bounds = site.connections.bounds
        assert bounds.sign_in_seconds < bounds.silent_seconds
        connection.opened_at = site.clock.monotonic() + 1_000
        site.clock.advance(39_000)
        site.connections.look()
        assert await socket.read_said() == ("ping", b"")
        site.clock.advance(1_000)
        site.connections.look()
        assert await socket.read_said() == ("closing", "silent")
        assert await socket.read_said() == ("close", 1008)


# --- slow readers ---------------------------------------------------------------------------------


def reads(socket: Socket) -> asyncio.Transport:
    """Return the whole transport of a client, of which a writer shows one side."""
    return cast("asyncio.Transport", socket.writer.transport)


async def stop_reading(site: Site) -> Socket:
    """Return a client whose system takes little and whose program takes nothing."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", site.http.port, ssl=site.client, server_hostname="localhost", limit=1_024
    )
    socket = Socket(reader, writer)
    await socket.open()
    reads(socket).pause_reading()
    return socket


@pytest.mark.requirement("R33")
@on_both_loops
async def test_who_does_not_read_events_is_ended_as_a_slow_reader(contexts: Contexts) -> None:
    bounds = WebSocketBounds(close_timeout_ms=5_000)
    async with open_site(contexts, sockets=bounds) as site:
        socket = await stop_reading(site)
        (connection,) = site.connections
        event = frame_of_server(b'{"method":"event","params":{"reason":"%b"}}' % (b"x" * 100_000))
        sent = 0
        async with asyncio.timeout(30):
            while not connection.is_ending:
                connection.sink.send(event)
                sent += 1
                await asyncio.sleep(0)
                # What waits is the bound, one write, and what the TLS layer hides.
                assert connection.sink.queued_bytes < 1_048_576 + 300_000
        # What was queued is still to be read, and then why.
        reads(socket).resume_reading()
        for _ in range(sent):
            assert (await socket.read_said())[0] == "event"
        assert await socket.read_said() == ("closing", "slow_reader")
        assert await socket.read_said() == ("close", 1013)
        socket.writer.transport.abort()
        await is_empty(site)


@pytest.mark.requirement("R33")
@on_both_loops
async def test_who_never_reads_is_cut_off(contexts: Contexts) -> None:
    bounds = WebSocketBounds(close_timeout_ms=50)
    async with open_site(contexts, sockets=bounds) as site:
        socket = await stop_reading(site)
        (connection,) = site.connections
        event = frame_of_server(b"x" * 100_000)
        while not connection.is_ending:
            connection.sink.send(event)
            await asyncio.sleep(0)
        await is_empty(site)
        socket.writer.transport.abort()


@pytest.mark.requirement("R33")
@on_both_loops
async def test_pings_of_who_does_not_read_queue_one_pong(contexts: Contexts) -> None:
    async with open_site(contexts) as site:
        socket = await stop_reading(site)
        (connection,) = site.connections
        pings = b"".join(frame(PING, b"%0125d" % number) for number in range(1_000))
        for _ in range(150):
            socket.send(pings)
            await socket.writer.drain()
            # Pongs of one piece beyond the mark at which writing pauses.
            assert connection.sink.queued_bytes < 1_000_000
        socket.send(frame(PING, b"last"))
        await socket.writer.drain()
        reads(socket).resume_reading()
        pongs = 0
        async with asyncio.timeout(30):
            while (said := await socket.read_said()) != ("pong", b"last"):
                assert said[0] == "pong"
                pongs += 1
        assert 0 < pongs < 150_000
        socket.writer.transport.abort()


@pytest.mark.requirement("R33")
@on_both_loops
async def test_calls_of_who_does_not_read_wait(contexts: Contexts) -> None:
    body = msgspec.json.encode("x" * 20_000)
    running = 0

    async def answer(_call: Call) -> Reply:
        nonlocal running
        running += 1
        return Reply("call", body)

    bounds = WebSocketBounds(conversation=ConversationBounds(calls_max=8))
    async with open_site(contexts, answer, sockets=bounds) as site:
        socket = await stop_reading(site)
        (connection,) = site.connections
        count = 600
        socket.send(b"".join(frame(TEXT, request(number)) for number in range(count)))
        for _ in range(500):
            await asyncio.sleep(0)
        assert connection.sink.queued_bytes < 1_048_576
        reads(socket).resume_reading()
        async with asyncio.timeout(30):
            answered = {(await socket.read_said())[1] for _ in range(count)}
        assert answered == set(range(count))
        assert running == count
        socket.writer.transport.abort()


@pytest.mark.requirement("R32")
@on_both_loops
async def test_a_message_waits_without_blame_while_we_do_not_listen(contexts: Contexts) -> None:
    go = asyncio.Event()

    async def answer(call: Call) -> Reply:
        await go.wait()
        return await echo(call)

    bounds = WebSocketBounds(message_timeout_ms=500, conversation=ConversationBounds(calls_max=1))
    async with open_site(contexts, answer, sockets=bounds) as site, open_socket(site) as socket:
        second = frame(TEXT, request(2))
        socket.send(frame(TEXT, request(1)) + second[:10])
        asyncio.get_running_loop().call_later(0.9, go.set)
        assert await socket.read_said() == ("reply", 1)
        # It has its time from now on.
        await asyncio.sleep(0.2)
        socket.send(second[10:])
        assert await socket.read_said() == ("reply", 2)


def frame_of_server(payload: bytes) -> bytes:
    """Return a whole frame that is not masked."""
    size = len(payload)
    assert size > 65_535
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload
