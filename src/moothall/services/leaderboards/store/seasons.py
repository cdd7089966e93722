"""Rows of seasons: where the ranking of each stands, and how it counts."""

from moothall.ports.database import Row, Transaction
from moothall.services.leaderboards.errors import SeasonNotFoundError
from moothall.services.leaderboards.model import (
    Counting,
    Direction,
    Season,
    SeasonRanking,
)
from moothall.services.leaderboards.store import boards
from moothall.services.leaderboards.store.ranks import Position

_RANKING = "s.board_id, s.number, s.ranking_id, s.direction, s.counting"
_CURRENT = """
FROM leaderboards_board AS b
JOIN leaderboards_season AS s ON s.board_id = b.board_id AND s.number = b.season
"""
_NUMBERED = """
FROM leaderboards_board AS b
JOIN leaderboards_season AS s ON s.board_id = b.board_id AND s.number = $2
"""
_OF_BOARD = "WHERE b.board_id = $1 AND b.state <> 'removed'"
_GET_CURRENT = f"SELECT {_RANKING} {_CURRENT} {_OF_BOARD}"
_GET_NUMBERED = f"SELECT {_RANKING} {_NUMBERED} {_OF_BOARD}"
_STANDING = "t.key, t.submitted_at_ms, t.entry_id"
_OF_MEMBER = """
LEFT JOIN leaderboards_standing AS t ON t.ranking_id = s.ranking_id AND t.member_id = {member}
"""
STANDINGS = (
    f"SELECT {_RANKING}, {_STANDING} {_CURRENT} {_OF_MEMBER.format(member='$2')} {_OF_BOARD}",
    f"SELECT {_RANKING}, {_STANDING} {_NUMBERED} {_OF_MEMBER.format(member='$3')} {_OF_BOARD}",
)
"""Of the current season, for board and member; of a season, with its number between them."""


async def insert_season(tx: Transaction, ranking: SeasonRanking, began_at_ms: int) -> None:
    """Add a season that begins."""
    await tx.execute(
        boards.INSERT_SEASON,
        ranking.board_id,
        ranking.season,
        ranking.ranking_id,
        ranking.direction.value,
        ranking.counting.value,
        began_at_ms,
    )


async def get_ranking(tx: Transaction, board_id: str, season: int | None = None) -> SeasonRanking:
    """Return where the ranking of a season stands; of the current one, if none is named.

    Raises:
        BoardNotFoundError: There is none of this id.
        SeasonNotFoundError: The board has no such season.
    """
    if season is None:
        row = await tx.fetch_one(_GET_CURRENT, board_id)
    else:
        row = await tx.fetch_one(_GET_NUMBERED, board_id, season)
    if row is None:
        raise await _not_found(tx, board_id, season)
    return _ranking(row)


async def get_standing(
    tx: Transaction, board_id: str, season: int | None, member_id: str
) -> tuple[SeasonRanking, Position | None]:
    """Return where the ranking of a season stands, and who stands there for a member.

    One statement, because it is asked most of all. Under ``every`` nobody stands for a member.

    Raises:
        BoardNotFoundError: There is none of this id.
        SeasonNotFoundError: The board has no such season.
    """
    row = await find_standing(tx, STANDINGS, board_id, season, member_id)
    return read_standing(row)


async def find_standing(
    tx: Transaction,
    statements: tuple[str, str],
    board_id: str,
    season: int | None,
    member_id: str,
) -> Row:
    """Return the row of :data:`STANDINGS`, or of statements that were made of them.

    Raises:
        BoardNotFoundError: There is none of this id.
        SeasonNotFoundError: The board has no such season.
    """
    of_current, of_numbered = statements
    if season is None:
        row = await tx.fetch_one(of_current, board_id, member_id)
    else:
        row = await tx.fetch_one(of_numbered, board_id, season, member_id)
    if row is None:
        raise await _not_found(tx, board_id, season)
    return row


def read_standing(row: Row) -> tuple[SeasonRanking, Position | None]:
    """Return what a row of :data:`STANDINGS` tells."""
    return _ranking(row), None if row[5] is None else Position(*row[5:8])


async def _not_found(tx: Transaction, board_id: str, season: int | None) -> SeasonNotFoundError:
    """Return why there is no such season; or raise that there is no such board."""
    board = await boards.get_board(tx, board_id)
    return SeasonNotFoundError(season=season, season_max=board.season)


async def list_seasons(tx: Transaction, board_id: str, before: int, limit: int) -> list[Season]:
    """Return seasons with a smaller number than ``before``, the latest first."""
    sql = """
    SELECT board_id, number, began_at_ms, ended_at_ms, direction, counting
    FROM leaderboards_season WHERE board_id = $1 AND number < $2 ORDER BY number DESC LIMIT $3
    """
    return [
        Season(
            board_id=row[0],
            season=row[1],
            began_at_ms=row[2],
            ended_at_ms=row[3],
            direction=Direction(row[4]),
            counting=Counting(row[5]),
        )
        for row in await tx.fetch_all(sql, board_id, before, limit)
    ]


async def list_rankings(tx: Transaction) -> list[SeasonRanking]:
    """Return the rankings of all seasons of boards that were not removed."""
    sql = f"""
    SELECT {_RANKING} FROM leaderboards_season AS s
    JOIN leaderboards_board AS b ON b.board_id = s.board_id AND b.state <> 'removed'
    ORDER BY s.board_id, s.number
    """
    return [_ranking(row) for row in await tx.fetch_all(sql)]


async def update_ended(tx: Transaction, board_id: str, season: int, ended_at_ms: int) -> None:
    """Write down when a season ended."""
    sql = """
    UPDATE leaderboards_season SET ended_at_ms = $1 WHERE board_id = $2 AND number = $3
    """
    await tx.execute(sql, ended_at_ms, board_id, season)


def _ranking(row: Row) -> SeasonRanking:
    """Return the ranking in ``row``."""
    return SeasonRanking(
        board_id=row[0],
        season=row[1],
        ranking_id=row[2],
        direction=Direction(row[3]),
        counting=Counting(row[4]),
    )
