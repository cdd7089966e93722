"""Following a feed: what happens at a hall, in order, without gap or repeat, across breaks.

A feed has a connection of its own. So it may stop reading where its events are not taken, and
no call and no other feed waits for that. The hall then ends the slow reader, and the feed goes
on from the last event that came. Which ends of a connection are final says `check_may_go_on`.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import msgspec

from moothall.client.errors import (
    CallError,
    CallTimeoutError,
    ClientError,
    FeedEndedError,
    HallUnreachableError,
    SessionEndedError,
)
from moothall.client.exchange import HTTP_OK
from moothall.client.frames import FeedEnded, Notice, Pushed, Subscribed, read_params
from moothall.client.line import Ending, Line, OnNotice
from moothall.client.link import Link
from moothall.client.problems import read_problem
from moothall.client.retry import Limits, may_succeed_later, wait_ms
from moothall.client.world import World

ACKNOWLEDGE_EVERY_SECONDS = 1.0

_LAST_WORD_SECONDS = 5.0
"""How long closing waits until the last event is acknowledged."""
_STREAMS_MAX = 1_000
"""Streams of one feed whose last number is remembered; those that were silent longest go."""
_REFETCH = "what happened meanwhile is not kept: follow with after='now', then fetch anew"
_ENDED = "feed_ended"

OnBreak = Callable[[str, float], None]
"""Learns why a connection broke, and after how many seconds the next is tried."""
Acknowledge = Callable[[str, str], Awaitable[None]]
"""Tells the hall how far a feed was read: its name and a cursor."""


class Event(msgspec.Struct, frozen=True):
    """Something that happened.

    Attributes:
        feed: Name of the feed.
        stream: Stream of the hall that it belongs to.
        seq: Its number there; with the stream, it names the event.
        cursor: Follow the feed ``after`` this to get what happened later.
        kind: What happened, such as ``leaderboards.entry_verified``.
        at_ms: When, in UTC epoch milliseconds.
        data: What the room tells of it.
    """

    feed: str
    stream: str
    seq: int
    cursor: str
    kind: str
    at_ms: int
    data: Any


class Feed:
    """The events of one feed; made by :meth:`Hall.follow`. Use it in ``async for``.

    It begins with the first event that is asked for, or with :meth:`open`; in ``async with``
    it is opened and closed.
    """

    def __init__(  # noqa: PLR0913 - what the hall gives it, each of its own kind
        self,
        name: str,
        *,
        after: str | None,
        make_link: Callable[[OnNotice], Link],
        acknowledge: Acknowledge,
        forget: Callable[["Feed"], None],
        on_break: OnBreak | None,
        limits: Limits,
        world: World,
    ) -> None:
        self.name = name
        self.on_news: Callable[[], None] = lambda: None
        """Called when an event has come, or the end."""
        self._asked = after
        self._began: str | None = None
        self._cursor: str | None = None
        self._seen: dict[str, int] = {}
        self._waiting: deque[Event] = deque()
        self._failure: BaseException | None = None
        self._link = make_link(self._take)
        self._line: Line | None = None
        self._forget = forget
        self._on_break = on_break or _tell_nobody
        self._limits = limits
        self._world = world
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._opened = asyncio.Event()
        self._is_open = False
        self._is_flowing = False
        self._is_closed = False
        self._follower: asyncio.Task[None] | None = None
        self._receipts = _Receipts(name, acknowledge, world)
        self._backoff = replace(
            limits, backoff_ms=limits.reconnect_ms, backoff_max_ms=limits.reconnect_max_ms
        )
        self._taken: Event | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        self.begin()
        while True:
            if (event := self.take()) is not None:
                self.read_on()
                return event
            if self._failure is not None:
                raise self._failure
            if self._is_closed:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()

    async def __aenter__(self) -> Self:
        try:
            await self.open()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def cursor(self) -> str | None:
        """Where one would go on: after the event taken last, or where the feed began."""
        return self._began if self._taken is None else self._taken.cursor

    @property
    def failure(self) -> BaseException | None:
        """Why nothing more will come after the events that wait, or None."""
        return self._failure

    def begin(self) -> None:
        """Begin to follow; a second time is nothing. Only the thread of the loop calls it."""
        if self._follower is None and not self._is_closed and self._failure is None:
            self._follower = asyncio.create_task(self._follow())
            self._follower.add_done_callback(self._finish)

    @property
    def is_closed(self) -> bool:
        """Whether it was closed; events that wait can still be taken."""
        return self._is_closed

    async def open(self) -> None:
        """Return when the hall delivers the feed: what happens from now on will come.

        Raises:
            CallError: not_found. There is no such feed; failed_precondition, ``cursor_expired``:
                what lies after the cursor is not kept; or another refusal.
            HallUnreachableError: The hall did not answer, also when asked again.
        """
        self.begin()
        await self._opened.wait()
        if self._failure is not None and not self._waiting:
            raise self._failure

    def take(self) -> Event | None:
        """Return the next event that has come, or None. Never waits; any thread may call it."""
        try:
            event = self._waiting.popleft()
        except IndexError:
            return None
        self._taken = event
        return event

    def read_on(self) -> None:
        """Go on reading where there is room again; only the thread of the loop calls it."""
        # Not at once, or a full queue would stop and start with each event.
        if not self._room.is_set() and len(self._waiting) <= self._limits.events_max // 2:
            self._room.set()
            if self._line is not None:
                self._line.resume()

    async def acknowledge(self) -> None:
        """Tell the hall that all events up to the one taken last were dealt with.

        The next session on this device then goes on after it. Told at most once a second, and
        at :meth:`close`; nothing is waited for.

        Raises:
            CallError: The hall refused the acknowledgement before.
        """
        if (refusal := self.take_refusal()) is not None:
            raise refusal
        if self._taken is not None:
            self.acknowledge_soon(self._taken.cursor)

    def acknowledge_soon(self, cursor: str) -> None:
        """Have a cursor acknowledged; only the thread of the loop calls it."""
        if not self._is_closed:
            self._receipts.want(cursor)

    def take_refusal(self) -> CallError | None:
        """Return once why the hall refused an acknowledgement; any thread may call it."""
        return self._receipts.take_refusal()

    async def close(self) -> None:
        """Follow no more. What was acknowledged is told first, within 5 s."""
        self._is_closed = True
        follower, self._follower = self._follower, None
        try:
            if follower is not None:
                follower.cancel()
                await asyncio.wait([follower])
            await self._link.close()
            await self._receipts.close()
        finally:
            self._forget(self)
            self._tell()
            self._opened.set()

    # --- the connection -----------------------------------------------------------------------

    def _finish(self, follower: asyncio.Task[None]) -> None:
        """Note why nothing more comes; the events that wait are still given out."""
        self._failure = None if follower.cancelled() else follower.exception()
        self._forget(self)
        self._opened.set()
        self._tell()

    async def _follow(self) -> None:
        """Keep a connection that delivers the feed, until an error says why not."""
        attempt = 0
        while True:
            await self._room.wait()
            cursor, began_s = self._cursor, self._world.monotonic()
            asked_ms: int | None = None
            try:
                ending = await self._deliver()
                check_may_go_on(self.name, ending)
                reason = ending.message or ending.reason
            except (CallError, HallUnreachableError) as error:
                if not self._may_try_again(error, attempt):
                    raise
                reason = str(error)
                asked_ms = error.retry_after_ms if isinstance(error, CallError) else None
            finally:
                self._line = None
                await self._link.close()
            lasted_ms = (self._world.monotonic() - began_s) * 1_000
            if self._cursor != cursor or lasted_ms > self._limits.reconnect_max_ms:
                attempt = 0
            attempt += 1
            wait_s = wait_ms(self._backoff, attempt, self._world.fraction(), asked_ms) / 1_000
            self._on_break(reason, wait_s)
            await self._world.sleep(wait_s)

    async def _deliver(self) -> Ending:
        """Open a connection, follow the feed on it, and return why it ended."""
        self._is_flowing = False
        line = self._line = await self._link.open_signed()
        is_first = self._cursor is None
        after = self._cursor or self._asked
        request = {"feed": self.name} if after is None else {"feed": self.name, "after": after}
        try:
            answer = await line.call(
                "feeds.subscribe",
                msgspec.json.encode(request),
                timeout_s=self._limits.attempt_timeout_ms / 1_000,
            )
            if answer.status != HTTP_OK:
                raise _explained(read_problem(answer))
            start = _start_of(answer.body)
            if is_first:
                self._began = start
            if self._cursor is None:
                # Nothing came yet; if nothing does before a break, it begins here again.
                self._cursor = start
        except HallUnreachableError as error:
            if line.over.done():
                check_may_go_on(self.name, line.over.result())
            # The answer may wait behind events that nobody takes.
            if not (isinstance(error, CallTimeoutError) and self._is_flowing):
                raise
        self._is_open = True
        self._opened.set()
        # Who gives up waiting must not end it by that.
        return await asyncio.shield(line.over)

    def _may_try_again(self, error: CallError | HallUnreachableError, attempt: int) -> bool:
        """Tell whether the connection is tried once more after this error.

        What was never there is given up like a call; what was there may come back any day.
        """
        if isinstance(error, CallError) and not may_succeed_later(error.answer):
            return False
        return self._is_open or attempt < self._limits.retries

    def _take(self, notice: Notice) -> None:
        """Take an event, or the end of the feed, from the connection."""
        line = self._line
        if line is None:
            return
        if notice.method == _ENDED:
            ended = read_params(notice, FeedEnded)
            if ended.feed == self.name:
                line.end(Ending(_ENDED, ended.reason))
            return
        if notice.method != "event":
            return
        pushed = read_params(notice, Pushed)
        if pushed.feed != self.name:
            return
        self._is_flowing = True
        if pushed.seq <= self._seen.get(pushed.stream, -1):
            return
        self._remember(pushed.stream, pushed.seq)
        self._cursor = pushed.cursor
        self._waiting.append(
            Event(
                feed=pushed.feed,
                stream=pushed.stream,
                seq=pushed.seq,
                cursor=pushed.cursor,
                kind=pushed.kind,
                at_ms=pushed.at,
                data=pushed.data,
            )
        )
        if len(self._waiting) >= self._limits.events_max:
            self._room.clear()
            line.pause()
        self._tell()

    def _remember(self, stream: str, seq: int) -> None:
        """Note the last number of a stream; the streams are kept in the order of their use."""
        self._seen.pop(stream, None)
        self._seen[stream] = seq
        if len(self._seen) > _STREAMS_MAX:
            del self._seen[next(iter(self._seen))]

    def _tell(self) -> None:
        self._news.set()
        self.on_news()


class _Receipts:
    """Tells the hall how far a feed was read, joined: at most once a second."""

    def __init__(self, feed: str, acknowledge: Acknowledge, world: World) -> None:
        self._feed = feed
        self._acknowledge = acknowledge
        self._world = world
        self._wanted: str | None = None
        self._told_s: float | None = None
        self._refusal: CallError | None = None
        self._teller: asyncio.Task[None] | None = None

    def take_refusal(self) -> CallError | None:
        """Return once why the hall refused a cursor."""
        refusal, self._refusal = self._refusal, None
        return refusal

    def want(self, cursor: str) -> None:
        """Have a cursor told soon."""
        self._wanted = cursor
        if self._teller is None or self._teller.done():
            self._teller = asyncio.create_task(self._tell())

    async def close(self) -> None:
        """Tell what was not told yet, if that succeeds within 5 s."""
        if self._teller is not None:
            self._teller.cancel()
            await asyncio.wait([self._teller])
        if self._wanted is not None:
            with contextlib.suppress(ClientError, TimeoutError):
                async with asyncio.timeout(_LAST_WORD_SECONDS):
                    await self._acknowledge(self._feed, self._wanted)

    async def _tell(self) -> None:
        while (cursor := self._wanted) is not None:
            if self._told_s is not None:
                since_s = self._world.monotonic() - self._told_s
                if since_s < ACKNOWLEDGE_EVERY_SECONDS:
                    await self._world.sleep(ACKNOWLEDGE_EVERY_SECONDS - since_s)
                    continue
            self._told_s = self._world.monotonic()
            try:
                await self._acknowledge(self._feed, cursor)
            except CallError as error:
                self._refusal = error
            except ClientError:
                continue  # The hall is away; a second later it may be there.
            if self._wanted == cursor:
                self._wanted = None


def check_may_go_on(feed: str, ending: Ending) -> None:
    """Raise what makes it useless to open a connection anew. Pure.

    Raises:
        SessionEndedError: Somebody must sign in first.
        FeedEndedError: The hall would end it again.
    """
    match ending.reason:
        case "session_ended" | "idle":
            raise SessionEndedError(
                ending.message or "the session has ended",
                "sign in again: moothall login NAME",
                reason=ending.reason,
            )
        case "feed_ended" if ending.message != "internal":
            raise FeedEndedError(
                f"the hall gives nothing more of {feed} ({ending.message})",
                "ask an administrator of the hall for the permission",
                feed=feed,
                reason=ending.message,
            )
        case "closed_by_administrator" | "protocol_error" | "too_large":
            raise FeedEndedError(
                f"the connection for {feed} was ended: {ending.message or ending.reason}",
                feed=feed,
                reason=ending.reason,
            )


def _explained(error: CallError | HallUnreachableError) -> CallError | HallUnreachableError:
    """Say what helps where the hall does not."""
    if isinstance(error, CallError) and error.error_name == "cursor_expired":
        error.remedy = error.remedy or _REFETCH
    return error


def _start_of(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=Subscribed).cursor
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise HallUnreachableError(
            f"the answer to feeds.subscribe is not understood: {error}"
        ) from error


def _tell_nobody(_reason: str, _wait_s: float) -> None:
    """Keep a break to oneself."""
