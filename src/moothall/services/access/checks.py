"""What must hold of the audit trail, and of who administers the hall."""

from moothall.action import Finding, Inspection, Level, check
from moothall.core.units import MINUTE_MS
from moothall.services.access.adapters.audit import AuditTrail
from moothall.services.access.errors import AuditBrokenError
from moothall.services.access.rules.chain import Link, check_seals, first_link, is_genuine
from moothall.services.access.rules.heads import (
    Mark,
    check_head,
    check_head_agrees,
    check_heads_reach,
    read_head,
    unreached,
)
from moothall.services.access.store import audit
from moothall.services.access.store.claims import is_claimed

HEADS_AT_ONCE = 100

HEAD_LAG_MS = MINUTE_MS
"""How long before the snapshot a head may say that it was made, and yet lie after it."""


@check(proves_key=True)
async def last_seal(given: Inspection) -> list[Finding]:
    """The last seal of the audit trail was made with this sealing key."""
    seal = await audit.find_last_seal(given.tx)
    if seal is None or is_genuine(AuditTrail(given.resources).keys, seal):
        return []
    told = "the last seal of the audit trail was made with another key, or altered"
    return [Finding(told, "put the sealing.key of this hall back, or see: moothall audit verify")]


@check(needs_key=True)
async def audit_trail(given: Inspection) -> list[Finding]:
    """Rows, seals and signed heads of the audit trail agree."""
    trail = AuditTrail(given.resources)
    try:
        await _verify_heads(given, trail, await _verify_rows(given, trail))
    except AuditBrokenError as error:
        remedy = "keep a copy of everything as it is; see docs/explanation/audit.md"
        return [Finding(f"{error.details['fault']}: {error}", remedy)]
    return []


@check()
async def administration(given: Inspection) -> list[Finding]:
    """Somebody administers the hall."""
    if await is_claimed(given.tx):
        return []
    remedy = (
        "make an account and claim it, before somebody else does: moothall administration claim"
    )
    return [Finding("nobody has claimed the administration", remedy, Level.WARNING)]


async def _verify_rows(given: Inspection, trail: AuditTrail) -> Link:
    """Compare all sealed rows with their seals; return where the chain ends."""
    link = first_link(trail.keys)
    while True:
        seals, rows = await audit.read_segment(given.tx, link.number)
        if not seals:
            return link
        link = check_seals(trail.keys, link, seals, rows)


async def _verify_heads(given: Inspection, trail: AuditTrail, link: Link) -> None:
    """Compare the file of heads with the seals.

    The file of a hall that runs may have grown after the snapshot was taken: what was written
    just now, and is not counted in the snapshot, tells of rows that are not in it.
    """
    public_key = trail.signing_key.public_key()
    head_count, _, _ = await audit.get_head_state(given.tx, trail.node)
    position, mark = 0, Mark()
    while True:
        lines, position = await trail.heads.read(position, HEADS_AT_ONCE)
        if not lines:
            check_heads_reach(mark, head_count)
            return
        for head in filter(None, map(read_head, lines)):
            before, mark = mark, check_head(public_key, mark, head)
            seal = await audit.find_seal_of(given.tx, head.number)
            if seal is not None:
                check_head_agrees(before, head, seal)
            elif (
                head.head <= head_count
                or not given.is_running
                or head.at_ms < given.now_ms - HEAD_LAG_MS
            ):
                has_row = await audit.count_after(given.tx, link.number) > 0
                raise unreached(link.number, head, has_row=has_row)
