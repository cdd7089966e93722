"""Rows of rankings that are built anew, and of those that nobody reads any more."""

import msgspec

from moothall.ports.database import Transaction
from moothall.services.leaderboards.model import (
    Counting,
    Direction,
    Entry,
    Rebuild,
    SeasonRanking,
)
from moothall.services.leaderboards.store.ranks import RANKS

_position = msgspec.json.Decoder(tuple[str, float, int, str])
_VERIFIED = """
SELECT entry_id, board_id, season, member_id, score, submitted_at_ms, verified_at_ms, verified_by
FROM leaderboards_entry WHERE board_id = $1 AND season = $2 AND verified_at_ms IS NOT NULL
"""
_ORDER = "ORDER BY member_id, score, submitted_at_ms, entry_id"


async def insert_rebuild(tx: Transaction, ranking: SeasonRanking) -> None:
    """Begin to build a ranking of the board's current season."""
    sql = """
    INSERT INTO leaderboards_rebuild (board_id, ranking_id, direction, counting)
    VALUES ($1, $2, $3, $4)
    """
    await tx.execute(
        sql, ranking.board_id, ranking.ranking_id, ranking.direction.value, ranking.counting.value
    )


async def find_rebuild(tx: Transaction, board_id: str) -> Rebuild | None:
    """Return how far the ranking of a board is built, if one is being built."""
    sql = """
    SELECT r.board_id, b.season, r.ranking_id, r.direction, r.counting, r.position
    FROM leaderboards_rebuild AS r JOIN leaderboards_board AS b ON b.board_id = r.board_id
    WHERE r.board_id = $1 AND b.state = 'rebuilding'
    """
    row = await tx.fetch_one(sql, board_id)
    if row is None:
        return None
    ranking = SeasonRanking(
        board_id=row[0],
        season=row[1],
        ranking_id=row[2],
        direction=Direction(row[3]),
        counting=Counting(row[4]),
    )
    return Rebuild(ranking, None if row[5] is None else _position.decode(row[5]))


async def update_position(tx: Transaction, board_id: str, last: Entry) -> None:
    """Write down the last entry that the new ranking holds."""
    sql = "UPDATE leaderboards_rebuild SET position = $1 WHERE board_id = $2"
    position = (last.member_id, last.score, last.submitted_at_ms, last.entry_id)
    await tx.execute(sql, msgspec.json.encode(position).decode(), board_id)


async def update_season_ranking(tx: Transaction, ranking: SeasonRanking) -> None:
    """Let a season be read from another ranking; the one before is unused from now on."""
    sql = """
    INSERT INTO leaderboards_unused_ranking (ranking_id, board_id)
    SELECT ranking_id, board_id FROM leaderboards_season WHERE board_id = $1 AND number = $2
    """
    await tx.execute(sql, ranking.board_id, ranking.season)
    sql = """
    UPDATE leaderboards_season SET ranking_id = $1, direction = $2, counting = $3
    WHERE board_id = $4 AND number = $5
    """
    await tx.execute(
        sql,
        ranking.ranking_id,
        ranking.direction.value,
        ranking.counting.value,
        ranking.board_id,
        ranking.season,
    )


async def delete_rebuild(tx: Transaction, board_id: str) -> None:
    """End the building of a ranking."""
    await tx.execute("DELETE FROM leaderboards_rebuild WHERE board_id = $1", board_id)


async def list_verified(tx: Transaction, rebuild: Rebuild, limit: int) -> list[Entry]:
    """Return verified entries of the season that follow what the new ranking holds.

    By member, then by score: so a step meets few members, who are then counted at once.
    """
    scope: tuple[object, ...] = (rebuild.ranking.board_id, rebuild.ranking.season, limit)
    sql = f"{_VERIFIED} {_ORDER} LIMIT $3"
    if rebuild.position is not None:
        sql = f"""{_VERIFIED}
        AND (member_id, score, submitted_at_ms, entry_id) > ($4, $5, $6, $7) {_ORDER} LIMIT $3
        """
        scope = (*scope, *rebuild.position)
    return [
        Entry(
            entry_id=row[0],
            board_id=row[1],
            season=row[2],
            member_id=row[3],
            score=row[4],
            submitted_at_ms=row[5],
            verified_at_ms=row[6],
            verified_by=row[7],
        )
        for row in await tx.fetch_all(sql, *scope)
    ]


async def list_unused(tx: Transaction, limit: int) -> list[str]:
    """Return ids of rankings that nobody reads any more."""
    sql = "SELECT ranking_id FROM leaderboards_unused_ranking ORDER BY ranking_id LIMIT $1"
    return [str(row[0]) for row in await tx.fetch_all(sql, limit)]


async def find_unused_of(tx: Transaction, board_id: str) -> str | None:
    """Return the id of a ranking of a board that nobody reads any more."""
    sql = "SELECT ranking_id FROM leaderboards_unused_ranking WHERE board_id = $1 LIMIT 1"
    row = await tx.fetch_one(sql, board_id)
    return None if row is None else str(row[0])


async def retire_rankings(tx: Transaction, board_id: str, limit: int) -> int:
    """Remove seasons of a board, and leave their rankings unused; return how many."""
    sql = """
    INSERT INTO leaderboards_unused_ranking (ranking_id, board_id)
    SELECT ranking_id, board_id FROM leaderboards_rebuild WHERE board_id = $1
    """
    await tx.execute(sql, board_id)
    await delete_rebuild(tx, board_id)
    some = """
    FROM leaderboards_season WHERE board_id = $1 ORDER BY number LIMIT $2
    """
    sql = f"""
    INSERT INTO leaderboards_unused_ranking (ranking_id, board_id)
    SELECT ranking_id, board_id {some}
    """
    await tx.execute(sql, board_id, limit)
    sql = f"""
    DELETE FROM leaderboards_season WHERE board_id = $1 AND number IN (SELECT number {some})
    """
    return await tx.execute(sql, board_id, limit)


async def delete_ranking_chunk(tx: Transaction, ranking_id: str, limit: int) -> int:
    """Remove some rows of an unused ranking and return how many; call again until it is 0."""
    sql = "SELECT 1 FROM leaderboards_unused_ranking WHERE ranking_id = $1"
    if not await tx.lock_rows(sql, ranking_id):
        return 0  # erased by another node, and its id may be used again
    if gone := await RANKS.delete_chunk(tx, ranking_id):
        return gone
    sql = """
    DELETE FROM leaderboards_standing WHERE ranking_id = $1 AND member_id IN (
      SELECT member_id FROM leaderboards_standing WHERE ranking_id = $1 LIMIT $2)
    """
    if gone := await tx.execute(sql, ranking_id, limit):
        return gone
    sql = "DELETE FROM leaderboards_unused_ranking WHERE ranking_id = $1"
    return await tx.execute(sql, ranking_id)
