"""What can be followed: a board by its readers and by its moderators, and one's own entries."""

from moothall.action import Context, Signed, feed
from moothall.services.leaderboards.errors import BoardNotFoundError
from moothall.services.leaderboards.events import board_stream, entries_stream, moderation_stream
from moothall.services.leaderboards.store.boards import get_board


@feed("board/{board_id}", access=Signed("scores:read", at="board/{board_id}"))
async def board(ctx: Context, board_id: str) -> list[str] | None:
    """What counts on a board: entries verified, unverified, commented, imported, removed."""
    return [board_stream(board_id)] if await _is_there(ctx, board_id) else None


@feed("board/{board_id}/moderation", access=Signed("scores:moderate", at="board/{board_id}"))
async def board_moderation(ctx: Context, board_id: str) -> list[str] | None:
    """All that happens to entries and levels of a board, verified or not; for its moderators."""
    return [moderation_stream(board_id)] if await _is_there(ctx, board_id) else None


@feed("own-entries", access=Signed("boards:list"))
async def own_entries(ctx: Context) -> list[str]:
    """What others do to your entries, on all boards, and to your levels."""
    return [entries_stream(ctx.actor)]


async def _is_there(ctx: Context, board_id: str) -> bool:
    try:
        await get_board(ctx.tx, board_id)
    except BoardNotFoundError:
        return False
    return True
