"""What of a member's entries counts, and that rankings show it."""

from moothall.ports.database import Transaction
from moothall.services.leaderboards.model import Board, Counting, Direction, Entry, SeasonRanking
from moothall.services.leaderboards.rules import key_of, sum_keys
from moothall.services.leaderboards.store.ranks import RANKS, Position, count_better_at_once
from moothall.services.leaderboards.store.seasons import (
    STANDINGS,
    find_standing,
    get_ranking,
    get_standing,
    read_standing,
)

_RANKED = "SELECT score, submitted_at_ms, entry_id"


def _verified(board_id: str, season: str, member_id: str) -> str:
    return f"""
    FROM leaderboards_entry
    WHERE board_id = {board_id} AND season = {season} AND member_id = {member_id}
      AND verified_at_ms IS NOT NULL
    """


def _best(direction: Direction, *scope: str) -> str:
    """Return SQL for the best of a member's verified entries."""
    # The best score is sought first: in an index by score, the order of its ties is the same
    # for both directions, so neither has to sort.
    best = "min" if direction is Direction.ASCENDING else "max"
    return f"""
    {_RANKED} {_verified(*scope)} AND score = (SELECT {best}(score) {_verified(*scope)})
    ORDER BY submitted_at_ms, entry_id LIMIT 1
    """


_VERIFIED = _verified("$1", "$2", "$3")
_BESTS = {direction: _best(direction, "$1", "$2", "$3") for direction in Direction}
_LAST = f"{_RANKED} {_VERIFIED} ORDER BY submitted_at_ms DESC, entry_id DESC LIMIT 1"
_ALL_OF_MEMBER = f"SELECT submitted_at_ms, entry_id, score {_VERIFIED}"
_FIND_STANDING = """
SELECT key, submitted_at_ms, entry_id FROM leaderboards_standing
WHERE ranking_id = $1 AND member_id = $2
"""
_PUT_STANDING = """
INSERT INTO leaderboards_standing (ranking_id, member_id, key, submitted_at_ms, entry_id)
VALUES ($1, $2, $3, $4, $5) ON CONFLICT (ranking_id, member_id)
DO UPDATE SET key = $3, submitted_at_ms = $4, entry_id = $5
"""


def _find_place(standing: str, member_id: str) -> str:
    """Return a statement for PostgreSQL that tells a place of every kind of board at once.

    Args:
        standing: One of ``seasons.STANDINGS``.
        member_id: Its parameter for the member.
    """
    bests = " UNION ALL ".join(
        f"""
        SELECT {sign} AS key, submitted_at_ms, entry_id
        FROM ({_best(direction, "s.board_id", "s.number", member_id)}) AS best
        WHERE s.counting = '{Counting.EVERY}' AND s.direction = '{direction}'
        """
        for direction, sign in (
            (Direction.ASCENDING, "score"),
            (Direction.DESCENDING, "0.0 - score"),
        )
    )
    return count_better_at_once(f"""
    SELECT s.board_id, s.number, s.ranking_id, s.direction, s.counting,
      coalesce(s.key, own.key) AS key,
      coalesce(s.submitted_at_ms, own.submitted_at_ms) AS submitted_at_ms,
      coalesce(s.entry_id, own.entry_id) AS entry_id
    FROM ({standing}) AS s LEFT JOIN LATERAL ({bests}) AS own ON true
    """)


_PLACES = (_find_place(STANDINGS[0], "$2"), _find_place(STANDINGS[1], "$3"))


async def update_ranking(tx: Transaction, board: Board, *changed: Entry) -> None:
    """Bring rankings in step after entries of a board were verified, unverified or removed.

    Each counts in its own season. Under ``every`` an entry's own row comes or goes.
    Otherwise a member has one row: what counts now replaces what counted before, so that
    unverifying the best restores the next best. The caller holds the lock of the board.
    """
    rankings: dict[int, SeasonRanking] = {}
    members: set[tuple[int, str]] = set()
    for entry in changed:
        ranking = rankings.get(entry.season)
        if ranking is None:
            ranking = await get_ranking(tx, board.board_id, entry.season)
            rankings[entry.season] = ranking
        if ranking.counting is Counting.EVERY:
            await _update_own_row(tx, ranking, entry)
        elif (entry.season, entry.member_id) not in members:
            members.add((entry.season, entry.member_id))
            await _update_row_of_member(tx, ranking, entry.member_id)


async def _update_own_row(tx: Transaction, ranking: SeasonRanking, entry: Entry) -> None:
    """Rank an entry if it is verified; otherwise take it out of the ranking."""
    key = key_of(entry.score, ranking.direction)
    position = Position(key, entry.submitted_at_ms, entry.entry_id)
    if entry.verified_at_ms is None:
        await RANKS.delete(tx, ranking.ranking_id, position)
    else:
        await RANKS.insert(tx, ranking.ranking_id, position)


async def _update_row_of_member(tx: Transaction, ranking: SeasonRanking, member_id: str) -> None:
    """Replace what counted of a member's entries by what counts now."""
    before = await _find_standing(tx, ranking, member_id)
    after = await _find_counting(tx, ranking, member_id)
    if before == after:
        return
    if before is not None:
        await RANKS.delete(tx, ranking.ranking_id, before)
    if after is None:
        sql = "DELETE FROM leaderboards_standing WHERE ranking_id = $1 AND member_id = $2"
        await tx.execute(sql, ranking.ranking_id, member_id)
    else:
        await RANKS.insert(tx, ranking.ranking_id, after)
        await tx.execute(_PUT_STANDING, ranking.ranking_id, member_id, *after)


async def _find_standing(
    tx: Transaction, ranking: SeasonRanking, member_id: str
) -> Position | None:
    """Return which row stands in the ranking for a member; not under ``every``."""
    row = await tx.fetch_one(_FIND_STANDING, ranking.ranking_id, member_id)
    return None if row is None else Position(*row)


async def _find_counting(
    tx: Transaction, ranking: SeasonRanking, member_id: str
) -> Position | None:
    """Return what counts of a member's verified entries; under ``every``, the best of them."""
    scope = (ranking.board_id, ranking.season, member_id)
    if ranking.counting is Counting.SUM:
        rows = await tx.fetch_all(_ALL_OF_MEMBER, *scope)
        if not rows:
            return None
        submitted_at_ms, entry_id, _ = max(rows)
        key = sum_keys(key_of(row[2], ranking.direction) for row in rows)
        return Position(key, submitted_at_ms, entry_id)
    sql = _LAST if ranking.counting is Counting.LAST else _BESTS[ranking.direction]
    row = await tx.fetch_one(sql, *scope)
    return None if row is None else Position(key_of(row[0], ranking.direction), row[1], row[2])


async def get_ranked(
    tx: Transaction, board_id: str, season: int | None, member_id: str
) -> tuple[SeasonRanking, Position | None]:
    """Return a season's ranking, and what stands there for a member; under ``every``, the best.

    Raises:
        BoardNotFoundError: There is none of this id.
        SeasonNotFoundError: The board has no such season.
    """
    ranking, ranked = await get_standing(tx, board_id, season, member_id)
    if ranking.counting is Counting.EVERY:
        return ranking, await _find_counting(tx, ranking, member_id)
    return ranking, ranked


async def get_place(
    tx: Transaction, board_id: str, season: int | None, member_id: str
) -> tuple[SeasonRanking, Position | None, int, int]:
    """Return also how many rows of the ranking are better, and how many there are.

    Raises:
        BoardNotFoundError: There is none of this id.
        SeasonNotFoundError: The board has no such season.
    """
    if tx.engine == "postgres":
        row = await find_standing(tx, _PLACES, board_id, season, member_id)
        return *read_standing(row), int(row[8] or 0), int(row[9] or 0)
    ranking, ranked = await get_ranked(tx, board_id, season, member_id)
    if ranked is None:
        return ranking, None, 0, 0
    better, total = await RANKS.count_better_and_all(tx, ranking.ranking_id, ranked.key)
    return ranking, ranked, better, total


async def list_unranked(tx: Transaction, ranking: SeasonRanking, limit: int) -> list[str]:
    """Return verified entries that are not ranked by their scores; for ``every`` only."""
    sign = "0.0 - e.score" if ranking.direction is Direction.DESCENDING else "e.score"
    sql = f"""
    SELECT e.entry_id FROM leaderboards_entry AS e
    WHERE e.board_id = $1 AND e.season = $2 AND e.verified_at_ms IS NOT NULL AND NOT EXISTS (
      SELECT 1 FROM leaderboards_rank AS r WHERE r.ranking_id = $3 AND r.key = {sign}
        AND r.submitted_at_ms = e.submitted_at_ms AND r.entry_id = e.entry_id)
    ORDER BY e.entry_id LIMIT $4
    """
    rows = await tx.fetch_all(sql, ranking.board_id, ranking.season, ranking.ranking_id, limit)
    return [str(row[0]) for row in rows]


async def list_misplaced(
    tx: Transaction, ranking: SeasonRanking, after: str, limit: int
) -> tuple[list[str], list[str]]:
    """Return the next members who stand in a ranking, and those of them who stand there wrongly.

    Not under ``every``.
    """
    sql = """
    SELECT member_id FROM leaderboards_standing WHERE ranking_id = $1 AND member_id > $2
    ORDER BY member_id LIMIT $3
    """
    members = [str(row[0]) for row in await tx.fetch_all(sql, ranking.ranking_id, after, limit)]
    wrong = [
        member_id
        for member_id in members
        if await _find_standing(tx, ranking, member_id)
        != await _find_counting(tx, ranking, member_id)
    ]
    return members, wrong
