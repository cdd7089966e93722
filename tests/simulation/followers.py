"""Followers: clients that follow one feed for ever, over connections that come and go.

The hall's side of each connection is real (the conversation of the JSON-RPC doors); only the
socket is a list of bytes, of which the client reads as much as the run says, and what was not
read when the connection is lost is lost. Who comes back with its own cursor gets no event twice;
who comes back where its device has acknowledged drops repeats by (stream, number), as every
client must. All else a follower holds against the hall.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from moothall.action.connections import CloseReason, Connections
from moothall.action.cursor import Cursors
from moothall.action.hub import FeedHub
from moothall.ports.authority import Authority
from moothall.transports.backend import Backend
from moothall.transports.jsonrpc.bounds import ConversationBounds
from moothall.transports.jsonrpc.calls import Calls
from moothall.transports.jsonrpc.conversation import Conversation
from tests.simulation.world import QUEUED_BYTES_MAX, Life

STUCK_BYTES = QUEUED_BYTES_MAX // 4
"""What lies in the transport before it says that the client does not read."""

PERMISSIONS = {"board": "scores:read", "moderation": "scores:moderate", "access": "audit:read"}


class _Watched(Conversation):
    """A conversation that sees what the hub hands to its connection."""

    __slots__ = ("_authority", "_hub")

    def watch(self, authority: Authority, hub: FeedHub) -> None:
        """Hold what ``hub`` sends against ``authority``."""
        self._authority = authority
        self._hub = hub

    def send(self, data: bytes) -> None:
        """Take events for which the member still has the permission.

        A page that is read from the rows is checked when it begins, so it may go on for a moment.
        """
        claims = self.connection.claims
        for subscription in self.connection.subscriptions.values():
            feed = subscription.feed
            may = claims is not None and self._authority.allows(
                claims.member_id, feed.permission, feed.path
            )
            is_event = b'"method":"event"' in data
            assert may or self._hub.is_catching_up(subscription) or not is_event, (
                f"{feed.name} was told to a member without {feed.permission}: {data!r}"
            )
        super().send(data)


class Line:
    """One connection in memory; the Wire of its conversation."""

    def __init__(self, life: Life, number: int) -> None:
        """Connect to the hall of a life."""
        self.life = life
        self.closed: str | None = None
        """Why the hall closed it."""
        self._sent = bytearray()
        self._is_stuck = False
        house = life.hall.hall.house
        pipeline = life.hall.hall.pipeline
        backend = Backend(
            answer=pipeline.answer,
            connections=house.use(Connections),
            clock=house.clock,
            cursor_of=house.use(Cursors).of,
            make_request_id=pipeline.make_request_id,
        )
        source = f"172.16.{number // 250}.{number % 250}"
        self._conversation = _Watched(
            backend, self, door="memory", source=source, calls=Calls(), bounds=ConversationBounds()
        )
        self._conversation.watch(house.authority, house.use(FeedHub))

    # --- what the client does -----------------------------------------------------------------

    def send(self, number: int, method: str, params: Mapping[str, Any]) -> None:
        """Make a call."""
        fields = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        self._conversation.receive(msgspec.json.encode(fields))

    def read(self, count: int) -> list[bytes]:
        """Read at most ``count`` messages."""
        found: list[bytes] = []
        while len(found) < count and (end := self._sent.find(b"\n")) >= 0:
            found.append(bytes(self._sent[:end]))
            del self._sent[: end + 1]
        if self._is_stuck and len(self._sent) <= STUCK_BYTES // 2:
            self._is_stuck = False
            self._conversation.resumed()
        return found

    def lose(self) -> None:
        """Lose the connection, and what was not read."""
        self._sent.clear()
        self._conversation.lost()

    @property
    def is_open(self) -> bool:
        """Whether calls can be made."""
        return self.closed is None and not self.life.is_dead

    # --- what the hall does -------------------------------------------------------------------

    @property
    def queued_bytes(self) -> int:
        """Implement Wire."""
        return len(self._sent)

    def frame(self, message: bytes) -> bytes:
        """Implement Wire."""
        return message + b"\n"

    def write(self, data: bytes) -> None:
        """Implement Wire."""
        if self.life.is_dead:
            return
        self._sent += data
        if not self._is_stuck and len(self._sent) > STUCK_BYTES:
            self._is_stuck = True
            self._conversation.paused()

    def pause_reading(self) -> None:
        """Implement Wire: this client sends little."""

    def resume_reading(self) -> None:
        """Implement Wire."""

    def beat(self) -> None:
        """Implement Wire: the client answers at once."""
        self._conversation.heard()

    def close(self, reason: CloseReason, message: str) -> None:
        """Implement Wire."""
        self.closed = reason
        self._conversation.lost()


class Follower:
    """One member who follows one feed, whatever becomes of connections.

    Attributes:
        start: Number after which it follows; None until it has subscribed once.
        cursor: Of the last event, or of the subscription.
        events: By stream and number: what was delivered.
        may_follow: Whether the hall lets it follow, as far as it knows.
    """

    def __init__(self, member_id: str, feed: str, pause_seconds: float = 0.0) -> None:
        """Follow nothing yet.

        Args:
            member_id: Who follows.
            feed: What they follow.
            pause_seconds: How long a wait for the hall lets others go on; above 0.0 where several
                nodes serve, whose cursors may stay behind their events for a while.
        """
        self._pause_seconds = pause_seconds
        self._is_behind = pause_seconds > 0
        self.member_id = member_id
        self.feed = feed
        self.line: Line | None = None
        self.start: int | None = None
        self.cursor: str | None = None
        self.events: dict[tuple[str, int], bytes] = {}
        self.may_follow = True
        self.is_live = False
        """Whether the present connection has subscribed."""
        self.is_lazy = False
        """Whether it does not read for a while."""
        self.repeats = 0
        self.slow_ends = 0
        self._last: dict[str, int] = {}
        self._number = 0
        self._last_cursor = 0
        self._fresh = 0
        """Number of the last event of this subscription, whose cursors only rise."""
        self._acknowledged: str | None = None
        self._is_by_device = False
        """Whether the present subscription began where it had acknowledged, not where it was."""
        self._replies: dict[int, Mapping[str, Any]] = {}

    @property
    def stream(self) -> str:
        """The one stream of the feed."""
        return f"member/{self.member_id}/entries" if self.feed == "own-entries" else self.feed

    @property
    def needs(self) -> tuple[str, str]:
        """The permission it needs, and where."""
        kind, _, rest = self.feed.partition("/")
        if kind == "board":
            board_id, _, tail = rest.partition("/")
            return PERMISSIONS[tail or "board"], f"board/{board_id}"
        return {"access": "audit:read", "identity": "sessions:read"}.get(kind, "boards:list"), ""

    async def connect(self, life: Life, number: int, token: str, *, by_device: bool) -> None:
        """Connect and subscribe, from where it stands.

        Args:
            life: Of the hall.
            number: Of the connection.
            token: The member's access token.
            by_device: Resume from what was acknowledged last instead of from the own cursor.
        """
        self.lose()
        self.line = Line(life, number)
        told = await self._call("identity.authenticate", {"token": token})
        if told is None or "error" in told:
            self.lose()
            return
        after = "now" if self.cursor is None else self.cursor
        request = {"feed": self.feed, "after": after}
        self._is_by_device = by_device and self._acknowledged is not None
        if self._is_by_device:
            del request["after"]
        self._fresh = 0
        told = await self._call("feeds.subscribe", request)
        if told is None:
            self.lose()
        elif "error" in told:
            self._refused(told["error"]["data"]["name"])
        else:
            self.may_follow = self.is_live = True
            if self.start is None:
                self.cursor = told["result"]["cursor"]
                self.start = self._last_cursor = number_of(told["result"]["cursor"])

    def _refused(self, name: str) -> None:
        """Take note that the hall does not let it follow."""
        passes = (
            {"unauthenticated", "storage_unavailable"} if self._is_behind else {"unauthenticated"}
        )
        assert name in {"permission_denied", "feed_not_found", *passes}, (
            f"{self}: the feed was refused: {name}"
        )
        self.may_follow = name in passes
        self.lose()

    async def acknowledge(self) -> None:
        """Tell the hall how far it has read."""
        if self.line is None or not self.is_live or self.cursor is None:
            return
        told = await self._call("feeds.acknowledge", {"feed": self.feed, "cursor": self.cursor})
        if told is not None and "result" in told:
            self._acknowledged = told["result"]["cursor"]

    def read(self, count: int) -> int:
        """Read at most ``count`` messages, and return how many there were."""
        if self.line is None:
            return 0
        line, found = self.line, self.line.read(count)
        for message in found:
            self._take(msgspec.json.decode(message), message)
        if line.closed is not None and not line.queued_bytes:
            self.lose()
        return len(found)

    def lose(self) -> None:
        """Lose the connection."""
        if self.line is not None:
            self.slow_ends += self.line.closed == CloseReason.SLOW_READER
            self.line.lose()
        self.line = None
        self.is_live = False

    async def _call(self, method: str, params: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Make a call, and read until its reply comes; None if the connection ends before."""
        line = self.line
        assert line is not None
        self._number += 1
        number = self._number
        line.send(number, method, params)
        while number not in self._replies:
            if not line.is_open and not line.queued_bytes:
                return None
            if not self.read(1):
                await asyncio.sleep(self._pause_seconds)
            if self.line is not line:
                return None
        return self._replies.pop(number)

    def _take(self, message: Mapping[str, Any], raw: bytes) -> None:
        """Take one message of the hall."""
        method = message.get("method")
        if method is None:
            self._replies[message["id"]] = message
        elif method == "event":
            self._take_event(message["params"], raw)
        elif method == "feed_ended":
            reason = message["params"]["reason"]
            assert reason == "permission_denied", f"{self}: the feed ended: {reason}"
            self.may_follow = self.is_live = False
        else:
            assert method == "closing", message

    def _take_event(self, event: Mapping[str, Any], raw: bytes) -> None:
        """Hold an event against those before it."""
        stream, seq, cursor = event["stream"], event["seq"], number_of(event["cursor"])
        assert event["feed"] == self.feed, f"{self}: an event of {event['feed']}"
        assert stream == self.stream, f"{self}: an event of {stream}"
        assert cursor > self._fresh, f"{self}: cursor {cursor} after {self._fresh}"
        self._fresh = cursor
        last = self._last.get(stream)
        if last is not None and seq <= last:
            assert self._is_by_device, f"{self}: {stream} {seq} came again after its own cursor"
            assert (stream, seq) in self.events or cursor <= (self.start or 0), (
                f"{self}: {stream} {seq} was skipped before"
            )
            known = self.events.get((stream, seq), raw)
            assert self._is_same(known, raw), (
                f"{self}: {stream} {seq} was {known!r}, now it is {raw!r}"
            )
            self.repeats += 1
            return
        assert last is None or seq == last + 1, f"{self}: {stream} {seq} came after {last}"
        assert cursor > self._last_cursor, f"{self}: cursor {cursor} after {self._last_cursor}"
        self._last[stream], self._last_cursor = seq, cursor
        self.events[stream, seq] = raw
        self.cursor = event["cursor"]

    def _is_same(self, known: bytes, raw: bytes) -> bool:
        """Tell whether an event that comes again is the same; its cursor may have moved on."""
        if not self._is_behind:
            return known == raw
        return _without_cursor(known) == _without_cursor(raw)

    def __str__(self) -> str:
        """Name it."""
        return f"follower {self.member_id[-4:]} of {self.feed}"


def _without_cursor(raw: bytes) -> Mapping[str, Any]:
    """Return what an event tells, but for how far its reader has come."""
    told = msgspec.json.decode(raw)["params"]
    return {name: value for name, value in told.items() if name != "cursor"}


def number_of(cursor: str) -> int:
    """Return the hall-wide number up to which a cursor reaches in a feed of one stream."""
    return int(cursor.partition(".")[2].rpartition("-")[2])
