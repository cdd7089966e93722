"""Reading and verifying the audit trail (R24, decision 0006)."""

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from msgspec import Meta

from moothall.action import (
    FLOW,
    READ,
    Context,
    PerActor,
    Request,
    ResourcePath,
    Result,
    Signed,
    TimeMs,
    action,
)
from moothall.core.errors import InvalidArgumentError
from moothall.core.paths import ROOT
from moothall.core.units import SAFE_INTEGER_MAX
from moothall.services.access.adapters.audit import AuditTrail
from moothall.services.access.errors import AuditBrokenError
from moothall.services.access.model import AuditEntry, Head, Seal
from moothall.services.access.rules.chain import (
    Link,
    check_seals,
    first_link,
    link_after,
)
from moothall.services.access.rules.heads import (
    Mark,
    check_head,
    check_head_agrees,
    check_heads_reach,
    public_hex,
    read_head,
    unreached,
)
from moothall.services.access.store import audit
from moothall.services.identity.actions import FindMember, find_member
from moothall.services.identity.errors import MemberNotFoundError

STEP_HEADS_MAX = 10

HEAD_COST = 20
"""Checking a signature takes as long as checking this many rows."""

SCAN_ROWS_MAX = 10_000
"""Rows that one page looks through, wanted or not."""

CLOCK_SLACK_MS = 3_600_000
"""How far a later row may bear an earlier time, as where the clock was set back."""

PageSize = Annotated[int, Meta(ge=1, le=500)]
Wanted = Annotated[str, Meta(max_length=256, description="At most 256 characters.")]
Count = Annotated[int, Meta(ge=0, le=SAFE_INTEGER_MAX)]


class ListAudit(Request):
    """Which rows; ``after`` is the ``next`` of the page before.

    ``actor`` is a member's name or id, or ``room:<room>``. ``at`` covers what lies below it.
    ``since_ms`` is the first moment, ``until_ms`` the first one after.
    """

    actor: Wanted | None = None
    action: Wanted | None = None
    at: ResourcePath = ROOT
    outcome: Wanted | None = None
    since_ms: TimeMs | None = None
    until_ms: TimeMs | None = None
    limit: PageSize = 100
    after: Count = 0


class AuditPage(Result):
    """Rows by number. A page may be empty and yet not the last one, where few rows are wanted.

    ``next`` is None on the last page.
    """

    entries: list[AuditEntry]
    next: int | None


class GetAuditHead(Request):
    """Asks for nothing."""


class AuditHead(Result):
    """How far the trail has come."""

    last_number: int
    """Of the last row."""
    sealed_number: int
    """Of the last row that is sealed; 0 if none is."""
    sealed_at_ms: int
    chain: str
    """The chain value after that row, in hexadecimal digits."""
    head_count: int
    """How many signed heads this node has written."""
    head_number: int
    """Of the last row that the last head vouches for."""
    head_at_ms: int
    public_key: str
    """Of the heads' signatures: Ed25519, in hexadecimal digits."""


class VerifyAudit(Request):
    """How much at once; ``after`` is the ``next`` of the report before."""

    limit: Annotated[int, Meta(ge=1, le=1_000_000)] = 200_000
    after: tuple[Count, Count, Count, Count] = (0, 0, 0, 0)
    """Row, position in the file of heads, count and row of the last head checked."""


class AuditReport(Result):
    """What was found to be whole; ``next`` is None when nothing is left to verify."""

    rows_checked: int
    numbers_skipped: int
    """Numbers among them that no row had when they were sealed: of calls that were undone, and
    on PostgreSQL also of events."""
    last_sealed_number: int
    unsealed_rows: int
    """Rows after it: they wait for their seal, and nothing shows yet that they are whole."""
    heads_checked: int
    last_head_number: int
    """Of the last row that a head vouches for. What follows it could be cut off unseen."""
    next: tuple[int, int, int, int] | None


@dataclass(frozen=True, slots=True)
class _Heads:
    """How far the heads were verified, and whether that is all."""

    checked: int
    position: int
    mark: Mark
    is_done: bool


@action(
    access=Signed("audit:read"),
    effect=READ,
    limit=PerActor(calls=50, window_ms=1_000),
    raises=(),
    is_protected=True,
)
async def list_audit(ctx: Context, request: ListAudit) -> AuditPage:
    """List rows of the audit trail, by pages: who did what, when, from where, and the outcome.

    Rows stand in the order of their numbers, in which they were committed; on PostgreSQL a row
    may appear after one with a higher number until that one is sealed. Their times say when each
    deed began, and so may run back a little. After a clock was set back by more than an hour, rows
    from before that moment may be missing where ``until_ms`` is given.
    """
    # Neither time nor actor has an index over the rows: each would cost every call of the hall
    # about 3 us, where writing the row takes 5. The seals know the greatest time so far, which
    # never falls, and rows are found by theirs; for an actor, a page looks through a bounded
    # number of rows.
    tx = ctx.tx
    after, last = request.after, await audit.get_last_number(tx)
    if request.since_ms is not None:
        reaching = await audit.find_seal_reaching(tx, request.since_ms)
        seal = reaching or await audit.find_last_seal(tx)
        if seal is not None:
            after = max(after, seal.after_number if reaching else seal.last_number)
    if request.until_ms is not None:
        passing = await audit.find_seal_reaching(tx, request.until_ms + CLOCK_SLACK_MS)
        last = min(last, passing.last_number) if passing else last
    wanted = audit.AuditFilter(
        actor=await _actor_of(ctx, request.actor),
        action=request.action,
        path=request.at or None,
        outcome=request.outcome,
        since_ms=request.since_ms,
        until_ms=request.until_ms,
    )
    end = min(last, after + SCAN_ROWS_MAX)
    entries = await audit.search_entries(tx, wanted, after, end, request.limit)
    reached = entries[-1].number if len(entries) == request.limit else end
    return AuditPage(entries=entries, next=reached if reached < last else None)


@action(
    access=Signed("audit:read"),
    effect=READ,
    limit=PerActor(calls=10, window_ms=1_000),
    raises=(),
    command="audit head",
)
async def get_audit_head(ctx: Context, request: GetAuditHead) -> AuditHead:  # noqa: ARG001 - asks for nothing
    """Tell how far the audit trail is sealed, and with which key its heads are signed.

    Keep the public key elsewhere: with it anybody can check a copy of the heads.
    """
    trail = ctx.use(AuditTrail)
    seal = await audit.find_last_seal(ctx.tx)
    head_count, head_number, head_at_ms = await audit.get_head_state(ctx.tx, trail.node)
    return AuditHead(
        last_number=await audit.get_last_number(ctx.tx),
        sealed_number=seal.last_number if seal else 0,
        sealed_at_ms=seal.sealed_at_ms if seal else 0,
        chain=(seal.chain if seal else first_link(trail.keys).chain).hex(),
        head_count=head_count,
        head_number=head_number,
        head_at_ms=head_at_ms,
        public_key=public_hex(trail.signing_key.public_key()),
    )


@action(
    access=Signed("audit:verify"),
    effect=FLOW,
    limit=PerActor(calls=5, window_ms=1_000),
    raises=(AuditBrokenError,),
)
async def verify_audit(ctx: Context, request: VerifyAudit) -> AuditReport:
    """Compute the chain over the audit trail anew and compare rows, seals and signed heads.

    Rows and seals come first, in their order, then the heads. The hall goes on meanwhile.

    Raises:
        AuditBrokenError: failed_precondition. ``details.number`` is the first wrong row and
            ``details.fault`` says what is wrong there: ``altered``, ``missing``, ``inserted``,
            ``seal_altered``, ``seal_missing``, ``truncated``, ``head_forged`` or
            ``head_missing``.
    """
    number, position, *mark = request.after
    start = await _link_at(ctx, number)
    link, rows_checked, is_done = await _verify_rows(ctx, start, request.limit)
    found = _Heads(0, position, Mark(*mark), is_done=False)
    if is_done:
        budget = max(1, (request.limit - rows_checked) // HEAD_COST)
        found = await _verify_heads(ctx, found.position, found.mark, budget)
    unsealed = await ctx.read(lambda step: audit.count_after(step.tx, link.number))
    rest = (link.number, found.position, found.mark.head, found.mark.number)
    return AuditReport(
        rows_checked=rows_checked,
        numbers_skipped=link.number - start.number - rows_checked,
        last_sealed_number=link.number,
        unsealed_rows=unsealed,
        heads_checked=found.checked,
        last_head_number=found.mark.number,
        next=None if found.is_done else rest,
    )


async def _actor_of(ctx: Context, actor: str | None) -> str | None:
    """Return the id of the member who is meant, or the text itself: removed members keep ids."""
    if not actor or ":" in actor:
        return actor
    try:
        return (await ctx.call(find_member, FindMember(member=actor))).member_id
    except (MemberNotFoundError, InvalidArgumentError):
        return actor


async def _link_at(ctx: Context, number: int) -> Link:
    """Return where the chain stands after row ``number``, at which a seal must end.

    Raises:
        InvalidArgumentError: None does.
    """
    if number == 0:
        return first_link(ctx.use(AuditTrail).keys)
    seal = await ctx.read(lambda step: audit.find_seal_of(step.tx, number))
    if seal is None or seal.last_number != number:
        raise InvalidArgumentError("after", "no seal ends there", "take `next` of a report")
    return link_after(seal)


async def _verify_rows(ctx: Context, link: Link, limit: int) -> tuple[Link, int, bool]:
    """Verify about ``limit`` rows; return where the chain stands, how many, and if all."""
    keys = ctx.use(AuditTrail).keys
    checked = 0
    while checked < limit:
        seals, rows = await ctx.read(partial(_read_segment, after=link.number))
        if not seals:
            return link, checked, True
        link = check_seals(keys, link, seals, rows)
        checked += len(rows)
        await asyncio.sleep(0)  # let calls pass between two steps
    return link, checked, False


async def _read_segment(step: Context, after: int) -> tuple[list[Seal], list[AuditEntry]]:
    return await audit.read_segment(step.tx, after)


async def _verify_heads(ctx: Context, position: int, mark: Mark, limit: int) -> _Heads:
    """Verify at most ``limit`` heads from ``position`` in their file."""
    trail = ctx.use(AuditTrail)
    public_key = trail.signing_key.public_key()
    # Before the file is read: it is never behind the database.
    head_count, _, _ = await ctx.read(lambda step: audit.get_head_state(step.tx, trail.node))
    checked = 0
    while checked < limit:
        lines, position = await trail.heads.read(position, STEP_HEADS_MAX)
        if not lines:
            check_heads_reach(mark, head_count)
            return _Heads(checked, position, mark, is_done=True)
        for head in filter(None, map(read_head, lines)):
            before, mark = mark, check_head(public_key, mark, head)
            await _verify_head(ctx, before, head)
            checked += 1
    return _Heads(checked, position, mark, is_done=False)


async def _verify_head(ctx: Context, before: Mark, head: Head) -> None:
    """Compare a genuine head with the seal over its row."""

    async def load(step: Context) -> tuple[Seal | None, int, bool]:
        if seal := await audit.find_seal_of(step.tx, head.number):
            return seal, seal.last_number, True
        last = await audit.find_last_seal(step.tx)
        last_number = last.last_number if last else 0
        return None, last_number, await audit.count_after(step.tx, last_number) > 0

    seal, last_number, has_row = await ctx.read(load)
    if seal is None:
        raise unreached(last_number, head, has_row=has_row)
    check_head_agrees(before, head, seal)
