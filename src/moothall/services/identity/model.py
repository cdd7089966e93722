"""Members and their sessions, and the servers that take their tokens."""

from enum import Enum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from moothall.action import Result, RoomSettings, Secret
from moothall.core.units import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS

SERVER_PREFIX = "server:"
"""How the principal of a resource server begins: ``server:<id>``. No member's id holds a colon."""

SERVERS = "server:*"
"""The subject of the one binding that holds for every resource server with a registered key."""

SERVER_ROLE = "resource_server"
"""What such a server may, in the whole hall, and nothing besides."""


class Member(Result):
    """A person or program with an account."""

    member_id: str
    name: str
    """Empty for a member who was removed."""
    created_at_ms: int
    is_removed: bool = False
    """Whether only this is left of a member, because others rely on the id."""


class OpenedSession(Result):
    """A session and its tokens. Whoever holds them is the member: keep them secret."""

    member_id: str
    name: str
    session_id: str
    refresh_token: Secret
    refresh_expires_at_ms: int
    access_token: Secret
    access_expires_at_ms: int
    device: str = ""
    """The label that the client gave it."""


class SessionView(Result):
    """A session as its member sees it, and who may look after them."""

    session_id: str
    device: str
    """The label that the client gave it, or empty."""
    source: str
    """Address from which it was opened or renewed last."""
    opened_at_ms: int
    used_at_ms: int
    """When it was opened or renewed last."""
    lapses_at_ms: int
    """When it ends unless it is renewed before."""
    is_current: bool
    """Whether this call came from it."""


class Session(msgspec.Struct, frozen=True):
    """A session's row. ``generation`` counts the rotations of its refresh token."""

    session_id: str
    member: Member
    generation: int
    rotated_at_ms: int
    expires_at_ms: int
    ended_at_ms: int | None
    lapses_at_ms: int
    """When it ends unless it is renewed before; never after ``expires_at_ms``."""
    device: str = ""
    source: str = ""
    """Address from which it was opened or renewed last."""


class SigningKey(msgspec.Struct, frozen=True):
    """A key's row without the key."""

    begins_at_ms: int
    created_at_ms: int
    kid: str
    retired_at_ms: int | None = None

    @property
    def turn(self) -> tuple[int, int, str]:
        """Its place in the order of keys, each of which signs until the next one does."""
        return self.begins_at_ms, self.created_at_ms, self.kid


class KeyState(Enum):
    """What a signing key is for now."""

    NEXT = "next"
    """Published, so that others fetch it; it signs later."""
    CURRENT = "current"
    """It signs."""
    OLD = "old"
    """It signs no more, and verifies what it signed."""
    RETIRED = "retired"
    """It verifies nothing any more."""


class KeyView(Result):
    """A signing key as administrators see it; never its private part."""

    kid: str
    state: KeyState
    created_at_ms: int
    begins_at_ms: int
    """When it begins to sign."""
    retires_at_ms: int | None
    """When it verifies nothing any more; None while it signs, or will."""


class Audience(Result):
    """A resource server for which members may get tokens."""

    audience: str
    summary: str
    added_by: str
    added_at_ms: int
    server_id: str = ""
    """Id of the server while it has a key registered here, or empty; another key, another id."""
    server_key: str = ""
    """Its public key, by which it learns of revocations at once: ``ed25519:`` and base64url."""


class Server(msgspec.Struct, frozen=True):
    """The row of a resource server that can prove itself."""

    server_id: str
    server_key: str


class ServerSession(Result):
    """What a resource server may follow revocations with. Whoever holds it is the server here."""

    server_id: str
    access_token: Secret
    access_expires_at_ms: int


class SessionSettings(RoomSettings):
    """Table ``[sessions]``: how long sessions live and how many there may be."""

    life_ms: Annotated[int, Meta(ge=HOUR_MS, le=3_650 * DAY_MS)] = 30 * DAY_MS
    """How long a session lives after it was opened, whatever its use, in milliseconds."""
    idle_ms: Annotated[int, Meta(ge=HOUR_MS, le=3_650 * DAY_MS)] = 14 * DAY_MS
    """How long a session lives that nobody renews, in milliseconds; a change acts on a session
    when it is renewed next."""
    idle_timeout_ms: Annotated[int, Meta(ge=0, le=365 * DAY_MS)] = 0
    """A session in which nothing was done for so long ends, in milliseconds; 0 is never. What a
    client does by itself (heartbeats, renewals, following feeds) counts for nothing. Where the hall
    has several nodes it ends up to half as much later, and at most about a minute."""
    per_member_max: Annotated[int, Meta(ge=1, le=500)] = 32
    """Sessions that one member may have open; one more ends the oldest."""
    per_hall_max: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 1_000_000
    """Sessions that may be open in all; one more is refused."""
    swept_after_ms: Annotated[int, Meta(ge=2 * HOUR_MS, le=3_650 * DAY_MS)] = DAY_MS
    """How long a session that ended or lapsed is kept before it is deleted, in milliseconds."""


class TokenSettings(RoomSettings):
    """Table ``[tokens]``: for whom tokens are made."""

    audiences_max: Annotated[int, Meta(ge=0, le=10_000)] = 100
    """Resource servers that may be registered."""


class KeySettings(RoomSettings):
    """Table ``[keys]``: how the keys that sign tokens change."""

    rotate_every_ms: Annotated[int, Meta(ge=DAY_MS, le=3_650 * DAY_MS)] = 90 * DAY_MS
    """How long a key signs before the next one does, in milliseconds."""
    publish_ahead_ms: Annotated[int, Meta(ge=0, le=DAY_MS)] = 10 * MINUTE_MS
    """How long a key is published before it signs, in milliseconds, so that resource servers
    have fetched it by then."""
    keys_max: Annotated[int, Meta(ge=3, le=64)] = 16
    """Keys that may be published at a time; while there are as many, no other is made."""
    retired_kept_ms: Annotated[int, Meta(ge=HOUR_MS, le=36_500 * DAY_MS)] = 365 * DAY_MS
    """How long the record of a retired key is kept, in milliseconds; its private part is not."""


class KnownPassword(msgspec.Struct, frozen=True):
    """What a guess is compared with; all of it empty where there is no such member."""

    member: Member | None = None
    password_hash: str | None = None
    """None where nobody can sign in by password, too."""
    version: int = 0
    """Counts changes of the password, but not a hash renewed with other parameters."""


class Guesses(msgspec.Struct, frozen=True):
    """Guesses of one password since the last success or the last lock that passed."""

    series: str
    """Tells this series from the next, so that no guess is given back to the wrong one."""
    count: int
    guessed_at_ms: int
    locked_until_ms: int
    """0 while it is not locked."""


class RecoveryCode(msgspec.Struct, frozen=True):
    """The row of a code for a forgotten password. The code is computed from it and a key."""

    member_id: str
    kind: Literal["sent", "issued"]
    selector: str
    """Its first characters, by which it is found; no secret."""
    nonce: str
    made_at_ms: int
    expires_at_ms: int
    guesses: int
    issued_by: str = ""
    """Id of the administrator who hands it over, or empty."""
    address_key: str = ""
    """Of the verified contact it is sent to, or empty."""
    sends_left: int = 0
    """How often sending it may still be tried; 0 when it is sent or handed over."""


class LockoutSettings(RoomSettings):
    """Table ``[lockout]``: how many wrong passwords lock an account, and for how long."""

    attempts_max: Annotated[int, Meta(ge=1, le=100)] = 3
    """Wrong passwords in a row, after which an account is locked."""
    duration_ms: Annotated[int, Meta(ge=SECOND_MS, le=365 * DAY_MS)] = 60_000
    """How long an account stays locked, in milliseconds."""
    unknown_names_max: Annotated[int, Meta(ge=1, le=10_000_000)] = 100_000
    """Names that nobody has and whose wrong passwords are counted alike (about 150 bytes each);
    one more makes room by forgetting the oldest that is not locked."""
    waiting_per_account_max: Annotated[int, Meta(ge=0, le=1_000)] = 32
    """Sign-ins of one account that wait while as many passwords as may be wrong are being looked
    at; one more is told that the account is locked."""
    waiting_max: Annotated[int, Meta(ge=0, le=100_000)] = 1_000
    """Sign-ins that wait so in all."""
    wait_ms_max: Annotated[int, Meta(ge=0, le=30_000)] = 5_000
    """How long a sign-in waits so, in milliseconds."""


class PasswordSettings(RoomSettings):
    """Table ``[passwords]``: what a new password must be."""

    length_min: Annotated[int, Meta(ge=8, le=64)] = 8
    """Characters at least; NIST SP 800-63B recommends 15 where the password is the only proof."""
    length_max: Annotated[int, Meta(ge=64, le=1_024)] = 256
    """Characters at most."""


class RecoverySettings(RoomSettings):
    """Table ``[recovery]``: codes for forgotten passwords."""

    sent_life_ms: Annotated[int, Meta(ge=MINUTE_MS, le=DAY_MS)] = 15 * MINUTE_MS
    """How long a code is good that was sent to a contact, in milliseconds."""
    issued_life_ms: Annotated[int, Meta(ge=MINUTE_MS, le=30 * DAY_MS)] = DAY_MS
    """How long a code is good that an administrator hands over, in milliseconds."""
    attempts_max: Annotated[int, Meta(ge=1, le=100)] = 5
    """Guesses of one code; after them it is worthless."""
    interval_ms: Annotated[int, Meta(ge=0, le=DAY_MS)] = MINUTE_MS
    """How long after one code was sent no other is sent to the same member, in milliseconds."""


class Registration(Result):
    """How one gets an account in this hall."""

    mode: Literal["open", "invite", "contact", "closed"]
    needs: list[str]
    """What ``register`` must be given besides name and password: ``invitation``, or ``contact``
    and ``code``. Meaningless in mode ``closed``, where nobody can register."""
    contact_kinds: list[str]
    """Kinds of address that can be verified here: ``email``, ``phone``."""
    guests: bool
    """Whether one may come in as a guest (``register_guest``)."""
    is_name_free: bool | None
    """Whether the name asked about can be had; None if none was, or unless the mode is
    ``open``: elsewhere strangers are not told who is there."""


class Invitation(Result):
    """Leave to make accounts. The code is told once, when it is made."""

    invitation_id: str
    invited_by: str
    """Id of the member who made it."""
    created_at_ms: int
    expires_at_ms: int
    uses_max: int
    uses_left: int
    revoked_at_ms: int | None
    """When it was taken back; None while it was not."""


class Contact(Result):
    """A verified address of a member."""

    kind: Literal["email", "phone"]
    contact: str
    verified_at_ms: int


class ContactCode(msgspec.Struct, frozen=True):
    """A code that was sent to an address and waits to be told."""

    address: str
    digest: str
    wrong_guesses: int
    expires_at_ms: int


class RegistrationSettings(RoomSettings):
    """Table ``[registration]``: how accounts come to be."""

    mode: Literal["open", "invite", "contact", "closed"] = "open"
    """Who may make an account: anybody; whoever has an invitation; whoever verifies an e-mail
    address or a phone number (needs ``[mail]`` or ``[phone]``); nobody. Administrators always
    may, for others."""
    guests: bool = False
    """Whether anybody may come in as a guest, without name and password."""
    guest_kept_ms: Annotated[int, Meta(ge=HOUR_MS, le=3_650 * DAY_MS)] = 30 * DAY_MS
    """How long a guest's account is kept after its session ended or lapsed, in milliseconds, but
    at least until that is swept (``sessions.swept_after_ms``). Then it is removed, because nobody
    can sign in to it any more."""
    accounts_per_source_hour_max: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 100
    """Accounts, and as many guests, that one client address (a /64 network of IPv6) may make
    within an hour of the clock."""
    accounts_per_hall_hour_max: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 10_000
    """Accounts, and as many guests, that all together may make within an hour of the clock."""
    messages_per_source_hour_max: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 20
    """Messages with codes that one client address may have sent within an hour of the clock."""
    messages_per_contact_hour_max: Annotated[int, Meta(ge=1, le=1_000)] = 5
    """Messages with codes that are sent to one address within an hour of the clock."""
    messages_per_hall_hour_max: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 1_000
    """Messages with codes that are sent in all within an hour of the clock."""
    code_life_ms: Annotated[int, Meta(ge=MINUTE_MS, le=DAY_MS)] = 15 * MINUTE_MS
    """How long a code is good that was sent to an address, in milliseconds."""
    code_guesses_max: Annotated[int, Meta(ge=1, le=20)] = 5
    """Wrong guesses of one code; after them it is worthless."""
    contacts_per_member_max: Annotated[int, Meta(ge=1, le=100)] = 5
    """Verified addresses that one member may have."""
    name_held_ms: Annotated[int, Meta(ge=0, le=3_650 * DAY_MS)] = 30 * DAY_MS
    """How long a name that was given up stays reserved for its former holder, in milliseconds."""
