"""Event: the base of a room's events, and their names on the wire; `outbox.py` writes them."""

from functools import cache

import msgspec

from moothall.action.model import WireMeta
from moothall.core.errors import DeclarationError


class Event(msgspec.Struct, metaclass=WireMeta, frozen=True, gc=False):
    """A fact, named in the past tense: ``ScoreSubmitted``."""


@cache
def kind_of(event_type: type[Event]) -> str:
    """Return the kind on the wire: ``leaderboards.score_submitted``."""
    parts = event_type.__module__.split(".")
    if "events" not in parts[1:]:
        msg = f"{event_type.__qualname__}: events are declared in a room's events.py"
        raise DeclarationError(msg)
    room = parts[parts.index("events") - 1]
    name = "".join("_" + c.lower() if c.isupper() else c for c in event_type.__name__).lstrip("_")
    return f"{room}.{name}"
