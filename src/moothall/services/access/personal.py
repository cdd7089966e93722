"""What the access room holds of one member, and what must be asked before they go.

Bindings, memberships and bans of a member go. What they gave to others, and what the audit
trail tells of them, stays under their id: others rely on it, and the trail is sealed.

Whoever adds a table with a member's id: add a holding here.
"""

from moothall.action import ROOM_PREFIX, Context
from moothall.action.context import missing_permission
from moothall.action.personal import Holding, PersonalRow, export_holdings
from moothall.core.errors import InvalidArgumentError
from moothall.core.paths import ROOT
from moothall.services.access.adapters.bindings import StoredBindings
from moothall.services.access.events import STREAM, BanLifted, RoleRevoked, TeamMemberRemoved
from moothall.services.access.model import ADMINISTRATOR, TEAM_PREFIX
from moothall.services.access.rules.changed import Changed
from moothall.services.access.store import audit, bindings
from moothall.services.access.store import personal as rows
from moothall.services.access.store.locks import lock_administrators, lock_member

ROWS_AT_ONCE = 100
"""Rows of a kind that one step takes away; each is told as an event."""

SCANNED_MAX = 20_000
"""Rows of the audit trail that one page looks at; there is no index on the actor."""

_DEED = "deed"

_HOLDINGS = (
    Holding(
        kind="binding",
        table="access_binding",
        owner="subject",
        key=("path", "role"),
        columns=("role", "path AS at", "granted_by", "granted_at_ms"),
        fate="erase",
    ),
    Holding(
        kind="team_membership",
        table="access_team_member",
        owner="member_id",
        key=("team",),
        columns=("team", "added_by", "added_at_ms"),
        fate="erase",
    ),
    Holding(
        kind="ban",
        table="access_ban",
        owner="member_id",
        key=("path",),
        columns=("path AS at", "reason", "banned_by", "banned_at_ms", "until_ms"),
        fate="erase",
    ),
    Holding(
        kind="claim",
        table="access_claim",
        owner="claimed_by",
        key=("id",),
        columns=("claimed_at_ms",),
        fate="keep",
    ),
    Holding(
        kind="binding_given",
        table="access_binding",
        owner="granted_by",
        key=("subject", "path", "role"),
        columns=("subject", "role", "path AS at", "granted_at_ms"),
        fate="keep",
    ),
    Holding(
        kind="team_made",
        table="access_team",
        owner="created_by",
        key=("team",),
        columns=("team", "summary", "created_at_ms"),
        fate="keep",
    ),
    Holding(
        kind="team_membership_given",
        table="access_team_member",
        owner="added_by",
        key=("team", "member_id"),
        columns=("team", "member_id", "added_at_ms"),
        fate="keep",
    ),
    Holding(
        kind="ban_given",
        table="access_ban",
        owner="banned_by",
        key=("member_id", "path"),
        columns=("member_id", "path AS at", "reason", "banned_at_ms", "until_ms"),
        fate="keep",
    ),
)


async def export_rows(
    ctx: Context, member_id: str, after: str, limit: int
) -> tuple[list[PersonalRow], str | None]:
    """Export bindings, memberships, bans, what was given to others, and deeds in the audit trail.

    A page of deeds may hold fewer rows than asked for though there are more.
    """
    kind, _, number = after.partition(" ")
    if kind == _DEED:
        return await _export_deeds(ctx, member_id, number, limit)
    found, following = await export_holdings(ctx, _HOLDINGS, member_id, after, limit)
    return found, following or f"{_DEED} 0"


async def erase_rows(ctx: Context, member_id: str) -> bool:
    """Take away bindings, memberships and bans, at most 100 of each at a time.

    Emits:
        RoleRevoked, TeamMemberRemoved, BanLifted: once for each.
    """
    index, tx = ctx.use(StoredBindings), ctx.tx
    await lock_member(tx, member_id)  # or of two who erase one would be done before the other
    bound = await rows.delete_some_bindings(tx, member_id, ROWS_AT_ONCE)
    for role, at in bound:
        ctx.emit(STREAM, RoleRevoked(subject=member_id, role=role, at=at))
    teams = await rows.delete_some_memberships(tx, member_id, ROWS_AT_ONCE)
    for team in teams:
        ctx.emit(STREAM, TeamMemberRemoved(team=team, member_id=member_id))
    bans = await rows.delete_some_bans(tx, member_id, ROWS_AT_ONCE)
    for at in bans:
        ctx.emit(STREAM, BanLifted(member_id=member_id, at=at))

    def forget() -> None:
        for role, at in bound:
            index.unbind(member_id, role, at)
        for team in teams:
            index.leave(TEAM_PREFIX + team, member_id)
        for at in bans:
            index.lift(member_id, at)

    if not (bound or teams or bans):
        return True
    await index.change(tx, forget, Changed.SUBJECT.key(member_id))
    return False


async def leave(ctx: Context, member_id: str) -> str | None:
    """Tell why a member cannot go: nobody else could administer the hall.

    What they hold goes at once, so that of two last administrators only one leaves.

    Raises:
        PermissionDeniedError: Somebody else removes them who lacks what they hold.
    """
    index = ctx.use(StoredBindings)
    await lock_member(ctx.tx, member_id)  # nothing is given to them any more
    # A room that keeps house (idle guests) is nobody who could rise by it.
    if ctx.actor != member_id and not ctx.actor.startswith(ROOM_PREFIX):
        own = await index.read_rights(ctx.tx, ctx.principal)
        rights = await index.read_rights(ctx.tx, member_id)
        for permission, at in rights.list_held(ROOT):
            if not own.allows(permission, at):
                raise missing_permission(permission, at)
    await lock_administrators(ctx.tx)
    held = await bindings.delete_binding(ctx.tx, member_id, ADMINISTRATOR, ROOT)
    if held and not await bindings.has_other_member(
        ctx.tx, member_id, ADMINISTRATOR, ROOT, ctx.now_ms
    ):
        return "the hall would have no administrator; appoint another one first"
    if held:
        await index.change(
            ctx.tx,
            lambda: index.unbind(member_id, ADMINISTRATOR, ROOT),
            Changed.SUBJECT.key(member_id),
        )
        ctx.emit(STREAM, RoleRevoked(subject=member_id, role=ADMINISTRATOR, at=ROOT))
    return None


async def _export_deeds(
    ctx: Context, member_id: str, after: str, limit: int
) -> tuple[list[PersonalRow], str | None]:
    """Return a page of what the audit trail tells of a member."""
    if not (after.isascii() and after.isdigit() and len(after) < 19):  # noqa: PLR2004 - 64 bits
        raise InvalidArgumentError("after", "this is no cursor", "give `next` of the page before")
    newest = await audit.get_last_number(ctx.tx)
    last = min(newest, int(after) + SCANNED_MAX)
    wanted = audit.AuditFilter(actor=member_id)
    deeds = await audit.search_entries(ctx.tx, wanted, int(after), last, limit)
    found = [
        PersonalRow(
            kind=_DEED,
            data={
                "number": deed.number,
                "at_ms": deed.at_ms,
                "action": deed.action,
                "path": deed.path,
                "outcome": deed.outcome,
                "source": deed.source,
            },
        )
        for deed in deeds
    ]
    if len(deeds) == limit:
        return found, f"{_DEED} {deeds[-1].number}"
    return found, None if last == newest else f"{_DEED} {last}"
