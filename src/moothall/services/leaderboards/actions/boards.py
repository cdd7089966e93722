"""Making and finding boards."""

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
from moothall.services.access.actions import GrantRole, grant_role
from moothall.services.leaderboards.errors import BoardExistsError, BoardNotFoundError
from moothall.services.leaderboards.events import BoardCreated, board_stream
from moothall.services.leaderboards.model import (
    LEVEL_ROLES,
    Board,
    Counting,
    Direction,
    Level,
    RemovedMembers,
)
from moothall.services.leaderboards.rules import (
    check_board_name,
    choose_board_id,
    higher_of,
    level_of,
)
from moothall.services.leaderboards.store import boards

SCANNED_MAX = 2_000
"""Boards that one page looks at to find those the caller may read."""

_SCANNED_AT_ONCE = 200

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
    board_id: Slug | None = None
    """Made from the name if it is left out."""


class UpdateBoard(Request):
    """What of a board is changed; what is left out stays."""

    board_id: Id
    removed_members: RemovedMembers | None = None
    """What becomes of the entries of a member who is removed from now on."""


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
        request.board_id: Made from the name if it is left out.

    Raises:
        BoardExistsError: already_exists. Give another ``board_id`` or name.

    Emits:
        BoardCreated: once.
    """
    name = check_board_name(request.name)
    board_id = choose_board_id(request.board_id, name)
    board = Board(
        board_id=board_id,
        name=name,
        direction=request.direction,
        counting=request.counting,
        default_level=request.default_level,
        created_at_ms=ctx.now_ms,
        removed_members=request.removed_members,
        level=higher_of(level_of(ctx.may, f"board/{board_id}"), request.default_level),
    )
    if not await boards.insert_board(ctx.tx, board, ctx.actor):
        raise BoardExistsError(board_id=board.board_id, remedy="give another board_id")
    if board.default_level is not Level.NONE:
        role = LEVEL_ROLES[board.default_level][0]
        at = f"board/{board.board_id}"
        await ctx.call(grant_role, GrantRole(member=EVERYONE, role=role, at=at))
    ctx.emit(board_stream(board.board_id), BoardCreated(board_id=board.board_id, name=board.name))
    return board


@action(
    access=Signed("boards:update", at="board/{board_id}"),
    effect=WRITE,
    limit=PerActor(calls=20, window_ms=1_000),
    raises=(BoardNotFoundError,),
)
async def update_board(ctx: Context, request: UpdateBoard) -> Board:
    """Change what a board does with the entries of members who are removed.

    Args:
        request.removed_members: ``keep`` their entries without a name, or ``remove`` them.
            Entries that have lost their name already stay.

    Raises:
        BoardNotFoundError: not_found. There is none of this id.
    """
    board = await boards.lock_board(ctx.tx, request.board_id)
    choice = board.removed_members if request.removed_members is None else request.removed_members
    await boards.update_removed_members(ctx.tx, request.board_id, choice)
    return _with_level(ctx, await boards.get_board(ctx.tx, request.board_id))


@action(
    access=Signed("scores:read", at="board/{board_id}"),
    effect=READ,
    limit=PerActor(calls=200, window_ms=1_000),
    raises=(BoardNotFoundError,),
)
async def get_board(ctx: Context, request: GetBoard) -> Board:
    """Show one board, with the caller's level on it.

    Raises:
        BoardNotFoundError: not_found. There is none of this id.
    """
    return _with_level(ctx, await boards.get_board(ctx.tx, request.board_id))


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
