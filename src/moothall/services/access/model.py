"""What the access room holds and tells: roles, bindings, teams, bans, the audit trail; settings."""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from moothall.action import Result, RoomSettings

ALL_PERMISSIONS = "*"
"""Stands in a role for every permission there is and will be."""

ADMINISTRATOR = "administrator"

TEAM_PREFIX = "team:"
"""How the subject of a team's bindings begins: ``team:<slug>``."""

KEPT_WHEN_BANNED = frozenset({"sessions:own", "permissions:check_own"})
"""What no ban takes away: one's own account and the answer why.

Whoever is banned from the whole hall can still sign in and out, see which ban it is, take
their data along and remove their account; nothing of it touches anybody else.
"""


class RoleView(Result):
    """A role: a named set of permissions."""

    name: str
    permissions: tuple[str, ...]
    summary: str
    is_built_in: bool


class Binding(Result):
    """A role bound to a subject at a resource; it covers what lies below."""

    subject: str
    """A member's id, ``team:<slug>``, or ``everyone``."""
    role: str
    at: str
    granted_by: str
    granted_at_ms: int


class AuditSettings(RoomSettings):
    """Where the audit trail leaves what shows that it is whole."""

    heads: str = ""
    """File of the signed heads; empty: ``audit-heads.jsonl`` in the data folder. Another disk, or
    another machine's, makes them worth more."""


class AuditEntry(Result):
    """A row of the audit trail: who, what, when, from where, and what came of it."""

    number: int
    at_ms: int
    actor: str
    """A member's id; ``room:<room>`` for the house itself; empty without a valid token."""
    action: str
    path: str
    """The resource, if it was reached."""
    outcome: str
    """``done``, or the name of the error."""
    source: str
    """Address of the client."""
    request_id: str


class Seal(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What was sealed of a segment of the audit trail; see ``rules/chain.py``.

    Attributes:
        after_number: Of the last row before it; 0 for the first seal.
        last_number: Of its last row.
        row_count: How many rows it has, 1 to 250.
        latest_at_ms: The greatest time of all rows up to its last one.
        sealed_at_ms: When it was made.
        chain: The chain value after its last row, 32 bytes.
        tags: Of each row its number and eight bytes of the chain value after it.
        mac: The code over all of this, 32 bytes.
    """

    after_number: int
    last_number: int
    row_count: int
    latest_at_ms: int
    sealed_at_ms: int
    chain: bytes
    tags: bytes
    mac: bytes


class Head(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A line of the file of heads; see ``rules/heads.py``.

    Attributes:
        head: Counts the heads of the hall, from 1.
        number: Of the last row that it vouches for.
        chain: The chain value after that row, in hexadecimal digits.
        sealed_at_ms: When that row was sealed.
        at_ms: When the head was made.
        hall: Name of the hall.
        public_key: Ed25519, in hexadecimal digits.
        signature: Over all of this, in hexadecimal digits.
    """

    head: int
    number: int
    chain: str
    sealed_at_ms: int
    at_ms: int
    hall: str
    public_key: str
    signature: str = ""


class Held(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What one principal holds, as the rows tell it.

    Attributes:
        bindings: Role and path of each.
        teams: Names, without ``team:``.
        bans: Path, and when it ends; None for never.
    """

    bindings: tuple[tuple[str, str], ...] = ()
    teams: tuple[str, ...] = ()
    bans: dict[str, int | None] = {}


class Ground(Result):
    """Which binding grants a permission."""

    subject: str
    """The member's id, ``team:<slug>``, or ``everyone``."""
    role: str
    at: str


class Team(Result):
    """Members who are given roles together, as the subject ``team:<slug>``."""

    team: str
    summary: str
    created_by: str
    created_at_ms: int


class TeamMember(Result):
    """A member of a team."""

    team: str
    member_id: str
    added_by: str
    added_at_ms: int


class BanView(Result):
    """All is denied to a member at a resource and below it."""

    member_id: str
    at: str
    reason: str
    banned_by: str
    banned_at_ms: int
    until_ms: int | None
    """When it ends by itself; None for never."""


class Cause(StrEnum):
    """Why a check came out as it did."""

    GRANTED = "granted"
    """A binding grants it, and no ban stands against it."""
    BANNED = "banned"
    """A ban denies it, whatever is granted."""
    NOT_GRANTED = "not_granted"
    """No binding grants it."""


class Explanation(Result):
    """Whether a member holds a permission at a resource, and why."""

    member_id: str
    permission: str
    at: str
    is_allowed: bool
    cause: Cause
    ground: Ground | None
    """The nearest binding that grants it, even where a ban denies it all the same."""
    ban: BanView | None
    """The nearest ban that denies it."""
    roles: tuple[str, ...]
    """Roles that hold the permission: what could be granted."""


class AccessSettings(RoomSettings):
    """Table ``[access]``: how many roles, teams, bindings and bans there may be."""

    roles_max: Annotated[int, Meta(ge=1, le=10_000)] = 500
    """Roles that administrators define, in the hall."""
    teams_max: Annotated[int, Meta(ge=1, le=100_000)] = 1_000
    """Teams in the hall."""
    team_members_max: Annotated[int, Meta(ge=1, le=10_000)] = 5_000
    """Members of one team."""
    teams_per_member_max: Annotated[int, Meta(ge=1, le=1_000)] = 32
    """Teams of one member; each makes that member's checks a little slower."""
    bindings_per_subject_max: Annotated[int, Meta(ge=1, le=10_000)] = 2_000
    """Bindings of one member or one team; those of everyone have no bound of their own."""
    bans_per_member_max: Annotated[int, Meta(ge=1, le=10_000)] = 500
    """Bans of one member, those that are over included."""
    remembered_rows_max: Annotated[int, Meta(ge=0, le=10_000_000)] = 25_000
    """What is remembered of members who call: one row for each of them, and for each binding, team
    and ban of theirs, of at most half a kilobyte. Who called longest ago goes first."""
