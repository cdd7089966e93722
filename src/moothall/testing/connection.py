"""A connection for tests: what a client would receive, as values instead of bytes."""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from moothall.action.call import Call, Reply
from moothall.action.connections import CloseReason, Connection, Connections
from moothall.action.cursor import Cursors
from moothall.action.push import Push

if TYPE_CHECKING:
    from moothall.testing.hall import OpenHall

WAIT_SECONDS = 10.0
"""How long an event is waited for; a test that waits for so long has failed."""


class ReceivedEvent(msgspec.Struct, frozen=True):
    """An event as it was delivered."""

    feed: str
    stream: str
    seq: int
    cursor: str
    kind: str
    data: Any
    at_ms: int


class OpenConnection:
    """A client that stays, in memory. Made by ``hall.connect``; it is the connection's sink too.

    Attributes:
        connection: As the house sees it.
        received: Events that were delivered and not yet taken by :meth:`next_event`.
        ended: Feeds that the hall ended, with the reason.
        reason: Why the hall closed the connection, or None.
        beats: Heartbeats that were sent.
        queued_bytes: Set it to play a reader who reads slowly.
    """

    def __init__(self, hall: "OpenHall", source: str, *, hears: bool = True) -> None:
        """Made by :class:`~moothall.testing.OpenHall`."""
        self._hall = hall
        self._house = hall.hall.house
        self._came = asyncio.Event()
        self.received: deque[ReceivedEvent] = deque()
        self.ended: dict[str, str] = {}
        self.reason: CloseReason | None = None
        self.beats = 0
        self.queued_bytes = 0
        self.may_send = asyncio.Event()
        self.may_send.set()
        self._connections = self._house.use(Connections)
        self.connection: Connection = self._connections.open("test", source, self, hears=hears)

    # --- what a test does ---------------------------------------------------------------------

    async def call(self, action: str, **request: Any) -> Any:
        """Call an action on this connection and return its result.

        Raises:
            ProblemError: The call was refused.
        """
        from moothall.testing.hall import ProblemError  # noqa: PLC0415 - they know each other

        reply = await self.answer(action, **request)
        if reply.problem is not None:
            raise ProblemError(action, reply.problem)
        assert reply.body is not None
        return msgspec.json.decode(reply.body)

    async def answer(self, action: str, **request: Any) -> Reply:
        """Call an action on this connection and return the reply."""
        self.heard()
        call = Call(
            action,
            msgspec.json.encode(request),
            self.connection.source,
            token=self.connection.token,
            connection=self.connection,
        )
        return await self._hall.hall.pipeline.answer(call)

    async def next_event(self) -> ReceivedEvent:
        """Return the next event, waiting for it if need be."""
        async with asyncio.timeout(WAIT_SECONDS):
            event = await self.wait_event()
        assert event is not None, f"the hall closed the connection: {self.reason}"
        return event

    async def wait_event(self) -> ReceivedEvent | None:
        """Return the next event, however long it takes; None once the hall has ended this."""
        while not self.received:
            if self.reason is not None or self.ended:
                return None
            self._came.clear()
            await self._came.wait()
        return self.received.popleft()

    async def until_live(self, feed: str) -> None:
        """Return when a feed has caught up."""
        async with asyncio.timeout(WAIT_SECONDS):
            await self.connection.subscriptions[feed].caught_up()

    def heard(self) -> None:
        """Play a sign of life."""
        self.connection.heard_at = self._hall.clock.monotonic()

    def leave(self) -> None:
        """Play a client that is gone."""
        self._connections.forget(self.connection)

    # --- what the house does ------------------------------------------------------------------

    def encode(self, push: Push, feed: str) -> bytes:
        """Implement Sink."""
        cursor = self._house.use(Cursors).of(push)
        return msgspec.json.encode(
            ["event", feed, push.stream, push.seq, cursor, push.kind, push.data, push.at_ms]
        )

    def encode_end(self, feed: str, reason: str) -> bytes:
        """Implement Sink."""
        return msgspec.json.encode(["end", feed, reason])

    def send(self, data: bytes) -> None:
        """Implement Sink: take what was sent."""
        for found in msgspec.json.decode(b"[" + data.replace(b"][", b"],[") + b"]"):
            if found[0] == "end":
                self.ended[found[1]] = found[2]
                continue
            _, feed, stream, seq, cursor, kind, text, at_ms = found
            told = msgspec.json.decode(text)
            self.received.append(ReceivedEvent(feed, stream, seq, cursor, kind, told, at_ms))
        self._came.set()

    async def drained(self) -> None:
        """Implement Sink."""
        await self.may_send.wait()

    def beat(self) -> None:
        """Implement Sink."""
        self.beats += 1

    def end(self, reason: CloseReason) -> None:
        """Implement Sink."""
        self.reason = reason
        self._connections.forget(self.connection)
        self._came.set()
