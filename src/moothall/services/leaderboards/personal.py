"""What the leaderboards room holds of one member, and what becomes of it when they go.

Each board says itself whether it keeps the entries of members who are removed. Verifications
stay under the id of whoever gave them: others rely on them.
"""

import msgspec

from moothall.action import Context
from moothall.action.personal import Holding, PersonalRow, export_holdings
from moothall.services.leaderboards.errors import BoardBusyError, BoardNotFoundError
from moothall.services.leaderboards.events import (
    EntriesRemoved,
    board_stream,
    moderation_stream,
)
from moothall.services.leaderboards.model import RemovedMembers
from moothall.services.leaderboards.store import boards, comments, entries, standings

ENTRIES_AT_ONCE = 100
"""Entries that one step removes. Each has a place, which takes about ten statements to leave."""

COMMENTS_AT_ONCE = 200
"""Comments that one step removes by the member, and as many on the member's entries."""


def _of_season(expression: str, name: str) -> str:
    """Return an expression about the season in whose ranking a row stands."""
    table = "leaderboards_season AS s WHERE s.ranking_id = leaderboards_standing.ranking_id"
    return f"(SELECT {expression} FROM {table}) AS {name}"


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
        key=("entry_id",),
        columns=(
            "entry_id",
            "board_id",
            "season",
            "score",
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
        kind="proof",
        table="leaderboards_proof",
        owner="member_id",
        key=("proof_id",),
        columns=("proof_id", "entry_id", "sha256", "name", "media_type", "added_at_ms"),
        # As its entry: with that goes the row's place, and a job does the rest.
        fate="keep",
    ),
    Holding(
        kind="standing",
        table="leaderboards_standing",
        owner="member_id",
        key=("ranking_id",),
        columns=(
            _of_season("s.board_id", "board_id"),
            _of_season("s.number", "season"),
            # Kept so that smaller is better.
            _of_season("CASE s.direction WHEN 'ascending' THEN 1 ELSE -1 END * key + 0.0", "score"),
            "submitted_at_ms",
            "entry_id",
        ),
        fate="keep",
        # The table is ordered by ranking, and who stands there has an entry there.
        where="""
          ranking_id IN (SELECT s.ranking_id FROM leaderboards_season AS s
            JOIN leaderboards_entry AS e ON e.board_id = s.board_id AND e.season = s.number
            WHERE e.member_id = $1)
          AND member_id = $1
        """,
    ),
    Holding(
        kind="verification",
        table="leaderboards_entry",
        owner="verified_by",
        key=("verified_at_ms", "entry_id"),
        columns=("entry_id", "board_id", "verified_at_ms"),
        fate="keep",
    ),
)


async def export_rows(
    ctx: Context, member_id: str, after: str, limit: int
) -> tuple[list[PersonalRow], str | None]:
    """Export boards, entries, comments, proofs, what counts of them, and verifications."""
    return await export_holdings(ctx, _HOLDINGS, member_id, after, limit)


async def erase_rows(ctx: Context, member_id: str) -> bool:
    """Remove entries and comments from boards that keep none of removed members.

    Emits:
        EntriesRemoved: once a step to the moderators for all, and once to the readers for
            what was verified.
    """
    if await comments.delete_comments_to_clear(ctx.tx, member_id, COMMENTS_AT_ONCE):
        return False
    board_id = await entries.find_board_to_clear(ctx.tx, member_id)
    if board_id is None:
        return True
    try:
        board = await boards.lock_board(ctx.tx, board_id)
    except BoardBusyError:
        return False  # none but busy boards are left; they are open again in a while
    except BoardNotFoundError:
        return False  # removed meanwhile
    if board.removed_members is not RemovedMembers.REMOVE:
        return False  # it keeps them since a moment ago
    gone = await entries.list_of_member(ctx.tx, board_id, member_id, ENTRIES_AT_ONCE)
    for entry in gone:
        await entries.delete_entry(ctx.tx, entry.entry_id)
    unranked = [
        msgspec.structs.replace(entry, verified_at_ms=None)
        for entry in gone
        if entry.verified_at_ms is not None
    ]
    await standings.update_ranking(ctx.tx, board, *unranked)
    streams = (board_stream, len(unranked)), (moderation_stream, len(gone))
    for stream, count in streams:
        if count:
            ctx.emit(stream(board_id), EntriesRemoved(member_id=member_id, count=count))
    return False
