"""A conversation in JSON-RPC: many calls at a time, and events, on one connection that stays.

The door below cuts bytes into frames and moves them; everything that is the same at each
door that speaks JSON-RPC stands here: how many calls may be in flight, what waits, what leaves
in one write, and how the end is told.

What leaves in one turn of the loop is joined into one write. Replies do not make a reader
slow: while the client does not read, they wait here and count as calls in flight, so at most
``calls_max`` of them wait and nothing more is read from it. Events cannot wait for the client,
so whoever does not read those is ended as a slow reader, and resumes from its cursor (R33).

The end is told at once, replies of calls in flight may follow, then the door closes. What was
read but not begun is dropped: nothing of it was done.
"""

import asyncio
from collections import deque
from typing import Protocol

import structlog

from moothall.action.call import Call, Reply
from moothall.action.connections import MESSAGES, CloseReason
from moothall.action.push import Push
from moothall.core.errors import (
    ActionError,
    DeadlineExceededError,
    InternalError,
    RateLimitedError,
)
from moothall.transports.backend import Backend
from moothall.transports.jsonrpc.bounds import ConversationBounds
from moothall.transports.jsonrpc.calls import CANCEL_SECONDS, Calls
from moothall.transports.jsonrpc.protocol import (
    Asked,
    FrameError,
    Id,
    read_request,
    render_closing,
    render_event,
    render_feed_ended,
    render_refusal,
    render_reply,
)

_HOPELESS = frozenset({CloseReason.SLOW_READER, CloseReason.SILENT})
"""Reasons for which the end does not wait for calls in flight: nobody reads their replies."""

REST_SECONDS = 0.25
"""How long a connection is not listened to whose source has called for more than a second ahead."""

_log = structlog.get_logger("moothall.jsonrpc")


class Wire(Protocol):
    """What a door gives to a conversation. Nothing here waits or raises.

    The door calls ``paused`` and ``resumed`` of the conversation as its transport says, and
    lets it say so at no more than half of what may wait for a client.
    """

    @property
    def queued_bytes(self) -> int:
        """What was written and has not left for the client."""
        ...

    def frame(self, message: bytes) -> bytes:
        """Return a message as it stands on the wire; depends on nothing but the door."""
        ...

    def write(self, data: bytes) -> None:
        """Write frames, one or many joined."""
        ...

    def pause_reading(self) -> None:
        """Give no more frames, as far as they were not read yet."""
        ...

    def resume_reading(self) -> None:
        """Give frames again."""
        ...

    def beat(self) -> None:
        """Ask the client for a sign of life."""
        ...

    def close(self, reason: CloseReason, message: str) -> None:
        """Close once what was written has left, or after the door's own time without it."""
        ...


class Conversation:
    """One connection's conversation; the Sink of its connection.

    Args:
        backend: What it needs of the house; it opens its connection there.
        wire: The door's side.
        door: Name of the door.
        source: Address of the client, without port.
        calls: The running calls of the door, which waits for them when it stops.
        bounds: How much of anything there may be.
    """

    __slots__ = (
        "_answer",
        "_bad_frames",
        "_bounds",
        "_calls",
        "_charge_source",
        "_clock",
        "_connections",
        "_cursor_of",
        "_end_reason",
        "_end_timer",
        "_has_events",
        "_held",
        "_in_flight",
        "_in_flight_bytes",
        "_is_closed",
        "_is_deaf",
        "_is_next_charged",
        "_is_scheduled",
        "_is_stuck",
        "_loop",
        "_make_request_id",
        "_out",
        "_out_bytes",
        "_rest_timer",
        "_waiters",
        "_waiting",
        "_waiting_bytes",
        "_wire",
        "connection",
    )

    def __init__(
        self,
        backend: Backend,
        wire: Wire,
        *,
        door: str,
        source: str,
        calls: Calls,
        bounds: ConversationBounds,
    ) -> None:
        self._answer = backend.answer
        self._charge_source = backend.charge_source
        self._connections = backend.connections
        self._wire = wire
        self._clock = backend.clock
        self._cursor_of = backend.cursor_of
        self._make_request_id = backend.make_request_id
        self._calls = calls
        self._bounds = bounds
        self._loop = asyncio.get_running_loop()
        self._bad_frames = 0
        # Calls: running or with a reply that waits; then those that were read too early.
        self._in_flight = 0
        self._in_flight_bytes = 0
        self._waiting: deque[tuple[bytes, float]] = deque()
        self._waiting_bytes = 0
        self._is_deaf = False
        self._rest_timer: asyncio.TimerHandle | None = None
        self._is_next_charged = False
        # On the way out: what leaves with this turn of the loop, and replies that wait longer.
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._has_events = False
        self._is_scheduled = False
        self._held: deque[tuple[int, bytes]] = deque()
        self._is_stuck = False
        self._waiters: list[asyncio.Future[None]] = []
        # The end.
        self._end_reason: CloseReason | None = None
        self._end_timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        self.connection = backend.connections.open(door, source, self)

    @property
    def in_flight(self) -> int:
        """Calls whose replies have not left for the client."""
        return self._in_flight

    # --- from the door ------------------------------------------------------------------------

    def heard(self) -> None:
        """Note a sign of life."""
        self.connection.heard_at = self._clock.monotonic()

    def receive(self, message: bytes | bytearray | memoryview) -> None:
        """Take one whole frame."""
        self.heard()
        if self.connection.is_ending:
            return
        is_early = self._waiting or self._rest_timer is not None or self._is_full()
        if not is_early and not self._must_rest():
            self._take(message, 0)
        else:
            # Not looked into yet: what cannot run now must cost next to nothing.
            self._waiting.append((bytes(message), self._clock.monotonic()))
            self._waiting_bytes += len(message)
            if self._waiting_bytes > self._bounds.waiting_size_bytes_max:
                self.connection.end(CloseReason.PROTOCOL_ERROR)
        if self._waiting or self._is_full():
            self._stop_listening()

    def refuse(self, error: FrameError, *, is_last: bool = False) -> None:
        """Answer what is no request.

        Args:
            error: Why.
            is_last: The door cannot tell where the next frame begins, so this is the end.
        """
        if self.connection.is_ending:
            return
        self._put(self._wire.frame(render_refusal(error, self._make_request_id())))
        self._bad_frames += 1
        if is_last or self._bad_frames >= self._bounds.bad_frames_max:
            self.connection.end(CloseReason.PROTOCOL_ERROR)

    def paused(self) -> None:
        """Learn from the transport that the client does not read fast enough."""
        self._is_stuck = True

    def resumed(self) -> None:
        """Learn from the transport that the client has read."""
        self._is_stuck = False
        self._release_held()
        self._wake()

    def lost(self) -> None:
        """Let go of a connection that is gone; a second time is nothing.

        Calls that run go on to their end; nobody reads their replies.
        """
        self._is_closed = True
        if self._end_timer is not None:
            self._end_timer.cancel()
        self._connections.forget(self.connection)
        self._out.clear()
        self._out_bytes = 0
        self._held.clear()
        self._drop_waiting()
        self._wake()

    # --- the Sink of the connection -----------------------------------------------------------

    @property
    def queued_bytes(self) -> int:
        """What was sent and waits to be read by the client."""
        return self._out_bytes + self._wire.queued_bytes

    def encode(self, push: Push, feed: str) -> bytes:
        """Return an event of ``feed`` as this door writes it."""
        return self._wire.frame(render_event(push, feed, self._cursor_of(push)))

    def encode_end(self, feed: str, reason: str) -> bytes:
        """Return the word that ``feed`` gives nothing more, as this door writes it."""
        return self._wire.frame(render_feed_ended(feed, reason))

    def send(self, data: bytes) -> None:
        """Queue encoded events; a client for whom too many wait is ended."""
        if self.connection.is_ending or not data:
            return
        self._has_events = True
        self._put(data)
        if self._out_bytes > self._queued_bytes_max:
            self._flush()

    async def drained(self) -> None:
        """Return when less than half of what may wait waits to be read."""
        while (
            self._is_stuck or self._out_bytes > self._queued_bytes_max // 2
        ) and not self.connection.is_ending:
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
            await waiter

    def beat(self) -> None:
        """Send a heartbeat."""
        if not self.connection.is_ending:
            self._wire.beat()

    def end(self, reason: CloseReason) -> None:
        """Tell the client why, let replies of calls in flight follow, and close."""
        if self._is_closed or self._end_reason is not None:
            return
        if reason is CloseReason.SILENT and self._held:
            # We did not listen, because it does not read.
            reason = CloseReason.SLOW_READER
        self._end_reason = reason
        self._drop_waiting()
        self._hear_again()
        self._put(self._wire.frame(render_closing(reason, MESSAGES[reason])))
        self._release_held()
        self._wake()
        if self._in_flight and reason not in _HOPELESS:
            wait_s = self._bounds.grace_ms / 1_000
            if reason is CloseReason.SHUTDOWN:
                # The door cancels what does not end in time, and that is a reply as well.
                wait_s = self._bounds.stop_timeout_ms / 1_000 + 2 * CANCEL_SECONDS
            self._end_timer = self._loop.call_later(wait_s, self._close)
        else:
            self._close()

    # --- calls --------------------------------------------------------------------------------

    def _is_full(self) -> bool:
        bounds = self._bounds
        return (
            self._in_flight >= bounds.calls_max
            or self._in_flight_bytes >= bounds.calls_size_bytes_max
        )

    def _take(self, message: bytes | bytearray | memoryview, waited_ms: int) -> None:
        """Begin the call that a frame asks for, or refuse the frame."""
        try:
            asked = read_request(message)
        except FrameError as error:
            self.refuse(error)
            return
        deadline_ms = asked.deadline_ms
        if deadline_ms is not None:
            deadline_ms = max(1, deadline_ms - waited_ms)
        self._start(asked, deadline_ms)

    def _start(self, asked: Asked, deadline_ms: int | None) -> None:
        """Begin a call."""
        self._in_flight += 1
        self._in_flight_bytes += len(asked.params)
        connection = self.connection
        call = Call(
            asked.method,
            asked.params,
            connection.source,
            connection.token,
            asked.idempotency_key,
            deadline_ms,
            connection=connection,
            is_charged=True,
        )
        self._calls.start(self._run(asked.id, call))

    async def _run(self, asked_id: Id, call: Call) -> None:
        """Answer one call, whatever happens."""
        try:
            data = render_reply(asked_id, await self._answer(call))
        except asyncio.CancelledError:
            # Only a door that stops cancels.
            reason = "the hall stopped before the call ended; its outcome is unknown"
            error = DeadlineExceededError(reason)
            self._finish(len(call.body), self._render_failure(asked_id, error))
            raise
        except Exception as error:  # noqa: BLE001 - a bug here is answered and logged as any other
            data = self._render_failure(asked_id, InternalError(), error)
        self._finish(len(call.body), data)

    def _render_failure(
        self, asked_id: Id, told: ActionError, cause: Exception | None = None
    ) -> bytes:
        """Return the answer to a call that the pipeline did not answer."""
        request_id = self._make_request_id()
        if cause is not None:
            _log.error("a call failed outside the pipeline", request_id=request_id, exc_info=cause)
        return render_reply(asked_id, Reply(request_id, problem=told.problem(request_id)))

    def _finish(self, size_bytes: int, reply: bytes) -> None:
        """Let a reply leave, now or when the client has read more."""
        data = self._wire.frame(reply)
        if self._is_stuck and self._end_reason is None and not self._is_closed:
            self._held.append((size_bytes, data))
        else:
            self._leave(size_bytes, data)

    def _leave(self, size_bytes: int, data: bytes) -> None:
        """Send a reply; its call is over, and another may begin."""
        self._in_flight -= 1
        self._in_flight_bytes -= size_bytes
        if self._is_closed:
            return
        self._put(data)
        if self._end_reason is not None:
            if not self._in_flight:
                self._close()
            return
        self._start_waiting()

    def _start_waiting(self) -> None:
        """Take frames that were read too early, as many as may run now; then listen again."""
        while self._waiting and self._rest_timer is None:
            if self._is_full() or self._must_rest():
                return
            message, came_at = self._waiting.popleft()
            self._waiting_bytes -= len(message)
            self._take(message, int((self._clock.monotonic() - came_at) * 1_000))
        if not self._waiting and self._rest_timer is None and not self._is_full():
            self._hear_again()

    def _must_rest(self) -> bool:
        """Charge the source for the next frame; rest if its time has not come yet (R35).

        A flood is not refused call by call, which would cost nearly as much as answering it:
        nothing more is read from it until the next one may begin.
        """
        if self._is_next_charged:
            self._is_next_charged = False
            return False
        try:
            delay = self._charge_source(self.connection.source)
        except RateLimitedError:
            delay = REST_SECONDS
        else:
            self._is_next_charged = delay > 0.0
        if not delay:
            return False
        self._rest_timer = self._loop.call_later(delay, self._on_rest_timer)
        return True

    def _on_rest_timer(self) -> None:
        self._rest_timer = None
        self.heard()  # it was not listened to meanwhile
        self._start_waiting()

    def _stop_listening(self) -> None:
        if not self._is_deaf:
            self._is_deaf = True
            self._wire.pause_reading()

    def _release_held(self) -> None:
        """Let replies leave that waited, as long as the client reads or is told the end."""
        while self._held and (not self._is_stuck or self._end_reason is not None):
            self._leave(*self._held.popleft())

    def _drop_waiting(self) -> None:
        if self._rest_timer is not None:
            self._rest_timer.cancel()
            self._rest_timer = None
        self._waiting.clear()
        self._waiting_bytes = 0

    def _hear_again(self) -> None:
        """Resume reading, if it paused; until now the client could not be heard."""
        if self._is_deaf:
            self._is_deaf = False
            self.heard()
            self._wire.resume_reading()

    # --- on the way out -----------------------------------------------------------------------

    @property
    def _queued_bytes_max(self) -> int:
        return self._connections.bounds.queued_bytes_max

    def _put(self, data: bytes) -> None:
        """Let a frame leave with this turn of the loop."""
        if self._is_closed:
            return
        self._out.append(data)
        self._out_bytes += len(data)
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Write what has gathered, and see whether the client keeps up."""
        self._is_scheduled = False
        if not self._out:
            return
        data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out.clear()
        self._out_bytes = 0
        has_events, self._has_events = self._has_events, False
        self._wire.write(data)
        if has_events and self._wire.queued_bytes > self._queued_bytes_max:
            self.connection.end(CloseReason.SLOW_READER)
        if not self._is_stuck:
            self._wake()

    def _wake(self) -> None:
        """Let everybody look again who waits for the client to read."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _close(self) -> None:
        """Write what is left and let the door close."""
        if self._is_closed:
            return
        assert self._end_reason is not None
        if self._end_timer is not None:
            self._end_timer.cancel()
        self._flush()
        self._is_closed = True
        self._wire.close(self._end_reason, MESSAGES[self._end_reason])
