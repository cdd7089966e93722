"""Submitting and verifying entries, and those that wait for it."""

from typing import Annotated

import msgspec
from msgspec import Meta

from moothall.action import (
    READ,
    WRITE,
    Context,
    Id,
    PerActor,
    Request,
    Result,
    Signed,
    Text,
    action,
    next_cursor,
)
from moothall.services.leaderboards.actions.proofs import proofs_follow_verification
from moothall.services.leaderboards.actions.views import name_entries
from moothall.services.leaderboards.errors import (
    AlreadyVerifiedError,
    BoardBusyError,
    BoardNotFoundError,
    EntryNotFoundError,
    NotVerifiedError,
)
from moothall.services.leaderboards.events import (
    EntryUnverified,
    EntryVerified,
    ScoreSubmitted,
    tell,
)
from moothall.services.leaderboards.model import Board, Comment, Entry, EntryView
from moothall.services.leaderboards.rules import check_score
from moothall.services.leaderboards.store import boards, comments, entries, standings, views

EntriesPageSize = Annotated[int, Meta(ge=1, le=200)]


class SubmitScore(Request):
    """A score, and what there is to say about it."""

    board_id: Id
    score: float
    description: Text = ""


class VerifyEntry(Request):
    """One entry."""

    entry_id: Id


class UnverifyEntry(Request):
    """One entry."""

    entry_id: Id


class ListWaiting(Request):
    """A page of unverified entries; ``after`` is the ``next`` of the page before."""

    board_id: Id
    after: Annotated[str, Meta(max_length=128)] = ""
    limit: EntriesPageSize = 50


class WaitingPage(Result):
    """A page of unverified entries, oldest first; ``next`` is None on the last one."""

    entries: list[EntryView]
    next: str | None


@action(
    access=Signed("scores:write", at="board/{board_id}"),
    effect=WRITE,
    limit=PerActor(calls=30, window_ms=1_000),
    raises=(BoardNotFoundError,),
)
async def submit_score(ctx: Context, request: SubmitScore) -> Entry:
    """Submit a score to a board; it has no place until a moderator verifies it.

    Args:
        request.score: A finite number.
        request.description: Kept as the entry's first comment.

    Raises:
        BoardNotFoundError: not_found. There is none of this id.

    Emits:
        ScoreSubmitted: once, to the moderators.
    """
    board = await boards.get_board(ctx.tx, request.board_id)
    check_score(request.score)
    entry = Entry(
        entry_id=ctx.new_id(),
        board_id=board.board_id,
        member_id=ctx.actor,
        score=request.score + 0.0,  # -0.0 is 0.0
        submitted_at_ms=ctx.now_ms,
        season=board.season,
    )
    await entries.insert_entry(ctx.tx, entry)
    await describe(ctx, entry, request.description)
    submitted = ScoreSubmitted(
        board_id=entry.board_id,
        entry_id=entry.entry_id,
        member_id=ctx.actor,
        score=entry.score,
    )
    tell(ctx, entry, submitted)
    return entry


@action(
    access=Signed("scores:moderate", at=entries.find_entry_path),
    effect=WRITE,
    limit=PerActor(calls=50, window_ms=1_000),
    raises=(EntryNotFoundError, AlreadyVerifiedError, BoardBusyError),
)
async def verify_entry(ctx: Context, request: VerifyEntry) -> Entry:
    """Verify an entry, so that it counts; verifier and time are kept.

    Raises:
        EntryNotFoundError: not_found. There is none of this id.
        AlreadyVerifiedError: failed_precondition. Somebody was first.
        BoardBusyError: unavailable. The ranking is being built anew; try again.

    Emits:
        EntryVerified: to the board's readers, to the moderators, and to the submitter
            unless they did it.
    """
    board, entry = await views.lock_with_board(ctx, request.entry_id)
    if entry.verified_at_ms is not None:
        raise AlreadyVerifiedError(entry_id=entry.entry_id, verified_by=entry.verified_by)
    boards.check_is_open(board)
    entry = msgspec.structs.replace(entry, verified_at_ms=ctx.now_ms, verified_by=ctx.actor)
    await _change_verified(ctx, board, entry)
    verified = EntryVerified(
        board_id=entry.board_id,
        entry_id=entry.entry_id,
        member_id=entry.member_id,
        score=entry.score,
        verified_by=ctx.actor,
    )
    tell(ctx, entry, verified)
    return entry


@action(
    access=Signed("scores:moderate", at=entries.find_entry_path),
    effect=WRITE,
    limit=PerActor(calls=50, window_ms=1_000),
    raises=(EntryNotFoundError, NotVerifiedError, BoardBusyError),
)
async def unverify_entry(ctx: Context, request: UnverifyEntry) -> Entry:
    """Take a verification back; under ``best`` the member's next best counts again.

    Raises:
        EntryNotFoundError: not_found. There is none of this id.
        NotVerifiedError: failed_precondition. It has no verification to take back.
        BoardBusyError: unavailable. The ranking is being built anew; try again.

    Emits:
        EntryUnverified: to the board's readers, to the moderators, and to the submitter
            unless they did it.
    """
    board, entry = await views.lock_with_board(ctx, request.entry_id)
    if entry.verified_at_ms is None:
        raise NotVerifiedError(entry_id=entry.entry_id)
    boards.check_is_open(board)
    unverified = EntryUnverified(
        board_id=entry.board_id,
        entry_id=entry.entry_id,
        member_id=entry.member_id,
        unverified_by=ctx.actor,
    )
    tell(ctx, entry, unverified)  # while readers see it
    entry = msgspec.structs.replace(entry, verified_at_ms=None, verified_by=None)
    await _change_verified(ctx, board, entry)
    return entry


@action(
    access=Signed("scores:read", at="board/{board_id}"),
    effect=READ,
    limit=PerActor(calls=50, window_ms=1_000),
    raises=(BoardNotFoundError,),
    command="entry waiting",
)
async def list_waiting(ctx: Context, request: ListWaiting) -> WaitingPage:
    """List entries that wait for verification: moderators see all, others their own.

    Raises:
        BoardNotFoundError: not_found. There is none of this id.
    """
    board = await boards.get_board(ctx.tx, request.board_id)
    is_moderator = ctx.may("scores:moderate", ctx.path)
    found = await entries.list_waiting(
        ctx.tx,
        board.board_id,
        None if is_moderator else ctx.actor,
        request.after,
        request.limit,
    )
    after = next_cursor(found, request.limit, lambda last: last.entry_id)
    return WaitingPage(entries=await name_entries(ctx, found), next=after)


async def _change_verified(ctx: Context, board: Board, entry: Entry) -> None:
    """Write the verification of ``entry`` as it stands in it, and its place."""
    await entries.update_verified(ctx.tx, entry.entry_id, entry.verified_at_ms, entry.verified_by)
    await standings.update_ranking(ctx.tx, board, entry)
    await proofs_follow_verification(ctx, entry)


async def describe(ctx: Context, entry: Entry, text: str) -> None:
    """Keep a description as the entry's first comment, unless it says nothing."""
    if text.strip():
        comment = Comment(
            comment_id=ctx.new_id(),
            entry_id=entry.entry_id,
            member_id=entry.member_id,
            text=text,
            created_at_ms=entry.submitted_at_ms,
        )
        await comments.insert_comment(ctx.tx, comment)
