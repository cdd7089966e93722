"""What members may do on a board: their own levels, set by moderators and administrators.

A level is a role bound at ``board/<id>``; the default binds everyone. It is granted and
revoked by the access room, so that it acts on open connections at once and is audited there.
"""

from contextlib import suppress
from typing import Annotated

from msgspec import Meta

from moothall.action import (
    EVERYONE,
    READ,
    WRITE,
    Context,
    Id,
    PerActor,
    Request,
    Result,
    Signed,
    action,
)
from moothall.services.access.actions import (
    CheckMembers,
    GrantRole,
    ListBindings,
    RevokeRole,
    check_members,
    grant_role,
    list_bindings,
    revoke_role,
)
from moothall.services.access.errors import (
    BindingNotFoundError,
    GrantExceedsOwnError,
    LimitReachedError,
)
from moothall.services.access.model import TEAM_PREFIX
from moothall.services.identity.actions import (
    FindMember,
    NameMembers,
    NameOrId,
    find_member,
    name_members,
)
from moothall.services.identity.errors import MemberNotFoundError
from moothall.services.leaderboards.errors import (
    BoardNotFoundError,
    LevelTooHighError,
    LevelUnchangedError,
    MemberBannedError,
    OwnLevelError,
)
from moothall.services.leaderboards.events import LevelChanged, entries_stream, moderation_stream
from moothall.services.leaderboards.model import (
    LEVEL_PERMISSIONS,
    LEVEL_ROLES,
    Board,
    Level,
    LevelTarget,
    MemberLevel,
)
from moothall.services.leaderboards.rules import check_level_change, higher_of, level_of
from moothall.services.leaderboards.store import boards

BINDINGS_AT_ONCE = 500
"""Bindings that are read at once to find levels among them."""

SCANNED_MAX = 2_000
"""Bindings that one page looks at to find those that are levels."""

_LEVELS = {role: level for level, (role, _, _) in LEVEL_ROLES.items()}
_PERMISSIONS = list(LEVEL_PERMISSIONS[Level.MODERATE])
_ABOVE_MODERATOR = ["scores:moderate", "roles:grant"]
_LAST_ROLE = "~"
"""Sorts after every name of a role."""


class SetLevel(Request):
    """Whose level, on which board."""

    board_id: Id
    member: NameOrId
    level: Level
    """``none`` takes the member's own level away; the default stays."""


class ListLevels(Request):
    """A page of levels; ``after`` is the ``next`` of the page before."""

    board_id: Id
    after: Annotated[str, Meta(max_length=128)] = ""
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class OwnLevel(Result):
    """A member's own level on a board."""

    board_id: str
    member_id: str
    name: str
    level: Level


class LevelPage(Result):
    """A page of levels; ``next`` is None on the last one."""

    default_level: Level
    """What everybody may do on the board."""
    levels: list[MemberLevel]
    next: str | None


@action(
    access=Signed("levels:set", at="board/{board_id}"),
    effect=WRITE,
    limit=PerActor(calls=20, window_ms=1_000),
    raises=(
        BoardNotFoundError,
        MemberNotFoundError,
        MemberBannedError,
        OwnLevelError,
        LevelTooHighError,
        GrantExceedsOwnError,
        LevelUnchangedError,
        LimitReachedError,
    ),
)
async def set_level(ctx: Context, request: SetLevel) -> OwnLevel:
    """Give a member a level of their own on a board, or take it away; it acts at once.

    The higher of it and the board's default counts. Moderators set levels below moderator, for
    members below moderator; administrators any, for anybody. Nobody raises themselves.

    Args:
        request.member: The member's name or id.
        request.level: ``none``, ``read``, ``write`` or ``moderate``.

    Raises:
        BoardNotFoundError: not_found. There is none of this id.
        MemberNotFoundError: not_found. There is none, or the member was removed.
        MemberBannedError: failed_precondition. The member is banned there.
        OwnLevelError: permission_denied. Nobody raises their own level.
        LevelTooHighError: permission_denied. The member, or the level, is not below moderator.
        GrantExceedsOwnError: permission_denied. The level holds more than you do there.
        LevelUnchangedError: failed_precondition. The member has this level already.
        LimitReachedError: failed_precondition. They have too many roles already.

    Emits:
        LevelChanged: to the moderators, and to the member unless they did it.
    """
    # Locked, so that meanwhile nobody sets the same member's level or removes the board.
    board = await boards.lock_board(ctx.tx, request.board_id, even_busy=True)
    member = await ctx.call(find_member, FindMember(member=request.member))
    if member.is_removed:
        raise MemberNotFoundError(member=request.member, remedy="this member was removed")
    roles = await _list_own_roles(ctx, board, member.member_id)
    target = await _find_target(ctx, board, member.member_id, roles)
    check_level_change(ctx.may, ctx.actor, target, request.level)
    at = f"board/{board.board_id}"
    for role in roles:  # before the new one, of which there may be no more than so many
        with suppress(BindingNotFoundError):  # somebody has just taken it away
            await ctx.call(revoke_role, RevokeRole(member=member.member_id, role=role, at=at))
    if request.level is not Level.NONE:
        role = LEVEL_ROLES[request.level][0]
        await ctx.call(grant_role, GrantRole(member=member.member_id, role=role, at=at))
    changed = LevelChanged(
        board_id=board.board_id,
        member_id=member.member_id,
        level=request.level,
        changed_by=ctx.actor,
    )
    ctx.emit(moderation_stream(board.board_id), changed)
    if member.member_id != ctx.actor:
        ctx.emit(entries_stream(member.member_id), changed)
    return OwnLevel(
        board_id=board.board_id,
        member_id=member.member_id,
        name=member.name,
        level=request.level,
    )


@action(
    access=Signed("levels:list", at="board/{board_id}"),
    effect=READ,
    limit=PerActor(calls=20, window_ms=1_000),
    raises=(BoardNotFoundError,),
)
async def list_levels(ctx: Context, request: ListLevels) -> LevelPage:
    """List members and teams that have a level of their own on a board, by pages.

    Each with the effective level: the highest of their own, their teams', the default and what
    they hold in the whole hall. A page can hold fewer than ``limit`` levels though there are
    more: go on while ``next`` is not None.

    Raises:
        BoardNotFoundError: not_found. There is none of this id.
    """
    board = await boards.get_board(ctx.tx, request.board_id)
    own, after = await _list_own_levels(ctx, board, request.after, request.limit)
    return LevelPage(
        default_level=board.default_level, levels=await _show(ctx, board, own), next=after
    )


async def _list_own_roles(ctx: Context, board: Board, member_id: str) -> list[str]:
    """Return the roles of levels that are bound to a member right at a board.

    From the rows and not from memory: a call before this one in the same commit may have
    changed them.
    """
    at = f"board/{board.board_id}"
    bound = await ctx.call(
        list_bindings, ListBindings(member=member_id, at=at, limit=BINDINGS_AT_ONCE)
    )
    return [one.role for one in bound.bindings if one.at == at and one.role in _LEVELS]


async def _find_target(ctx: Context, board: Board, member_id: str, roles: list[str]) -> LevelTarget:
    """Return what decides about the level of a member."""
    at = f"board/{board.board_id}"
    asked = CheckMembers(member_ids=[member_id], permissions=_ABOVE_MODERATOR, at=at)
    [held] = (await ctx.call(check_members, asked)).members
    level = Level.NONE
    for role in roles:
        level = higher_of(level, _LEVELS[role])
    return LevelTarget(
        board_id=board.board_id,
        member_id=member_id,
        level=level,
        is_moderator=bool(held.permissions) or level is Level.MODERATE,
        is_banned=held.is_banned,
    )


async def _list_own_levels(
    ctx: Context, board: Board, after: str, limit: int
) -> tuple[dict[str, Level], str | None]:
    """Return at most ``limit`` subjects with their own levels, and where the next page begins."""
    at = f"board/{board.board_id}"
    found: dict[str, Level] = {}
    cursor = (after, at, _LAST_ROLE) if after else ("", "", "")
    scanned = 0
    while True:
        page = await ctx.call(
            list_bindings, ListBindings(at=at, limit=BINDINGS_AT_ONCE, after=cursor)
        )
        for one in page.bindings:
            if one.at != at:  # what is bound below a board comes after it
                return found, None
            if one.role not in _LEVELS or one.subject == EVERYONE:
                continue
            if one.subject not in found and len(found) == limit:
                return found, list(found)[-1]
            found[one.subject] = higher_of(found.get(one.subject, Level.NONE), _LEVELS[one.role])
        if page.next is None:
            return found, None
        cursor = page.next
        scanned += len(page.bindings)
        whole = [one.subject for one in page.bindings if one.subject != cursor[0]]
        if scanned >= SCANNED_MAX and whole:
            found.pop(cursor[0], None)  # some of its roles may stand on the next page
            return found, whole[-1]


async def _show(ctx: Context, board: Board, own: dict[str, Level]) -> list[MemberLevel]:
    """Return levels with names and with what is effective."""
    at = f"board/{board.board_id}"
    member_ids = [subject for subject in own if not subject.startswith(TEAM_PREFIX)]
    names = {one: one.removeprefix(TEAM_PREFIX) for one in own if one.startswith(TEAM_PREFIX)}
    effective = {team: higher_of(own[team], board.default_level) for team in names}
    banned = set()
    if member_ids:
        names |= (await ctx.call(name_members, NameMembers(member_ids=member_ids))).names
        asked = CheckMembers(member_ids=member_ids, permissions=_PERMISSIONS, at=at)
        for one in (await ctx.call(check_members, asked)).members:
            effective[one.member_id] = _level_with(one.permissions, at)
            if one.is_banned:
                banned.add(one.member_id)
    return [
        MemberLevel(
            member_id=subject,
            name=names.get(subject, ""),
            level=level,
            effective_level=effective[subject],
            is_banned=subject in banned,
        )
        for subject, level in own.items()
    ]


def _level_with(permissions: list[str], at: str) -> Level:
    """Return the level of somebody who holds these permissions at a place."""
    return level_of(lambda wanted, _: wanted in permissions, at)
