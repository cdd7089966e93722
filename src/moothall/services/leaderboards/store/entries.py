"""Rows of entries; what of them counts is in ``standings``."""

from collections.abc import Sequence
from typing import Protocol

from moothall.action import Context
from moothall.ports.database import Row, Transaction
from moothall.services.leaderboards.errors import EntryNotFoundError
from moothall.services.leaderboards.model import Entry


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
_COLUMNS = """
SELECT e.entry_id, e.board_id, e.member_id, e.score, e.submitted_at_ms, e.verified_at_ms,
  e.verified_by, e.season
FROM leaderboards_entry AS e
"""
_LOCK = f"{_COLUMNS} WHERE e.entry_id = $1"
_ENTRY = f"""{_COLUMNS}
JOIN leaderboards_board AS b ON b.board_id = e.board_id AND b.state <> 'removed'
"""
_LIST_WAITING = f"""{_ENTRY}
WHERE e.board_id = $1 AND e.entry_id > $2 AND e.verified_at_ms IS NULL {{}}
ORDER BY e.entry_id LIMIT $3
"""


async def insert_entry(tx: Transaction, entry: Entry) -> None:
    """Add an entry; see ``standings.update_ranking`` for its place."""
    await tx.append(_INSERT, *row_of(entry))


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


async def lock_entry(tx: Transaction, entry_id: str) -> Entry:
    """Return an entry to decide on; the call has looked already whether its board is there.

    Only the entry is locked: whoever needs its board too locks that before (``views``).

    Raises:
        EntryNotFoundError: There is none of this id.
    """
    rows = await tx.lock_rows(_LOCK, entry_id)
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


async def delete_entry(tx: Transaction, entry_id: str) -> None:
    """Remove an entry and its comments; see ``standings.update_ranking`` for its place."""
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
