"""Housekeeping of the access room: the audit trail, and what a node remembers of bindings."""

import asyncio

from moothall.action import Context, job
from moothall.services.access.adapters.audit import AuditTrail
from moothall.services.access.adapters.learning import BindingLearner
from moothall.services.access.model import AuditEntry, Seal
from moothall.services.access.rules.chain import (
    SEAL_ROWS_MAX,
    broken,
    first_link,
    is_genuine,
    link_after,
    make_seal,
)
from moothall.services.access.rules.heads import is_signed, read_head, sign_head, write_head
from moothall.services.access.store import audit

_LAST_LINES = 3
"""So that a torn line does not hide the last head."""


@job(every_ms=1_000)
async def seal_audit(ctx: Context) -> None:
    """Seal what is not sealed yet; rows that come meanwhile are for the next run.

    Only what is settled: a row may be committed after one with a higher number, and what lies
    before a seal is sealed for good. It leaves no audit row itself, or it would never come to
    an end.
    """
    until = await ctx.read(lambda step: audit.get_settled_number(step.tx))
    while await _seal_next(ctx, until):  # noqa: ASYNC110 - no event is awaited here
        await asyncio.sleep(0)  # let calls pass between two seals


@job(every_ms=1_000, is_of_each_node=True)
async def confirm_bindings(ctx: Context) -> None:
    """Read again what this node may remember wrongly of roles, bindings, teams and bans."""
    await ctx.use(BindingLearner).confirm()


@job(every_ms=60_000, is_of_each_node=True)
async def publish_head(ctx: Context) -> None:
    """Sign how far the trail has come, outside the database; nothing if it has not moved.

    Each node of a hall does, into a file of its own: who alters the database must reach them all.

    The line is written before the database counts it. So what is cut off between the two
    is a line too many, never one that seems to be missing.

    Raises:
        AuditBrokenError: failed_precondition. The last seal is not one of this hall's.
    """
    trail = ctx.use(AuditTrail)

    async def load(step: Context) -> tuple[Seal | None, tuple[int, int, int]]:
        seal = await audit.find_last_seal(step.tx)
        return seal, await audit.get_head_state(step.tx, trail.node)

    seal, (head_count, number, _) = await ctx.read(load)
    if seal is None:
        return
    if not is_genuine(trail.keys, seal):
        first = seal.after_number + 1
        raise broken("seal_altered", first, f"the seal over row {first} was altered")
    if seal.last_number == number:
        return
    heads = [read_head(line) for line in await trail.heads.read_last(_LAST_LINES)]
    public_key = trail.signing_key.public_key()
    counts = [head.head for head in heads if head and is_signed(public_key, head)]
    head = sign_head(
        trail.signing_key,
        seal,
        head=max([head_count, *counts]) + 1,
        at_ms=ctx.now_ms,
        hall=trail.hall,
    )
    await trail.heads.append(write_head(head))
    await ctx.write(
        lambda step: audit.update_head_state(
            step.tx, trail.node, head.head, head.number, head.at_ms
        ),
        outcome=None,
    )


async def _seal_next(ctx: Context, until: int) -> bool:
    """Seal the next rows up to number ``until``; False if there are none.

    The chain is computed outside the transaction, which so holds nobody up. If another
    process was quicker, its seal stands, and the next run goes on from there.
    """
    keys = ctx.use(AuditTrail).keys

    async def load(step: Context) -> tuple[Seal | None, list[AuditEntry], int]:
        last = await audit.find_last_seal(step.tx)
        first = last.last_number + 1 if last else 1
        rows = await audit.list_entries(step.tx, first, until, SEAL_ROWS_MAX)
        return last, rows, step.now_ms

    last, rows, now_ms = await ctx.read(load)
    if not rows:
        return False
    before = link_after(last) if last else first_link(keys)
    seal = make_seal(keys, before, rows, now_ms)
    return await ctx.write(lambda step: audit.insert_seal(step.tx, seal), outcome=None)
