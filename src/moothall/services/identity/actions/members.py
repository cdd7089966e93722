"""Who is there: finding, listing and naming members, and adding them for others."""

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
)
from moothall.core.errors import InvalidArgumentError
from moothall.core.ids import is_id
from moothall.services.identity.errors import (
    MemberNotFoundError,
)
from moothall.services.identity.events import STREAM, MemberRegistered
from moothall.services.identity.model import Member
from moothall.services.identity.rules.names import check_name, find_key
from moothall.services.identity.store import members

NameOrId = Annotated[str, Meta(min_length=1, max_length=128, description="A member's name or id.")]


PageSize = Annotated[int, Meta(ge=1, le=500)]


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

    member_ids: Annotated[list[str], Meta(max_length=500)]


class MemberNames(Result):
    """Names by id; who does not exist is left out."""

    names: dict[str, str]


class AddMembers(Request):
    """Names that shall have an account, at most 500."""

    names: Annotated[list[Name], Meta(min_length=1, max_length=500)]


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
    """Find a member by name or id.

    Raises:
        MemberNotFoundError: not_found. There is none.
    """
    member = None
    if is_id(request.member):  # no name has the form of an id
        member = await members.find_member(ctx.tx, request.member)
    elif key := find_key(request.member):
        member = await members.find_member_by_name(ctx.tx, key)
    if member is None:
        raise MemberNotFoundError(member=request.member, remedy="see identity.list_members")
    return member


@action(
    access=Signed("members:read"),
    effect=READ,
    limit=PerActor(calls=50, window_ms=1_000),
    raises=(),
)
async def list_members(ctx: Context, request: ListMembers) -> MemberPage:
    """List members by name, by pages."""
    found = await members.list_members(ctx.tx, request.after, request.limit)
    is_last = len(found) < request.limit
    return MemberPage(
        members=[member for _, member in found], next=None if is_last else found[-1][0]
    )


@action(
    access=Signed("members:read"),
    effect=READ,
    limit=PerActor(calls=100, window_ms=1_000),
    raises=(),
)
async def name_members(ctx: Context, request: NameMembers) -> MemberNames:
    """Tell the names of members that are known by id."""
    found = await members.list_members_by_id(ctx.tx, request.member_ids)
    return MemberNames(names={member.member_id: member.name for member in found})


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
    added: list[Member | None] = []
    refused = []
    for number, wanted in enumerate(request.names):
        try:
            name, key = check_name(wanted)
        except InvalidArgumentError as error:
            added.append(None)
            reason, remedy = str(error.details["reason"]), str(error.details.get("remedy", ""))
            refused.append(RefusedName(number=number, reason=reason, remedy=remedy))
            continue
        member = await members.find_member_by_name(ctx.tx, key)
        if member is None:
            member = Member(member_id=ctx.new_id(), name=name, created_at_ms=ctx.now_ms)
            await members.insert_member(ctx.tx, member, key, None)
            ctx.emit(STREAM, MemberRegistered(member_id=member.member_id, name=name))
        added.append(member)
    return AddedMembers(members=added, refused=refused)
