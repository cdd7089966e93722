"""Rows of comments."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from moothall.action import Context
from moothall.ports.database import Row, Transaction
from moothall.services.leaderboards.errors import CommentNotFoundError, EntryNotFoundError
from moothall.services.leaderboards.model import Comment, Entry
from moothall.services.leaderboards.store.views import find_path_of, lock_visible


class OfComment(Protocol):
    """A request about one comment."""

    comment_id: str


_COLUMNS = "comment_id, entry_id, member_id, text, created_at_ms"
_FIND = f"SELECT {_COLUMNS} FROM leaderboards_comment WHERE comment_id = $1"


async def find_visible_path(ctx: Context, request: OfComment) -> str | None:
    """Return the path of the board of a comment, or None if the caller may not see its entry."""
    row = await ctx.tx.fetch_one(_FIND, request.comment_id)
    return None if row is None else await find_path_of(ctx, row[1])


async def insert_comment(tx: Transaction, comment: Comment) -> None:
    """Add a comment to an entry."""
    sql = f"INSERT INTO leaderboards_comment ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5)"
    await tx.execute(
        sql,
        comment.comment_id,
        comment.entry_id,
        comment.member_id,
        comment.text,
        comment.created_at_ms,
    )


async def lock_comment(ctx: Context, comment_id: str) -> tuple[Comment, Entry]:
    """Return a comment to decide on and its entry, which is locked before it.

    Raises:
        CommentNotFoundError: There is none of this id, or its entry is hidden.
    """
    found = await ctx.tx.fetch_one(_FIND, comment_id)
    if found is not None:
        with suppress(EntryNotFoundError):
            entry = await lock_visible(ctx, found[1])
            if rows := await ctx.tx.lock_rows(_FIND, comment_id):
                return _comment(rows[0]), entry
    raise CommentNotFoundError(comment_id=comment_id)


async def list_comments(
    tx: Transaction, entry_id: str, after: tuple[int, str], limit: int
) -> list[Comment]:
    """Return comments of an entry, oldest first, after a time and an id."""
    sql = f"""
    SELECT {_COLUMNS} FROM leaderboards_comment
    WHERE entry_id = $1 AND (created_at_ms, comment_id) > ($2, $3)
    ORDER BY created_at_ms, comment_id LIMIT $4
    """
    return [_comment(row) for row in await tx.fetch_all(sql, entry_id, *after, limit)]


async def count_comments(tx: Transaction, entry_id: str) -> int:
    """Return how many comments an entry has."""
    sql = "SELECT count(*) FROM leaderboards_comment WHERE entry_id = $1"
    row = await tx.fetch_one(sql, entry_id)
    assert row is not None, "a count is always a row"
    return int(row[0])


async def delete_comment(tx: Transaction, comment_id: str) -> None:
    """Remove a comment."""
    await tx.execute("DELETE FROM leaderboards_comment WHERE comment_id = $1", comment_id)


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


def _comment(row: Row) -> Comment:
    """Return the comment in ``row``."""
    return Comment(
        comment_id=row[0], entry_id=row[1], member_id=row[2], text=row[3], created_at_ms=row[4]
    )
