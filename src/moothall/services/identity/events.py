"""Facts of the identity room."""

from moothall.action import Context, Event

STREAM = "identity"
"""Where these facts are written; member managers may read it."""

REVOCATIONS = "identity/revocations"
"""Where what resource servers must learn is written besides; they may read nothing else."""


def tell_servers(ctx: Context, event: Event) -> None:
    """Write a fact for those who may read this room's, and for resource servers.

    Like all events it holds ids and no names, so that nothing is left in it of who is
    removed later; a server asks ``identity.name_members`` for the names that it shows.
    """
    ctx.emit(STREAM, event)
    ctx.emit(REVOCATIONS, event)


class MemberRegistered(Event):
    """An account was made."""

    member_id: str


class MemberRemoved(Event):
    """A member was removed for good; whoever keeps something of them erases it too."""

    member_id: str


class SessionEnded(Event):
    """A session ended before its time.

    ``reason`` says why: it was closed or revoked, its refresh token was used twice, its
    member opened too many, or a backup was restored.
    """

    member_id: str
    session_id: str
    reason: str


class PasswordChanged(Event):
    """A password was replaced; ``reason`` says by what: changed, recovered."""

    member_id: str
    reason: str


class AccountUnlocked(Event):
    """An administrator lifted the lock that wrong passwords had set."""

    member_id: str


class RecoveryCodeIssued(Event):
    """An administrator was given a code that resets a member's password."""

    member_id: str
    issued_by: str


class KeyMade(Event):
    """A signing key was made and published; it signs from ``begins_at_ms`` on."""

    kid: str
    begins_at_ms: int


class KeyRetired(Event):
    """A signing key verifies nothing any more."""

    kid: str


class AudienceAdded(Event):
    """Members may get tokens for this resource server."""

    audience: str


class AudienceRemoved(Event):
    """No token is made for this resource server any more."""

    audience: str


class ServerRegistered(Event):
    """A resource server proves itself by a key from now on, under this id."""

    audience: str
    server_id: str


class ServerEnded(Event):
    """A resource server was removed, or has another key and so another id."""

    audience: str
    server_id: str


class MemberRenamed(Event):
    """A member has another name; the old one stays reserved for them for a while."""

    member_id: str


class GuestBecameMember(Event):
    """A guest chose a name and a password and keeps everything."""

    member_id: str


class InvitationCreated(Event):
    """Somebody may invite others with a code."""

    invitation_id: str
    invited_by: str
    uses_max: int


class InvitationRevoked(Event):
    """An invitation was taken back."""

    invitation_id: str


class ContactVerified(Event):
    """A member showed that an address is theirs. The address itself is not told here."""

    member_id: str
    kind: str


class ContactRemoved(Event):
    """A member gave up a verified address."""

    member_id: str
    kind: str
