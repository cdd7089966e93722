"""Facts of the identity room."""

from moothall.action import Event

STREAM = "identity"
"""Where these facts are written; member managers may read it."""


class MemberRegistered(Event):
    """An account was made."""

    member_id: str
    name: str


class SessionEnded(Event):
    """A session was closed, or ended because its refresh token was used twice."""

    member_id: str
    session_id: str
    reason: str
