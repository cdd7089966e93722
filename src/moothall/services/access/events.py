"""Facts of the access room."""

from moothall.action import Event

STREAM = "access"
"""The stream of all changes of roles, bindings, teams and bans."""


class RoleGranted(Event):
    """A role was bound."""

    subject: str
    role: str
    at: str


class RoleRevoked(Event):
    """A binding was taken away."""

    subject: str
    role: str
    at: str


class RoleDefined(Event):
    """A role was made."""

    name: str
    permissions: tuple[str, ...]


class RoleUpdated(Event):
    """A role holds something else from now on."""

    name: str
    permissions: tuple[str, ...]


class RoleDeleted(Event):
    """A role is no more, with what was bound of it."""

    name: str
    bindings: int
    """How many bindings went with it."""


class TeamCreated(Event):
    """A team was made."""

    team: str


class TeamDeleted(Event):
    """A team is no more, with what was bound to it."""

    team: str


class TeamMemberAdded(Event):
    """Somebody belongs to a team from now on."""

    team: str
    member_id: str


class TeamMemberRemoved(Event):
    """Somebody belongs to a team no more."""

    team: str
    member_id: str


class MemberBanned(Event):
    """All is denied to somebody at a resource and below."""

    member_id: str
    at: str
    until_ms: int | None


class BanLifted(Event):
    """A ban was ended before its time."""

    member_id: str
    at: str
