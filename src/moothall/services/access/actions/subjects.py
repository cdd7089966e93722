"""Whom a request means, and what the caller may hand out to them."""

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta

from moothall.action import EVERYONE, WRITE, Context
from moothall.services.access.adapters.bindings import StoredBindings
from moothall.services.access.errors import RoleNotFoundError, TeamNotFoundError
from moothall.services.access.model import TEAM_PREFIX
from moothall.services.access.rules.granting import check_all_grantable, check_grantable
from moothall.services.access.store import roles, teams
from moothall.services.access.store.locks import lock_member
from moothall.services.identity.actions import FindMember, find_member
from moothall.services.identity.errors import MemberNotFoundError

NameOrId = Annotated[str, Meta(min_length=1, max_length=128, description="A member's name or id.")]
SubjectName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=128,
        description="A member's name or id, 'team:' and a team's name, or 'everyone'.",
    ),
]
PageSize = Annotated[int, Meta(ge=1, le=500)]


async def find_subject(ctx: Context, name: str) -> str:
    """Return the subject that is meant.

    Raises:
        TeamNotFoundError: not_found. There is no such team.
        MemberNotFoundError: not_found. There is no such member.
    """
    if name == EVERYONE:
        return EVERYONE
    if name.startswith(TEAM_PREFIX):
        await check_team_exists(ctx, name.removeprefix(TEAM_PREFIX))
        return name
    return await find_member_id(ctx, name)


async def check_team_exists(ctx: Context, team: str) -> None:
    """Refuse a team that is not there; a call that writes keeps it from going meanwhile.

    Raises:
        TeamNotFoundError: not_found. There is none.
    """
    if not await teams.has_team(ctx.tx, team, is_locked=ctx.action.effect is WRITE):
        raise TeamNotFoundError(team=team, remedy="see access.list_teams")


async def find_member_id(ctx: Context, name: str) -> str:
    """Return the id of the member that is meant; a call that writes keeps them from going.

    Raises:
        MemberNotFoundError: not_found. There is no such member.
    """
    found = await ctx.call(find_member, FindMember(member=name))
    if ctx.action.effect is WRITE:
        await lock_member(ctx.tx, found.member_id)
        # Another node may have removed them until now, and nothing may be given to a tombstone.
        found = await ctx.call(find_member, FindMember(member=found.member_id))
    if found.is_removed:  # A tombstone is given nothing and belongs nowhere.
        raise MemberNotFoundError(member=name, remedy="this member was removed")
    return found.member_id


async def get_permissions(ctx: Context, role: str) -> tuple[str, ...]:
    """Return what a role holds that people can be given, as this transaction sees it.

    From the row and not from the index: a call before this one in the same commit may have
    deleted the role.

    Raises:
        RoleNotFoundError: not_found. There is none.
    """
    built_in = ctx.use(StoredBindings).built_in.get(role)
    if built_in is not None:
        return built_in
    found = await roles.find_role(ctx.tx, role)
    if found is None:
        raise RoleNotFoundError(remedy="see access.list_roles", role=role)
    return found[0]


async def check_caller_holds(ctx: Context, permissions: Iterable[str], at: str) -> None:
    """Refuse to hand out or take away what the caller does not hold at ``at`` and below.

    Raises:
        GrantExceedsOwnError: permission_denied. Something is missing.
    """
    own = await ctx.use(StoredBindings).read_rights(ctx.tx, ctx.principal)
    check_grantable(own.allows, own.find_ban_below, permissions, at)


async def check_caller_holds_all(ctx: Context, subject: str) -> None:
    """Refuse to give or take a place in a team that holds more than the caller.

    Raises:
        GrantExceedsOwnError: permission_denied. Something is missing.
    """
    index = ctx.use(StoredBindings)
    own = await index.read_rights(ctx.tx, ctx.principal)
    held = await index.read_bound(ctx.tx, subject)
    check_all_grantable(own.allows, own.find_ban_below, held)
