"""One NDJSON connection: lines in, lines out, and its end.

What the lines mean and what waits for the client is the conversation's affair
(``transports/jsonrpc``); here stand the transport, and the times that only bytes know: a line
that drips, and a client that does not let itself be told the end.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import cast

from moothall.action.connections import CloseReason
from moothall.core.errors import DeadlineExceededError
from moothall.transports.admission import Seat
from moothall.transports.jsonrpc import HEARTBEAT, Conversation, FrameError, frame_too_large
from moothall.transports.jsonrpc.protocol import INVALID_REQUEST
from moothall.transports.ndjson.bounds import NdjsonBounds
from moothall.transports.ndjson.protocol import LF, Lines

PIECE_SIZE_BYTES = 65_536
"""Written at once. TLS hands a write on as a whole to a transport whose queue nobody can ask
for; in pieces, at most two are out of sight and the rest is counted."""

_BEAT = HEARTBEAT + LF


class NdjsonConnection(asyncio.Protocol):
    """A connection that knows its bounds; the Wire of its conversation."""

    def __init__(
        self,
        seat: Seat,
        bounds: NdjsonBounds,
        queued_bytes_max: int,
        converse: Callable[["NdjsonConnection"], Conversation],
        forget: Callable[["NdjsonConnection"], None],
    ) -> None:
        """Take the seat that was admitted.

        Args:
            seat: Given back when the connection is gone.
            bounds: Of the door.
            queued_bytes_max: What may wait for a client.
            converse: Begins the conversation.
            forget: Called when the connection is gone.
        """
        self.seat = seat
        self._bounds = bounds
        self._queued_bytes_max = queued_bytes_max
        self._converse = converse
        self._forget = forget
        self._loop = asyncio.get_running_loop()
        self._lines = Lines(bounds.line_size_bytes_max)
        self._empty_since = 0.0
        self._transport: asyncio.Transport
        self._conversation: Conversation
        self._is_paused = False
        self._is_over = False
        self._line_timer: asyncio.TimerHandle | None = None
        self._end_timer: asyncio.TimerHandle | None = None

    # --- from the transport -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to talk."""
        transport = cast("asyncio.Transport", transport)  # uvloop has its own classes
        self._transport = transport
        transport.set_write_buffer_limits(high=self._queued_bytes_max // 4)
        self._conversation = self._converse(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - however it ended
        """Give the seat back."""
        self._is_over = True
        for timer in (self._line_timer, self._end_timer):
            if timer is not None:
                timer.cancel()
        self._conversation.lost()
        self._forget(self)
        self.seat.release()

    def data_received(self, data: bytes) -> None:
        """Give whole lines to the conversation."""
        if self._is_over:
            return
        conversation, lines = self._conversation, self._lines
        found = lines.feed(data)
        for line in found:
            conversation.receive(line)
        if lines.is_too_long:
            conversation.refuse(frame_too_large(self._bounds.line_size_bytes_max), is_last=True)
        elif lines.empty_lines:
            self._count_empty_lines()
        if not lines.is_within:
            self._stop_line_timer()
        elif not self._is_paused:
            self._await_line(is_new=bool(found))

    def pause_writing(self) -> None:
        """Tell the conversation that the client does not read fast enough."""
        self._conversation.paused()

    def resume_writing(self) -> None:
        """Tell the conversation that the client has read."""
        self._conversation.resumed()

    @property
    def conversation(self) -> Conversation:
        """What is said on this connection."""
        return self._conversation

    # --- the Wire of the conversation ---------------------------------------------------------

    @property
    def queued_bytes(self) -> int:
        """What was written and has not left for the client."""
        return self._transport.get_write_buffer_size()

    def frame(self, message: bytes) -> bytes:
        """Return a message as a line."""
        return message + LF

    def write(self, data: bytes) -> None:
        """Write lines, until it shows that the client has gone."""
        for start in range(0, len(data), PIECE_SIZE_BYTES):
            if self._transport.is_closing():
                return
            is_whole = len(data) <= PIECE_SIZE_BYTES
            self._transport.write(data if is_whole else data[start : start + PIECE_SIZE_BYTES])

    def pause_reading(self) -> None:
        """Read no more for now; nor does the time of a line that has begun go on."""
        self._is_paused = True
        self._stop_line_timer()
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on; a line that has begun has its whole time again."""
        self._is_paused = False
        if self._lines.is_within:
            self._await_line(is_new=True)
        self._transport.resume_reading()

    def beat(self) -> None:
        """Send a heartbeat."""
        self.write(_BEAT)

    def close(self, reason: CloseReason, message: str) -> None:  # noqa: ARG002 - said in a line
        """Close once the last word could be read.

        To close while the client still sends would make its system throw the last word away,
        so what comes is read for a moment and thrown away.
        """
        self._is_over = True
        if self._transport.can_write_eof():  # TLS cannot
            with contextlib.suppress(OSError):  # the client has just gone
                self._transport.write_eof()
        wait_s = self._bounds.linger_timeout_ms / 1_000
        self._end_timer = self._loop.call_later(wait_s, self._close)

    def _close(self) -> None:
        self._transport.close()
        wait_s = self._bounds.listener.write_timeout_ms / 1_000
        self._end_timer = self._loop.call_later(wait_s, self._transport.abort)

    def abort(self) -> None:
        """Close without what is still to be read."""
        self._transport.abort()

    # --- time ---------------------------------------------------------------------------------

    def _await_line(self, *, is_new: bool) -> None:
        """Give a line that has begun its time."""
        if is_new:
            self._stop_line_timer()
        if self._line_timer is None:
            wait_s = self._bounds.line_timeout_ms / 1_000
            self._line_timer = self._loop.call_later(wait_s, self._on_line_timer)

    def _stop_line_timer(self) -> None:
        """Give whatever comes next a time of its own."""
        if self._line_timer is not None:
            self._line_timer.cancel()
            self._line_timer = None

    def _on_line_timer(self) -> None:
        """End a connection whose line did not come in time."""
        self._line_timer = None
        told = DeadlineExceededError(
            f"the line did not end within {self._bounds.line_timeout_ms} ms; nothing was done"
        )
        self._conversation.refuse(FrameError(None, INVALID_REQUEST, told), is_last=True)

    def _count_empty_lines(self) -> None:
        """Let empty lines be a sign of life, but not a flood."""
        self._conversation.heard()
        now = self._loop.time()
        if self._lines.empty_lines > self._bounds.empty_lines_max:
            self._conversation.connection.end(CloseReason.PROTOCOL_ERROR)
        elif now - self._empty_since > self._bounds.line_timeout_ms / 1_000:
            self._empty_since = now
            self._lines.empty_lines = 0
