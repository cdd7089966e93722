"""Rows of comments."""

from typing import Protocol

from moothall.action import Context
from moothall.ports.database import Row, Transaction
from moothall.services.leaderboards.errors import CommentNotFoundError
from moothall.services.leaderboards.model import Comment
from moothall.services.leaderboards.store.views import find_path_of


class OfComment(Protocol):
    """A request about one comment."""

    comment_id: str


_COLUMNS = "comment_id, entry_id, member_id, text, created_at_ms"
_FIND = f"SELECT {_COLUMNS} FROM leaderboards_comment WHERE comment_id = $1"


async def find_visible_path(ctx: Context, request: OfComment) -> str | None:
    """Return the path of the board of a comment, or None if the caller may not see its entry."""
    row = await ctx.tx.fetch_one(_FIND, request.comment_id)
    return None if row is None else await find_path_of(ctx, row[1])


async def get_comment(tx: Transaction, comment_id: str) -> Comment:
    """Return a comment to decide on.

    Raises:
        CommentNotFoundError: There is none of this id.
    """
    rows = await tx.lock_rows(_FIND, comment_id)
    if not rows:
        raise CommentNotFoundError(comment_id=comment_id)
    return _comment(rows[0])


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


def _comment(row: Row) -> Comment:
    """Return the comment in ``row``."""
    return Comment(
        comment_id=row[0], entry_id=row[1], member_id=row[2], text=row[3], created_at_ms=row[4]
    )
