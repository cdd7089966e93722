"""The hub: from the commit to everybody who follows, without a query (R33).

Readers who see the same feed through the same door are one group. What a batch of commits wrote
is encoded and joined once for each group, and the same bytes go to each of its readers. A
reader who begins or comes back reads pages from the database until there is no more,
and only then joins its group; so what was missed has one source, the rows.

A reader that is to join misses nothing and sees nothing twice:

- while it reads pages it is in the group's ``catching``; whatever is published meanwhile
  marks it, and it reads on;
- a page may hold an event whose commit is durable but was not published yet. The reader
  joins with a floor for each stream, and what lies at or below it is not delivered again.

Where numbers appear out of order, the cursor of an event names what its readers have been sent
beyond the settled number (:mod:`moothall.action.cursor`). In a feed of one stream that is the
event itself. In one of several it is also the last event of each other stream. For those who are
live that is what their group was given, since each has reached its floor in each stream. Who
joins may have read more of a stream, so its own reach is kept until then.

Whoever edits this file: :meth:`FeedHub._deliver` is paid for each reader of each event.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence

import structlog

from moothall.action.connections import Connection
from moothall.action.cursor import BEYOND_MAX, Place, Reach
from moothall.action.feed import OpenFeed
from moothall.action.push import Push
from moothall.core.errors import (
    DeadlineExceededError,
    OverloadedError,
    StorageUnavailableError,
)
from moothall.ports.authority import Authority
from moothall.ports.database import Database, Transaction

PAGE_ROWS = 100
"""Events of a stream that one page holds."""

READERS_MAX = 32
"""Readers who catch up at the same time; others wait for their turn."""

RETRY_SECONDS = 1.0
"""Pause before a page that could not be read is tried again."""

# From the end of the stream backwards, over what the reader will be sent.
_START = """
SELECT seq FROM action_event WHERE stream = $1 AND cursor <= $2 ORDER BY seq DESC LIMIT 1
"""

_BEYOND = """
SELECT stream, seq, cursor FROM action_event WHERE cursor IN ($1, $2, $3, $4) ORDER BY cursor
"""

_PAGE = """
SELECT stream, seq, cursor, kind, at_ms, data FROM action_event
WHERE stream = $1 AND seq > $2 ORDER BY seq LIMIT $3
"""

_log = structlog.get_logger("moothall.feeds")


class Group:
    """Readers who see the same feed through the same door."""

    __slots__ = ("catching", "feed", "joining", "last", "live", "reach", "streams", "version")

    def __init__(self, feed: str, streams: tuple[str, ...], version: int) -> None:
        self.feed = feed
        self.streams = streams
        self.version = version
        """Of the bindings by which its readers were last checked."""
        self.last: Push | None = None
        """What was delivered last; those who are live were sent all up to it."""
        self.reach: Reach | None = None
        """What was delivered, by stream: of several streams whose numbers are out of order."""
        self.live: set[Subscription] = set()
        self.joining: set[Subscription] = set()
        self.catching: set[Subscription] = set()

    def readers(self) -> "list[Subscription]":
        """Return everybody in it."""
        return [*self.live, *self.joining, *self.catching]


GroupKey = tuple[str, str, tuple[str, ...]]


class Subscription:
    """One reader of one feed."""

    __slots__ = (
        "_hub",
        "_is_over",
        "_task",
        "connection",
        "feed",
        "floors",
        "is_behind",
        "is_paused",
        "key",
        "reach",
        "reader_id",
        "start",
    )

    def __init__(
        self,
        hub: "FeedHub",
        connection: Connection,
        feed: OpenFeed,
        start: Place,
        reader_id: str,
    ) -> None:
        self._hub = hub
        self.reader_id = reader_id
        """The member who follows; what they hold is kept in memory until it is over."""
        self._task: asyncio.Task[None] | None = None
        self.connection = connection
        self.feed = feed
        self.key: GroupKey = (connection.door, feed.name, feed.streams)
        self.start = start
        """Where it stands, or stood when it went live."""
        self.reach: Reach | None = None
        """The same by stream while it joins, where numbers appear out of order."""
        self.floors: dict[str, int] = {}
        """By stream: what was delivered from the rows, so that it is not delivered again."""
        self.is_behind = False
        """Whether something was published while it read a page."""
        self._is_over = False
        self.is_paused = False

    def begin(self) -> None:
        """Catch up, then go live."""
        self._task = asyncio.get_running_loop().create_task(self._hub.catch_up(self))

    def passes(self, pushes: Iterable[Push]) -> bool:
        """Drop the floors that ``pushes`` have reached; True when none is left."""
        for push in pushes:
            if push.seq >= self.floors.get(push.stream, 0):
                self.floors.pop(push.stream, None)
        return not self.floors

    async def caught_up(self) -> None:
        """Return when it has read what it missed."""
        if self._task is not None:
            await asyncio.shield(self._task)

    def has_ended(self) -> bool:
        """Tell whether it is over."""
        return self._is_over

    def pause(self) -> None:
        """Deliver nothing until :meth:`resume`; a second time is nothing."""
        if not self.is_paused:
            self.is_paused = True
            self.start = self._hub.place_of(self)
            self._stop()

    def resume(self) -> None:
        """Go on where it was when it paused."""
        if self.is_paused and not self._is_over:
            self.is_paused = False
            self._hub.add(self)

    def cancel(self) -> None:
        """Follow no more; a second time is nothing."""
        if not self._is_over:
            self._is_over = True
            self._hub.release(self.reader_id)
        self._stop()
        if self.connection.subscriptions.get(self.feed.name) is self:
            del self.connection.subscriptions[self.feed.name]

    def _stop(self) -> None:
        self._hub.remove(self)
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()


class FeedHub:
    """All readers of this process."""

    def __init__(self, database: Database, authority: Authority) -> None:
        """Read pages from ``database``; ask ``authority`` whether a reader may go on."""
        self._database = database
        self._authority = authority
        self._groups: dict[GroupKey, Group] = {}
        self._by_stream: dict[str, set[Group]] = {}
        self._fresh: list[Push] = []
        self.settled: int | None = None
        """Up to which number no event is missing, where numbers may appear out of order."""
        self.published = 0
        """Events that became known here since the start, followed or not."""
        self.delivered = 0
        """Events that readers got right after the commit, each counted for each reader."""
        self.read_later = 0
        """Events that readers got from the rows, because they began or came back."""
        self.on_delivery: Callable[[Push], None] = lambda _newest: None
        """Called when what was published has been sent, with its newest event; must not raise."""
        self._turns = asyncio.Semaphore(READERS_MAX)

    @property
    def readers(self) -> int:
        """How many subscriptions there are."""
        return sum(len(group.readers()) for group in self._groups.values())

    # --- from the commit --------------------------------------------------------------------

    def publish(self, pushes: Sequence[Push]) -> None:
        """Deliver what a commit wrote, in this turn of the loop; in the order of the commits."""
        self.published += len(pushes)
        if not self._by_stream:
            return
        wanted = [push for push in pushes if push.stream in self._by_stream]
        if not wanted:
            return
        if not self._fresh:
            asyncio.get_running_loop().call_soon(self._deliver)
        self._fresh += wanted

    def _deliver(self) -> None:
        """Hand everything that was published to its readers."""
        pushes, self._fresh = self._fresh, []
        version = self._authority.version
        of_group: dict[Group, list[Push]] = {}
        for push in pushes:
            for group in self._by_stream.get(push.stream, ()):
                of_group.setdefault(group, []).append(push)
        for group, found in of_group.items():
            if group.version != version:
                self._check(group, version)
            for subscription in group.catching:
                subscription.is_behind = True
            if group.live or group.joining:
                self._send(group, found)
        self.on_delivery(pushes[-1])

    def _send(self, group: Group, pushes: list[Push]) -> None:
        """Encode once, send to all."""
        if group.reach is not None:
            pushes = [group.reach.placed(push, push.reached.settled) for push in pushes]
        encode = next(iter(group.live or group.joining)).connection.sink.encode
        frames = [encode(push, group.feed) for push in pushes]
        data = b"".join(frames)
        group.last = pushes[-1]
        self.delivered += len(pushes) * len(group.live)
        # Copies, because a reader whose queue is full leaves while it is sent to.
        for subscription in list(group.live):
            subscription.connection.sink.send(data)
        for subscription in list(group.joining):
            subscription.connection.sink.send(self._choose(subscription, pushes, frames, data))
            if subscription.passes(pushes) and subscription in group.joining:
                group.joining.discard(subscription)
                group.live.add(subscription)
                subscription.reach = None

    def _choose(
        self, subscription: Subscription, pushes: list[Push], frames: list[bytes], data: bytes
    ) -> bytes:
        """Return what of a batch a reader who joins has not got from the rows.

        That is ``data``, which all frames are, for nearly all of them: one whose feed has a stream
        that is quiet stays among those who join.
        """
        sink, reach, new = subscription.connection.sink, subscription.reach, []
        is_all, last = True, None
        for push, frame in zip(pushes, frames, strict=True):
            if push.seq <= subscription.floors.get(push.stream, 0):
                is_all = False
                continue
            # It may have read of another stream what was not delivered here yet.
            last = push if reach is None else reach.placed(push, push.reached.settled)
            is_all = is_all and last is push
            new.append(frame if last is push else sink.encode(last, subscription.feed.name))
        if last is not None:
            subscription.start = last.reached
        self.delivered += len(new)
        return data if is_all else b"".join(new)

    # --- readers ------------------------------------------------------------------------------

    def subscribe(
        self, connection: Connection, feed: OpenFeed, start: Place, reader_id: str
    ) -> Subscription:
        """Deliver ``feed`` to a connection, beginning after ``start``.

        One that follows the feed already begins anew from there. ``reader_id`` is the member
        whose call it is; they are kept in memory.
        """
        is_kept = self._authority.keep(reader_id)
        assert is_kept, "whose call is under way is in memory"
        if (known := connection.subscriptions.get(feed.name)) is not None:
            known.cancel()
        subscription = Subscription(self, connection, feed, start, reader_id)
        connection.subscriptions[feed.name] = subscription
        self.add(subscription)
        return subscription

    def add(self, subscription: Subscription) -> None:
        """Let a reader catch up from where it stands."""
        feed = subscription.feed
        group = self._groups.get(subscription.key)
        if group is None:
            group = Group(feed.name, feed.streams, self._authority.version)
            if self.settled is not None and len(feed.streams) > 1:
                group.reach = Reach(0, {})
            self._groups[subscription.key] = group
            for stream in feed.streams:
                self._by_stream.setdefault(stream, set()).add(group)
        group.catching.add(subscription)
        if self._may_follow(subscription):  # bindings may have changed since it was asked
            subscription.begin()
        else:
            self.end(subscription, "permission_denied")

    def is_catching_up(self, subscription: Subscription) -> bool:
        """Tell whether a reader has not joined its group yet."""
        group = self._groups.get(subscription.key)
        return group is not None and subscription in group.catching

    def place_of(self, subscription: Subscription) -> Place:
        """Return up to where a reader was sent what there was."""
        group = self._groups.get(subscription.key)
        if group is None or group.last is None or subscription not in group.live:
            return subscription.start
        return group.last.reached

    def remove(self, subscription: Subscription) -> None:
        """Take a reader out of its group; a second time is nothing."""
        group = self._groups.get(subscription.key)
        if group is None:
            return
        for members in (group.live, group.joining, group.catching):
            members.discard(subscription)
        if not (group.live or group.joining or group.catching):
            del self._groups[subscription.key]
            for stream in group.streams:
                self._by_stream[stream].discard(group)
                if not self._by_stream[stream]:
                    del self._by_stream[stream]

    def release(self, reader_id: str) -> None:
        """Keep what a member holds in memory no longer for a subscription that is over."""
        self._authority.release(reader_id)

    def check_all(self) -> None:
        """End what readers may follow no longer, since bindings have changed."""
        version = self._authority.version
        for group in list(self._groups.values()):
            if group.version != version:
                self._check(group, version)

    def _check(self, group: Group, version: int) -> None:
        """Ask again for each reader of a group; from memory, about a microsecond each."""
        group.version = version
        for subscription in group.readers():
            if not self._may_follow(subscription):
                self.end(subscription, "permission_denied")

    def _may_follow(self, subscription: Subscription) -> bool:
        claims, feed = subscription.connection.claims, subscription.feed
        return (
            claims is not None
            and claims.member_id == subscription.reader_id
            and self._authority.allows(claims.member_id, feed.permission, feed.path)
        )

    @staticmethod
    def end(subscription: Subscription, reason: str) -> None:
        """End a reader's subscription, and say so."""
        subscription.cancel()
        sink = subscription.connection.sink
        sink.send(sink.encode_end(subscription.feed.name, reason))

    # --- catching up --------------------------------------------------------------------------

    async def catch_up(self, subscription: Subscription) -> None:
        """Send what lies between the reader's cursor and now, then let it join its group."""
        while not subscription.has_ended():
            try:
                await self._send_pages(subscription)
            except (StorageUnavailableError, OverloadedError, DeadlineExceededError) as error:
                _log.warning("a reader waits for the database", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
            except Exception as error:  # noqa: BLE001 - a bug ends this feed, and says so
                _log.error("a feed failed", feed=subscription.feed.name, exc_info=error)
                self.end(subscription, "internal")
            else:
                return

    async def _send_pages(self, subscription: Subscription) -> None:
        """Send page after page; join when one held all there was."""
        sink, feed = subscription.connection.sink, subscription.feed
        async with self._turns:
            positions, reach = await self._database.read(
                lambda tx: find_positions(tx, feed.streams, subscription.start)
            )
        while not subscription.has_ended():
            subscription.is_behind = False
            settled = self.settled  # before the page is read, or it could miss what is settled
            async with self._turns:
                pushes, is_last = await self._database.read(lambda tx: read_page(tx, positions))
            for push in pushes:
                await sink.drained()
                if subscription.has_ended():
                    return
                if settled is not None:
                    push = reach.placed(push, settled)  # noqa: PLW2901 - the same event
                sink.send(sink.encode(push, feed.name))
                self.read_later += 1
                positions[push.stream] = push.seq
                subscription.start = push.reached
            if is_last and not subscription.is_behind:
                subscription.reach = None if settled is None else reach
                self._join(subscription, positions)
                return
            # Neither a read nor a queue with room suspends: without this, whoever missed much
            # would keep everybody else waiting (R35).
            await asyncio.sleep(0)

    def _join(self, subscription: Subscription, floors: dict[str, int]) -> None:
        """Let a reader who has caught up get what is published from now on."""
        group = self._groups.get(subscription.key)
        if group is not None and subscription in group.catching:
            subscription.floors = {stream: seq for stream, seq in floors.items() if seq}
            group.catching.discard(subscription)
            group.joining.add(subscription)


async def find_positions(
    tx: Transaction, streams: Sequence[str], place: Place
) -> tuple[dict[str, int], Reach]:
    """Return the number in each stream up to which a place reaches, and the place by stream."""
    positions: dict[str, int] = {}
    numbers: dict[str, int] = {}
    if place.beyond:
        filled = (*place.beyond, *(0,) * (BEYOND_MAX - len(place.beyond)))  # 0 is no event's
        for stream, seq, number in await tx.fetch_all(_BEYOND, *filled):
            if stream in streams:
                positions[stream], numbers[stream] = seq, number
    for stream in streams:
        if stream not in positions:
            row = await tx.fetch_one(_START, stream, place.settled)
            positions[stream] = 0 if row is None else row[0]
    return positions, Reach(place.settled, numbers)


async def read_page(tx: Transaction, positions: dict[str, int]) -> tuple[list[Push], bool]:
    """Return what follows ``positions``, in the order of the cursors, and whether it is all.

    Where a stream has more than a page, nothing beyond its last row is given, because a
    reader remembers one cursor for all its streams.
    """
    pushes: list[Push] = []
    end: int | None = None
    for stream, seq in positions.items():
        rows = await tx.fetch_all(_PAGE, stream, seq, PAGE_ROWS)
        page = [Push(*row) for row in rows]
        if len(page) == PAGE_ROWS:
            end = page[-1].cursor if end is None else min(end, page[-1].cursor)
        pushes += page
    pushes.sort(key=lambda push: push.cursor)
    if end is None:
        return pushes, True
    return [push for push in pushes if push.cursor <= end], False
