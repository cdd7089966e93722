"""Housekeeping of the leaderboards room."""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial

from moothall.action import Context, job
from moothall.core.units import SECOND_MS
from moothall.services.leaderboards.actions.erasing import erase_board_rows, erase_unused_ranking
from moothall.services.leaderboards.actions.proofs import release_orphans
from moothall.services.leaderboards.actions.rebuilding import rebuild_some
from moothall.services.leaderboards.actions.seasons import begin_due_season
from moothall.services.leaderboards.errors import BoardBusyError, BoardNotFoundError
from moothall.services.leaderboards.store import boards, proofs, rebuilds

BOARDS_AT_ONCE = 100
"""Boards that one run looks at."""


@job(every_ms=SECOND_MS)
async def start_due_seasons(ctx: Context) -> None:
    """Begin the seasons that are due by the schedules of their boards.

    What was missed while the hall was down begins once, at start.
    """

    async def begin(board_id: str) -> None:
        # Removed, or built anew, since it was listed: the next run sees.
        with suppress(BoardNotFoundError, BoardBusyError):
            await ctx.write(partial(begin_due_season, board_id=board_id))

    due = await ctx.read(lambda step: boards.list_due(step.tx, step.now_ms, BOARDS_AT_ONCE))
    await _for_each(due, begin, "seasons could not begin")


@job(every_ms=SECOND_MS)
async def rebuild_rankings(ctx: Context) -> None:
    """Go on building the rankings of boards that count otherwise from now on."""

    async def rebuild(board_id: str) -> None:
        with suppress(BoardNotFoundError):  # removed meanwhile
            while not await ctx.write(partial(rebuild_some, board_id=board_id), outcome=None):
                pass  # each step is a transaction of its own, so calls pass between two

    found = await ctx.read(lambda step: boards.list_in_state(step.tx, "rebuilding", BOARDS_AT_ONCE))
    await _for_each(found, rebuild, "rankings could not be built anew")


@job(every_ms=SECOND_MS)
async def erase_removed_boards(ctx: Context) -> None:
    """Erase what is left of boards that were removed, and free their ids."""
    found = await ctx.read(lambda step: boards.list_in_state(step.tx, "removed", BOARDS_AT_ONCE))
    await _for_each(found, partial(erase_board_rows, ctx), "boards could not be erased")


@job(every_ms=SECOND_MS)
async def erase_unused_rankings(ctx: Context) -> None:
    """Erase the rows of rankings that others have replaced."""
    found = await ctx.read(lambda step: rebuilds.list_unused(step.tx, BOARDS_AT_ONCE))
    await _for_each(found, partial(erase_unused_ranking, ctx), "rankings could not be erased")


@job(every_ms=SECOND_MS)
async def release_orphaned_proofs(ctx: Context) -> None:
    """Let go of the files of entries that went with their members."""

    async def find_one(step: Context) -> list[str]:
        return await proofs.lock_orphans(step.tx, 1)

    # Nearly always there is none, and a read costs less than a commit. Each step is a
    # transaction of its own, so calls pass between two.
    while await ctx.read(find_one):
        await ctx.write(release_orphans, outcome=None)


async def _for_each(ids: Iterable[str], work: Callable[[str], Awaitable[None]], what: str) -> None:
    """Do ``work`` for each; what fails with one does not keep the others waiting."""
    failed: list[Exception] = []
    for one in ids:
        try:
            await work(one)
        except Exception as error:  # noqa: BLE001 - told below, when all had their turn
            failed.append(error)
    if failed:
        msg = f"{len(failed)} {what}"
        raise ExceptionGroup(msg, failed)
