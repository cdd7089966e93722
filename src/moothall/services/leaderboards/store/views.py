"""Entries as their readers may see them: what is hidden looks like what does not exist."""

from moothall.action import Context
from moothall.ports.database import Transaction
from moothall.services.leaderboards.errors import BoardNotFoundError, EntryNotFoundError
from moothall.services.leaderboards.model import Board, Entry
from moothall.services.leaderboards.rules import may_see
from moothall.services.leaderboards.store import boards, entries
from moothall.services.leaderboards.store.entries import OfEntry

WAITING_COUNTED_MAX = 1_000
"""Waiting entries that are counted; a board may have any number of them."""


async def find_visible_path(ctx: Context, request: OfEntry) -> str | None:
    """Return the path of an entry's board, or None if the caller may not see the entry."""
    return await find_path_of(ctx, request.entry_id)


async def find_path_of(ctx: Context, entry_id: str) -> str | None:
    """Return the path of an entry's board, or None if the caller may not see the entry."""
    entry = await entries.find_entry(ctx.tx, entry_id)
    if entry is None or not may_see(ctx.may, ctx.actor, entry):
        return None
    return f"board/{entry.board_id}"


async def get_visible(ctx: Context, entry_id: str) -> Entry:
    """Return an entry that the caller may see.

    Raises:
        EntryNotFoundError: There is none of this id, or it is hidden.
    """
    entry = await entries.find_entry(ctx.tx, entry_id)
    return _check_visible(ctx, entry_id, entry)


async def lock_visible(ctx: Context, entry_id: str) -> Entry:
    """Return an entry that the caller may see, to decide on.

    Raises:
        EntryNotFoundError: There is none of this id, or it is hidden.
    """
    if ctx.resource_is_missing:  # which does not stop who may do it in the whole hall
        raise EntryNotFoundError(entry_id=entry_id)
    return _check_visible(ctx, entry_id, await entries.lock_entry(ctx.tx, entry_id))


async def lock_with_board(ctx: Context, entry_id: str) -> tuple[Board, Entry]:
    """Return an entry whose place may change and its board, which is locked before it.

    Its ranking may be being built anew. For calls that are permitted at the path of the board.

    Raises:
        EntryNotFoundError: There is none of this id.
    """
    try:
        board = await boards.lock_board(ctx.tx, ctx.path.removeprefix("board/"), even_busy=True)
    except BoardNotFoundError:  # removed meanwhile
        raise EntryNotFoundError(entry_id=entry_id) from None
    return board, await entries.lock_entry(ctx.tx, entry_id)


async def lock_visible_with_board(ctx: Context, entry_id: str) -> tuple[Board, Entry]:
    """Return an entry that the caller may see and its board, as :func:`lock_with_board` does.

    Raises:
        EntryNotFoundError: There is none of this id, or it is hidden.
    """
    board, entry = await lock_with_board(ctx, entry_id)
    return board, _check_visible(ctx, entry_id, entry)


async def count_waiting(tx: Transaction, board_id: str, member_id: str | None) -> int:
    """Return how many unverified entries a board has, of one member or of all; 1,000 at most."""
    sql = """
    SELECT count(*) FROM (
      SELECT 1 FROM leaderboards_entry WHERE board_id = $1 AND verified_at_ms IS NULL {} LIMIT $2
    ) AS counted
    """
    scope = (board_id, WAITING_COUNTED_MAX)
    if member_id is None:
        row = await tx.fetch_one(sql.format(""), *scope)
    else:
        row = await tx.fetch_one(sql.format("AND member_id = $3"), *scope, member_id)
    assert row is not None, "a count is always a row"
    return int(row[0])


def _check_visible(ctx: Context, entry_id: str, entry: Entry | None) -> Entry:
    """Return the entry, or refuse as if there were none."""
    if entry is None or not may_see(ctx.may, ctx.actor, entry):
        raise EntryNotFoundError(entry_id=entry_id)
    return entry
