"""Rows of boards."""

from moothall.ports.database import Row, Transaction
from moothall.services.leaderboards.errors import BoardNotFoundError
from moothall.services.leaderboards.model import Board, Counting, Direction, Level, RemovedMembers

_COLUMNS = "board_id, name, direction, counting, default_level, created_at_ms, removed_members"
_GET = f"SELECT {_COLUMNS} FROM leaderboards_board WHERE board_id = $1"


async def insert_board(tx: Transaction, board: Board, created_by: str) -> bool:
    """Add a board; False if its id is taken."""
    sql = f"""
    INSERT INTO leaderboards_board ({_COLUMNS}, created_by)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (board_id) DO NOTHING
    """
    changed = await tx.execute(
        sql,
        board.board_id,
        board.name,
        board.direction.value,
        board.counting.value,
        board.default_level.value,
        board.created_at_ms,
        board.removed_members.value,
        created_by,
    )
    return changed == 1


async def update_removed_members(tx: Transaction, board_id: str, choice: RemovedMembers) -> None:
    """Set what becomes of the entries of members who are removed."""
    sql = "UPDATE leaderboards_board SET removed_members = $1 WHERE board_id = $2"
    await tx.execute(sql, choice.value, board_id)


async def get_board(tx: Transaction, board_id: str) -> Board:
    """Return a board.

    Raises:
        BoardNotFoundError: There is none of this id.
    """
    row = await tx.fetch_one(_GET, board_id)
    if row is None:
        raise _not_found(board_id)
    return _board(row)


async def lock_board(tx: Transaction, board_id: str) -> Board:
    """Return a board whose ranking will be changed: one call after the other.

    Raises:
        BoardNotFoundError: There is none of this id.
    """
    rows = await tx.lock_rows(_GET, board_id)
    if not rows:
        raise _not_found(board_id)
    return _board(rows[0])


async def list_boards(tx: Transaction, after: str, limit: int) -> list[Board]:
    """Return boards by id, after ``after``."""
    sql = f"SELECT {_COLUMNS} FROM leaderboards_board WHERE board_id > $1 ORDER BY 1 LIMIT $2"
    return [_board(row) for row in await tx.fetch_all(sql, after, limit)]


def _not_found(board_id: str) -> BoardNotFoundError:
    """Return the error that names the board."""
    return BoardNotFoundError(board_id=board_id, remedy="see leaderboards.list_boards")


def _board(row: Row) -> Board:
    """Return the board in ``row``."""
    return Board(
        board_id=row[0],
        name=row[1],
        direction=Direction(row[2]),
        counting=Counting(row[3]),
        default_level=Level(row[4]),
        created_at_ms=row[5],
        removed_members=RemovedMembers(row[6]),
    )
