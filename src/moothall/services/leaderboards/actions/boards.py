"""Making and finding boards."""

from contextlib import suppress
from typing import Annotated

import msgspec
from msgspec import Meta

from moothall.action import (
    EVERYONE,
    READ,
    WRITE,
    Context,
    Id,
    Name,
    PerActor,
    Request,
    Result,
    Signed,
    Slug,
    action,
)
from moothall.services.access.actions import (
    GrantRole,
    RevokeAll,
    RevokeRole,
    grant_role,
    revoke_all,
    revoke_role,
)
from moothall.services.access.errors import BindingNotFoundError
from moothall.services.leaderboards.actions.rebuilding import begin_rebuild
from moothall.services.leaderboards.errors import (
    BoardBusyError,
    BoardExistsError,
    BoardNotFoundError,
)
from moothall.services.leaderboards.events import (
    BoardCreated,
    BoardRemoved,
    BoardUpdated,
    board_stream,
    moderation_stream,
)
from moothall.services.leaderboards.model import (
    LEVEL_ROLES,
    Board,
    BoardDetails,
    Counting,
    Direction,
    Level,
    RemovedMembers,
)
from moothall.services.leaderboards.rules import (
    Timetable,
    check_board_name,
    choose_board_id,
    choose_timetable,
    higher_of,
    level_of,
)
from moothall.services.leaderboards.store import boards, seasons, views
from moothall.services.leaderboards.store.ranks import RANKS

SCANNED_MAX = 2_000
"""Boards that one page looks at to find those the caller may read."""

_SCANNED_AT_ONCE = 200

Schedule = Annotated[str, Meta(max_length=100, description="Five fields, as cron has them.")]
ZoneName = Annotated[str, Meta(min_length=1, max_length=64, description="A time zone's name.")]
BoardsPageSize = Annotated[int, Meta(ge=1, le=500)]


class CreateBoard(Request):
    """A new board."""

    name: Name
    direction: Direction
    counting: Counting = Counting.BEST
    default_level: Level = Level.READ
    """What every member may do on it."""
    removed_members: RemovedMembers = RemovedMembers.KEEP
    """What becomes of the entries of a member who is removed."""
    schedule: Schedule | None = None
    """When a new season begins by itself, as cron writes it: ``0 0 * * MON``."""
    time_zone: ZoneName | None = None
    """Of the schedule, such as ``Europe/Berlin``; UTC if it is left out."""
    board_id: Slug | None = None
    """Made from the name if it is left out."""


class UpdateBoard(Request):
    """What of a board is changed; what is left out stays."""

    board_id: Id
    name: Name | None = None
    direction: Direction | None = None
    """Counts the current season anew."""
    counting: Counting | None = None
    """Counts the current season anew."""
    default_level: Level | None = None
    """What every member may do on it."""
    removed_members: RemovedMembers | None = None
    """What becomes of the entries of a member who is removed from now on."""
    schedule: Schedule | None = None
    """When a new season begins by itself, as cron writes it; empty takes the schedule away."""
    time_zone: ZoneName | None = None
    """Of the schedule, such as ``Europe/Berlin``."""


class RemoveBoard(Request):
    """One board."""

    board_id: Id


class RemovedBoard(Result):
    """A board that is hidden, and whose rows are being erased."""

    board_id: str


class GetBoard(Request):
    """One board."""

    board_id: Id


class ListBoards(Request):
    """A page of boards by id; ``after`` is the ``next`` of the page before."""

    after: Annotated[str, Meta(max_length=128)] = ""
    limit: BoardsPageSize = 100


class BoardPage(Result):
    """A page of boards; ``next`` is None on the last one."""

    boards: list[Board]
    next: str | None


@action(
    access=Signed("boards:create"),
    effect=WRITE,
    limit=PerActor(calls=20, window_ms=1_000),
    raises=(BoardExistsError,),
)
async def create_board(ctx: Context, request: CreateBoard) -> Board:
    """Make a board and set what everybody may do on it.

    Args:
        request.name: 1 to 64 characters.
        request.direction: ``ascending`` where the lower score is better.
        request.counting: Which of a member's entries count.
        request.schedule: When seasons begin by themselves; never, if it is left out.
        request.board_id: Made from the name if it is left out.

    Raises:
        BoardExistsError: already_exists. Give another ``board_id`` or name; where a board of
            this id was removed and is still being erased, try again later.

    Emits:
        BoardCreated: once.
    """
    name = check_board_name(request.name)
    board_id = choose_board_id(request.board_id, name)
    timetable = choose_timetable(Timetable(), request.schedule, request.time_zone, ctx.now_ms)
    board = Board(
        board_id=board_id,
        name=name,
        direction=request.direction,
        counting=request.counting,
        default_level=request.default_level,
        created_at_ms=ctx.now_ms,
        removed_members=request.removed_members,
        level=higher_of(level_of(ctx.may, f"board/{board_id}"), request.default_level),
        season_began_at_ms=ctx.now_ms,
        schedule=timetable.schedule,
        time_zone=timetable.time_zone,
        next_reset_at_ms=timetable.next_reset_at_ms,
    )
    if not await boards.insert_board(ctx.tx, board, ctx.actor):
        if await boards.is_being_erased(ctx.tx, board_id):
            reason = "the board that had this id is still being erased"
            raise BoardExistsError(reason, board_id=board_id, remedy="try again in a while")
        raise BoardExistsError(board_id=board_id, remedy="give another board_id")
    await _bind_default(ctx, board)
    ctx.emit(board_stream(board.board_id), BoardCreated(board_id=board.board_id, name=board.name))
    return board


@action(
    access=Signed("boards:update", at="board/{board_id}"),
    effect=WRITE,
    limit=PerActor(calls=20, window_ms=1_000),
    raises=(BoardNotFoundError, BoardBusyError),
)
async def update_board(ctx: Context, request: UpdateBoard) -> Board:
    """Change a board; what is left out stays.

    Another direction or counting counts the current season anew. A large board does so
    beside the ranking that is read meanwhile (``is_rebuilding``), and nothing can be
    verified there until it is done. Seasons that have ended keep how they counted.

    Args:
        request.name: 1 to 64 characters.
        request.default_level: What every member may do on it; their own levels stay.
        request.removed_members: ``keep`` their entries without a name, or ``remove`` them.
            Entries that have lost their name already stay.
        request.schedule: When seasons begin by themselves; an empty text takes it away.

    Raises:
        BoardNotFoundError: not_found. There is none of this id.
        BoardBusyError: unavailable. The ranking is being built anew; try again.

    Emits:
        BoardUpdated: to the readers, unless all was so before.
        RankingRebuilt: to the readers, once the current season counts otherwise.
    """
    before = await boards.lock_board(ctx.tx, request.board_id)
    after = _changed(before, request, ctx.now_ms)
    if after != before:
        await boards.update_board(ctx.tx, after)
        ctx.emit(board_stream(after.board_id), BoardUpdated(board_id=after.board_id))
    if after.default_level is not before.default_level:
        await _unbind_default(ctx, before)
        await _bind_default(ctx, after)
    if (after.direction, after.counting) != (before.direction, before.counting):
        await begin_rebuild(ctx, after.board_id, after.direction, after.counting)
    return _with_level(ctx, await boards.get_board(ctx.tx, request.board_id))


@action(
    access=Signed("boards:remove", at="board/{board_id}"),
    effect=WRITE,
    limit=PerActor(calls=20, window_ms=1_000),
    raises=(BoardNotFoundError,),
)
async def remove_board(ctx: Context, request: RemoveBoard) -> RemovedBoard:
    """Remove a board with all its entries, comments, proofs, seasons and levels.

    It is hidden at once, and its rows are erased after that. Its id can be used again when
    nothing is left of it. Events that were written stay.

    Raises:
        BoardNotFoundError: not_found. There is none of this id.

    Emits:
        BoardRemoved: once to the readers, and once to the moderators.
    """
    board = await boards.lock_board(ctx.tx, request.board_id, even_busy=True)
    await boards.update_state(ctx.tx, board.board_id, "removed")
    for stream in (board_stream(board.board_id), moderation_stream(board.board_id)):
        ctx.emit(stream, BoardRemoved(board_id=board.board_id))
    # The first of them now, so that feeds end; what is left goes with the other rows.
    await ctx.call(revoke_all, RevokeAll(at=f"board/{board.board_id}"))
    return RemovedBoard(board_id=board.board_id)


@action(
    access=Signed("scores:read", at="board/{board_id}"),
    effect=READ,
    limit=PerActor(calls=200, window_ms=1_000),
    raises=(BoardNotFoundError,),
)
async def get_board(ctx: Context, request: GetBoard) -> BoardDetails:
    """Show one board, with the caller's level on it and how many entries it has.

    Moderators learn how many entries wait, others how many of their own do.

    Raises:
        BoardNotFoundError: not_found. There is none of this id.
    """
    board = _with_level(ctx, await boards.get_board(ctx.tx, request.board_id))
    ranking = await seasons.get_ranking(ctx.tx, board.board_id)
    member_id = None if ctx.may("scores:moderate", ctx.path) else ctx.actor
    return BoardDetails(
        **msgspec.structs.asdict(board),
        ranked=await RANKS.count(ctx.tx, ranking.ranking_id),
        waiting=await views.count_waiting(ctx.tx, board.board_id, member_id),
    )


@action(
    access=Signed("boards:list"),
    effect=READ,
    limit=PerActor(calls=50, window_ms=1_000),
    raises=(),
)
async def list_boards(ctx: Context, request: ListBoards) -> BoardPage:
    """List the boards that the caller may read, with the caller's level on each.

    A page can hold fewer than ``limit`` boards though there are more: go on while ``next``
    is not None.
    """
    found: list[Board] = []
    after, scanned = request.after, 0
    while scanned < SCANNED_MAX:
        page = await boards.list_boards(ctx.tx, after, _SCANNED_AT_ONCE)
        for board in page:
            after, scanned = board.board_id, scanned + 1
            shown = _with_level(ctx, board)
            if shown.level is not Level.NONE:
                found.append(shown)
            if len(found) == request.limit:
                return BoardPage(boards=found, next=after)
        if len(page) < _SCANNED_AT_ONCE:
            return BoardPage(boards=found, next=None)
    return BoardPage(boards=found, next=after)


def _with_level(ctx: Context, board: Board) -> Board:
    """Return ``board`` with the caller's level on it."""
    level = level_of(ctx.may, f"board/{board.board_id}")
    return msgspec.structs.replace(board, level=level)


def _changed(board: Board, request: UpdateBoard, now_ms: int) -> Board:
    """Return the board as it is to be."""
    fields = ("direction", "counting", "default_level", "removed_members")
    wanted = {name: getattr(request, name) for name in fields}
    if request.name is not None:
        wanted["name"] = check_board_name(request.name)
    timetable = choose_timetable(
        Timetable(board.schedule, board.time_zone, board.next_reset_at_ms),
        request.schedule,
        request.time_zone,
        now_ms,
    )
    changes = {name: value for name, value in wanted.items() if value is not None}
    return msgspec.structs.replace(board, **changes, **timetable._asdict())


async def _bind_default(ctx: Context, board: Board) -> None:
    """Let everyone do on a board what its default level says."""
    if board.default_level is not Level.NONE:
        role, at = LEVEL_ROLES[board.default_level][0], f"board/{board.board_id}"
        await ctx.call(grant_role, GrantRole(member=EVERYONE, role=role, at=at))


async def _unbind_default(ctx: Context, board: Board) -> None:
    """Take the role of the default level from everyone, unless somebody has done so already."""
    if board.default_level is not Level.NONE:
        role, at = LEVEL_ROLES[board.default_level][0], f"board/{board.board_id}"
        with suppress(BindingNotFoundError):
            await ctx.call(revoke_role, RevokeRole(member=EVERYONE, role=role, at=at))
