"""One WebSocket: its opening, its frames both ways, and its end (RFC 6455, section 7).

The transport comes from the HTTPS door, which has judged the request by then. A token that came
with it is verified before the protocol is switched, so that a refusal is an answer in HTTP.

The end has two beginnings. The client's close frame is answered in kind and the connection is
closed. Ours is followed by waiting for the client's; what comes before that is not looked at.
After a fault nothing that comes can be understood, so it is thrown away for a moment, because
closing at once would let the client's system throw our last words away. Every end has its
time, and is an abort after it.
"""

import asyncio
from enum import Enum, auto
from typing import TYPE_CHECKING, cast

import msgspec

from moothall.action.call import Call
from moothall.action.connections import CloseReason
from moothall.core.errors import OverloadedError, Problem
from moothall.transports.backend import AUTHENTICATE
from moothall.transports.upgrade import Upgrade
from moothall.transports.websocket.handshake import render_acceptance
from moothall.transports.websocket.protocol import (
    PING,
    PONG,
    TEXT,
    Close,
    CloseCode,
    Fault,
    Frames,
    Ping,
    Pong,
    render_close,
    render_frame,
)

if TYPE_CHECKING:
    from moothall.transports.websocket.server import WebSockets

CLOSE_CODES = {
    CloseReason.SHUTDOWN: CloseCode.SERVICE_RESTART,
    CloseReason.PROTOCOL_ERROR: CloseCode.PROTOCOL_ERROR,
    CloseReason.SLOW_READER: CloseCode.TRY_AGAIN_LATER,
}
"""Any other reason is a policy of the house: 1008."""
WRITE_BYTES = 65_536
READ_BYTES = 4_096
"""What is cut into frames before it is asked whether we still listen."""

_BEAT = render_frame(PING, b"")


class _Stage(Enum):
    """How far a connection is; it only goes on."""

    OPENING = auto()
    """The request is not answered yet."""
    OPEN = auto()
    CLOSING = auto()
    """Our close frame is on its way, and the client's is waited for."""
    OVER = auto()
    """Nothing more is said or heard."""


class WebSocketConnection(asyncio.Protocol):
    """A client of the door, as its transport and its conversation see it."""

    __slots__ = (
        "_conversation",
        "_door",
        "_end_timer",
        "_fault",
        "_frames",
        "_held",
        "_is_deaf",
        "_is_write_paused",
        "_key",
        "_late_pong",
        "_linger_timer",
        "_message_timer",
        "_on_lost",
        "_stage",
        "_upgrade",
        "transport",
    )

    def __init__(self, door: "WebSockets", upgrade: Upgrade, key: bytes) -> None:
        """Wait for the transport; ``key`` is the one of the handshake."""
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._door = door
        self._on_lost = upgrade.on_lost
        self._stage = _Stage.OPENING
        # Of the opening; let go of behind it.
        self._upgrade: Upgrade | None = upgrade
        self._key = key
        self._held = b""
        self._frames = Frames(
            message_size_bytes_max=door.bounds.message_size_bytes_max,
            fragments_max=door.bounds.fragments_max,
        )
        self._fault: Fault | None = None
        self._is_deaf = False
        self._is_write_paused = False
        self._late_pong: bytes | None = None
        self._message_timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None
        self._end_timer: asyncio.TimerHandle | None = None
        self._conversation = door.converse(self, upgrade.source)

    # --- the opening --------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the transport of the HTTPS door; accept, or look at the token first."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=self._door.bounds.write_high_bytes)
        assert self._upgrade is not None
        token = self._upgrade.token
        if token is None:
            self._accept()
        else:
            self.pause_reading()
            self._door.calls.start(self._authenticate(token))

    async def _authenticate(self, token: str) -> None:
        """Sign the connection in with the token of the handshake."""
        connection = self._conversation.connection
        body = msgspec.json.encode({"token": token})
        reply = await self._door.backend.answer(
            Call(AUTHENTICATE, body, connection.source, connection=connection)
        )
        if self._stage is not _Stage.OPENING:
            return
        if reply.problem is not None:
            self._refuse(reply.problem)
            return
        self.resume_reading()
        self._accept()

    def _accept(self) -> None:
        """Switch the protocol, and read what the client did not wait with."""
        self._stage = _Stage.OPEN
        self._upgrade = None
        self.transport.write(render_acceptance(self._key))
        self._read_held()

    def _refuse(self, problem: Problem) -> None:
        """Answer the request in HTTP that there is no WebSocket, and close."""
        assert self._upgrade is not None
        self._stage = _Stage.OVER
        self.transport.write(self._upgrade.render_refusal(problem))
        self._upgrade = None
        self._held = b""
        self._conversation.lost()
        self._linger()

    # --- from the transport -------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Give whole messages to the conversation, and answer control frames."""
        if self._stage is _Stage.OPENING or self._held:
            # At most what had arrived before reading paused.
            self._held += data
            return
        self._read(data)

    def _read(self, data: bytes) -> None:
        """Look into what came, a little at a time, for as long as we listen.

        What a client sends faster than it may call is not even cut into frames (R35).
        """
        for start in range(0, len(data), READ_BYTES):
            self._read_piece(data if len(data) <= READ_BYTES else data[start : start + READ_BYTES])
            if self._is_deaf and start + READ_BYTES < len(data):
                self._held = data[start + READ_BYTES :]
                return

    def _read_piece(self, data: bytes) -> None:
        if self._stage is _Stage.OVER:
            return
        items = self._frames.receive(data)
        conversation = self._conversation
        pongs: list[bytes] = []
        has_message = False
        for item in items:
            if isinstance(item, bytes):
                has_message = True
                conversation.receive(item)
            elif isinstance(item, Ping):
                pongs.append(item.payload)
            elif not isinstance(item, Pong):
                # The last item: what was asked before it is answered before it.
                self._answer_pings(pongs)
                pongs = []
                self._end(item)
        self._answer_pings(pongs)
        if not has_message:
            conversation.heard()
        if self._message_timer is not None or self._frames.is_partial:
            self._watch_message(is_another=has_message)

    def eof_received(self) -> bool | None:
        """Close: who sends no more cannot end a WebSocket as it should."""
        return None

    def pause_writing(self) -> None:
        """Let replies and pongs wait until the client has read."""
        self._is_write_paused = True
        self._conversation.paused()

    def resume_writing(self) -> None:
        """Go on: the client has read."""
        self._is_write_paused = False
        if self._late_pong is not None:
            self.write(render_frame(PONG, self._late_pong))
            self._late_pong = None
        self._conversation.resumed()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - as asyncio has it
        """Let go of everything, and give the seat back."""
        self._stage = _Stage.OVER
        for timer in (self._message_timer, self._linger_timer, self._end_timer):
            if timer is not None:
                timer.cancel()
        self._conversation.lost()
        self._on_lost(self)

    def shutdown(self) -> None:
        """Tell the client that the hall stops, and close."""
        self._conversation.connection.end(CloseReason.SHUTDOWN)

    def _read_held(self) -> None:
        """Look into what came while we did not listen."""
        held, self._held = self._held, b""
        if held:
            self._read(held)

    # --- frames -------------------------------------------------------------------------------

    def _answer_pings(self, payloads: list[bytes]) -> None:
        """Send pongs; only the last one, later, to a client that does not read (5.5.3)."""
        if not payloads:
            return
        if self._is_write_paused:
            self._late_pong = payloads[-1]
        else:
            self.write(b"".join([render_frame(PONG, payload) for payload in payloads]))

    def _watch_message(self, *, is_another: bool) -> None:
        """Keep the time of what has begun to arrive; a message in one piece sets no timer.

        Pings between the fragments of a message give it no more time.
        """
        timer = self._message_timer
        if timer is not None and (is_another or not self._frames.is_partial):
            timer.cancel()
            self._message_timer = timer = None
        if timer is None and self._frames.is_partial:
            self._message_timer = asyncio.get_running_loop().call_later(
                self._door.bounds.message_timeout_ms / 1_000, self._on_message_timer
            )

    def _on_message_timer(self) -> None:
        """Fail a connection whose message did not come in time."""
        self._message_timer = None
        if self._is_deaf:
            # We do not listen ourselves, because too many calls run.
            self._watch_message(is_another=True)
            return
        timeout_ms = self._door.bounds.message_timeout_ms
        reason = f"a message did not arrive within {timeout_ms} ms"
        self._end(Fault(CloseCode.POLICY_VIOLATION, reason))

    def _end(self, item: Close | Fault) -> None:
        """Begin the end that the client asks for or deserves, or complete ours."""
        if self._stage is _Stage.CLOSING:
            self._stage = _Stage.OVER
            self._close_transport()
        elif self._stage is _Stage.OPEN and isinstance(item, Fault):
            self._fault = item
            self._conversation.connection.end(CloseReason.PROTOCOL_ERROR)
        elif self._stage is _Stage.OPEN:
            assert isinstance(item, Close)
            self.transport.write(render_close(item.code))
            self._stage = _Stage.OVER
            self._conversation.lost()
            self._close_transport()

    def _linger(self) -> None:
        """Throw away what comes, for a moment, and close."""
        self.resume_reading()
        self._linger_timer = asyncio.get_running_loop().call_later(
            self._door.bounds.linger_timeout_ms / 1_000, self._close_transport
        )

    def _close_transport(self) -> None:
        """Close when what was written is read, and without it when that takes too long."""
        self._await_end()
        self.transport.close()

    def _await_end(self) -> None:
        if self._end_timer is None:
            self._end_timer = asyncio.get_running_loop().call_later(
                self._door.bounds.close_timeout_ms / 1_000, self.transport.abort
            )

    # --- the Wire of the conversation ---------------------------------------------------------

    @property
    def queued_bytes(self) -> int:
        """What was written and has not left for the client."""
        return self.transport.get_write_buffer_size()

    def frame(self, message: bytes) -> bytes:
        """Return a message as a text frame."""
        return render_frame(TEXT, message)

    def write(self, data: bytes) -> None:
        """Write frames; behind our close frame none may follow (section 5.5.1)."""
        if self._stage is not _Stage.OPEN:
            return
        if len(data) <= WRITE_BYTES:
            self.transport.write(data)
            return
        # What TLS handed on in one write is not counted as waiting.
        view = memoryview(data)
        for start in range(0, len(view), WRITE_BYTES):
            self.transport.write(view[start : start + WRITE_BYTES])

    def pause_reading(self) -> None:
        """Read no more from the client."""
        self._is_deaf = True
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read from the client again; what it had begun has its time anew."""
        self._is_deaf = False
        if self._message_timer is not None:
            self._watch_message(is_another=True)
        if self._stage is not _Stage.OPENING:
            self._read_held()
        if self._is_deaf:
            return
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def beat(self) -> None:
        """Ask for a pong."""
        self.write(_BEAT)

    def close(self, reason: CloseReason, message: str) -> None:
        """Send a close frame and wait for the client's."""
        if self._stage is _Stage.OPENING:
            request_id = self._door.backend.make_request_id()
            self._refuse(OverloadedError(message).problem(request_id))
            return
        if self._stage is not _Stage.OPEN:
            return
        self._stage = _Stage.CLOSING
        self._late_pong = None
        if self._fault is not None:
            self.transport.write(render_close(self._fault.code, self._fault.reason))
            self._stage = _Stage.OVER
            self._linger()
        else:
            code = CLOSE_CODES.get(reason, CloseCode.POLICY_VIOLATION)
            self.transport.write(render_close(code, reason.value))
            self.resume_reading()
        self._await_end()
