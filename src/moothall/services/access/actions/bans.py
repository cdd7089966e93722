"""Bans: the only deny there is."""

from typing import Annotated

from msgspec import Meta

from moothall.action import (
    READ,
    WRITE,
    Context,
    PerActor,
    Request,
    ResourcePath,
    Result,
    Signed,
    Text,
    TimeMs,
    action,
    next_cursor,
)
from moothall.core.errors import InvalidArgumentError
from moothall.core.paths import ROOT
from moothall.services.access.actions.subjects import NameOrId, PageSize, find_member_id
from moothall.services.access.adapters.bindings import StoredBindings
from moothall.services.access.errors import (
    BanExceedsOwnError,
    BanNotFoundError,
    LastAdministratorError,
    LimitReachedError,
    OwnBanError,
)
from moothall.services.access.events import STREAM, BanLifted, MemberBanned
from moothall.services.access.model import ADMINISTRATOR, AccessSettings, BanView
from moothall.services.access.rules.changed import Changed
from moothall.services.access.rules.granting import check_bannable
from moothall.services.access.store import bans, bindings
from moothall.services.access.store.locks import lock_administrators
from moothall.services.identity.errors import MemberNotFoundError


class Ban(Request):
    """Whom to ban, and where: there is no default, so that nobody bans by forgetting it."""

    member: NameOrId
    at: ResourcePath
    reason: Text = ""
    """Shown to whoever is banned."""
    until_ms: TimeMs | None = None
    """When it ends by itself; never if it is left out."""


class LiftBan(Request):
    """Whose ban ends, and where it stands."""

    member: NameOrId
    at: ResourcePath


class ListBans(Request):
    """Bans at a resource and below; ``after`` is the ``next`` of the page before."""

    at: ResourcePath = ROOT
    limit: PageSize = 100
    after: tuple[
        Annotated[str, Meta(max_length=512)],
        Annotated[str, Meta(max_length=128)],
    ] = ("", "")


class BanPage(Result):
    """A page of bans; ``next`` is None on the last one."""

    bans: list[BanView]
    next: tuple[str, str] | None


@action(
    access=Signed("members:ban", at=bindings.find_path),
    effect=WRITE,
    limit=PerActor(calls=20, window_ms=1_000),
    raises=(
        MemberNotFoundError,
        OwnBanError,
        BanExceedsOwnError,
        LastAdministratorError,
        LimitReachedError,
    ),
    command="member ban",
)
async def ban(ctx: Context, request: Ban) -> BanView:
    """Deny a member all at a resource and below it, whatever roles they have.

    It acts on their next call. Banned from the whole hall they can still sign in and out,
    learn why, take their data along and remove their account. A ban that stands there
    already is replaced.

    Raises:
        MemberNotFoundError: not_found. There is no such member.
        OwnBanError: failed_precondition. Nobody bans themselves.
        BanExceedsOwnError: permission_denied. They hold something there that you do not.
        LastAdministratorError: failed_precondition. Nobody could administer the hall.
        LimitReachedError: failed_precondition. They have too many bans already.

    Emits:
        MemberBanned: once.
    """
    index, at, until_ms = ctx.use(StoredBindings), request.at, request.until_ms
    if until_ms is not None and until_ms <= ctx.now_ms:
        raise InvalidArgumentError("until_ms", "this is over already", "give a time to come")
    member_id = await find_member_id(ctx, request.member)
    if member_id == ctx.actor:
        raise OwnBanError(remedy="ask somebody else")
    await _check_bannable(ctx, member_id, at)
    if at == ROOT:
        await lock_administrators(ctx.tx)
        if not await bindings.has_other_member(ctx.tx, member_id, ADMINISTRATOR, ROOT, ctx.now_ms):
            raise LastAdministratorError
    found = BanView(
        member_id=member_id,
        at=at,
        reason=request.reason,
        banned_by=ctx.actor,
        banned_at_ms=ctx.now_ms,
        until_ms=until_ms,
    )
    await bans.insert_ban(ctx.tx, found)
    limit = ctx.use(AccessSettings).bans_per_member_max
    if await bans.count_bans_of(ctx.tx, member_id) > limit:
        raise LimitReachedError(limit=limit, remedy="ban them at a resource above")
    await index.change(
        ctx.tx, lambda: index.ban(member_id, at, until_ms), Changed.SUBJECT.key(member_id)
    )
    ctx.emit(STREAM, MemberBanned(member_id=member_id, at=at, until_ms=until_ms))
    return found


@action(
    access=Signed("members:ban", at=bindings.find_path),
    effect=WRITE,
    limit=PerActor(calls=20, window_ms=1_000),
    raises=(MemberNotFoundError, BanNotFoundError, BanExceedsOwnError),
    command="member unban",
)
async def lift_ban(ctx: Context, request: LiftBan) -> BanView:
    """End a ban where it stands; it acts on the member's next call.

    Raises:
        MemberNotFoundError: not_found. There is no such member.
        BanNotFoundError: not_found. They are not banned right there.
        BanExceedsOwnError: permission_denied. They would hold more there than you do.

    Emits:
        BanLifted: once.
    """
    index, at = ctx.use(StoredBindings), request.at
    member_id = await find_member_id(ctx, request.member)
    found = await bans.find_ban(ctx.tx, member_id, at)
    if found is None:
        raise BanNotFoundError(at=at, remedy="see access.list_bans; it is lifted where it stands")
    await _check_bannable(ctx, member_id, at)
    await bans.delete_ban(ctx.tx, member_id, at)
    await index.change(ctx.tx, lambda: index.lift(member_id, at), Changed.SUBJECT.key(member_id))
    ctx.emit(STREAM, BanLifted(member_id=member_id, at=at))
    return found


@action(
    access=Signed("members:ban", at=bindings.find_path),
    effect=READ,
    limit=PerActor(calls=50, window_ms=1_000),
    raises=(),
)
async def list_bans(ctx: Context, request: ListBans) -> BanPage:
    """List bans that are not over, at a resource and below it, by pages."""
    found = await bans.list_bans_at(ctx.tx, request.at, ctx.now_ms, request.after, request.limit)
    after = next_cursor(found, request.limit, lambda last: (last.at, last.member_id))
    return BanPage(bans=found, next=after)


async def _check_bannable(ctx: Context, member_id: str, at: str) -> None:
    """Refuse to ban, or to lift a ban of, somebody who holds more than the caller.

    Raises:
        BanExceedsOwnError: permission_denied. With the first permission that is missing.
    """
    index = ctx.use(StoredBindings)
    own = await index.read_rights(ctx.tx, ctx.principal)
    held = await index.read_rights(ctx.tx, member_id)
    check_bannable(own.allows, held.list_held(at))
