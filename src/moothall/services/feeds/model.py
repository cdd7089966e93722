"""What the feeds room knows."""

from typing import Annotated

from msgspec import Meta

from moothall.action import Result, RoomSettings
from moothall.core.units import DAY_MS, HOUR_MS

POSITIONS_PER_MEMBER_MAX = 1_000
"""Acknowledged cursors that are kept of one member; the oldest are forgotten first."""


class EventSettings(RoomSettings):
    """Table ``[events]``: how long what happened can be resumed."""

    retention_ms: Annotated[int, Meta(ge=HOUR_MS, le=3_650 * DAY_MS)] = 30 * DAY_MS
    """How long events are kept for readers who come back, in milliseconds; who stays away for
    longer fetches anew."""


class Subscribed(Result):
    """A feed that is delivered to this connection from now on."""

    feed: str
    cursor: str
    """Where it begins: what lies after this cursor is delivered."""


class Unsubscribed(Result):
    """A feed that is delivered no more."""

    feed: str


class Acknowledged(Result):
    """How far this device has read a feed."""

    feed: str
    cursor: str
