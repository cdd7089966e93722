"""Connections: who is there by an open connection, and when one of them must go.

A door makes a :class:`Connection` for each client that stays, hands it to the house with each
call, and gives it a :class:`Sink`. All times of a connection's life are kept here, on the
steady clock, by one look a second through all of them.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import structlog

from moothall.core.errors import TooManyConnectionsError
from moothall.ports.clock import Clock

if TYPE_CHECKING:
    from moothall.action.hub import Subscription
    from moothall.action.push import Push
    from moothall.action.token import Claims

LOOK_EVERY_SECONDS = 1.0

_log = structlog.get_logger("moothall.connections")


class CloseReason(StrEnum):
    """Why the house ends a connection; the client is told before."""

    SHUTDOWN = "shutdown"
    SESSION_ENDED = "session_ended"
    IDLE = "idle"
    SILENT = "silent"
    UNAUTHENTICATED = "unauthenticated"
    TOKEN_EXPIRED = "token_expired"  # noqa: S105 - a reason, no secret
    SLOW_READER = "slow_reader"
    PROTOCOL_ERROR = "protocol_error"
    ADMINISTRATOR = "closed_by_administrator"


MESSAGES = {
    CloseReason.SHUTDOWN: "the hall stops; connect again in a moment",
    CloseReason.SESSION_ENDED: "the session has ended; sign in again",
    CloseReason.IDLE: "signed out, because nothing was done for too long; sign in again",
    CloseReason.SILENT: "nothing was heard from this client; answer heartbeats",
    CloseReason.UNAUTHENTICATED: "nobody signed in on this connection in time",
    CloseReason.TOKEN_EXPIRED: "the access token expired; renew it and connect again",
    CloseReason.SLOW_READER: "too much waits to be read; connect again and resume from your cursor",
    CloseReason.PROTOCOL_ERROR: "the frames cannot be understood",
    CloseReason.ADMINISTRATOR: "an administrator closed this connection",
}


class Sink(Protocol):
    """What a door does for a connection. Nothing here waits or raises."""

    @property
    def queued_bytes(self) -> int:
        """How much was sent and waits to be read by the client."""
        ...

    def encode(self, push: "Push", feed: str) -> bytes:
        """Return an event of ``feed`` as this door writes it.

        It depends on nothing but its arguments and the door, so that one encoding serves all.
        """
        ...

    def encode_end(self, feed: str, reason: str) -> bytes:
        """Return the word that ``feed`` gives nothing more, as this door writes it."""
        ...

    def send(self, data: bytes) -> None:
        """Queue what was encoded; everything of one turn of the loop leaves in one write."""
        ...

    async def drained(self) -> None:
        """Return when less than half of what may wait waits to be read."""
        ...

    def beat(self) -> None:
        """Send a heartbeat."""
        ...

    def end(self, reason: CloseReason) -> None:
        """Tell the client why, and close when that is sent, or after the door's own time."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionBounds:
    """Bounds of a connection's life, times on the steady clock.

    Attributes:
        sign_in_seconds: How long one may stay without signing in (R12).
        expired_seconds: How long one may stay after its token expired, to renew it.
        beat_seconds: Silence after which a heartbeat is sent.
        silent_seconds: Silence after which the connection is taken for dead.
        per_member_max: Connections of one member.
        queued_bytes_max: What may wait to be read by one client.
        subscriptions_max: Feeds that one connection follows.
    """

    sign_in_seconds: float = 30.0
    expired_seconds: float = 60.0
    beat_seconds: float = 15.0
    silent_seconds: float = 40.0
    per_member_max: int = 64
    queued_bytes_max: int = 1_048_576
    subscriptions_max: int = 64


class Connection:
    """One client that stays.

    Attributes:
        connection_id: Unique in the hall; in the order of opening on one node.
        door: Name of the door: ``websocket``, ``ndjson``, ``events``.
        source: Address of the client, as in :class:`~moothall.action.call.Call`.
        hears: Whether the client can answer heartbeats; a stream of events cannot.
        token: The access token bound to it, if any; a door puts it into each call.
        claims: What that token says.
        heard_at: When something last came, on the steady clock; kept by the door.
        subscriptions: The feeds it follows, by name.
        is_ending: True from the moment its end was told.
    """

    __slots__ = (
        "beaten_at",
        "claims",
        "connection_id",
        "door",
        "heard_at",
        "hears",
        "is_ending",
        "opened_at",
        "opened_at_ms",
        "sink",
        "source",
        "subscriptions",
        "token",
    )

    def __init__(
        self,
        connection_id: str,
        door: str,
        source: str,
        sink: Sink,
        *,
        hears: bool,
        opened_at: float,
        opened_at_ms: int,
    ) -> None:
        self.connection_id = connection_id
        self.door = door
        self.source = source
        self.sink = sink
        self.hears = hears
        self.opened_at = opened_at
        self.opened_at_ms = opened_at_ms
        self.heard_at = opened_at
        self.beaten_at = opened_at
        self.token: str | None = None
        self.claims: Claims | None = None
        self.subscriptions: dict[str, Subscription] = {}
        self.is_ending = False

    def end(self, reason: CloseReason) -> None:
        """Tell the client why it must go, once, and close."""
        if not self.is_ending:
            self.is_ending = True
            for subscription in list(self.subscriptions.values()):
                subscription.cancel()
            self.sink.end(reason)


class Connections:
    """All open connections of this process."""

    def __init__(
        self, clock: Clock, bounds: ConnectionBounds | None = None, *, node: str = ""
    ) -> None:
        """Begin with none.

        Args:
            clock: Tells their age.
            bounds: Instead of the defaults.
            node: A word that no other node has: part of the ids, so that an operator who reaches
                another node cannot close a connection there instead.
        """
        self.bounds = bounds or ConnectionBounds()
        self._node = node
        self._clock = clock
        self._open: dict[str, Connection] = {}
        self._of_session: dict[str, set[Connection]] = {}
        self._of_member: dict[str, set[Connection]] = {}
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        self.on_look: Callable[[], None] = lambda: None
        """Called with each look, for what else must be seen to once a second."""

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._open.values()))

    @property
    def sessions(self) -> int:
        """How many sessions have a connection."""
        return len(self._of_session)

    @property
    def members(self) -> int:
        """How many members have a connection."""
        return len(self._of_member)

    def open(self, door: str, source: str, sink: Sink, *, hears: bool = True) -> Connection:
        """Return a new connection; its door calls :meth:`forget` when it is gone."""
        self._count += 1
        connection = Connection(
            f"{self._count:012d}{self._node}",
            door,
            source,
            sink,
            hears=hears,
            opened_at=self._clock.monotonic(),
            opened_at_ms=self._clock.now_ms(),
        )
        self._open[connection.connection_id] = connection
        return connection

    def find(self, connection_id: str) -> Connection | None:
        """Return an open connection, or None."""
        return self._open.get(connection_id)

    def bind(self, connection: Connection, token: str, claims: "Claims") -> None:
        """Sign a connection in, or renew its token.

        Who changes the member or the session starts without the feeds of the one before.

        Raises:
            TooManyConnectionsError: The member has as many as one may have.
        """
        known = connection.claims
        is_same = known is not None and (known.member_id, known.session_id) == (
            claims.member_id,
            claims.session_id,
        )
        if not is_same:
            of_member = self._of_member.get(claims.member_id, set())
            if len(of_member - {connection}) >= self.bounds.per_member_max:
                raise TooManyConnectionsError(
                    f"a member has at most {self.bounds.per_member_max} connections",
                    remedy="close one, or end a session that is not used",
                )
            self._unbind(connection)
            self._of_member.setdefault(claims.member_id, set()).add(connection)
            self._of_session.setdefault(claims.session_id, set()).add(connection)
        connection.token, connection.claims = token, claims
        for subscription in list(connection.subscriptions.values()):
            subscription.resume()

    def forget(self, connection: Connection) -> None:
        """Let go of a connection that is gone; a second time is nothing."""
        connection.is_ending = True
        self._unbind(connection)
        self._open.pop(connection.connection_id, None)

    def end_session(self, session_id: str, reason: str) -> None:
        """End the connections of a session that has ended (R5)."""
        why = CloseReason.IDLE if reason == CloseReason.IDLE else CloseReason.SESSION_ENDED
        for connection in list(self._of_session.get(session_id, ())):
            connection.end(why)

    def end_member(self, member_id: str) -> None:
        """End the connections of a member who was removed (R5)."""
        for connection in list(self._of_member.get(member_id, ())):
            connection.end(CloseReason.SESSION_ENDED)

    def end_all(self, reason: CloseReason) -> None:
        """End every connection."""
        for connection in self:
            connection.end(reason)

    def start(self) -> None:
        """Look after the connections from now on, on the running loop."""
        loop = asyncio.get_running_loop()

        def look() -> None:
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 - the next look must come all the same
                _log.error("looking after connections failed", exc_info=error)
            self._timer = loop.call_later(LOOK_EVERY_SECONDS, look)

        self._timer = loop.call_later(LOOK_EVERY_SECONDS, look)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def look(self) -> None:
        """Beat where nothing was heard, and end what must go."""
        self.on_look()
        now, now_s = self._clock.monotonic(), self._clock.now_ms() / 1_000
        for connection in self:
            if connection.is_ending:
                continue
            expired_for = _expired_for(connection, now, now_s)
            if expired_for >= 0.0:
                for subscription in list(connection.subscriptions.values()):
                    subscription.pause()
            reason = self._find_end(connection, now, expired_for)
            if reason is not None:
                connection.end(reason)
            elif now - max(connection.heard_at, connection.beaten_at) >= self.bounds.beat_seconds:
                connection.beaten_at = now
                connection.sink.beat()

    def _find_end(
        self, connection: Connection, now: float, expired_for: float
    ) -> CloseReason | None:
        """Return why a connection must go, or None."""
        bounds = self.bounds
        if connection.hears and now - connection.heard_at >= bounds.silent_seconds:
            return CloseReason.SILENT
        if connection.claims is None:
            if now - connection.opened_at >= bounds.sign_in_seconds:
                return CloseReason.UNAUTHENTICATED
            return None
        # A stream of events cannot renew its token in place.
        if expired_for >= (bounds.expired_seconds if connection.hears else 0.0):
            return CloseReason.TOKEN_EXPIRED
        return None

    def _unbind(self, connection: Connection) -> None:
        for subscription in list(connection.subscriptions.values()):
            subscription.cancel()
        if (claims := connection.claims) is None:
            return
        for index, key in (
            (self._of_member, claims.member_id),
            (self._of_session, claims.session_id),
        ):
            index[key].discard(connection)
            if not index[key]:
                del index[key]
        connection.token = connection.claims = None


def _expired_for(connection: Connection, now: float, now_s: float) -> float:
    """Return for how long the token has been expired, in seconds; negative before."""
    claims = connection.claims
    if claims is None:
        return -1.0
    return max(now - claims.expires_steady, now_s - claims.expires_at)
