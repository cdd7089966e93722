"""Bringing in history for others: who, when, how much, verified or not."""

from typing import Annotated

from msgspec import Meta

from moothall.action import (
    WRITE,
    Context,
    Id,
    Name,
    PerActor,
    Request,
    Result,
    Signed,
    Text,
    TimeMs,
    action,
)
from moothall.core.errors import InvalidArgumentError
from moothall.services.identity.actions import AddMembers, RefusedName, add_members
from moothall.services.leaderboards.actions.entries import describe
from moothall.services.leaderboards.errors import BoardNotFoundError
from moothall.services.leaderboards.events import (
    EntriesImported,
    board_stream,
    moderation_stream,
)
from moothall.services.leaderboards.model import Board, Counting, Entry
from moothall.services.leaderboards.rules import check_score, check_time
from moothall.services.leaderboards.store import boards, entries


class ImportedEntry(Request):
    """One row of history."""

    submitter: Name
    """Who submitted it; an account without a password is made for an unknown name."""
    score: float
    submitted_at_ms: TimeMs
    verified: bool = True
    description: Text = ""


class ImportEntries(Request):
    """History for one board, at most 500 rows a call."""

    board_id: Id
    entries: Annotated[list[ImportedEntry], Meta(min_length=1, max_length=500)]


class RefusedEntry(Result):
    """A row that was not imported, and why."""

    row: int
    """Its number in the call, from 0."""
    field: str
    reason: str
    remedy: str


class ImportReport(Result):
    """What came of an import."""

    imported: int
    refused: list[RefusedEntry]


@action(
    access=Signed("entries:import", at="board/{board_id}"),
    effect=WRITE,
    limit=PerActor(calls=100, window_ms=1_000),
    raises=(BoardNotFoundError,),
)
async def import_entries(ctx: Context, request: ImportEntries) -> ImportReport:
    """Bring in history for others: who, when, how much, verified or not.

    A row that cannot be used is reported and left out; the others are imported, and among
    those of one moment the earlier row counts as the earlier submission. Unknown
    submitters get an account without a password, which nobody can sign in to until an
    administrator hands it over.

    Raises:
        BoardNotFoundError: not_found. There is none of this id.

    Emits:
        EntriesImported: once to the readers for what is verified, and once to the
            moderators for what is not.
    """
    board = await boards.lock_board(ctx.tx, request.board_id)
    good, refused = _sort_out(request.entries, ctx.now_ms)
    member_ids, strange = await _find_submitters(ctx, [row.submitter for _, row in good])
    # Sorted, because the ids break the ties of those that bear one time.
    entry_ids = sorted(ctx.new_id() for _ in good)
    imported = []
    for entry_id, (number, row) in zip(entry_ids, good, strict=True):
        if why := strange.get(row.submitter):
            refused.append(
                RefusedEntry(row=number, field="submitter", reason=why.reason, remedy=why.remedy)
            )
            continue
        entry = _imported(ctx, board, row, entry_id, member_ids[row.submitter])
        await entries.insert_entry(ctx.tx, entry, board.direction)
        await describe(ctx, entry, row.description)
        imported.append(entry)
    await _rank(ctx, board, imported)
    _tell_imported(ctx, board, imported)
    refused.sort(key=lambda refusal: refusal.row)
    return ImportReport(imported=len(imported), refused=refused)


def _sort_out(
    rows: list[ImportedEntry], now_ms: int
) -> tuple[list[tuple[int, ImportedEntry]], list[RefusedEntry]]:
    """Return the rows that can be used, with their numbers, and the report of the others."""
    good: list[tuple[int, ImportedEntry]] = []
    refused = []
    for number, row in enumerate(rows):
        try:
            check_score(row.score)
            check_time(row.submitted_at_ms, now_ms, "submitted_at_ms")
        except InvalidArgumentError as error:
            refused.append(_refusal(number, error))
        else:
            good.append((number, row))
    return good, refused


async def _find_submitters(
    ctx: Context, submitters: list[str]
) -> tuple[dict[str, str], dict[str, RefusedName]]:
    """Return the ids of members by name, made where there was none, and the refused names."""
    names = list(dict.fromkeys(submitters))
    if not names:
        return {}, {}
    added = await ctx.call(add_members, AddMembers(names=names))
    member_ids = {
        name: member.member_id
        for name, member in zip(names, added.members, strict=True)
        if member is not None
    }
    return member_ids, {names[refusal.number]: refusal for refusal in added.refused}


def _imported(
    ctx: Context, board: Board, row: ImportedEntry, entry_id: str, member_id: str
) -> Entry:
    """Return the entry of one row of history."""
    return Entry(
        entry_id=entry_id,
        board_id=board.board_id,
        member_id=member_id,
        score=row.score,
        submitted_at_ms=row.submitted_at_ms,
        verified_at_ms=ctx.now_ms if row.verified else None,
        verified_by=ctx.actor if row.verified else None,
    )


async def _rank(ctx: Context, board: Board, imported: list[Entry]) -> None:
    """Give places to what was imported, once per ranked row instead of once per entry."""
    verified = [entry for entry in imported if entry.verified_at_ms is not None]
    if board.counting is not Counting.EVERY:
        verified = list({entry.member_id: entry for entry in verified}.values())
    for entry in verified:
        await entries.update_ranking(ctx.tx, board, entry)


def _tell_imported(ctx: Context, board: Board, imported: list[Entry]) -> None:
    """Tell readers and moderators; readers learn of verified entries only."""
    verified = sum(entry.verified_at_ms is not None for entry in imported)
    streams = (board_stream, verified), (moderation_stream, len(imported) - verified)
    for stream, count in streams:
        if count:
            ctx.emit(stream(board.board_id), EntriesImported(count=count))


def _refusal(number: int, error: InvalidArgumentError) -> RefusedEntry:
    """Return the report of a row that cannot be used."""
    details = error.details
    return RefusedEntry(
        row=number,
        field=str(details["field"]),
        reason=str(details["reason"]),
        remedy=str(details.get("remedy", "")),
    )
