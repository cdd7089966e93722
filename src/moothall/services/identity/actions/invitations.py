"""Inviting others: codes that make accounts where the hall asks for one."""

from typing import Annotated

from msgspec import Meta

from moothall.action import (
    READ,
    WRITE,
    Context,
    Id,
    PerActor,
    Request,
    Result,
    Secret,
    Signed,
    action,
    next_cursor,
)
from moothall.core.units import DAY_MS
from moothall.services.identity.adapters.codes import CodeSeal
from moothall.services.identity.errors import InvitationNotFoundError
from moothall.services.identity.events import STREAM, InvitationCreated, InvitationRevoked
from moothall.services.identity.model import Invitation
from moothall.services.identity.store import registration


class CreateInvitation(Request):
    """How many accounts it makes, and for how long."""

    uses: Annotated[int, Meta(ge=1, le=1_000)] = 1
    days: Annotated[int, Meta(ge=1, le=365)] = 7


class CreatedInvitation(Result):
    """A new invitation and its code, which is told only now."""

    invitation: Invitation
    code: Secret


class ListInvitations(Request):
    """A page of invitations; ``after`` is the ``next`` of the page before."""

    after: Annotated[str, Meta(max_length=128)] = ""
    limit: Annotated[int, Meta(ge=1, le=500)] = 100


class InvitationPage(Result):
    """A page of invitations, the newest first; ``next`` is None on the last one."""

    invitations: list[Invitation]
    next: str | None


class RevokeInvitation(Request):
    """The invitation to take back."""

    invitation_id: Id


@action(
    access=Signed("members:invite"),
    effect=WRITE,
    limit=PerActor(calls=30, window_ms=60_000),
    raises=(),
    secret_reply=True,
    command="member invite",
)
async def create_invitation(ctx: Context, request: CreateInvitation) -> CreatedInvitation:
    """Make an invitation, whose code lets others make accounts in a hall of mode ``invite``.

    The code is told once; only its digest is kept.

    Args:
        request.uses: Accounts that can be made with it, 1 to 1,000.
        request.days: Days until it expires, 1 to 365.

    Emits:
        InvitationCreated: once.
    """
    seal = ctx.use(CodeSeal)
    code = seal.make_invitation()
    invitation = Invitation(
        invitation_id=ctx.new_id(),
        invited_by=ctx.actor,
        created_at_ms=ctx.now_ms,
        expires_at_ms=ctx.now_ms + request.days * DAY_MS,
        uses_max=request.uses,
        uses_left=request.uses,
        revoked_at_ms=None,
    )
    await registration.insert_invitation(ctx.tx, invitation, seal.digest_invitation(code))
    ctx.emit(
        STREAM,
        InvitationCreated(
            invitation_id=invitation.invitation_id, invited_by=ctx.actor, uses_max=request.uses
        ),
    )
    return CreatedInvitation(invitation=invitation, code=code)


@action(
    access=Signed("members:invite"),
    effect=READ,
    limit=PerActor(calls=50, window_ms=1_000),
    raises=(),
)
async def list_invitations(ctx: Context, request: ListInvitations) -> InvitationPage:
    """List all invitations, the newest first, by pages; without their codes.

    Those that expired are listed for 30 days more.
    """
    found = await registration.list_invitations(ctx.tx, request.after, request.limit)
    after = next_cursor(found, request.limit, lambda last: last.invitation_id)
    return InvitationPage(invitations=found, next=after)


@action(
    access=Signed("members:invite"),
    effect=WRITE,
    limit=PerActor(calls=10, window_ms=1_000),
    raises=(InvitationNotFoundError,),
)
async def revoke_invitation(ctx: Context, request: RevokeInvitation) -> Invitation:
    """Take an invitation back; accounts that were made with it stay. Twice is as good as once.

    Raises:
        InvitationNotFoundError: not_found. There is none of this id.

    Emits:
        InvitationRevoked: once, unless it was taken back before.
    """
    invitation = await registration.find_invitation(ctx.tx, request.invitation_id)
    if invitation is None:
        raise InvitationNotFoundError(invitation_id=request.invitation_id)
    if invitation.revoked_at_ms is not None:
        return invitation
    await registration.update_invitation_revoked(ctx.tx, request.invitation_id, ctx.now_ms)
    ctx.emit(STREAM, InvitationRevoked(invitation_id=request.invitation_id))
    return Invitation(
        invitation_id=invitation.invitation_id,
        invited_by=invitation.invited_by,
        created_at_ms=invitation.created_at_ms,
        expires_at_ms=invitation.expires_at_ms,
        uses_max=invitation.uses_max,
        uses_left=invitation.uses_left,
        revoked_at_ms=ctx.now_ms,
    )
