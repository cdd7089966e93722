"""A feed as server-sent events: ``feeds.subscribe``, with the answer as a stream.

Each event has the id by which ``Last-Event-ID`` resumes, the type ``event``, and the same
object as data that other doors push. ``feed_ended`` and ``closing`` come before the end and say
why; a comment is the heartbeat (HTML Living Standard, section 9.2).
"""

import asyncio
from collections.abc import Callable

import msgspec

from moothall.action.connections import MESSAGES, CloseReason
from moothall.action.push import Push

_HEARTBEAT = b": \n\n"
_encode = msgspec.json.encode


class EventStream:
    """What waits to be sent to one reader. Implements the Sink of its connection.

    Args:
        cursor_of: Returns the cursor that goes with an event.
        queued_bytes_max: More than this waiting ends the stream.

    Attributes:
        on_slow: Ends the connection of a reader who is too slow; set once there is a connection.
    """

    def __init__(self, cursor_of: Callable[[Push], str], queued_bytes_max: int) -> None:
        self._cursor_of = cursor_of
        self._queued_bytes_max = queued_bytes_max
        self._waiting: list[bytes] = []
        self._came = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self.queued_bytes = 0
        self.is_over = False
        self.on_slow: Callable[[CloseReason], None] = lambda _reason: None

    async def take(self) -> bytes:
        """Return what waits, when there is something; empty at the end of the stream."""
        while not self._waiting and not self.is_over:
            self._came.clear()
            await self._came.wait()
        data = b"".join(self._waiting)
        self._waiting.clear()
        self.queued_bytes = 0
        self._drained.set()
        return data

    def encode(self, push: Push, feed: str) -> bytes:
        """Return an event of ``feed`` as server-sent event."""
        cursor = self._cursor_of(push)
        head = _encode(
            {
                "feed": feed,
                "cursor": cursor,
                "stream": push.stream,
                "seq": push.seq,
                "kind": push.kind,
                "at": push.at_ms,
            }
        )
        # JSON text has no line feed in it: msgspec writes none.
        return b"".join(
            (
                b"id: ",
                cursor.encode("ascii"),
                b"\nevent: event\ndata: ",
                head[:-1],
                b',"data":',
                push.data.encode(),
                b"}\n\n",
            )
        )

    def encode_end(self, feed: str, reason: str) -> bytes:
        """Return the word that ``feed`` gives nothing more."""
        return b"event: feed_ended\ndata: %b\n\n" % _encode({"feed": feed, "reason": reason})

    def send(self, data: bytes) -> None:
        """Queue events; a reader for whom too many wait is ended."""
        if self.is_over or not data:
            return
        self._put(data)
        if self.queued_bytes > self._queued_bytes_max:
            self.on_slow(CloseReason.SLOW_READER)

    async def drained(self) -> None:
        """Return when less than half of what may wait waits to be read."""
        while self.queued_bytes > self._queued_bytes_max // 2 and not self.is_over:
            self._drained.clear()
            await self._drained.wait()

    def beat(self) -> None:
        """Send a comment, which keeps what lies between from closing an idle connection."""
        self._put(_HEARTBEAT)

    def end(self, reason: CloseReason) -> None:
        """Say why, and end the stream when that is sent."""
        word = {"reason": reason, "message": MESSAGES[reason]}
        self._put(b"event: closing\ndata: %b\n\n" % _encode(word))
        self.close()

    def close(self) -> None:
        """End the stream when what waits is sent."""
        self.is_over = True
        self._came.set()
        self._drained.set()

    def _put(self, data: bytes) -> None:
        if not self.is_over:
            self._waiting.append(data)
            self.queued_bytes += len(data)
            self._came.set()
