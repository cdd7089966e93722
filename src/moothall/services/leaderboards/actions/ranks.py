"""Asking for places: one's own, the top, a page, around somebody."""

from typing import Annotated

from msgspec import Meta

from moothall.action import READ, Context, Id, PerActor, Request, Result, Signed, action
from moothall.services.identity.actions import (
    FindMember,
    NameMembers,
    NameOrId,
    find_member,
    name_members,
)
from moothall.services.identity.errors import MemberNotFoundError
from moothall.services.leaderboards.errors import BoardNotFoundError, NotRankedError
from moothall.services.leaderboards.model import Board, Ranked, Standing
from moothall.services.leaderboards.rules import score_of
from moothall.services.leaderboards.store import boards, entries
from moothall.services.leaderboards.store.entries import RANKS
from moothall.services.leaderboards.store.ranks import Position, assign_places

PageSize = Annotated[int, Meta(ge=1, le=200)]


class ListEntries(Request):
    """A page of the ranking, from a row on: 0 is the best one."""

    board_id: Id
    offset: Annotated[int, Meta(ge=0, le=2**31)] = 0
    limit: PageSize = 50


class GetRank(Request):
    """A member's place; one's own if ``member`` is left out."""

    board_id: Id
    member: NameOrId | None = None


class ListAround(Request):
    """A member and their neighbours; oneself if ``member`` is left out."""

    board_id: Id
    member: NameOrId | None = None
    count: Annotated[int, Meta(ge=0, le=100)] = 5
    """How many neighbours on each side."""


class Ranking(Result):
    """Part of a ranking, best first."""

    board_id: str
    total: int
    """Ranked rows of the whole board."""
    offset: int
    """Rows before the first one of this part."""
    standings: list[Standing]


class Rank(Result):
    """A member's place on a board."""

    board_id: str
    member_id: str
    place: int
    total: int
    """Ranked rows of the whole board."""
    score: float
    submitted_at_ms: int
    entry_id: str


@action(
    access=Signed("scores:read", at="board/{board_id}"),
    effect=READ,
    limit=PerActor(calls=100, window_ms=1_000),
    raises=(BoardNotFoundError,),
)
async def list_entries(ctx: Context, request: ListEntries) -> Ranking:
    """List the ranking of a board by pages: place, member, score.

    Raises:
        BoardNotFoundError: not_found. There is none of this id.
    """
    board = await boards.get_board(ctx.tx, request.board_id)
    page = await RANKS.list_from(ctx.tx, board.board_id, request.offset, request.limit)
    return await _ranking(ctx, board, page, request.offset)


@action(
    access=Signed("scores:read", at="board/{board_id}"),
    effect=READ,
    limit=PerActor(calls=200, window_ms=1_000),
    raises=(BoardNotFoundError, MemberNotFoundError, NotRankedError),
)
async def get_rank(ctx: Context, request: GetRank) -> Rank:
    """Tell a member's place: one more than there are better scores.

    Where every entry counts by itself, the place of the member's best one.

    Raises:
        BoardNotFoundError: not_found. There is none of this id.
        MemberNotFoundError: not_found. There is none of this name or id.
        NotRankedError: not_found. The member has no verified entry here.
    """
    board = await boards.get_board(ctx.tx, request.board_id)
    member_id, ranked = await _find(ctx, board, request.member)
    better, total = await RANKS.count_better_and_all(ctx.tx, board.board_id, ranked.key)
    return Rank(
        board_id=board.board_id,
        member_id=member_id,
        place=better + 1,
        total=total,
        score=score_of(ranked.key, board.direction),
        submitted_at_ms=ranked.submitted_at_ms,
        entry_id=ranked.entry_id,
    )


@action(
    access=Signed("scores:read", at="board/{board_id}"),
    effect=READ,
    limit=PerActor(calls=100, window_ms=1_000),
    raises=(BoardNotFoundError, MemberNotFoundError, NotRankedError),
    command="entry around",
)
async def list_around(ctx: Context, request: ListAround) -> Ranking:
    """List the rows right before and after a member's, with theirs in the middle.

    Raises:
        BoardNotFoundError: not_found. There is none of this id.
        MemberNotFoundError: not_found. There is none of this name or id.
        NotRankedError: not_found. The member has no verified entry here.
    """
    board = await boards.get_board(ctx.tx, request.board_id)
    _, ranked = await _find(ctx, board, request.member)
    own = Position(ranked.key, ranked.submitted_at_ms, ranked.entry_id)
    before = await RANKS.list_before(ctx.tx, board.board_id, own, request.count)
    after = await RANKS.list_after(ctx.tx, board.board_id, own, request.count)
    offset = await RANKS.count_before(ctx.tx, board.board_id, own) - len(before)
    return await _ranking(ctx, board, [*before, own, *after], offset)


async def _find(ctx: Context, board: Board, member: str | None) -> tuple[str, Ranked]:
    """Return a member's id and what stands in the ranking for them."""
    member_id = ctx.actor
    if member is not None:
        member_id = (await ctx.call(find_member, FindMember(member=member))).member_id
    ranked = await entries.find_ranked(ctx.tx, board, member_id)
    if ranked is None:
        raise NotRankedError(member_id=member_id)
    return member_id, ranked


async def _ranking(ctx: Context, board: Board, page: list[Position], offset: int) -> Ranking:
    """Return a page with places and names."""
    submitters = await entries.list_submitters(ctx.tx, [row.entry_id for row in page])
    wanted = NameMembers(member_ids=sorted(set(submitters.values())))
    named = await ctx.call(name_members, wanted)
    removed = set(named.removed)
    better = await RANKS.count_better(ctx.tx, board.board_id, page[0].key) if page else 0
    places = assign_places(page, offset, better)
    standings = [
        Standing(
            place=place,
            member_id=submitters[row.entry_id],
            name=named.names.get(submitters[row.entry_id], ""),
            score=score_of(row.key, board.direction),
            submitted_at_ms=row.submitted_at_ms,
            entry_id=row.entry_id,
            is_removed=submitters[row.entry_id] in removed,
        )
        for place, row in zip(places, page, strict=True)
    ]
    return Ranking(
        board_id=board.board_id,
        total=await RANKS.count(ctx.tx, board.board_id),
        offset=offset,
        standings=standings,
    )
