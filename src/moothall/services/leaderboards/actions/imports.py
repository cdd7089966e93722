"""Bringing in history for others: who, when, how much, verified or not.

Each row becomes an entry whose id is made of what the row is. So a row that is there already is
recognised, for ever, and an import that broke off, or was made twice, is simply made again.
"""

from collections.abc import Iterable, Mapping
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
from moothall.core.units import SAFE_INTEGER_MAX
from moothall.services.identity.actions import AddMembers, RefusedName, add_members
from moothall.services.leaderboards.actions.entries import describe
from moothall.services.leaderboards.errors import (
    BoardBusyError,
    BoardNotFoundError,
    SeasonNotFoundError,
)
from moothall.services.leaderboards.events import (
    EntriesImported,
    board_stream,
    moderation_stream,
)
from moothall.services.leaderboards.model import Entry, SeasonRanking
from moothall.services.leaderboards.rules import check_score, check_time, make_imported_id
from moothall.services.leaderboards.store import boards, bulk, seasons

ENTRIES_MAX = 1_500
"""Rows of one call. More would hold others up for more than a tenth of a second, and a report that
refuses them all would be too long to be remembered (256 KiB)."""

REF_LENGTH_MAX = 128


class ImportedEntry(Request):
    """One row of history."""

    submitter: Name
    """Who submitted it; an account without a password is made for an unknown name."""
    score: float
    submitted_at_ms: TimeMs
    verified: bool = True
    description: Text = ""
    """Kept as the entry's first comment."""
    ref: Annotated[str, Meta(max_length=REF_LENGTH_MAX)] = ""
    """The row's own id where it comes from, if it has one: by it and its time a row is
    recognised, whatever becomes of the rest."""
    row: Annotated[int, Meta(ge=0, le=SAFE_INTEGER_MAX)] | None = None
    """Its line in the file: a row without a ref is recognised by submitter, score, time and
    line, and of rows of one moment the earlier line is the earlier submission. Its number in the
    call, if left out."""


class ImportEntries(Request):
    """History for one board, at most 1,500 rows a call; best with those of a member together."""

    board_id: Id
    entries: Annotated[list[ImportedEntry], Meta(min_length=1, max_length=ENTRIES_MAX)]
    season: Annotated[int, Meta(ge=1, le=SAFE_INTEGER_MAX)] | None = None
    """In which they count; the current one, if left out."""


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
    known: int
    """Rows that the board had already; nothing was changed by them."""
    refused: list[RefusedEntry]


Numbered = tuple[int, ImportedEntry]
"""A row and its number in the call."""


@action(
    access=Signed("entries:import", at="board/{board_id}"),
    effect=WRITE,
    limit=PerActor(calls=100, window_ms=1_000),
    raises=(BoardNotFoundError, SeasonNotFoundError, BoardBusyError),
)
async def import_entries(ctx: Context, request: ImportEntries) -> ImportReport:
    """Bring in history for others: who, when, how much, verified or not.

    A row that the board has already changes nothing, however often and whenever it comes. A
    row that cannot be used is reported and left out; the others are imported. Of rows of one
    moment the earlier one counts as the earlier submission, unless they have refs. Unknown
    submitters get an account without a password, which nobody can sign in to until an
    administrator hands it over.

    Raises:
        BoardNotFoundError: not_found. There is none of this id.
        SeasonNotFoundError: not_found. The board has no such season.
        BoardBusyError: unavailable. The ranking is being built anew; try again.

    Emits:
        EntriesImported: once to the readers for what is verified, and once to the
            moderators for all.
    """
    board = await boards.lock_board(ctx.tx, request.board_id)
    ranking = await seasons.get_ranking(ctx.tx, board.board_id, request.season)
    wanted, known, refused = _sort_out(board.board_id, request.entries, ctx.now_ms)
    known += await _take_out_stored(ctx, board.board_id, wanted, refused)
    member_ids, strange = await _find_submitters(ctx, wanted.values())
    imported = []
    for entry_id, (number, row) in wanted.items():
        if why := strange.get(row.submitter):
            refused.append(
                RefusedEntry(row=number, field="submitter", reason=why.reason, remedy=why.remedy)
            )
        else:
            imported.append(_imported(ctx, ranking, row, entry_id, member_ids[row.submitter]))
    await bulk.insert_entries(ctx.tx, imported)
    for entry in imported:
        if text := wanted[entry.entry_id][1].description:
            await describe(ctx, entry, text)
    verified = [entry for entry in imported if entry.verified_at_ms is not None]
    await bulk.insert_ranking(ctx.tx, ranking, verified)
    _tell_imported(ctx, board.board_id, len(verified), len(imported))
    refused.sort(key=lambda refusal: refusal.row)
    return ImportReport(imported=len(imported), known=known, refused=refused)


def _sort_out(
    board_id: str, rows: Iterable[ImportedEntry], now_ms: int
) -> tuple[dict[str, Numbered], int, list[RefusedEntry]]:
    """Return the rows that can be used, by id, how many came twice, and the refused ones."""
    wanted: dict[str, Numbered] = {}
    refused: list[RefusedEntry] = []
    known = 0
    for number, row in enumerate(rows):
        try:
            check_score(row.score)
            check_time(row.submitted_at_ms, now_ms, "submitted_at_ms")
        except InvalidArgumentError as error:
            refused.append(_refusal(number, error))
            continue
        entry_id = _make_id(board_id, number, row)
        twin = wanted.setdefault(entry_id, (number, row))
        if twin[0] != number:
            if twin[1].score == row.score:
                known += 1
            else:
                refused.append(_differs(number, row, twin[1].score))
    return wanted, known, refused


async def _take_out_stored(
    ctx: Context, board_id: str, wanted: dict[str, Numbered], refused: list[RefusedEntry]
) -> int:
    """Leave rows out that are there already, and return how many; one that differs is refused."""
    known = 0
    for entry_id, stored in (await bulk.find_entries(ctx.tx, list(wanted))).items():
        number, row = wanted.pop(entry_id)
        if stored == (board_id, row.score):
            known += 1
        else:
            refused.append(_differs(number, row, stored.score))
    return known


async def _find_submitters(
    ctx: Context, rows: Iterable[Numbered]
) -> tuple[Mapping[str, str], Mapping[str, RefusedName]]:
    """Return the ids of members by name, made where there was none, and the refused names."""
    names = list(dict.fromkeys(row.submitter for _, row in rows))
    if not names:
        return {}, {}
    added = await ctx.call(add_members, AddMembers(names=names))
    member_ids = {
        name: member.member_id
        for name, member in zip(names, added.members, strict=True)
        if member is not None
    }
    return member_ids, {names[refusal.number]: refusal for refusal in added.refused}


def _make_id(board_id: str, number: int, row: ImportedEntry) -> str:
    """Return the id of the entry that a row becomes."""
    line = number if row.row is None else row.row
    if row.ref:
        return make_imported_id(row.submitted_at_ms, None, board_id, row.ref)
    score = repr(row.score + 0.0)
    return make_imported_id(row.submitted_at_ms, line, board_id, row.submitter, score)


def _imported(
    ctx: Context, ranking: SeasonRanking, row: ImportedEntry, entry_id: str, member_id: str
) -> Entry:
    """Return the entry of one row of history."""
    return Entry(
        entry_id=entry_id,
        board_id=ranking.board_id,
        member_id=member_id,
        score=row.score + 0.0,  # -0.0 is 0.0
        submitted_at_ms=row.submitted_at_ms,
        verified_at_ms=ctx.now_ms if row.verified else None,
        verified_by=ctx.actor if row.verified else None,
        season=ranking.season,
    )


def _tell_imported(ctx: Context, board_id: str, verified: int, count_all: int) -> None:
    """Tell readers and moderators; readers learn of verified entries only."""
    for stream, count in ((board_stream, verified), (moderation_stream, count_all)):
        if count:
            ctx.emit(stream(board_id), EntriesImported(count=count))


def _refusal(number: int, error: InvalidArgumentError) -> RefusedEntry:
    """Return the report of a row that cannot be used."""
    details = error.details
    return RefusedEntry(
        row=number,
        field=str(details["field"]),
        reason=str(details["reason"]),
        remedy=str(details.get("remedy", "")),
    )


def _differs(number: int, row: ImportedEntry, score: float) -> RefusedEntry:
    """Return the report of a row whose id belongs to another score."""
    if row.ref:
        reason = f"this ref was imported before, with the score {score:.15g}"
        return RefusedEntry(
            row=number, field="ref", reason=reason, remedy="remove that entry, or take another ref"
        )
    # A digest that two rows share: as good as never, but a row is not lost in silence.
    reason = "another entry has the id that this row would get"
    return RefusedEntry(row=number, field="row", reason=reason, remedy="give the row a ref")
