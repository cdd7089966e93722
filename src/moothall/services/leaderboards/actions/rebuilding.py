"""Counting a season otherwise: its ranking is built anew beside the one that is read meanwhile.

Nothing may be verified, removed or imported on the board until then (``board_busy``), so what
was counted already stays right. Each step is a transaction of its own and leaves where it
stopped, so a hall that is cut off goes on where it was. Seasons that have ended keep how they
counted: who won then, has won.
"""

import msgspec

from moothall.action import Context
from moothall.services.leaderboards.events import RankingRebuilt, board_stream
from moothall.services.leaderboards.model import Counting, Direction, Rebuild
from moothall.services.leaderboards.rules import next_ranking_id
from moothall.services.leaderboards.store import boards, bulk, rebuilds, seasons

ROWS_AT_ONCE = 500
"""Entries that one step ranks, so that no call waits long for the writer."""


async def begin_rebuild(
    ctx: Context, board_id: str, direction: Direction, counting: Counting
) -> None:
    """Let a board's current season count otherwise: at once where it is small.

    The caller holds the lock of the board. What one step cannot do, the job does.
    """
    now = await seasons.get_ranking(ctx.tx, board_id)
    ranking = msgspec.structs.replace(
        now, ranking_id=next_ranking_id(now), direction=direction, counting=counting
    )
    await rebuilds.insert_rebuild(ctx.tx, ranking)
    await boards.update_state(ctx.tx, board_id, "rebuilding")
    await rebuild_some(ctx, board_id)


async def rebuild_some(ctx: Context, board_id: str) -> bool:
    """Take one step; True when the board has changed over, or has nothing to build.

    Emits:
        RankingRebuilt: to the readers, when the board changes over.
    """
    await boards.lock_board(ctx.tx, board_id, even_busy=True)
    rebuild = await rebuilds.find_rebuild(ctx.tx, board_id)
    if rebuild is None:
        return True
    found = await rebuilds.list_verified(ctx.tx, rebuild, ROWS_AT_ONCE)
    await bulk.insert_ranking(ctx.tx, rebuild.ranking, found)
    if len(found) == ROWS_AT_ONCE:
        await rebuilds.update_position(ctx.tx, board_id, found[-1])
        return False
    await _change_over(ctx, rebuild)
    return True


async def _change_over(ctx: Context, rebuild: Rebuild) -> None:
    """Let everybody read the new ranking; the old one is erased by a job."""
    ranking = rebuild.ranking
    await rebuilds.update_season_ranking(ctx.tx, ranking)
    await rebuilds.delete_rebuild(ctx.tx, ranking.board_id)
    await boards.update_state(ctx.tx, ranking.board_id, "open")
    event = RankingRebuilt(
        board_id=ranking.board_id,
        season=ranking.season,
        direction=ranking.direction,
        counting=ranking.counting,
    )
    ctx.emit(board_stream(ranking.board_id), event)
