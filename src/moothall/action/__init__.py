"""The framework: how an action is declared and what happens when it is called.

A room needs only what is exported here. Whoever edits this floor: read
``pipeline.py`` first, it is the road of every call.
"""

from moothall.action.access import PUBLIC, Public, Signed
from moothall.action.checks import Finding, Inspection, Level, check, list_unequal, list_unswept
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
from moothall.action.jobs import job, repeat
from moothall.action.limiter import PerActor, PerSource
from moothall.action.model import Request, Result
from moothall.action.page import next_cursor
from moothall.action.restore import Restored
from moothall.action.service import (
    EVERYONE,
    ROOM_PREFIX,
    Follower,
    Resources,
    Role,
    RoomSettings,
    Service,
)
from moothall.core.codes import Code
from moothall.core.errors import ActionError

__all__ = [
    "EVERYONE",
    "FLOW",
    "PUBLIC",
    "READ",
    "ROOM_PREFIX",
    "WRITE",
    "Action",
    "ActionError",
    "Code",
    "Context",
    "Effect",
    "Event",
    "Finding",
    "Follower",
    "Id",
    "Inspection",
    "Level",
    "Name",
    "PerActor",
    "PerSource",
    "Public",
    "Request",
    "ResourcePath",
    "Resources",
    "Restored",
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
    "check",
    "feed",
    "job",
    "list_unequal",
    "list_unswept",
    "next_cursor",
    "repeat",
]
