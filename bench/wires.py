"""The client's side of each door, as cheap as Python allows: frames built beforehand.

A connection plays a script: it keeps ``in_flight`` calls under way, each in a slot of its own,
and sends the next message of a slot when the last one is answered. Of an answer only the
slot, and whether it is a result, is read.

WebSocket clients must mask what they send (RFC 6455, section 5.3). The mask here is zero, which
leaves the payload as it is, so that each call can get its own idempotency key in place.
"""

import asyncio
import base64
import time
from typing import cast

import msgspec
from typing_extensions import override

HTTPS, WEBSOCKET, NDJSON = "https", "websocket", "ndjson"
DOORS = (HTTPS, WEBSOCKET, NDJSON)

KEY_HOLE = "<key>"
"""Stands in a message where each call gets its own number of ``KEY_DIGITS`` digits."""
KEY_DIGITS = 12
SLOT_HOLE = "<slot>"
"""Stands in a message where the id of a call is; an answer repeats it."""
SLOT_BASE = 10
IN_FLIGHT_MAX = 64
"""What a hall carries out at a time on one connection; slots have two digits."""

TICKS_PER_S = 100_000
"""Latencies are counted in steps of 10 µs."""
FAILURE_CHARS_MAX = 2_000

_HEAD_END = b"\r\n\r\n"
_ID_AT = len('{"jsonrpc":"2.0","id":')
_RESULT = b',"result":'
_RESULT_AT = _ID_AT + 2
_SMALL, _MIDDLE = 126, 127
_TEXT, _PING = 0x81, 0x89
_MASKED = 0x80
PING = bytes((_PING,))
"""How a heartbeat of the hall begins."""
PONG = bytes((0x8A, _MASKED, 0, 0, 0, 0))
EMPTY_LINE = b"\n"


class Piece(msgspec.Struct, frozen=True):
    """The bytes of a message before and after its key hole; without one, ``tail`` is None."""

    head: bytes
    tail: bytes | None


def call_text(action: str, request: object, key: str = "") -> str:
    """Return a call as JSON-RPC, with a hole for its slot."""
    text = f'{{"jsonrpc":"2.0","id":{SLOT_HOLE},"method":"{action}","params":'
    text += msgspec.json.encode(request).decode()
    return text + (f',"meta":{{"idempotency_key":"{key}"}}}}' if key else "}")


def upgrade_text(token: str = "") -> str:
    """Return the handshake of a WebSocket, signed in if there is a token."""
    head = [
        "GET /v1/socket HTTP/1.1",
        "Host: 127.0.0.1",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}",
    ]
    if token:
        head.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*head, "", ""])


def frame_of(door: str, text: str) -> bytes:
    """Return a message as it stands on the wire of ``door``, its key hole still in it."""
    payload = text.encode()
    if door == HTTPS:
        return payload
    if door == NDJSON:
        return payload + b"\n"
    hole = KEY_HOLE.encode()
    size = len(payload) + payload.count(hole) * (KEY_DIGITS - len(hole))
    if size < _SMALL:
        return bytes((_TEXT, _MASKED | size, 0, 0, 0, 0)) + payload
    return bytes((_TEXT, _MASKED | _SMALL)) + size.to_bytes(2) + bytes(4) + payload


def pieces_of(door: str, text: str, slot: int) -> Piece:
    """Return what a script's message is in a slot, ready to get its key."""
    frame = frame_of(door, text.replace(SLOT_HOLE, str(SLOT_BASE + slot)))
    head, hole, tail = frame.partition(KEY_HOLE.encode())
    return Piece(head, tail if hole else None)


Script = list[list[Piece]]
"""By slot: the messages of one connection, played over and over."""


def script_of(door: str, texts: list[str], in_flight: int) -> Script:
    """Return the messages of a connection, once for each slot."""
    return [[pieces_of(door, text, slot) for text in texts] for slot in range(in_flight)]


class Tally:
    """Counts the answers of all connections and says which of them are still at work."""

    def __init__(self) -> None:
        self.sending = True
        self.measuring = False
        self.ticks: dict[int, int] = {}
        self.failures = 0
        self.first_failure = ""
        self.keys_given = 0
        self.at_work: set[Connection] = set()
        self.settled = asyncio.Event()

    def fail(self, what: str) -> None:
        """Count a failure and remember the first one's text."""
        self.failures += 1
        self.first_failure = self.first_failure or what

    def leave(self, connection: "Connection") -> None:
        """Note that a connection sends no more."""
        self.at_work.discard(connection)
        if not self.at_work:
            self.settled.set()


class Connection(asyncio.Protocol):
    """One client: opens, then plays its script.

    Args:
        tally: What all connections of a run count into.
        script: What it plays; empty for a connection that only opens.
        opening: Frames to send first, each after the answer to the one before.
    """

    def __init__(self, tally: Tally, script: Script, opening: list[bytes]) -> None:
        self._tally = tally
        self._script = script
        self._opening = opening
        self._is_open = not opening
        self._steps = [0] * len(script)
        self._sent_at = [0.0] * len(script)
        self._under_way = 0
        self._received = b""
        self.transport: asyncio.Transport
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to open; the script waits for ``begin``."""
        # uvloop's transports are asyncio's in all but ancestry.
        self.transport = cast("asyncio.Transport", transport)
        if self._is_open:
            self.opened.set_result(None)
        else:
            self.transport.write(self._opening[0])

    def begin(self) -> None:
        """Send the first message of each slot."""
        self._under_way = len(self._script)
        self.transport.write(b"".join(map(self._next, range(len(self._script)))))

    def _next(self, slot: int) -> bytes:
        """Return the next message of a slot."""
        messages = self._script[slot]
        step = self._steps[slot]
        piece = messages[step]
        step += 1
        self._steps[slot] = 0 if step == len(messages) else step
        message = piece.head
        if piece.tail is not None:
            tally = self._tally
            tally.keys_given += 1
            message = b"%b%012d%b" % (message, tally.keys_given, piece.tail)
        self._sent_at[slot] = time.perf_counter()
        return message

    @override
    def data_received(self, data: bytes) -> None:
        """Take whole answers, and send what follows them in one write."""
        received = self._received + data if self._received else data
        at = 0
        out: list[bytes] = []
        while (found := self._find(received, at)) is not None:
            begin, at = found
            if begin == at:
                continue
            if not self._is_open:
                self._open_on(received[begin:at])
            else:
                self._count(received, begin, at, out)
        self._received = received[at:] if at < len(received) else b""
        if out:
            self.transport.write(out[0] if len(out) == 1 else b"".join(out))

    def _open_on(self, answer: bytes) -> None:
        """Send the next frame of the opening, or be open."""
        told = answer[:FAILURE_CHARS_MAX].decode(errors="replace")
        if not (answer.startswith(b"HTTP/1.1 101") or self._is_result(answer, 0)):
            if not self.opened.done():
                self.opened.set_exception(ConnectionError(f"a connection was refused: {told}"))
            self.transport.abort()
            return
        self._opening = self._opening[1:]
        if self._opening:
            self.transport.write(self._opening[0])
        else:
            self._is_open = True
            self.opened.set_result(None)

    def _count(self, received: bytes, begin: int, end: int, out: list[bytes]) -> None:
        """Count one answer, and go on in its slot."""
        tally = self._tally
        if self._is_result(received, begin):
            slot = self._slot(received, begin)
            if tally.measuring:
                tick = int((time.perf_counter() - self._sent_at[slot]) * TICKS_PER_S)
                tally.ticks[tick] = tally.ticks.get(tick, 0) + 1
        else:
            end = min(end, begin + FAILURE_CHARS_MAX)
            tally.fail(received[begin:end].decode(errors="replace"))
            try:
                slot = self._slot(received, begin)
            except ValueError:  # not an answer to a call of ours: a closing word, for one
                return
        if tally.sending:
            out.append(self._next(slot))
            return
        self._under_way -= 1
        if not self._under_way:
            tally.leave(self)

    def _find(self, received: bytes, at: int) -> tuple[int, int] | None:
        """Return where the next whole answer begins and ends, or None; empty: not an answer."""
        raise NotImplementedError

    def _is_result(self, received: bytes, begin: int) -> bool:
        """Tell whether an answer is a result."""
        return received.startswith(_RESULT, begin + _RESULT_AT)

    def _slot(self, received: bytes, begin: int) -> int:
        """Return the slot that an answer belongs to.

        Raises:
            ValueError: It names none.
        """
        slot = int(received[begin + _ID_AT : begin + _RESULT_AT]) - SLOT_BASE
        if not 0 <= slot < len(self._script):
            raise ValueError(slot)
        return slot

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """Count a connection that ended while an answer was due."""
        told = f"the server closed a connection: {exc or 'end of stream'}"
        if not self.opened.done():
            self.opened.set_exception(ConnectionError(told))
        if self in self._tally.at_work:
            self._tally.fail(told)
            self._tally.leave(self)

    def close(self) -> None:
        """Close the connection."""
        self.transport.abort()


class HttpConnection(Connection):
    """Requests and answers of HTTP/1.1, in order; several in flight are pipelined."""

    def __init__(self, tally: Tally, script: Script, opening: list[bytes]) -> None:
        super().__init__(tally, script, opening)
        self._answered = 0

    @override
    def _find(self, received: bytes, at: int) -> tuple[int, int] | None:
        head_end = received.find(_HEAD_END, at)
        if head_end < 0:
            return None
        body_at = head_end + len(_HEAD_END)
        length_at = received.lower().find(b"content-length:", at, head_end)
        if length_at < 0:
            self._tally.fail("an answer came without a content-length")
            self.transport.abort()
            return None
        end = body_at + int(received[length_at + 15 : received.find(b"\r", length_at)])
        return (at, end) if end <= len(received) else None

    @override
    def _is_result(self, received: bytes, begin: int) -> bool:
        return received.startswith(b"HTTP/1.1 200", begin)

    @override
    def _slot(self, received: bytes, begin: int) -> int:
        slot = self._answered
        self._answered = (slot + 1) % len(self._script)
        return slot


class LineConnection(Connection):
    """JSON-RPC, a line each."""

    @override
    def _find(self, received: bytes, at: int) -> tuple[int, int] | None:
        end = received.find(b"\n", at) + 1
        if not end:
            return None
        if received.startswith(b'{"jsonrpc":"2.0","method":"heartbeat"', at):
            self.transport.write(EMPTY_LINE)
            return end, end
        return at, end


class SocketConnection(Connection):
    """JSON-RPC, a text message each, whole in one frame."""

    def __init__(self, tally: Tally, script: Script, opening: list[bytes]) -> None:
        super().__init__(tally, script, opening)
        self._is_upgraded = False

    @override
    def _find(self, received: bytes, at: int) -> tuple[int, int] | None:
        if not self._is_upgraded:
            end = received.find(_HEAD_END, at) + len(_HEAD_END)
            self._is_upgraded = end >= len(_HEAD_END)
            return (at, end) if self._is_upgraded else None
        there = len(received) - at
        if there < 2:
            return None
        size, begin = received[at + 1], at + 2
        if size == _SMALL:
            begin += 2
        elif size == _MIDDLE:
            begin += 8
        if size >= _SMALL:
            if len(received) < begin:
                return None
            size = int.from_bytes(received[at + 2 : begin])
        end = begin + size
        if end > len(received):
            return None
        if received[at] != _TEXT:
            if received[at] == _PING:
                self.transport.write(PONG)
            return end, end
        return begin, end


CONNECTIONS: dict[str, type[Connection]] = {
    HTTPS: HttpConnection,
    WEBSOCKET: SocketConnection,
    NDJSON: LineConnection,
}


def opening_of(door: str, token: str, calls: list[str]) -> list[bytes]:
    """Return the frames that open a connection: signed in, then these calls, one by one."""
    texts = list(calls)
    if door == HTTPS:
        return []
    if door == NDJSON:
        if token:
            texts.insert(0, call_text("identity.authenticate", {"token": token}))
        first = []
    else:
        first = [upgrade_text(token).encode()]
    return [*first, *(pieces_of(door, text, 0).head for text in texts)]
