"""Teams: members who are given roles together."""

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
    Signed,
    Slug,
    Text,
    action,
    next_cursor,
)
from moothall.services.access.actions.subjects import (
    NameOrId,
    PageSize,
    check_caller_holds_all,
    check_team_exists,
    find_member_id,
)
from moothall.services.access.adapters.bindings import StoredBindings
from moothall.services.access.errors import (
    GrantExceedsOwnError,
    LimitReachedError,
    TeamExistsError,
    TeamMemberNotFoundError,
    TeamNotFoundError,
)
from moothall.services.access.events import (
    STREAM,
    TeamCreated,
    TeamDeleted,
    TeamMemberAdded,
    TeamMemberRemoved,
)
from moothall.services.access.model import TEAM_PREFIX, AccessSettings, Team, TeamMember
from moothall.services.access.rules.changed import Changed
from moothall.services.access.store import bindings, teams
from moothall.services.access.store.locks import lock_teams
from moothall.services.identity.errors import MemberNotFoundError


class CreateTeam(Request):
    """A new team."""

    team: Slug
    summary: Text = ""


class DeleteTeam(Request):
    """A team that is no longer wanted."""

    team: Id


class TeamDeletion(Result):
    """What went."""

    team: str
    members: int
    bindings: int


class AddTeamMember(Request):
    """Who joins which team."""

    team: Id
    member: NameOrId


class RemoveTeamMember(Request):
    """Who leaves which team."""

    team: Id
    member: NameOrId


class ListTeams(Request):
    """A page of teams by name; ``after`` is the ``next`` of the page before."""

    after: Annotated[str, Meta(max_length=64)] = ""
    limit: PageSize = 100


class TeamPage(Result):
    """A page of teams; ``next`` is None on the last one."""

    teams: list[Team]
    next: str | None


class ListTeamMembers(Request):
    """A page of a team by member id; ``after`` is the ``next`` of the page before."""

    team: Id
    after: Annotated[str, Meta(max_length=128)] = ""
    limit: PageSize = 100


class TeamMemberPage(Result):
    """A page of members; ``next`` is None on the last one."""

    members: list[TeamMember]
    next: str | None


@action(
    access=Signed("teams:manage"),
    effect=WRITE,
    limit=PerActor(calls=10, window_ms=1_000),
    raises=(TeamExistsError, LimitReachedError),
)
async def create_team(ctx: Context, request: CreateTeam) -> Team:
    """Make a team; it has no members and holds nothing yet.

    Raises:
        TeamExistsError: already_exists. The name is taken.
        LimitReachedError: failed_precondition. There are too many teams.

    Emits:
        TeamCreated: once.
    """
    team = Team(
        team=request.team,
        summary=request.summary,
        created_by=ctx.actor,
        created_at_ms=ctx.now_ms,
    )
    await lock_teams(ctx.tx)
    if not await teams.insert_team(ctx.tx, team):
        raise TeamExistsError(team=request.team, remedy="choose another name")
    limit = ctx.use(AccessSettings).teams_max
    if await teams.count_teams(ctx.tx) > limit:
        raise LimitReachedError(limit=limit, remedy="delete a team that is not needed")
    ctx.emit(STREAM, TeamCreated(team=request.team))
    return team


@action(
    access=Signed("teams:manage"),
    effect=WRITE,
    limit=PerActor(calls=10, window_ms=1_000),
    raises=(TeamNotFoundError, GrantExceedsOwnError),
)
async def delete_team(ctx: Context, request: DeleteTeam) -> TeamDeletion:
    """Take a team away, with all that is bound to it.

    Raises:
        TeamNotFoundError: not_found. There is no such team.
        GrantExceedsOwnError: permission_denied. The team holds more than you do.

    Emits:
        TeamDeleted: once.
    """
    index, subject = ctx.use(StoredBindings), TEAM_PREFIX + request.team
    await check_team_exists(ctx, request.team)
    await check_caller_holds_all(ctx, subject)
    unbound = await bindings.delete_bindings_of(ctx.tx, subject)
    gone = await teams.delete_team(ctx.tx, request.team)
    await index.change(ctx.tx, lambda: index.disband(subject, gone), Changed.TEAM_GONE.key(subject))
    ctx.emit(STREAM, TeamDeleted(team=request.team))
    return TeamDeletion(team=request.team, members=len(gone), bindings=len(unbound))


@action(
    access=Signed("teams:manage"),
    effect=WRITE,
    limit=PerActor(calls=50, window_ms=1_000),
    raises=(TeamNotFoundError, GrantExceedsOwnError, MemberNotFoundError, LimitReachedError),
    command="team add",
)
async def add_team_member(ctx: Context, request: AddTeamMember) -> TeamMember:
    """Put a member into a team; what the team holds acts for them from the next call on.

    Adding who belongs to it already changes nothing.

    Raises:
        TeamNotFoundError: not_found. There is no such team.
        GrantExceedsOwnError: permission_denied. The team holds more than you do.
        MemberNotFoundError: not_found. There is no such member.
        LimitReachedError: failed_precondition. The team, or the teams of the member, are
            too many.

    Emits:
        TeamMemberAdded: once, unless they belong to it already.
    """
    index, subject = ctx.use(StoredBindings), TEAM_PREFIX + request.team
    await check_team_exists(ctx, request.team)
    await check_caller_holds_all(ctx, subject)
    member = TeamMember(
        team=request.team,
        member_id=await find_member_id(ctx, request.member),
        added_by=ctx.actor,
        added_at_ms=ctx.now_ms,
    )
    if not await teams.insert_member(ctx.tx, member):
        return member
    settings = ctx.use(AccessSettings)
    if await teams.count_members(ctx.tx, request.team) > settings.team_members_max:
        raise LimitReachedError(limit=settings.team_members_max, remedy="make a second team")
    if await teams.count_teams_of(ctx.tx, member.member_id) > settings.teams_per_member_max:
        limit = settings.teams_per_member_max
        raise LimitReachedError(limit=limit, remedy="take the member out of another team")
    await index.change(
        ctx.tx, lambda: index.join(subject, member.member_id), Changed.SUBJECT.key(member.member_id)
    )
    ctx.emit(STREAM, TeamMemberAdded(team=request.team, member_id=member.member_id))
    return member


@action(
    access=Signed("teams:manage"),
    effect=WRITE,
    limit=PerActor(calls=50, window_ms=1_000),
    raises=(
        TeamNotFoundError,
        GrantExceedsOwnError,
        MemberNotFoundError,
        TeamMemberNotFoundError,
    ),
    command="team remove",
)
async def remove_team_member(ctx: Context, request: RemoveTeamMember) -> TeamMember:
    """Take a member out of a team; what it holds is theirs no more from the next call on.

    Raises:
        TeamNotFoundError: not_found. There is no such team.
        GrantExceedsOwnError: permission_denied. The team holds more than you do.
        MemberNotFoundError: not_found. There is no such member.
        TeamMemberNotFoundError: not_found. They do not belong to it.

    Emits:
        TeamMemberRemoved: once.
    """
    index, subject = ctx.use(StoredBindings), TEAM_PREFIX + request.team
    await check_team_exists(ctx, request.team)
    await check_caller_holds_all(ctx, subject)
    member_id = await find_member_id(ctx, request.member)
    if not await teams.delete_member(ctx.tx, request.team, member_id):
        raise TeamMemberNotFoundError(team=request.team, remedy="see access.list_team_members")
    await index.change(
        ctx.tx, lambda: index.leave(subject, member_id), Changed.SUBJECT.key(member_id)
    )
    ctx.emit(STREAM, TeamMemberRemoved(team=request.team, member_id=member_id))
    return TeamMember(
        team=request.team, member_id=member_id, added_by=ctx.actor, added_at_ms=ctx.now_ms
    )


@action(
    access=Signed("teams:list"),
    effect=READ,
    limit=PerActor(calls=50, window_ms=1_000),
    raises=(),
)
async def list_teams(ctx: Context, request: ListTeams) -> TeamPage:
    """List teams by name, by pages."""
    found = await teams.list_teams(ctx.tx, request.after, request.limit)
    return TeamPage(teams=found, next=next_cursor(found, request.limit, lambda last: last.team))


@action(
    access=Signed("teams:list"),
    effect=READ,
    limit=PerActor(calls=50, window_ms=1_000),
    raises=(TeamNotFoundError,),
    command="team members",
)
async def list_team_members(ctx: Context, request: ListTeamMembers) -> TeamMemberPage:
    """List who belongs to a team, by pages.

    Raises:
        TeamNotFoundError: not_found. There is no such team.
    """
    await check_team_exists(ctx, request.team)
    found = await teams.list_members(ctx.tx, request.team, request.after, request.limit)
    after = next_cursor(found, request.limit, lambda last: last.member_id)
    return TeamMemberPage(members=found, next=after)
