"""Granting and revoking roles, and who has which."""

from collections.abc import Collection
from typing import Annotated

from msgspec import Meta

from moothall.action import (
    EVERYONE,
    READ,
    WRITE,
    Context,
    Name,
    PerActor,
    Request,
    ResourcePath,
    Result,
    Signed,
    action,
    next_cursor,
)
from moothall.core.paths import ROOT
from moothall.services.access.actions.subjects import (
    PageSize,
    SubjectName,
    check_caller_holds,
    find_subject,
    get_permissions,
)
from moothall.services.access.adapters.bindings import StoredBindings
from moothall.services.access.errors import (
    BindingNotFoundError,
    GrantExceedsOwnError,
    LastAdministratorError,
    LimitReachedError,
    RoleNotFoundError,
    TeamNotFoundError,
)
from moothall.services.access.events import STREAM, RoleGranted, RoleRevoked
from moothall.services.access.model import ADMINISTRATOR, AccessSettings, Binding
from moothall.services.access.rules.changed import Changed
from moothall.services.access.store import bindings
from moothall.services.access.store.locks import lock_administrators
from moothall.services.identity.errors import MemberNotFoundError

_SEE_BINDINGS = "see access.list_bindings; a binding is revoked where it stands"

Cursor = tuple[
    Annotated[str, Meta(max_length=128)],
    Annotated[str, Meta(max_length=512)],
    Annotated[str, Meta(max_length=64)],
]


class GrantRole(Request):
    """Who gets which role, where."""

    member: SubjectName
    role: Name
    at: ResourcePath = ROOT


class RevokeRole(Request):
    """Who loses which role, where."""

    member: SubjectName
    role: Name
    at: ResourcePath = ROOT


class ListBindings(Request):
    """Which bindings; ``after`` is the ``next`` of the page before."""

    member: SubjectName | None = None
    at: ResourcePath = ROOT
    limit: PageSize = 100
    after: Cursor = ("", "", "")


class BindingPage(Result):
    """A page of bindings; ``next`` is None on the last one."""

    bindings: list[Binding]
    next: Cursor | None


@action(
    access=Signed("roles:grant", at=bindings.find_path),
    effect=WRITE,
    limit=PerActor(calls=50, window_ms=1_000),
    raises=(
        RoleNotFoundError,
        GrantExceedsOwnError,
        TeamNotFoundError,
        MemberNotFoundError,
        LimitReachedError,
    ),
)
async def grant_role(ctx: Context, request: GrantRole) -> Binding:
    """Bind a role to a member, a team or everyone, at a resource and what lies below it.

    Granting what stands already changes nothing.

    Args:
        request.member: A member's name or id, ``team:`` and a team's name, or ``everyone``.
        request.at: Such as ``board/7``; empty is the whole hall.

    Raises:
        RoleNotFoundError: not_found. There is no such role.
        GrantExceedsOwnError: permission_denied. The role holds more than you do there.
        TeamNotFoundError: not_found. There is no such team.
        MemberNotFoundError: not_found. There is no such member.
        LimitReachedError: failed_precondition. They have too many bindings already.

    Emits:
        RoleGranted: once, unless the binding stands already.
    """
    permissions = await get_permissions(ctx, request.role)
    await check_caller_holds(ctx, permissions, request.at)
    subject = await find_subject(ctx, request.member)
    binding = await write_binding(ctx, subject, request.role, permissions, request.at)
    limit = ctx.use(AccessSettings).bindings_per_subject_max
    if subject != EVERYONE and await bindings.count_bindings_of(ctx.tx, subject) > limit:
        raise LimitReachedError(limit=limit, remedy="grant at a resource above, or revoke some")
    return binding


@action(
    access=Signed("roles:grant", at=bindings.find_path),
    effect=WRITE,
    limit=PerActor(calls=50, window_ms=1_000),
    raises=(
        RoleNotFoundError,
        GrantExceedsOwnError,
        TeamNotFoundError,
        MemberNotFoundError,
        BindingNotFoundError,
        LastAdministratorError,
    ),
)
async def revoke_role(ctx: Context, request: RevokeRole) -> Binding:
    """Take a role away; it acts on the next call of whoever had it.

    Raises:
        RoleNotFoundError: not_found. There is no such role.
        GrantExceedsOwnError: permission_denied. The role holds more than you do there.
        TeamNotFoundError: not_found. There is no such team.
        MemberNotFoundError: not_found. There is no such member.
        BindingNotFoundError: not_found. The role is not bound there.
        LastAdministratorError: failed_precondition. Nobody could administer the hall.

    Emits:
        RoleRevoked: once.
    """
    await check_caller_holds(ctx, await get_permissions(ctx, request.role), request.at)
    subject = await find_subject(ctx, request.member)
    role, at = request.role, request.at
    administers = (role, at) == (ADMINISTRATOR, ROOT)
    if administers:
        await lock_administrators(ctx.tx)
    if not await bindings.delete_binding(ctx.tx, subject, role, at):
        raise BindingNotFoundError(role=role, at=at, remedy=_SEE_BINDINGS)
    if administers and not await bindings.has_other_member(ctx.tx, subject, role, at, ctx.now_ms):
        raise LastAdministratorError
    index = ctx.use(StoredBindings)
    await index.change(
        ctx.tx, lambda: index.unbind(subject, role, at), Changed.SUBJECT.key(subject)
    )
    ctx.emit(STREAM, RoleRevoked(subject=subject, role=role, at=at))
    return Binding(
        subject=subject, role=role, at=at, granted_by=ctx.actor, granted_at_ms=ctx.now_ms
    )


@action(
    access=Signed("permissions:check_own"),
    effect=READ,
    limit=PerActor(calls=50, window_ms=1_000),
    raises=(TeamNotFoundError, MemberNotFoundError),
)
async def list_bindings(ctx: Context, request: ListBindings) -> BindingPage:
    """List who holds which role at a resource and below it, by pages.

    Everybody sees what acts for themselves: their own, their teams' and everyone's. What
    others hold is seen by those who may grant there (``roles:grant``), and by those who
    list roles in the whole hall (``roles:list``).

    Args:
        request.member: Only the bindings of this subject; one's own name is fine.
        request.at: Only bindings at this resource and below it; empty is the whole hall.

    Raises:
        TeamNotFoundError: not_found. There is no such team.
        MemberNotFoundError: not_found. There is no such member.
    """
    may_all = ctx.may("roles:grant", request.at) or ctx.may("roles:list", ROOT)
    missing = "roles:grant" if request.at else "roles:list"
    if request.member is None:
        if not may_all:
            ctx.demand(missing, request.at)
        if request.at:
            found = await bindings.list_bindings_at(
                ctx.tx, request.at, request.after, request.limit
            )
        else:
            found = await bindings.list_bindings(ctx.tx, request.after, request.limit)
    else:
        try:
            subject = await find_subject(ctx, request.member)
        except (TeamNotFoundError, MemberNotFoundError):
            if not may_all:
                ctx.demand(missing, request.at)  # who may not look learns not who exists
            raise
        own = ctx.use(StoredBindings).rights_in_memory(ctx.actor)
        if not (may_all or own.has_subject(subject)):
            ctx.demand(missing, request.at)
        found = await bindings.list_bindings_of(
            ctx.tx, subject, request.at, request.after, request.limit
        )
    after = next_cursor(found, request.limit, lambda last: (last.subject, last.at, last.role))
    return BindingPage(bindings=found, next=after)


async def write_binding(
    ctx: Context, subject: str, role: str, permissions: Collection[str], at: str
) -> Binding:
    """Write a binding and make it act with the commit; nothing if the house has it built in.

    ``permissions`` are those of the role, by which this node may learn of it.
    """
    index = ctx.use(StoredBindings)
    binding = Binding(
        subject=subject, role=role, at=at, granted_by=ctx.actor, granted_at_ms=ctx.now_ms
    )
    if not index.is_built_in(subject, role, at) and await bindings.insert_binding(ctx.tx, binding):

        def bind() -> None:
            if not index.knows_role(role):  # another node made it just now
                index.define(role, permissions)
            index.bind(subject, role, at)

        await index.change(ctx.tx, bind, Changed.SUBJECT.key(subject))
        ctx.emit(STREAM, RoleGranted(subject=subject, role=role, at=at))
    return binding
