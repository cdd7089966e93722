"""Rows of entries, and what of them counts."""

from collections.abc import Sequence
from typing import Protocol

from moothall.action import Context
from moothall.ports.database import Row, Transaction
from moothall.services.leaderboards.errors import EntryNotFoundError
from moothall.services.leaderboards.model import (
    Board,
    Counting,
    Direction,
    Entry,
    Ranked,
    SeasonRanking,
)
from moothall.services.leaderboards.rules import key_of, sum_keys
from moothall.services.leaderboards.store.ranks import Position, Ranks
from moothall.services.leaderboards.store.seasons import get_ranking, get_standing

RANKS = Ranks()


class OfEntry(Protocol):
    """A request about one entry."""

    entry_id: str


_AFTER_ALL_IDS = "g"
"""Ids are hexadecimal digits."""

INSERT_ENTRIES = """
INSERT INTO leaderboards_entry
  (entry_id, board_id, season, member_id, score, submitted_at_ms, verified_at_ms, verified_by)
VALUES
"""
"""Before the values of one or many, each as :func:`row_of` gives them."""

_INSERT = f"{INSERT_ENTRIES} ($1, $2, $3, $4, $5, $6, $7, $8)"
_ENTRY = """
SELECT e.entry_id, e.board_id, e.member_id, e.score, e.submitted_at_ms, e.verified_at_ms,
  e.verified_by, e.season
FROM leaderboards_entry AS e
JOIN leaderboards_board AS b ON b.board_id = e.board_id AND b.state <> 'removed'
"""
_LIST_WAITING = f"""{_ENTRY}
WHERE e.board_id = $1 AND e.entry_id > $2 AND e.verified_at_ms IS NULL {{}}
ORDER BY e.entry_id LIMIT $3
"""
_VERIFIED = """
FROM leaderboards_entry
WHERE board_id = $1 AND season = $2 AND member_id = $3 AND verified_at_ms IS NOT NULL
"""
_RANKED = "SELECT score, submitted_at_ms, entry_id"
# The best score is sought first: in an index by score, the order of its ties is the same
# for both directions, so neither has to sort.
_BEST = f"""
{_RANKED} {_VERIFIED} AND score = (SELECT {{best}}(score) {_VERIFIED})
ORDER BY submitted_at_ms, entry_id LIMIT 1
"""
_BESTS = {
    Direction.ASCENDING: _BEST.format(best="min"),
    Direction.DESCENDING: _BEST.format(best="max"),
}
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


async def insert_entry(tx: Transaction, entry: Entry) -> None:
    """Add an entry; see :func:`update_ranking` for its place."""
    await tx.execute(_INSERT, *row_of(entry))


def row_of(entry: Entry) -> tuple[object, ...]:
    """Return the columns of an entry, as :data:`INSERT_ENTRIES` names them."""
    return (
        entry.entry_id,
        entry.board_id,
        entry.season,
        entry.member_id,
        entry.score,
        entry.submitted_at_ms,
        entry.verified_at_ms,
        entry.verified_by,
    )


async def insert_comment(
    tx: Transaction, comment_id: str, entry_id: str, member_id: str, text: str, now_ms: int
) -> None:
    """Add a comment to an entry."""
    sql = """
    INSERT INTO leaderboards_comment (comment_id, entry_id, member_id, text, created_at_ms)
    VALUES ($1, $2, $3, $4, $5)
    """
    await tx.execute(sql, comment_id, entry_id, member_id, text, now_ms)


async def find_entry_path(ctx: Context, request: OfEntry) -> str | None:
    """Return the path of an entry's board."""
    sql = """
    SELECT e.board_id FROM leaderboards_entry AS e
    JOIN leaderboards_board AS b ON b.board_id = e.board_id
    WHERE e.entry_id = $1 AND b.state <> 'removed'
    """
    row = await ctx.tx.fetch_one(sql, request.entry_id)
    return None if row is None else f"board/{row[0]}"


async def find_entry(tx: Transaction, entry_id: str) -> Entry | None:
    """Return an entry to look at."""
    row = await tx.fetch_one(f"{_ENTRY} WHERE e.entry_id = $1", entry_id)
    return None if row is None else _entry(row)


async def get_entry(tx: Transaction, entry_id: str) -> Entry:
    """Return an entry to decide on.

    Raises:
        EntryNotFoundError: There is none of this id.
    """
    rows = await tx.lock_rows(f"{_ENTRY} WHERE e.entry_id = $1", entry_id)
    if not rows:
        raise EntryNotFoundError(entry_id=entry_id)
    return _entry(rows[0])


async def list_waiting(
    tx: Transaction, board_id: str, member_id: str | None, after: str, limit: int
) -> list[Entry]:
    """Return unverified entries, of one member or of all, as they came in."""
    if member_id is None:
        rows = await tx.fetch_all(_LIST_WAITING.format(""), board_id, after, limit)
    else:
        own = "AND e.member_id = $4"
        rows = await tx.fetch_all(_LIST_WAITING.format(own), board_id, after, limit, member_id)
    return [_entry(row) for row in rows]


async def list_newest_of_member(
    tx: Transaction, member_id: str, before: str, limit: int
) -> list[Entry]:
    """Return entries of one member on all boards, newest first, before an id if there is one."""
    sql = f"{_ENTRY} WHERE e.member_id = $1 AND e.entry_id < $2 ORDER BY e.entry_id DESC LIMIT $3"
    rows = await tx.fetch_all(sql, member_id, before or _AFTER_ALL_IDS, limit)
    return [_entry(row) for row in rows]


async def find_board_to_clear(tx: Transaction, member_id: str) -> str | None:
    """Return a board that keeps no entries of removed members and has some of this one.

    One whose ranking is being built anew is the last choice: nothing can be changed there.
    """
    sql = """
    SELECT e.board_id FROM leaderboards_entry AS e
    JOIN leaderboards_board AS b ON b.board_id = e.board_id
    WHERE e.member_id = $1 AND b.removed_members = 'remove' AND b.state <> 'removed'
    ORDER BY b.state LIMIT 1
    """
    row = await tx.fetch_one(sql, member_id)
    return None if row is None else str(row[0])


async def list_of_member(tx: Transaction, board_id: str, member_id: str, limit: int) -> list[Entry]:
    """Return entries of one member on a board, as they came in."""
    sql = f"{_ENTRY} WHERE e.member_id = $1 AND e.board_id = $2 ORDER BY e.entry_id LIMIT $3"
    return [_entry(row) for row in await tx.fetch_all(sql, member_id, board_id, limit)]


async def delete_comments_to_clear(tx: Transaction, member_id: str, limit: int) -> int:
    """Remove comments by a member, and on their entries, where boards keep none of either.

    Returns how many, at most ``limit`` by the member and as many on their entries.
    """
    sql = """
    DELETE FROM leaderboards_comment WHERE comment_id IN (
      SELECT c.comment_id FROM leaderboards_comment AS c
      JOIN leaderboards_entry AS e ON e.entry_id = c.entry_id
      JOIN leaderboards_board AS b ON b.board_id = e.board_id
      WHERE {owner} = $1 AND b.removed_members = 'remove' LIMIT $2)
    """
    by_member = await tx.execute(sql.format(owner="c.member_id"), member_id, limit)
    return by_member + await tx.execute(sql.format(owner="e.member_id"), member_id, limit)


async def delete_entry(tx: Transaction, entry_id: str) -> None:
    """Remove an entry and its comments; see :func:`update_ranking` for its place."""
    await tx.execute("DELETE FROM leaderboards_entry WHERE entry_id = $1", entry_id)


async def list_ids(tx: Transaction, board_id: str, limit: int) -> list[str]:
    """Return ids of some entries of a board, whatever their state."""
    # One for each of the indexes, which hold either the verified ones or the others.
    for state in ("IS NULL", "IS NOT NULL"):
        sql = f"""
        SELECT entry_id FROM leaderboards_entry
        WHERE board_id = $1 AND verified_at_ms {state} LIMIT $2
        """
        if rows := await tx.fetch_all(sql, board_id, limit):
            return [str(row[0]) for row in rows]
    return []


async def delete_comments_of(tx: Transaction, entry_ids: Sequence[str], limit: int) -> int:
    """Remove comments on some entries and return how many, at most ``limit``."""
    if not entry_ids:
        return 0
    marks = ", ".join(f"${number}" for number in range(2, len(entry_ids) + 2))
    sql = f"""
    DELETE FROM leaderboards_comment WHERE comment_id IN (
      SELECT comment_id FROM leaderboards_comment WHERE entry_id IN ({marks}) LIMIT $1)
    """
    return await tx.execute(sql, limit, *entry_ids)


async def delete_entries(tx: Transaction, entry_ids: Sequence[str]) -> int:
    """Remove entries on which nothing hangs any more, and return how many."""
    if not entry_ids:
        return 0
    marks = ", ".join(f"${number}" for number in range(1, len(entry_ids) + 1))
    sql = f"DELETE FROM leaderboards_entry WHERE entry_id IN ({marks})"
    return await tx.execute(sql, *entry_ids)


async def update_verified(
    tx: Transaction, entry_id: str, verified_at_ms: int | None, verified_by: str | None
) -> None:
    """Write down who verified an entry and when, or that nobody did."""
    sql = """
    UPDATE leaderboards_entry SET verified_at_ms = $1, verified_by = $2 WHERE entry_id = $3
    """
    await tx.execute(sql, verified_at_ms, verified_by, entry_id)


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
) -> tuple[SeasonRanking, Ranked | None]:
    """Return a season's ranking, and what stands there for a member; under ``every``, the best.

    Raises:
        BoardNotFoundError: There is none of this id.
        SeasonNotFoundError: The board has no such season.
    """
    ranking, ranked = await get_standing(tx, board_id, season, member_id)
    if ranking.counting is Counting.EVERY:
        found = await _find_counting(tx, ranking, member_id)
        ranked = None if found is None else Ranked(*found)
    return ranking, ranked


async def list_by_id(tx: Transaction, entry_ids: list[str]) -> dict[str, Entry]:
    """Return entries by their ids."""
    if not entry_ids:
        return {}
    marks = ", ".join(f"${number}" for number in range(1, len(entry_ids) + 1))
    rows = await tx.fetch_all(f"{_ENTRY} WHERE e.entry_id IN ({marks})", *entry_ids)
    return {row[0]: _entry(row) for row in rows}


def _entry(row: Row) -> Entry:
    """Return the entry in ``row``."""
    return Entry(
        entry_id=row[0],
        board_id=row[1],
        member_id=row[2],
        score=row[3],
        submitted_at_ms=row[4],
        verified_at_ms=row[5],
        verified_by=row[6],
        season=row[7],
    )
