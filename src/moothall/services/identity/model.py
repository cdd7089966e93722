"""Members and their sessions."""

import msgspec

from moothall.action import Result, Secret


class Member(Result):
    """A person or program with an account."""

    member_id: str
    name: str
    created_at_ms: int


class OpenedSession(Result):
    """A session and its tokens. Whoever holds them is the member: keep them secret."""

    member_id: str
    name: str
    session_id: str
    refresh_token: Secret
    refresh_expires_at_ms: int
    access_token: Secret
    access_expires_at_ms: int


class Credentials(msgspec.Struct, frozen=True):
    """What a password is compared with."""

    member: Member
    password_hash: str | None
    """None where nobody can sign in yet: the account was made by an administrator."""


class Session(msgspec.Struct, frozen=True):
    """A session's row. ``generation`` counts the rotations of its refresh token."""

    session_id: str
    member: Member
    generation: int
    rotated_at_ms: int
    expires_at_ms: int
    ended_at_ms: int | None
