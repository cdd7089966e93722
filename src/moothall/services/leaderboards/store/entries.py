"""Rows of entries, and what of them counts."""

from typing import Any, Protocol

from moothall.action import Context
from moothall.ports.database import Row, Transaction
from moothall.services.leaderboards.errors import EntryNotFoundError
from moothall.services.leaderboards.model import Board, Counting, Direction, Entry, Ranked
from moothall.services.leaderboards.rules import key_of, score_of, sum_keys
from moothall.services.leaderboards.store.ranks import Position, Ranks

RANKS = Ranks()


class OfEntry(Protocol):
    """A request about one entry."""

    entry_id: str


_INSERT = """
INSERT INTO leaderboards_entry
  (entry_id, board_id, member_id, key, submitted_at_ms, verified_at_ms, verified_by)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
_ENTRY = """
SELECT e.entry_id, e.board_id, e.member_id, e.key, e.submitted_at_ms, e.verified_at_ms,
  e.verified_by, b.direction
FROM leaderboards_entry AS e JOIN leaderboards_board AS b ON b.board_id = e.board_id
"""
_VERIFIED = """
FROM leaderboards_entry
WHERE board_id = $1 AND member_id = $2 AND verified_at_ms IS NOT NULL
"""
_COUNTS = {
    Counting.BEST: f"""
    SELECT key, submitted_at_ms, entry_id {_VERIFIED}
    ORDER BY key, submitted_at_ms, entry_id LIMIT 1
    """,
    Counting.LAST: f"""
    SELECT key, submitted_at_ms, entry_id {_VERIFIED}
    ORDER BY submitted_at_ms DESC, entry_id DESC LIMIT 1
    """,
}
_ALL_OF_MEMBER = f"SELECT submitted_at_ms, entry_id, key {_VERIFIED}"
_FIND_STANDING = """
SELECT key, submitted_at_ms, entry_id FROM leaderboards_standing
WHERE board_id = $1 AND member_id = $2
"""


async def insert_entry(tx: Transaction, entry: Entry, direction: Direction) -> None:
    """Add an entry; see :func:`update_ranking` for its place."""
    await tx.execute(
        _INSERT,
        entry.entry_id,
        entry.board_id,
        entry.member_id,
        key_of(entry.score, direction),
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
    sql = "SELECT board_id FROM leaderboards_entry WHERE entry_id = $1"
    row = await ctx.tx.fetch_one(sql, request.entry_id)
    return None if row is None else f"board/{row[0]}"


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
    sql = f"""{_ENTRY}
    WHERE e.board_id = $1 AND e.entry_id > $2 AND e.verified_at_ms IS NULL
      AND (e.member_id = $3 OR $3 IS NULL)
    ORDER BY e.entry_id LIMIT $4
    """
    return [_entry(row) for row in await tx.fetch_all(sql, board_id, after, member_id, limit)]


async def find_board_to_clear(tx: Transaction, member_id: str) -> str | None:
    """Return a board that keeps no entries of removed members and has some of this one."""
    sql = """
    SELECT e.board_id FROM leaderboards_entry AS e
    JOIN leaderboards_board AS b ON b.board_id = e.board_id
    WHERE e.member_id = $1 AND b.removed_members = 'remove' LIMIT 1
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


async def update_verified(
    tx: Transaction, entry_id: str, verified_at_ms: int | None, verified_by: str | None
) -> None:
    """Write down who verified an entry and when, or that nobody did."""
    sql = """
    UPDATE leaderboards_entry SET verified_at_ms = $1, verified_by = $2 WHERE entry_id = $3
    """
    await tx.execute(sql, verified_at_ms, verified_by, entry_id)


async def update_ranking(tx: Transaction, board: Board, entry: Entry) -> None:
    """Bring the ranking in step after ``entry`` was verified, unverified or removed.

    Under ``every`` the entry's own row comes or goes. Otherwise the member has one row:
    what counts now replaces what counted before, so that unverifying the best restores
    the next best.
    """
    if board.counting is Counting.EVERY:
        key = key_of(entry.score, board.direction)
        position = Position(key, entry.submitted_at_ms, entry.entry_id)
        if entry.verified_at_ms is None:
            await RANKS.delete(tx, board.board_id, position)
        else:
            await RANKS.insert(tx, board.board_id, position)
        return
    scope = (board.board_id, entry.member_id)
    before = await tx.fetch_one(_FIND_STANDING, *scope)
    after = await _find_counting(tx, board, entry.member_id)
    if before == after:
        return
    if before is not None:
        await RANKS.delete(tx, board.board_id, Position(*before))
    if after is None:
        sql = "DELETE FROM leaderboards_standing WHERE board_id = $1 AND member_id = $2"
        await tx.execute(sql, *scope)
        return
    await RANKS.insert(tx, board.board_id, Position(*after))
    sql = """
    INSERT INTO leaderboards_standing (board_id, member_id, key, submitted_at_ms, entry_id)
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT (board_id, member_id)
    DO UPDATE SET key = $3, submitted_at_ms = $4, entry_id = $5
    """
    await tx.execute(sql, *scope, *after)


async def _find_counting(tx: Transaction, board: Board, member_id: str) -> Row | None:
    """Return what counts of a member's verified entries: key, time and id."""
    scope = (board.board_id, member_id)
    if board.counting is not Counting.SUM:
        return await tx.fetch_one(_COUNTS[board.counting], *scope)
    rows = await tx.fetch_all(_ALL_OF_MEMBER, *scope)
    if not rows:
        return None
    submitted_at_ms, entry_id, _ = max(rows)
    return (sum_keys(row[2] for row in rows), submitted_at_ms, entry_id)


async def find_ranked(tx: Transaction, board: Board, member_id: str) -> Ranked | None:
    """Return what stands in the ranking for a member; under ``every``, the best of it."""
    sql = _COUNTS[Counting.BEST] if board.counting is Counting.EVERY else _FIND_STANDING
    row = await tx.fetch_one(sql, board.board_id, member_id)
    return None if row is None else Ranked(*row)


async def list_submitters(tx: Transaction, entry_ids: list[str]) -> dict[str, str]:
    """Return the member of each entry."""
    marks = ", ".join(f"${number}" for number in range(1, len(entry_ids) + 1))
    sql = f"SELECT entry_id, member_id FROM leaderboards_entry WHERE entry_id IN ({marks})"
    rows: list[Any] = await tx.fetch_all(sql, *entry_ids) if entry_ids else []
    return dict(rows)


def _entry(row: Row) -> Entry:
    """Return the entry in ``row``."""
    return Entry(
        entry_id=row[0],
        board_id=row[1],
        member_id=row[2],
        score=score_of(row[3], Direction(row[7])),
        submitted_at_ms=row[4],
        verified_at_ms=row[5],
        verified_by=row[6],
    )
