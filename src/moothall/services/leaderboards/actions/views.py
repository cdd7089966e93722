"""Looking at entries: one of them, and those of one member."""

from typing import Annotated

import msgspec
from msgspec import Meta

from moothall.action import (
    READ,
    Context,
    Id,
    PerActor,
    Request,
    Result,
    Signed,
    action,
)
from moothall.services.identity.actions import (
    FindMember,
    NameMembers,
    NameOrId,
    find_member,
    name_members,
)
from moothall.services.identity.errors import MemberNotFoundError
from moothall.services.leaderboards.errors import BoardNotFoundError, EntryNotFoundError
from moothall.services.leaderboards.model import Entry, EntryDetails, EntryView
from moothall.services.leaderboards.rules import may_see
from moothall.services.leaderboards.store import boards, comments, entries, proofs, views

SCANNED_MAX = 2_000
"""Entries that one page looks at to find those the caller may see."""

_SCANNED_AT_ONCE = 200


class GetEntry(Request):
    """One entry."""

    entry_id: Id


class ListEntriesOf(Request):
    """A page of a member's entries; ``after`` is the ``next`` of the page before."""

    member: NameOrId
    board_id: Id | None = None
    """Only those on this board."""
    after: Annotated[str, Meta(max_length=128)] = ""
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class EntriesOfMember(Result):
    """A member, and a page of their entries, newest first; ``next`` is None on the last one."""

    member_id: str
    name: str
    """Empty if the member was removed."""
    registered_at_ms: int
    is_removed: bool
    entries: list[EntryView]
    next: str | None


@action(
    access=Signed("scores:read", at=views.find_visible_path),
    effect=READ,
    limit=PerActor(calls=200, window_ms=1_000),
    raises=(EntryNotFoundError,),
    command="entry show",
)
async def get_entry(ctx: Context, request: GetEntry) -> EntryDetails:
    """Show one entry: whose, when, verified by whom and when, and what hangs on it.

    Readers of the board see verified entries and their own, moderators see all; one that is
    hidden is refused like one that does not exist.

    Raises:
        EntryNotFoundError: not_found. There is none of this id.
    """
    entry = await views.get_visible(ctx, request.entry_id)
    [shown] = await name_entries(ctx, [entry])
    return EntryDetails(
        **msgspec.structs.asdict(shown),
        comments=await comments.count_comments(ctx.tx, entry.entry_id),
        proofs=await proofs.count_proofs(ctx.tx, entry.entry_id),
    )


@action(
    access=Signed("boards:list"),
    effect=READ,
    limit=PerActor(calls=50, window_ms=1_000),
    raises=(MemberNotFoundError, BoardNotFoundError),
    command="entry of",
)
async def list_entries_of(ctx: Context, request: ListEntriesOf) -> EntriesOfMember:
    """Show a member: since when they are here, and their entries that you may see, newest first.

    On boards that you may read: verified ones, and your own; on boards that you moderate: all.
    A page can hold fewer than ``limit`` entries though there are more: go on while ``next``
    is not None.

    Args:
        request.board_id: Only entries on this board; you need to be its reader.

    Raises:
        MemberNotFoundError: not_found. There is none of this name or id.
        BoardNotFoundError: not_found. There is none of this id.
    """
    if request.board_id is not None:
        ctx.demand("scores:read", f"board/{request.board_id}")
        await boards.get_board(ctx.tx, request.board_id)
    member = await ctx.call(find_member, FindMember(member=request.member))
    found, after = await _list_visible(ctx, member.member_id, request)
    return EntriesOfMember(
        member_id=member.member_id,
        name=member.name,
        registered_at_ms=member.created_at_ms,
        is_removed=member.is_removed,
        entries=await name_entries(ctx, found),
        next=after,
    )


async def name_entries(ctx: Context, found: list[Entry]) -> list[EntryView]:
    """Return entries with the names of their submitters and verifiers; at most 250."""
    ids = {entry.member_id for entry in found}
    ids |= {entry.verified_by for entry in found if entry.verified_by is not None}
    named = await ctx.call(name_members, NameMembers(member_ids=sorted(ids)))
    removed = set(named.removed)
    return [
        EntryView(
            **msgspec.structs.asdict(entry),
            name=named.names.get(entry.member_id, ""),
            is_removed=entry.member_id in removed,
            verified_by_name=named.names.get(entry.verified_by or "", ""),
        )
        for entry in found
    ]


async def _list_visible(
    ctx: Context, member_id: str, request: ListEntriesOf
) -> tuple[list[Entry], str | None]:
    """Return a page of a member's entries that the caller may see, and where the next begins."""
    found: list[Entry] = []
    after, scanned = request.after, 0
    while scanned < SCANNED_MAX:
        page = await entries.list_newest_of_member(ctx.tx, member_id, after, _SCANNED_AT_ONCE)
        for entry in page:
            after, scanned = entry.entry_id, scanned + 1
            if request.board_id not in {None, entry.board_id}:
                continue
            is_reader = ctx.may("scores:read", f"board/{entry.board_id}")
            if is_reader and may_see(ctx.may, ctx.actor, entry):
                found.append(entry)
            if len(found) == request.limit:
                return found, after
        if len(page) < _SCANNED_AT_ONCE:
            return found, None
    return found, after
