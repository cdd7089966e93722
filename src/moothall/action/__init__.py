"""The framework: how an action is declared and what happens when it is called.

A room needs only what is exported here. Whoever edits this floor: read
``pipeline.py`` first, it is the road of every call.
"""

from moothall.action.access import PUBLIC, Public, Signed
from moothall.action.context import Context
from moothall.action.declare import FLOW, READ, WRITE, Action, Effect, action
from moothall.action.event import Event
from moothall.action.feed import feed
from moothall.action.fields import (
    Id,
    Name,
    ResourcePath,
    SafeInteger,
    Secret,
    Slug,
    Text,
    TimeMs,
)
from moothall.action.jobs import job
from moothall.action.limiter import PerActor, PerSource
from moothall.action.model import Request, Result
from moothall.action.page import next_cursor
from moothall.action.service import EVERYONE, Follower, Resources, Role, RoomSettings, Service

__all__ = [
    "EVERYONE",
    "FLOW",
    "PUBLIC",
    "READ",
    "WRITE",
    "Action",
    "Context",
    "Effect",
    "Event",
    "Follower",
    "Id",
    "Name",
    "PerActor",
    "PerSource",
    "Public",
    "Request",
    "ResourcePath",
    "Resources",
    "Result",
    "Role",
    "RoomSettings",
    "SafeInteger",
    "Secret",
    "Service",
    "Signed",
    "Slug",
    "Text",
    "TimeMs",
    "action",
    "feed",
    "job",
    "next_cursor",
]
