"""Asking what somebody may do, and why."""

from typing import Annotated

from msgspec import Meta

from moothall.action import (
    READ,
    Context,
    Id,
    PerActor,
    Request,
    ResourcePath,
    Result,
    Signed,
    action,
)
from moothall.core.paths import ROOT
from moothall.ports.authority import Authority
from moothall.services.access.actions.subjects import NameOrId, find_member_id
from moothall.services.access.adapters.bindings import StoredBindings
from moothall.services.access.model import KEPT_WHEN_BANNED, Cause, Explanation
from moothall.services.access.rules.granting import check_permission
from moothall.services.access.store import bans, bindings
from moothall.services.identity.errors import MemberNotFoundError

CHECK_OTHERS = "permissions:check"

Permission = Annotated[
    str,
    Meta(
        max_length=64,
        pattern=r"^(\*|[a-z][a-z0-9_]*:[a-z][a-z0-9_]*)(?!\n)$",
        description="A permission: noun:verb, at most 64 characters.",
    ),
]


class Check(Request):
    """A permission at a resource: one's own, or another member's."""

    permission: Permission
    at: ResourcePath = ROOT
    member: NameOrId | None = None


class Answer(Result):
    """Whether the permission is held."""

    is_allowed: bool


class CheckMembers(Request):
    """Permissions of several members at one resource."""

    member_ids: Annotated[list[Id], Meta(min_length=1, max_length=200)]
    permissions: Annotated[list[Permission], Meta(min_length=1, max_length=16)]
    at: ResourcePath = ROOT


class MemberPermissions(Result):
    """What one member holds of the permissions that were asked for."""

    member_id: str
    permissions: list[str]
    """In the order of the request; none while the member is banned."""
    is_banned: bool
    """Whether a ban denies them all at the resource."""


class CheckedMembers(Result):
    """One answer for each member, in the order of the request."""

    members: list[MemberPermissions]


class Explain(Request):
    """Whose permission, and where."""

    member: NameOrId
    permission: Permission
    at: ResourcePath = ROOT


@action(
    access=Signed("permissions:check_own"),
    effect=READ,
    limit=PerActor(calls=100, window_ms=1_000),
    raises=(MemberNotFoundError,),
)
async def check(ctx: Context, request: Check) -> Answer:
    """Tell whether you hold a permission at a resource.

    About others it answers those who hold ``permissions:check`` there.

    Raises:
        MemberNotFoundError: not_found. There is no such member.
    """
    if request.member is None:
        return Answer(is_allowed=ctx.may(request.permission, request.at))
    member_id = await _find_visible(ctx, request.member, request.at)
    held = await ctx.use(Authority).rights_of(ctx.tx, member_id)
    return Answer(is_allowed=held.allows(request.permission, request.at))


@action(
    access=Signed("permissions:check_own"),
    effect=READ,
    limit=PerActor(calls=50, window_ms=1_000),
    raises=(MemberNotFoundError,),
)
async def explain(ctx: Context, request: Explain) -> Explanation:
    """Tell whether a member holds a permission at a resource, and why.

    Which binding grants it (the nearest), which ban denies it, and which roles hold it. About
    oneself it answers everybody, about others those who hold ``permissions:check`` there.

    Raises:
        MemberNotFoundError: not_found. There is no such member.
    """
    check_permission(request.permission, ctx.known_permissions(), "permission", "see list_roles")
    index = ctx.use(StoredBindings)
    member_id = await _find_visible(ctx, request.member, request.at)
    held = await index.rights_of(ctx.tx, member_id)
    ground = held.find_ground(request.permission, request.at)
    banned_at = None
    if request.permission not in KEPT_WHEN_BANNED:
        banned_at = held.find_ban(request.at)
    cause = Cause.NOT_GRANTED if ground is None else Cause.GRANTED
    return Explanation(
        member_id=member_id,
        permission=request.permission,
        at=request.at,
        is_allowed=banned_at is None and ground is not None,
        cause=cause if banned_at is None else Cause.BANNED,
        ground=ground,
        ban=None if banned_at is None else await bans.find_ban(ctx.tx, member_id, banned_at),
        roles=index.list_grantable(request.permission),
    )


@action(
    access=Signed("permissions:check", at=bindings.find_path),
    effect=READ,
    limit=PerActor(calls=50, window_ms=1_000),
    raises=(),
    command="member check",
)
async def check_members(ctx: Context, request: CheckMembers) -> CheckedMembers:
    """Tell which of some permissions each of several members holds at a resource.

    An id that nobody has gets the answer for everyone.

    Args:
        request.member_ids: 1 to 200 ids.
        request.permissions: 1 to 16 permissions.
    """
    at = request.at
    rights = await ctx.use(StoredBindings).list_rights(ctx.tx, request.member_ids)
    return CheckedMembers(
        members=[
            MemberPermissions(
                member_id=member_id,
                permissions=[each for each in request.permissions if held.allows(each, at)],
                is_banned=held.find_ban(at) is not None,
            )
            for member_id, held in rights
        ]
    )


async def _find_visible(ctx: Context, member: str, at: str) -> str:
    """Return the id of a member about whom the caller may ask.

    Raises:
        MemberNotFoundError: There is none, and the caller may ask about anybody.
    """
    try:
        member_id = await find_member_id(ctx, member)
    except MemberNotFoundError:
        ctx.demand(CHECK_OTHERS, at)  # others learn not who exists
        raise
    if member_id != ctx.actor:
        ctx.demand(CHECK_OTHERS, at)
    return member_id
