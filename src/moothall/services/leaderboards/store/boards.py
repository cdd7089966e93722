"""Rows of boards. One that was removed is not there, though its rows are still being erased."""

from functools import lru_cache
from typing import Literal

from moothall.ports.database import Row, Transaction
from moothall.services.leaderboards.errors import BoardBusyError, BoardNotFoundError
from moothall.services.leaderboards.model import Board, Counting, Direction, Level, RemovedMembers

BUSY_RETRY_MS = 1_000
"""When to try again what is refused because the ranking is built anew."""

_BOARDS = """
SELECT b.board_id, b.name, s.direction, s.counting, b.default_level, b.created_at_ms,
  b.removed_members, b.season, s.began_at_ms, b.schedule, b.time_zone, b.next_reset_at_ms, b.state
FROM leaderboards_board AS b
JOIN leaderboards_season AS s ON s.board_id = b.board_id AND s.number = b.season
WHERE b.state <> 'removed'
"""
_GET = f"{_BOARDS} AND b.board_id = $1"

INSERT_SEASON = """
INSERT INTO leaderboards_season (board_id, number, ranking_id, direction, counting, began_at_ms)
VALUES ($1, $2, $3, $4, $5, $6)
"""


async def insert_board(tx: Transaction, board: Board, created_by: str) -> bool:
    """Add a board and its first season; False if its id is taken."""
    sql = """
    INSERT INTO leaderboards_board (board_id, name, default_level, created_at_ms,
      removed_members, schedule, time_zone, next_reset_at_ms, created_by)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (board_id) DO NOTHING
    """
    changed = await tx.execute(
        sql,
        board.board_id,
        board.name,
        board.default_level.value,
        board.created_at_ms,
        board.removed_members.value,
        board.schedule,
        board.time_zone,
        board.next_reset_at_ms,
        created_by,
    )
    if not changed:
        return False
    scope = (board.board_id, 1, board.board_id)
    counts = (board.direction.value, board.counting.value)
    await tx.execute(INSERT_SEASON, *scope, *counts, board.created_at_ms)
    return True


async def update_board(tx: Transaction, board: Board) -> None:
    """Write down what of a board may change at once: not how it counts."""
    sql = """
    UPDATE leaderboards_board SET name = $1, default_level = $2, removed_members = $3,
      schedule = $4, time_zone = $5, next_reset_at_ms = $6, season = $7
    WHERE board_id = $8
    """
    await tx.execute(
        sql,
        board.name,
        board.default_level.value,
        board.removed_members.value,
        board.schedule,
        board.time_zone,
        board.next_reset_at_ms,
        board.season,
        board.board_id,
    )


async def update_state(
    tx: Transaction, board_id: str, state: Literal["open", "rebuilding", "removed"]
) -> None:
    """Open a board, or say that its ranking is built anew or that it is being erased."""
    sql = "UPDATE leaderboards_board SET state = $1 WHERE board_id = $2"
    await tx.execute(sql, state, board_id)


async def get_board(tx: Transaction, board_id: str) -> Board:
    """Return a board.

    Raises:
        BoardNotFoundError: There is none of this id.
    """
    row = await tx.fetch_one(_GET, board_id)
    if row is None:
        raise _not_found(board_id)
    return _board(row)


async def lock_board(tx: Transaction, board_id: str, *, even_busy: bool = False) -> Board:
    """Return a board whose ranking will be changed: one call after the other.

    Args:
        even_busy: Also while its ranking is built anew.

    Raises:
        BoardNotFoundError: There is none of this id.
        BoardBusyError: Its ranking is being built anew.
    """
    # If a season began while this waited, the row of the season that it looked for first is not
    # the current one any more. The board is locked by now, so a second look is the last.
    rows = await tx.lock_rows(_GET, board_id) or await tx.lock_rows(_GET, board_id)
    if not rows:
        raise _not_found(board_id)
    board = _board(rows[0])
    if not even_busy:
        check_is_open(board)
    return board


def check_is_open(board: Board) -> None:
    """Refuse to change the ranking of a board while it is built anew.

    Raises:
        BoardBusyError: It is.
    """
    if board.is_rebuilding:
        reason = "the board's ranking is being built anew"
        raise BoardBusyError(reason, board_id=board.board_id, retry_after_ms=BUSY_RETRY_MS)


async def list_boards(tx: Transaction, after: str, limit: int) -> list[Board]:
    """Return boards by id, after ``after``."""
    sql = f"{_BOARDS} AND b.board_id > $1 ORDER BY b.board_id LIMIT $2"
    return [_board(row) for row in await tx.fetch_all(sql, after, limit)]


async def list_due(tx: Transaction, now_ms: int, limit: int) -> list[str]:
    """Return ids of boards whose next season is due, the longest due first."""
    sql = """
    SELECT board_id FROM leaderboards_board
    WHERE next_reset_at_ms <= $1 AND state = 'open' ORDER BY next_reset_at_ms LIMIT $2
    """
    return [str(row[0]) for row in await tx.fetch_all(sql, now_ms, limit)]


async def list_in_state(tx: Transaction, state: str, limit: int) -> list[str]:
    """Return ids of boards that are ``rebuilding`` or ``removed``."""
    sql = """
    SELECT board_id FROM leaderboards_board
    WHERE state = $1 AND state <> 'open' ORDER BY board_id LIMIT $2
    """
    return [str(row[0]) for row in await tx.fetch_all(sql, state, limit)]


async def is_being_erased(tx: Transaction, board_id: str) -> bool:
    """Tell whether a board of this id was removed and its rows are still being erased.

    It stays so until the transaction ends, and nobody else erases its rows meanwhile.
    """
    sql = "SELECT 1 FROM leaderboards_board WHERE board_id = $1 AND state = 'removed'"
    return bool(await tx.lock_rows(sql, board_id))


async def delete_board(tx: Transaction, board_id: str) -> None:
    """Remove the row of a board of which nothing else is left."""
    await tx.execute("DELETE FROM leaderboards_board WHERE board_id = $1", board_id)


def _not_found(board_id: str) -> BoardNotFoundError:
    """Return the error that names the board."""
    return BoardNotFoundError(board_id=board_id, remedy="see leaderboards.list_boards")


@lru_cache(maxsize=1_024)
def _board(row: Row) -> Board:
    """Return the board in ``row``, once for the same row: each call about a board reads it."""
    return Board(
        board_id=row[0],
        name=row[1],
        direction=Direction(row[2]),
        counting=Counting(row[3]),
        default_level=Level(row[4]),
        created_at_ms=row[5],
        removed_members=RemovedMembers(row[6]),
        season=row[7],
        season_began_at_ms=row[8],
        schedule=row[9],
        time_zone=row[10],
        next_reset_at_ms=row[11],
        is_rebuilding=row[12] == "rebuilding",
    )
