"""Removing one entry, with all that hangs on it."""

import msgspec

from moothall.action import WRITE, Context, Id, PerActor, Request, Signed, action
from moothall.services.leaderboards.actions.proofs import release_proofs
from moothall.services.leaderboards.errors import (
    BoardBusyError,
    EntryNotFoundError,
    NotSubmitterError,
)
from moothall.services.leaderboards.events import EntryRemoved, tell
from moothall.services.leaderboards.model import Entry
from moothall.services.leaderboards.rules import check_may_change
from moothall.services.leaderboards.store import boards, entries, standings, views


class RemoveEntry(Request):
    """One entry."""

    entry_id: Id


@action(
    access=Signed("scores:read", at=views.find_visible_path),
    effect=WRITE,
    limit=PerActor(calls=20, window_ms=1_000),
    raises=(EntryNotFoundError, NotSubmitterError, BoardBusyError),
)
async def remove_entry(ctx: Context, request: RemoveEntry) -> Entry:
    """Remove an entry, its comments and its proofs for good: submitter and moderators may.

    Under ``best`` the member's next best counts instead. Returns the entry as it was.

    Raises:
        EntryNotFoundError: not_found. There is none of this id.
        NotSubmitterError: permission_denied. It is somebody else's, and you are no moderator.
        BoardBusyError: unavailable. The ranking is being built anew; try again.

    Emits:
        EntryRemoved: to the moderators, to the board's readers if it was verified, and to the
            submitter unless they did it.
    """
    board, entry = await views.lock_visible_with_board(ctx, request.entry_id)
    check_may_change(ctx.may, ctx.actor, entry)
    if entry.verified_at_ms is not None:
        boards.check_is_open(board)
    await release_proofs(ctx, [entry.entry_id])
    await entries.delete_entry(ctx.tx, entry.entry_id)
    if entry.verified_at_ms is not None:
        gone = msgspec.structs.replace(entry, verified_at_ms=None, verified_by=None)
        await standings.update_ranking(ctx.tx, board, gone)
    removed = EntryRemoved(
        board_id=entry.board_id,
        entry_id=entry.entry_id,
        member_id=entry.member_id,
        removed_by=ctx.actor,
    )
    tell(ctx, entry, removed)
    return entry
