"""What the leaderboards room holds of one member, and what becomes of it when they go.

Each board says itself whether it keeps the entries of members who are removed. Verifications
stay under the id of whoever gave them: others rely on them.
"""

import msgspec

from moothall.action import Context
from moothall.action.personal import Holding, PersonalRow, export_holdings
from moothall.services.leaderboards.events import (
    EntriesRemoved,
    board_stream,
    moderation_stream,
)
from moothall.services.leaderboards.model import Board, Counting, Entry
from moothall.services.leaderboards.store import boards, entries

ENTRIES_AT_ONCE = 100
"""Entries that one step removes. Each has a place, which takes about ten statements to leave."""

COMMENTS_AT_ONCE = 200
"""Comments that one step removes by the member, and as many on the member's entries."""

_DIRECTION = """
  (SELECT CASE b.direction WHEN 'ascending' THEN 1 ELSE -1 END FROM leaderboards_board AS b
   WHERE b.board_id = {table}.board_id)
"""


def _score_of(table: str) -> str:
    """Return the expression of a score, which the row keeps so that smaller is better."""
    return f"{_DIRECTION.format(table=table)} * key + 0.0 AS score"


_HOLDINGS = (
    Holding(
        kind="board",
        table="leaderboards_board",
        owner="created_by",
        key=("board_id",),
        columns=("board_id", "name", "created_at_ms"),
        fate="keep",
    ),
    Holding(
        kind="entry",
        table="leaderboards_entry",
        owner="member_id",
        key=("board_id", "entry_id"),
        columns=(
            "entry_id",
            "board_id",
            _score_of("leaderboards_entry"),
            "submitted_at_ms",
            "verified_at_ms",
            "verified_by",
        ),
        fate="keep",
    ),
    Holding(
        kind="comment",
        table="leaderboards_comment",
        owner="member_id",
        key=("comment_id",),
        columns=("comment_id", "entry_id", "text", "created_at_ms"),
        fate="keep",
    ),
    Holding(
        kind="standing",
        table="leaderboards_standing",
        owner="member_id",
        key=("board_id",),
        columns=(
            "board_id",
            _score_of("leaderboards_standing"),
            "submitted_at_ms",
            "entry_id",
        ),
        fate="keep",
        # The table is ordered by board, and who stands there has an entry there.
        where="""
          board_id IN (SELECT DISTINCT e.board_id FROM leaderboards_entry AS e
            WHERE e.member_id = $1)
          AND member_id = $1
        """,
    ),
    Holding(
        kind="verification",
        table="leaderboards_entry",
        owner="verified_by",
        key=("entry_id",),
        columns=("entry_id", "board_id", "verified_at_ms"),
        fate="keep",
    ),
)


async def export_rows(
    ctx: Context, member_id: str, after: str, limit: int
) -> tuple[list[PersonalRow], str | None]:
    """Export boards, entries, comments, what counts of them, and verifications."""
    return await export_holdings(ctx, _HOLDINGS, member_id, after, limit)


async def erase_rows(ctx: Context, member_id: str) -> bool:
    """Remove entries and comments from boards that keep none of removed members.

    Emits:
        EntriesRemoved: once a step to the readers for what was verified, and once to the
            moderators for what was not.
    """
    if await entries.delete_comments_to_clear(ctx.tx, member_id, COMMENTS_AT_ONCE):
        return False
    board_id = await entries.find_board_to_clear(ctx.tx, member_id)
    if board_id is None:
        return True
    board = await boards.lock_board(ctx.tx, board_id)
    gone = await entries.list_of_member(ctx.tx, board_id, member_id, ENTRIES_AT_ONCE)
    for entry in gone:
        await entries.delete_entry(ctx.tx, entry.entry_id)
    await _unrank(ctx, board, gone)
    verified = sum(entry.verified_at_ms is not None for entry in gone)
    streams = (board_stream, verified), (moderation_stream, len(gone) - verified)
    for stream, count in streams:
        if count:
            ctx.emit(stream(board_id), EntriesRemoved(member_id=member_id, count=count))
    return False


async def _unrank(ctx: Context, board: Board, gone: list[Entry]) -> None:
    """Take away the places of entries that are gone, once per ranked row."""
    verified = [entry for entry in gone if entry.verified_at_ms is not None]
    if board.counting is not Counting.EVERY:
        verified = verified[:1]
    for entry in verified:
        await entries.update_ranking(
            ctx.tx, board, msgspec.structs.replace(entry, verified_at_ms=None)
        )
