"""Who is there: finding, listing and naming members, and adding them for others."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated

from msgspec import Meta

from moothall.action import (
    READ,
    WRITE,
    Context,
    Name,
    PerActor,
    Request,
    Result,
    Signed,
    action,
    next_cursor,
)
from moothall.core.errors import InvalidArgumentError
from moothall.core.ids import is_id
from moothall.ports.database import Transaction
from moothall.services.identity.errors import (
    GuestNameError,
    MemberNotFoundError,
    NameTakenError,
    RenamedTooOftenError,
)
from moothall.services.identity.events import (
    STREAM,
    MemberRegistered,
    MemberRenamed,
    tell_servers,
)
from moothall.services.identity.model import Member, RegistrationSettings
from moothall.services.identity.rules.names import NAMES_HELD_MAX, check_name, find_key, skeleton_of
from moothall.services.identity.store import members

NameOrId = Annotated[str, Meta(min_length=1, max_length=128, description="A member's name or id.")]


PageSize = Annotated[int, Meta(ge=1, le=500)]


_SIMILAR = "another member has a name that looks the same, or had this one until recently"
_ANOTHER = "choose another name"

ADDED_MAX = 2_000
"""Names that one call gives an account; the history of a board comes with as many."""

ADDING = "identity.add_members"
"""Name of the lock of whoever adds many members in one transaction."""

_NAMES_KEPT_MAX = 16_384
"""Names of which it is remembered how they are read: history repeats them, and one that is not
ASCII takes 60 µs. At most 6 MB."""


class GetSelf(Request):
    """Asks for nothing."""


class FindMember(Request):
    """By name or id."""

    member: NameOrId


class ListMembers(Request):
    """A page of members by name; ``after`` is the ``next`` of the page before."""

    after: Annotated[str, Meta(max_length=128)] = ""
    limit: PageSize = 100


class MemberPage(Result):
    """A page of members; ``next`` is None on the last one."""

    members: list[Member]
    next: str | None


class NameMembers(Request):
    """Members whose names are wanted, at most 500."""

    member_ids: Annotated[list[Annotated[str, Meta(max_length=128)]], Meta(max_length=500)]


class MemberNames(Result):
    """Names by id; who does not exist is left out."""

    names: dict[str, str]
    removed: list[str]
    """Those of the ids whose members were removed: they have no name any more."""


class AddMembers(Request):
    """Names that shall have an account, at most 2,000."""

    names: Annotated[list[Name], Meta(min_length=1, max_length=ADDED_MAX)]


class RenameSelf(Request):
    """The name you would like to have."""

    name: Name


class RenameMember(Request):
    """Whose name, by name or id, and the new one."""

    member: NameOrId
    name: Name


class RefusedName(Result):
    """A name that cannot be had, and why."""

    number: int
    """Its place among the names, from 0."""
    reason: str
    remedy: str


class AddedMembers(Result):
    """One member per name, in order; None for a name that was refused."""

    members: list[Member | None]
    refused: list[RefusedName]


@action(
    access=Signed("sessions:own"),
    effect=READ,
    limit=PerActor(calls=100, window_ms=1_000),
    raises=(MemberNotFoundError,),
)
async def get_self(ctx: Context, request: GetSelf) -> Member:  # noqa: ARG001 - asks for nothing
    """Tell who calls.

    Raises:
        MemberNotFoundError: not_found. The account was removed.
    """
    member = await members.find_member(ctx.tx, ctx.actor)
    if member is None:
        raise MemberNotFoundError
    return member


@action(
    access=Signed("members:read"),
    effect=READ,
    limit=PerActor(calls=100, window_ms=1_000),
    raises=(MemberNotFoundError,),
    command="member show",
)
async def find_member(ctx: Context, request: FindMember) -> Member:
    """Find a member by name or id; who was removed is found by id, without a name.

    Raises:
        MemberNotFoundError: not_found. There is none.
    """
    return await get_member(ctx.tx, request.member)


@action(
    access=Signed("members:read"),
    effect=READ,
    limit=PerActor(calls=50, window_ms=1_000),
    raises=(),
)
async def list_members(ctx: Context, request: ListMembers) -> MemberPage:
    """List members by name, by pages. Those who were removed are left out."""
    found = await members.list_members(ctx.tx, request.after, request.limit)
    after = next_cursor(found, request.limit, lambda last: last[0])
    return MemberPage(members=[member for _, member in found], next=after)


@action(
    access=Signed("members:read"),
    effect=READ,
    limit=PerActor(calls=100, window_ms=1_000),
    raises=(),
)
async def name_members(ctx: Context, request: NameMembers) -> MemberNames:
    """Tell the names of members that are known by id, and who of them was removed."""
    found = await members.list_members_by_id(ctx.tx, request.member_ids)
    return MemberNames(
        names={member.member_id: member.name for member in found if not member.is_removed},
        removed=[member.member_id for member in found if member.is_removed],
    )


@action(
    access=Signed("members:add"),
    effect=WRITE,
    limit=PerActor(calls=100, window_ms=1_000),
    raises=(),
)
async def add_members(ctx: Context, request: AddMembers) -> AddedMembers:
    """Make accounts for others, without a password; who exists already stays as they are.

    A name that cannot be had is reported and the others are added. Nobody can sign in to
    such an account until an administrator hands it over.

    Emits:
        MemberRegistered: once per new account.
    """
    await ctx.tx.lock(ADDING)  # two calls with the same names would be run again and again
    keys, refused = _read_names(request.names)
    known = await members.list_members_by_key(ctx.tx, list(dict.fromkeys(keys.values())))
    strange: dict[str, str] = {}
    for wanted, key in keys.items():
        if key not in known:
            strange.setdefault(key, wanted)
    made, similar = await _make_members(ctx, strange)
    known |= made
    for number, wanted in enumerate(request.names):
        if keys.get(wanted) in similar:
            refused.append(RefusedName(number=number, reason=_SIMILAR, remedy=_ANOTHER))
    refused.sort(key=lambda refusal: refusal.number)
    return AddedMembers(
        members=[known.get(keys.get(wanted, "")) for wanted in request.names], refused=refused
    )


@lru_cache(maxsize=_NAMES_KEPT_MAX)
def _read_name(name: str) -> tuple[str, str]:
    """Return a name as it is shown and its key, see `check_name`."""
    return check_name(name)


def _read_names(names: Sequence[str]) -> tuple[dict[str, str], list[RefusedName]]:
    """Return the keys of names as they are written, and those that nobody can have."""
    keys: dict[str, str] = {}
    refused = []
    for number, wanted in enumerate(names):
        try:
            keys[wanted] = _read_name(wanted)[1]
        except InvalidArgumentError as error:
            reason, remedy = str(error.details["reason"]), str(error.details.get("remedy", ""))
            refused.append(RefusedName(number=number, reason=reason, remedy=remedy))
    return keys, refused


async def _make_members(
    ctx: Context, wanted: Mapping[str, str]
) -> tuple[dict[str, Member], set[str]]:
    """Make accounts for names, given by key; return them, and the keys that cannot be had."""
    skeletons = {key: skeleton_of(_read_name(name)[0]) for key, name in wanted.items()}
    taken = await members.list_names_taken(
        ctx.tx, list(wanted), list(dict.fromkeys(skeletons.values())), ctx.now_ms
    )
    made: dict[str, Member] = {}
    similar = set()
    for key, name in wanted.items():
        if {key, skeletons[key]} & taken:
            similar.add(key)
            continue
        taken.add(skeletons[key])
        shown = _read_name(name)[0]
        made[key] = Member(member_id=ctx.new_id(), name=shown, created_at_ms=ctx.now_ms)
    await members.insert_members(
        ctx.tx, [(member, key, skeletons[key]) for key, member in made.items()]
    )
    for member in made.values():
        ctx.emit(STREAM, MemberRegistered(member_id=member.member_id))
    return made, similar


@action(
    access=Signed("account:use"),
    effect=WRITE,
    limit=PerActor(calls=5, window_ms=60_000),
    raises=(MemberNotFoundError, GuestNameError, NameTakenError, RenamedTooOftenError),
)
async def rename_self(ctx: Context, request: RenameSelf) -> Member:
    """Take another name. The old one stays reserved for you for a while (30 days by default).

    Args:
        request.name: As for registering (``register``).

    Raises:
        MemberNotFoundError: not_found. The account was removed.
        GuestNameError: failed_precondition. Guests choose a name with ``become_member``.
        NameTakenError: already_exists. Another member has this name, or one that looks like
            it, or had it until recently.
        RenamedTooOftenError: failed_precondition. Three former names are reserved for you
            already.

    Emits:
        MemberRenamed: once, unless it is the name you have.
    """
    if await members.is_guest(ctx.tx, ctx.actor):
        raise GuestNameError(remedy="see identity.become_member")
    renamed, is_new = await _rename(ctx, ctx.actor, request.name)
    # The name just given up is among them.
    holds = await members.list_name_holds(ctx.tx, ctx.actor, ctx.now_ms)
    if is_new and len(holds) > NAMES_HELD_MAX:
        raise RenamedTooOftenError(free_again_at_ms=holds[0])
    return renamed


@action(
    access=Signed("members:rename"),
    effect=WRITE,
    limit=PerActor(calls=10, window_ms=1_000),
    raises=(MemberNotFoundError, NameTakenError),
)
async def rename_member(ctx: Context, request: RenameMember) -> Member:
    """Give a member another name. The old one stays reserved for them for a while.

    Args:
        request.member: The member's name or id.
        request.name: The new name, as for registering (``register``).

    Raises:
        MemberNotFoundError: not_found. There is none.
        NameTakenError: already_exists. Another member has this name, or one that looks like
            it, or had it until recently.

    Emits:
        MemberRenamed: once, unless it is the name they have.
    """
    member = await get_member(ctx.tx, request.member)
    ctx.concern(path=f"member/{member.member_id}")
    renamed, _ = await _rename(ctx, member.member_id, request.name)
    return renamed


async def get_member(tx: Transaction, name_or_id: str) -> Member:
    """Return a member by name or id; who was removed is found by id, without a name.

    Raises:
        MemberNotFoundError: not_found. There is none.
    """
    member = None
    if is_id(name_or_id):  # no name has the form of an id
        member = await members.find_member(tx, name_or_id)
    elif key := find_key(name_or_id):
        member = await members.find_member_by_name(tx, key)
    if member is None:
        raise MemberNotFoundError(member=name_or_id, remedy="see identity.list_members")
    return member


async def _rename(ctx: Context, member_id: str, wanted: str) -> tuple[Member, bool]:
    """Give a member a name, and reserve the one they had; return whether it is another one.

    Raises:
        MemberNotFoundError: not_found. The account was removed.
        NameTakenError: already_exists.
    """
    found = await members.find_member_to_change(ctx.tx, member_id)
    if found is None:
        raise MemberNotFoundError(member=member_id, remedy="see identity.list_members")
    member, old_key = found
    name, key = check_name(wanted)
    if name == member.name:
        return member, False
    if await members.has_name(ctx.tx, name, key, ctx.now_ms, but=member.member_id):
        raise NameTakenError(field="name", remedy=_ANOTHER)
    await members.update_name(ctx.tx, member.member_id, name, key)
    await members.delete_name_hold(ctx.tx, key)
    if old_key != key:
        until_ms = ctx.now_ms + ctx.use(RegistrationSettings).name_held_ms
        await members.insert_name_hold(ctx.tx, member.member_id, member.name, old_key, until_ms)
    tell_servers(ctx, MemberRenamed(member_id=member.member_id))
    renamed = Member(member_id=member.member_id, name=name, created_at_ms=member.created_at_ms)
    return renamed, True
