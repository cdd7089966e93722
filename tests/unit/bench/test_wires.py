"""The generator's side of the doors: what it sends, and what it reads however it is cut."""

import asyncio

import pytest

from bench import wires
from moothall.action.call import Reply
from moothall.transports.jsonrpc.protocol import read_request, render_reply
from moothall.transports.websocket.protocol import render_frame

PONG = Reply("request", b'{"answer":"pong"}')
TEXT, PING = 1, 9


class Recorder(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.is_aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def abort(self) -> None:
        self.is_aborted = True


def opened(door: str, texts: list[str], in_flight: int = 1) -> tuple[wires.Connection, Recorder]:
    tally = wires.Tally()
    tally.measuring = True
    script = wires.script_of(door, texts, in_flight)
    opening = wires.opening_of(door, "token", [])
    connection = wires.CONNECTIONS[door](tally, script, opening)
    tally.at_work.add(connection)
    transport = Recorder()
    connection.connection_made(transport)
    if door == wires.WEBSOCKET:
        connection.data_received(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    elif door == wires.NDJSON:
        connection.data_received(answer(wires.NDJSON, 0))
    connection.opened.result()
    transport.written.clear()
    connection.begin()
    return connection, transport


def answer(door: str, slot: int) -> bytes:
    payload = render_reply(wires.SLOT_BASE + slot, PONG)
    if door == wires.HTTPS:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(payload)
        return head + payload
    return payload + b"\n" if door == wires.NDJSON else render_frame(TEXT, payload)


def calls(connection: wires.Connection) -> int:
    return sum(connection._tally.ticks.values())


@pytest.mark.parametrize("size", [3, 200])
def test_a_websocket_frame_has_its_length_once_the_key_is_in(size: int) -> None:
    text = wires.call_text("a.b", {"x": "y" * size}, f"abc-{wires.KEY_HOLE}")
    piece = wires.pieces_of(wires.WEBSOCKET, text, 3)
    assert piece.tail is not None
    frame = piece.head + b"%012d" % 7 + piece.tail
    header = 6 if frame[1] & 0x7F < 126 else 8
    length = frame[1] & 0x7F if header == 6 else int.from_bytes(frame[2:4])
    assert length == len(frame) - header
    asked = read_request(frame[header:])
    assert (asked.id, asked.method, asked.idempotency_key) == (13, "a.b", "abc-000000000007")


@pytest.mark.parametrize("door", wires.DOORS)
@pytest.mark.parametrize("piece", [1, 7, 10_000])
async def test_each_answer_counts_and_is_followed_by_a_call(door: str, piece: int) -> None:
    connection, transport = opened(door, [wires.call_text("hall.ping", {})], in_flight=4)
    first = b"".join(transport.written)
    transport.written.clear()
    data = b"".join(answer(door, slot) for slot in (0, 1, 2, 3))
    for start in range(0, len(data), piece):
        connection.data_received(data[start : start + piece])
    assert calls(connection) == 4
    assert connection._tally.failures == 0
    assert b"".join(transport.written) == first


@pytest.mark.parametrize("door", [wires.WEBSOCKET, wires.NDJSON])
async def test_answers_out_of_order_find_their_slot(door: str) -> None:
    connection, transport = opened(door, [wires.call_text("hall.ping", {})], in_flight=2)
    transport.written.clear()
    connection.data_received(answer(door, 1))
    assert b'"id":11,' in transport.written[0]


@pytest.mark.parametrize("door", wires.DOORS)
async def test_a_refusal_is_a_failure_and_no_call(door: str) -> None:
    connection, _ = opened(door, [wires.call_text("hall.ping", {})])
    told = b'{"jsonrpc":"2.0","id":10,"error":{"code":-32000}}'
    told = {
        wires.HTTPS: b"HTTP/1.1 429 No\r\nContent-Length: 2\r\n\r\n{}",
        wires.WEBSOCKET: render_frame(TEXT, told),
        wires.NDJSON: told + b"\n",
    }[door]
    connection.data_received(told)
    assert calls(connection) == 0
    assert connection._tally.failures == 1


async def test_a_closing_word_is_a_failure() -> None:
    connection, _ = opened(wires.NDJSON, [wires.call_text("hall.ping", {})])
    connection.data_received(b'{"jsonrpc":"2.0","method":"closing","params":{}}\n')
    assert "closing" in connection._tally.first_failure


async def test_a_connection_that_stops_sending_settles() -> None:
    connection, transport = opened(wires.NDJSON, [wires.call_text("hall.ping", {})], in_flight=2)
    transport.written.clear()
    connection._tally.sending = False
    connection.data_received(answer(wires.NDJSON, 0))
    assert not connection._tally.settled.is_set()
    connection.data_received(answer(wires.NDJSON, 1))
    assert connection._tally.settled.is_set()
    assert transport.written == []


async def test_a_refused_opening_is_told() -> None:
    opening = wires.opening_of(wires.WEBSOCKET, "token", [])
    connection = wires.SocketConnection(wires.Tally(), [], opening)
    transport = Recorder()
    connection.connection_made(transport)
    connection.data_received(b"HTTP/1.1 401 Unauthorized\r\n\r\n")
    with pytest.raises(ConnectionError, match="401"):
        connection.opened.result()
    assert transport.is_aborted


async def test_a_ping_is_answered() -> None:
    connection, transport = opened(wires.WEBSOCKET, [wires.call_text("hall.ping", {})])
    transport.written.clear()
    connection.data_received(render_frame(PING, b"hi") + answer(wires.WEBSOCKET, 0))
    assert transport.written[0] == wires.PONG
    assert calls(connection) == 1
