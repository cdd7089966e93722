"""Members' own data: taking it along, and leaving.

Whoever is removed stays as a tombstone: an id without a name, because ledgers, verifications
and the audit trail rely on ids. What else the rooms hold is erased room by room, in short
steps (``personal.py`` of each). What this call does not get done, the job
``finish_removals`` does.
"""

from contextlib import suppress
from typing import Annotated

from msgspec import Meta

from moothall.action import (
    FLOW,
    READ,
    Context,
    PerActor,
    Request,
    Result,
    Secret,
    Signed,
    action,
)
from moothall.action.personal import PersonalRow, erase_member
from moothall.core.errors import ActionError, InvalidArgumentError
from moothall.services.identity.actions.members import NameOrId, get_member
from moothall.services.identity.actions.proof import accept, give_back, prove_own
from moothall.services.identity.actions.sessions import end_sessions
from moothall.services.identity.errors import (
    AccountLockedError,
    MemberNeededError,
    MemberNotFoundError,
    NotAGuestError,
    NotByThisWayError,
    WrongCredentialsError,
)
from moothall.services.identity.events import MemberRemoved, tell_servers
from moothall.services.identity.model import RegistrationSettings
from moothall.services.identity.store import members, removal

STEPS_AT_ONCE = 20
"""Steps of erasing, of at most 500 rows each, that a call waits for; the job does the rest."""

STEPS_OF_JOB = 1_000
"""Steps that one run of the job takes for one member."""

RoomName = Annotated[str, Meta(max_length=32, description="A room, such as leaderboards.")]
ExportCursor = Annotated[str, Meta(max_length=2_000)]
ExportSize = Annotated[int, Meta(ge=1, le=500)]


class ExportSelf(Request):
    """A page of one's own data; ``after`` is the ``next`` of the page before."""

    room: RoomName | None = None
    """Of one room only."""
    after: ExportCursor = ""
    limit: ExportSize = 100


class ExportMember(Request):
    """A page of a member's data; ``after`` is the ``next`` of the page before."""

    member: NameOrId
    room: RoomName | None = None
    """Of one room only."""
    after: ExportCursor = ""
    limit: ExportSize = 100


class HeldRow(Result):
    """One thing that the hall holds of a member."""

    room: str
    """Which room holds it; ``action`` is the framework under the rooms."""
    kind: str
    data: dict[str, object]
    """Its fields, as the room keeps them."""


class HeldPage(Result):
    """A page of what is held; ``next`` is None on the last one."""

    rows: list[HeldRow]
    next: str | None


class RemoveAccount(Request):
    """One's password, as proof."""

    password: Secret


class RemoveGuest(Request):
    """Asks for nothing; the account is the one of the call."""


class RemoveMember(Request):
    """Who is removed."""

    member: NameOrId


class Removal(Result):
    """A member who was removed, for good."""

    member_id: str
    removed_at_ms: int
    is_erased: bool
    """Whether all rooms have erased what may go; if not, the hall does so within minutes."""


@action(
    access=Signed("sessions:own"),
    effect=READ,
    limit=PerActor(calls=100, window_ms=1_000),
    raises=(),
    command="account export",
)
async def export_self(ctx: Context, request: ExportSelf) -> HeldPage:
    """Take along everything that the hall holds of you, by pages.

    Secrets, such as what is kept of your password, are not among it.
    """
    return await _export(ctx, ctx.actor, request.room, request.after, request.limit)


@action(
    access=Signed("members:export"),
    effect=READ,
    limit=PerActor(calls=100, window_ms=1_000),
    raises=(MemberNotFoundError,),
    command="member export",
    is_protected=True,
)
async def export_member(ctx: Context, request: ExportMember) -> HeldPage:
    """Export everything that the hall holds of a member, by pages. Each page is audited.

    Raises:
        MemberNotFoundError: not_found. There is none of this name or id.
    """
    member = await get_member(ctx.tx, request.member)
    ctx.concern(path=f"member/{member.member_id}")
    return await _export(ctx, member.member_id, request.room, request.after, request.limit)


@action(
    access=Signed("sessions:own"),
    effect=FLOW,
    limit=PerActor(calls=5, window_ms=60_000),
    raises=(AccountLockedError, WrongCredentialsError, MemberNotFoundError, MemberNeededError),
)
async def remove_account(ctx: Context, request: RemoveAccount) -> Removal:
    """Remove your account for good: all sessions end, and your name is on nothing any more.

    What others rely on stays under an id without a name. Nobody can undo it.

    Raises:
        AccountLockedError: failed_precondition. Too many wrong passwords; ``retry_after_ms``.
        WrongCredentialsError: unauthenticated. This is not your password.
        MemberNotFoundError: not_found. The account was removed already.
        MemberNeededError: failed_precondition. The hall cannot do without you yet;
            ``details.reason`` says why.

    Emits:
        MemberRemoved: once.
        SessionEnded: for each open session.
    """
    async with prove_own(ctx, request.password) as proof:

        async def accept_and_bury(step: Context) -> int:
            await accept(step, proof)
            return await bury(step, step.actor)

        try:
            removed_at_ms = await ctx.write(accept_and_bury)
        except MemberNeededError:
            await give_back(ctx, proof.guess)
            raise
    return await _begin_erasing(ctx, ctx.actor, removed_at_ms)


@action(
    access=Signed("sessions:own"),
    effect=FLOW,
    limit=PerActor(calls=5, window_ms=60_000),
    raises=(NotAGuestError, MemberNotFoundError, MemberNeededError),
    command="guest remove",
)
async def remove_guest(ctx: Context, request: RemoveGuest) -> Removal:  # noqa: ARG001
    """Remove your account as a guest, who has no password to prove anything by.

    Raises:
        NotAGuestError: failed_precondition. Call ``remove_account``, with your password.
        MemberNotFoundError: not_found. The account was removed already.
        MemberNeededError: failed_precondition. The hall cannot do without you yet;
            ``details.reason`` says why.

    Emits:
        MemberRemoved: once.
        SessionEnded: for each open session.
    """

    async def bury_guest(step: Context) -> int:
        if not await members.is_guest(step.tx, step.actor):
            raise NotAGuestError(remedy="call identity.remove_account, with your password")
        return await bury(step, step.actor)

    return await _begin_erasing(ctx, ctx.actor, await ctx.write(bury_guest))


@action(
    access=Signed("members:remove"),
    effect=FLOW,
    limit=PerActor(calls=20, window_ms=1_000),
    raises=(MemberNotFoundError, NotByThisWayError, MemberNeededError),
)
async def remove_member(ctx: Context, request: RemoveMember) -> Removal:
    """Remove a member for good, as they could themselves by ``account remove``.

    Nobody removes a member who holds a permission that they lack themselves: an
    administrator is removed by an administrator.

    Raises:
        MemberNotFoundError: not_found. There is none of this name or id.
        NotByThisWayError: failed_precondition. It is yourself.
        MemberNeededError: failed_precondition. The hall cannot do without them yet;
            ``details.reason`` says why.

    Emits:
        MemberRemoved: once.
        SessionEnded: for each open session of theirs.
    """
    member = await ctx.read(lambda step: get_member(step.tx, request.member))
    ctx.concern(path=f"member/{member.member_id}")
    if member.member_id == ctx.actor:
        raise NotByThisWayError(remedy="call identity.remove_account, with your password")
    removed_at_ms = await ctx.write(lambda step: bury(step, member.member_id))
    return await _begin_erasing(ctx, member.member_id, removed_at_ms)


async def finish_erasing(ctx: Context, member_id: str) -> None:
    """Erase all that is left of a removed member, and write down that nothing is.

    Args:
        ctx: Of a job.
        member_id: A tombstone, about which no call is under way any more.
    """
    if not await erase_member(ctx, member_id, STEPS_OF_JOB):
        return  # the next run goes on

    async def finish(step: Context) -> None:
        step.concern(path=f"member/{member_id}")
        await removal.update_erased(step.tx, member_id, step.now_ms)

    await ctx.write(finish)


async def _begin_erasing(ctx: Context, member_id: str, removed_at_ms: int) -> Removal:
    """Erase what fits into this call, now that the tombstone is durable."""
    is_erased = False
    # A hall under load may refuse a step. The member is removed all the same, and the caller
    # shall know; the rest is the job's in any case.
    with suppress(ActionError):
        is_erased = await erase_member(ctx, member_id, STEPS_AT_ONCE)
    return Removal(member_id=member_id, removed_at_ms=removed_at_ms, is_erased=is_erased)


async def bury(step: Context, member_id: str) -> int:
    """Make the tombstone, unless a room cannot do without the member; return when.

    Raises:
        MemberNotFoundError: not_found. There is no such member, or not any more.
        MemberNeededError: failed_precondition. With ``reason`` and ``room``.

    Emits:
        MemberRemoved: once.
        SessionEnded: for each open session.
    """
    step.concern(path=f"member/{member_id}")
    found = await members.find_member_to_change(step.tx, member_id)
    if found is None:
        raise MemberNotFoundError(remedy="this member was removed already")
    member, key = found
    for room, personal in step.personal_rooms().items():
        if personal.leave is not None and (reason := await personal.leave(step, member_id)):
            raise MemberNeededError(reason, room=room)
    until_ms = step.now_ms + step.use(RegistrationSettings).name_held_ms
    await members.insert_name_hold(step.tx, member_id, member.name, key, until_ms)
    await removal.update_removed(step.tx, member_id, step.now_ms)
    await end_sessions(step, member_id, "member removed")
    tell_servers(step, MemberRemoved(member_id=member_id))
    return step.now_ms


async def _export(
    ctx: Context, member_id: str, room: str | None, after: str, limit: int
) -> HeldPage:
    """Return a page of what the rooms hold, one room after the other."""
    rooms = ctx.personal_rooms()
    names = [name for name in rooms if room in {None, name}]
    if not names:
        reason = "there is no such room, or it holds nothing of members"
        raise InvalidArgumentError("room", reason, f"one of {', '.join(rooms)}, or none")
    at, _, cursor = after.partition(" ")
    if after and at not in names:
        raise InvalidArgumentError("after", "this is no cursor", "give `next` of the page before")
    found: list[HeldRow] = []
    for name in names[names.index(at) if after else 0 :]:
        rows, last = await rooms[name].export_rows(ctx, member_id, cursor, limit - len(found))
        found += [_held(name, row) for row in rows]
        if last is not None:
            return HeldPage(rows=found, next=f"{name} {last}")
        if len(found) == limit and name != names[-1]:
            following = names[names.index(name) + 1]
            return HeldPage(rows=found, next=f"{following} ")
        cursor = ""
    return HeldPage(rows=found, next=None)


def _held(room: str, row: PersonalRow) -> HeldRow:
    """Return a row with the room that holds it."""
    return HeldRow(room=room, kind=row.kind, data=row.data)
