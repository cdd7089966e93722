"""Asking for places: one's own, the top, a page, around somebody."""

from typing import Annotated

from msgspec import Meta

from moothall.action import READ, Context, Id, PerActor, Request, Result, Signed, action
from moothall.services.identity.actions import FindMember, NameOrId, find_member
from moothall.services.identity.errors import MemberNotFoundError
from moothall.services.leaderboards.actions.views import name_entries
from moothall.services.leaderboards.errors import (
    BoardNotFoundError,
    NotRankedError,
    SeasonNotFoundError,
)
from moothall.services.leaderboards.model import SeasonRanking, Standing
from moothall.services.leaderboards.rules import score_of
from moothall.services.leaderboards.store import entries, seasons, standings
from moothall.services.leaderboards.store.ranks import RANKS, Position, assign_places

PageSize = Annotated[int, Meta(ge=1, le=200)]
SeasonNumber = Annotated[int, Meta(ge=1, le=2**31 - 1, description="A season's number, from 1.")]


class ListEntries(Request):
    """A page of the ranking, from a row on: 0 is the best one."""

    board_id: Id
    season: SeasonNumber | None = None
    """The current one if it is left out."""
    offset: Annotated[int, Meta(ge=0, le=2**31)] = 0
    limit: PageSize = 50


class GetRank(Request):
    """A member's place; one's own if ``member`` is left out."""

    board_id: Id
    member: NameOrId | None = None
    season: SeasonNumber | None = None
    """The current one if it is left out."""


class ListAround(Request):
    """A member and their neighbours; oneself if ``member`` is left out."""

    board_id: Id
    member: NameOrId | None = None
    season: SeasonNumber | None = None
    """The current one if it is left out."""
    count: Annotated[int, Meta(ge=0, le=100)] = 5
    """How many neighbours on each side."""


class Ranking(Result):
    """Part of a ranking, best first."""

    board_id: str
    season: int
    total: int
    """Ranked rows of the whole season."""
    offset: int
    """Rows before the first one of this part."""
    standings: list[Standing]


class Rank(Result):
    """A member's place on a board."""

    board_id: str
    season: int
    member_id: str
    place: int
    total: int
    """Ranked rows of the whole season."""
    score: float
    submitted_at_ms: int
    entry_id: str


@action(
    access=Signed("scores:read", at="board/{board_id}"),
    effect=READ,
    limit=PerActor(calls=100, window_ms=1_000),
    raises=(BoardNotFoundError, SeasonNotFoundError),
)
async def list_entries(ctx: Context, request: ListEntries) -> Ranking:
    """List the ranking of a board by pages: place, member, score.

    Args:
        request.season: An earlier season, as it counted then; the current one by default.

    Raises:
        BoardNotFoundError: not_found. There is none of this id.
        SeasonNotFoundError: not_found. The board has no such season.
    """
    ranking = await seasons.get_ranking(ctx.tx, request.board_id, request.season)
    page = await RANKS.list_from(ctx.tx, ranking.ranking_id, request.offset, request.limit)
    return await _part_of(ctx, ranking, page, request.offset)


@action(
    access=Signed("scores:read", at="board/{board_id}"),
    effect=READ,
    limit=PerActor(calls=200, window_ms=1_000),
    raises=(MemberNotFoundError, BoardNotFoundError, SeasonNotFoundError, NotRankedError),
)
async def get_rank(ctx: Context, request: GetRank) -> Rank:
    """Tell a member's place: one more than there are better scores.

    Where every entry counts by itself, the place of the member's best one.

    Args:
        request.season: An earlier season, as it counted then; the current one by default.

    Raises:
        MemberNotFoundError: not_found. There is none of this name or id.
        BoardNotFoundError: not_found. There is none of this id.
        SeasonNotFoundError: not_found. The board has no such season.
        NotRankedError: not_found. The member has no verified entry in this season.
    """
    member_id = await _find_member(ctx, request)
    ranking, ranked, better, total = await standings.get_place(
        ctx.tx, request.board_id, request.season, member_id
    )
    if ranked is None:
        raise NotRankedError(member_id=member_id)
    return Rank(
        board_id=ranking.board_id,
        season=ranking.season,
        member_id=member_id,
        place=better + 1,
        total=total,
        score=score_of(ranked.key, ranking.direction),
        submitted_at_ms=ranked.submitted_at_ms,
        entry_id=ranked.entry_id,
    )


@action(
    access=Signed("scores:read", at="board/{board_id}"),
    effect=READ,
    limit=PerActor(calls=100, window_ms=1_000),
    raises=(MemberNotFoundError, BoardNotFoundError, SeasonNotFoundError, NotRankedError),
    command="entry around",
)
async def list_around(ctx: Context, request: ListAround) -> Ranking:
    """List the rows right before and after a member's, with theirs in the middle.

    Args:
        request.season: An earlier season, as it counted then; the current one by default.

    Raises:
        MemberNotFoundError: not_found. There is none of this name or id.
        BoardNotFoundError: not_found. There is none of this id.
        SeasonNotFoundError: not_found. The board has no such season.
        NotRankedError: not_found. The member has no verified entry in this season.
    """
    member_id = await _find_member(ctx, request)
    ranking, own = await standings.get_ranked(ctx.tx, request.board_id, request.season, member_id)
    if own is None:
        raise NotRankedError(member_id=member_id)
    before = await RANKS.list_before(ctx.tx, ranking.ranking_id, own, request.count)
    after = await RANKS.list_after(ctx.tx, ranking.ranking_id, own, request.count)
    offset = await RANKS.count_before(ctx.tx, ranking.ranking_id, own) - len(before)
    return await _part_of(ctx, ranking, [*before, own, *after], offset)


async def _find_member(ctx: Context, request: GetRank | ListAround) -> str:
    """Return the id of the member who is asked about."""
    if request.member is None:
        return ctx.actor
    return (await ctx.call(find_member, FindMember(member=request.member))).member_id


async def _part_of(
    ctx: Context, ranking: SeasonRanking, page: list[Position], offset: int
) -> Ranking:
    """Return a page with places and names."""
    known = await entries.list_by_id(ctx.tx, [row.entry_id for row in page])
    shown = await name_entries(ctx, [known[row.entry_id] for row in page])
    if page:
        scope = (ranking.ranking_id, page[0].key)
        better, total = await RANKS.count_better_and_all(ctx.tx, *scope)
    else:
        better, total = 0, await RANKS.count(ctx.tx, ranking.ranking_id)
    places = assign_places(page, offset, better)
    standings = [
        Standing(
            place=place,
            member_id=entry.member_id,
            name=entry.name,
            score=score_of(row.key, ranking.direction),
            submitted_at_ms=row.submitted_at_ms,
            entry_id=row.entry_id,
            is_removed=entry.is_removed,
            verified_at_ms=entry.verified_at_ms,
            verified_by=entry.verified_by,
            verified_by_name=entry.verified_by_name,
        )
        for place, row, entry in zip(places, page, shown, strict=True)
    ]
    return Ranking(
        board_id=ranking.board_id,
        season=ranking.season,
        total=total,
        offset=offset,
        standings=standings,
    )
