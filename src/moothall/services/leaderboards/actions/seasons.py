"""Seasons: beginning the next one, by hand or by the schedule, and looking back."""

from typing import Annotated

import msgspec
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
    action,
    next_cursor,
)
from moothall.services.leaderboards.errors import BoardBusyError, BoardNotFoundError
from moothall.services.leaderboards.events import SeasonStarted, board_stream
from moothall.services.leaderboards.model import Board, Season, SeasonRanking
from moothall.services.leaderboards.rules import next_reset_ms, ranking_id_of
from moothall.services.leaderboards.store import boards, seasons

SEASON_MAX = 2**31 - 1

SeasonsPageSize = Annotated[int, Meta(ge=1, le=500)]


class StartSeason(Request):
    """One board."""

    board_id: Id


class ListSeasons(Request):
    """A page of seasons; ``after`` is the ``next`` of the page before."""

    board_id: Id
    after: Annotated[int, Meta(ge=1, le=SEASON_MAX)] = SEASON_MAX
    limit: SeasonsPageSize = 100


class SeasonPage(Result):
    """A page of seasons, the latest first; ``next`` is None on the last one."""

    seasons: list[Season]
    next: int | None


@action(
    access=Signed("boards:update", at="board/{board_id}"),
    effect=WRITE,
    limit=PerActor(calls=20, window_ms=1_000),
    raises=(BoardNotFoundError, BoardBusyError),
)
async def start_season(ctx: Context, request: StartSeason) -> Season:
    """End the current season and begin the next, with an empty ranking.

    Seasons that have ended stay readable. An entry counts in the season it was submitted
    in, whenever it is verified. A schedule goes on as before.

    Raises:
        BoardNotFoundError: not_found. There is none of this id.
        BoardBusyError: unavailable. The ranking is being built anew; try again.

    Emits:
        SeasonStarted: once, to the board's readers.
    """
    board = await boards.lock_board(ctx.tx, request.board_id)
    return await begin_season(ctx, board)


@action(
    access=Signed("scores:read", at="board/{board_id}"),
    effect=READ,
    limit=PerActor(calls=50, window_ms=1_000),
    raises=(BoardNotFoundError,),
)
async def list_seasons(ctx: Context, request: ListSeasons) -> SeasonPage:
    """List the seasons of a board, the latest first: when each was, and how it counts.

    Raises:
        BoardNotFoundError: not_found. There is none of this id.
    """
    board = await boards.get_board(ctx.tx, request.board_id)
    found = await seasons.list_seasons(ctx.tx, board.board_id, request.after, request.limit)
    after = next_cursor(found, request.limit, lambda last: last.season)
    return SeasonPage(seasons=found, next=after)


async def begin_due_season(ctx: Context, board_id: str) -> None:
    """Begin a season that is due by the schedule: one, however often it was missed.

    Raises:
        BoardNotFoundError: There is none of this id.
        BoardBusyError: The ranking is being built anew.
        InvalidArgumentError: The zone of the schedule is not known here any more.
    """
    board = await boards.lock_board(ctx.tx, board_id)
    if board.schedule is None or board.next_reset_at_ms is None:
        return
    if board.next_reset_at_ms > ctx.now_ms:
        return
    ctx.concern(path=f"board/{board_id}")
    due_ms = next_reset_ms(board.schedule, board.time_zone or "UTC", ctx.now_ms)
    await begin_season(ctx, msgspec.structs.replace(board, next_reset_at_ms=due_ms))


async def begin_season(ctx: Context, board: Board) -> Season:
    """End the current season of a locked board and begin the next: a row, whatever its size.

    Emits:
        SeasonStarted: once, to the board's readers.
    """
    number, now_ms = board.season + 1, ctx.now_ms
    ranking = SeasonRanking(
        board_id=board.board_id,
        season=number,
        ranking_id=ranking_id_of(board.board_id, number),
        direction=board.direction,
        counting=board.counting,
    )
    await seasons.update_ended(ctx.tx, board.board_id, board.season, now_ms)
    await seasons.insert_season(ctx.tx, ranking, now_ms)
    await boards.update_board(ctx.tx, msgspec.structs.replace(board, season=number))
    event = SeasonStarted(board_id=board.board_id, season=number, began_at_ms=now_ms)
    ctx.emit(board_stream(board.board_id), event)
    return Season(
        board_id=board.board_id,
        season=number,
        began_at_ms=now_ms,
        ended_at_ms=None,
        direction=board.direction,
        counting=board.counting,
    )
