"""What the identity room holds of one member. The secrets among it are never exported.

Whoever adds a table with a member's id: add a holding here.
"""

from moothall.action import Context
from moothall.action.personal import Holding, PersonalRow, erase_holdings, export_holdings

_HOLDINGS = (
    # Name and password went when the member was removed; the row is the tombstone.
    Holding(
        kind="account",
        table="identity_member",
        owner="member_id",
        key=("member_id",),
        columns=(
            "member_id",
            "name",
            "created_at_ms",
            "is_guest",
            "idle_since_ms",
            "password_version",
        ),
        fate="keep",
    ),
    Holding(
        kind="former_name",
        table="identity_name_hold",
        owner="member_id",
        key=("name_key",),
        columns=("name_key AS name", "until_ms"),
        # Swept when its time has come: nobody shall be taken for somebody who has just left.
        fate="keep",
    ),
    Holding(
        kind="contact",
        table="identity_contact",
        owner="member_id",
        key=("address_key",),
        columns=("kind", "address", "verified_at_ms"),
        fate="erase",
    ),
    Holding(
        kind="contact_code",
        table="identity_contact_code",
        owner="owner",
        key=("address_key",),
        columns=("address", "wrong_guesses", "expires_at_ms"),
        fate="erase",
    ),
    Holding(
        kind="invitation",
        table="identity_invitation",
        owner="invited_by",
        key=("invitation_id",),
        columns=(
            "invitation_id",
            "created_at_ms",
            "expires_at_ms",
            "uses_max",
            "uses_left",
            "revoked_at_ms",
        ),
        fate="erase",
    ),
    # They are swept a while after their end: until their tokens have run out the hall must
    # know that they ended, also after a restart.
    Holding(
        kind="session",
        table="identity_session",
        owner="member_id",
        key=("session_id",),
        columns=(
            "session_id",
            "device",
            "source",
            "opened_at_ms",
            "rotated_at_ms",
            "lapses_at_ms",
            "ended_at_ms",
        ),
        fate="keep",
        blanks=("device", "source"),
    ),
    Holding(
        kind="lockout",
        table="identity_lockout",
        owner="member_id",
        key=("member_id",),
        columns=("guesses", "guessed_at_ms", "locked_until_ms"),
        fate="erase",
    ),
    Holding(
        kind="recovery_code",
        table="identity_recovery",
        owner="member_id",
        key=("member_id", "kind"),
        columns=("kind", "made_at_ms", "expires_at_ms", "guesses", "issued_by"),
        fate="erase",
    ),
    # Codes live for a day at most and are swept; who was given one to hand over stays told.
    Holding(
        kind="recovery_code_issued",
        table="identity_recovery",
        owner="issued_by",
        key=("member_id", "kind"),
        columns=("member_id", "made_at_ms", "expires_at_ms"),
        fate="keep",
    ),
    Holding(
        kind="audience",
        table="identity_audience",
        owner="added_by",
        key=("audience",),
        columns=("audience", "summary", "added_at_ms"),
        fate="keep",
    ),
)


async def export_rows(
    ctx: Context, member_id: str, after: str, limit: int
) -> tuple[list[PersonalRow], str | None]:
    """Export account, contacts, invitations, sessions and what protects the account."""
    return await export_holdings(ctx, _HOLDINGS, member_id, after, limit)


async def erase_rows(ctx: Context, member_id: str) -> bool:
    """Erase all but the tombstone, held names, ended sessions and registered audiences."""
    return await erase_holdings(ctx, _HOLDINGS, member_id)
