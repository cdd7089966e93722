"""Erasing a board that was removed, and rankings that nobody reads any more.

A board is hidden by the call that removes it; its rows go afterwards, some in each step, so
that neighbours need not wait long. Each step may be cut off and repeated.

Whoever adds a table with rows of a board or of an entry: add a function here, to
:data:`HANGS_ON_ENTRIES` or to :data:`HANGS_ON_BOARD`, or rows will be left behind.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from moothall.action import Context, repeat
from moothall.action.outbox import erase_events
from moothall.services.access.actions import RevokeAll, revoke_all
from moothall.services.leaderboards.actions.proofs import release_proofs
from moothall.services.leaderboards.events import board_stream, moderation_stream
from moothall.services.leaderboards.store import boards, comments, entries, rebuilds

ROWS_AT_ONCE = 500
"""Rows that one step removes, so that no call waits long for the writer."""

Erase = Callable[[Context, str], Awaitable[int]]


async def _erase_comments(ctx: Context, entry_ids: Sequence[str], limit: int) -> int:
    return await comments.delete_comments_of(ctx.tx, entry_ids, limit)


HANGS_ON_ENTRIES: tuple[Callable[[Context, Sequence[str], int], Awaitable[int]], ...] = (
    _erase_comments,
    release_proofs,
)
"""Each removes at most so many rows that hang on some entries (500 at most), and returns how
many; 0 when none is left. An entry goes only after all of them."""


async def _erase_bindings(ctx: Context, board_id: str) -> int:
    revoked = await ctx.call(revoke_all, RevokeAll(at=f"board/{board_id}", limit=ROWS_AT_ONCE))
    return revoked.count


async def _erase_entries(ctx: Context, board_id: str) -> int:
    entry_ids = await entries.list_ids(ctx.tx, board_id, ROWS_AT_ONCE)
    for erase in HANGS_ON_ENTRIES:
        if gone := await erase(ctx, entry_ids, ROWS_AT_ONCE):
            return gone
    return await entries.delete_entries(ctx.tx, entry_ids)


async def _erase_seasons(ctx: Context, board_id: str) -> int:
    return await rebuilds.retire_rankings(ctx.tx, board_id, ROWS_AT_ONCE)


async def _erase_rankings(ctx: Context, board_id: str) -> int:
    ranking_id = await rebuilds.find_unused_of(ctx.tx, board_id)
    if ranking_id is None:
        return 0
    return await _erase_ranking(ctx, ranking_id)


HANGS_ON_BOARD: tuple[Erase, ...] = (
    _erase_bindings,
    _erase_entries,
    _erase_seasons,
    _erase_rankings,
)
"""Each removes some rows of a board in one step, and returns how many; 0 when none is left.
In this order: what is later in the list is what the earlier ones rely on."""


async def erase_board_rows(ctx: Context, board_id: str) -> None:
    """Erase all that is left of a removed board, step by step, and free its id; for a FLOW."""
    for erase in HANGS_ON_BOARD:
        await repeat(ctx, partial(_erase_some, erase, board_id))
    for stream in (board_stream(board_id), moderation_stream(board_id)):
        await _erase_events(ctx, board_id, stream)

    async def finish(step: Context) -> None:
        step.concern(path=f"board/{board_id}")
        if not await boards.is_being_erased(step.tx, board_id):
            return
        # A score that was on its way when the board was removed may have come since; then the
        # next run erases it.
        if not await entries.list_ids(step.tx, board_id, 1):
            await boards.delete_board(step.tx, board_id)

    await ctx.write(finish)


async def _erase_some(erase: Erase, board_id: str, step: Context) -> int:
    """Erase some rows of a board, unless another node has ended that and freed its id."""
    if not await boards.is_being_erased(step.tx, board_id):
        return 0
    return await erase(step, board_id)


async def _erase_events(ctx: Context, board_id: str, stream: str) -> None:
    """Erase what a stream tells: the id, and with it the stream, may get other readers."""
    erased = 0

    async def erase_some(step: Context) -> int:
        if not await boards.is_being_erased(step.tx, board_id):
            return 0
        return await erase_events(step.tx, stream, erased, ROWS_AT_ONCE)

    while await ctx.write(erase_some, outcome=None):
        erased += ROWS_AT_ONCE


async def erase_unused_ranking(ctx: Context, ranking_id: str) -> None:
    """Erase the rows of a ranking that nobody reads any more, step by step; for a FLOW."""
    await repeat(ctx, lambda step: _erase_ranking(step, ranking_id))


async def _erase_ranking(ctx: Context, ranking_id: str) -> int:
    return await rebuilds.delete_ranking_chunk(ctx.tx, ranking_id, ROWS_AT_ONCE)
