"""Public verbs of the access room."""

import hmac
from hashlib import sha256
from typing import Annotated

from msgspec import Meta

from moothall.action import (
    EVERYONE,
    READ,
    WRITE,
    Context,
    Id,
    Name,
    PerActor,
    Request,
    ResourcePath,
    Result,
    Secret,
    Signed,
    Text,
    action,
)
from moothall.core.paths import ROOT
from moothall.services.access import store
from moothall.services.access.adapters import Claim, StoredBindings
from moothall.services.access.errors import (
    AdministrationClaimedError,
    BindingNotFoundError,
    GrantExceedsOwnError,
    LastAdministratorError,
    RoleExistsError,
    RoleNotFoundError,
    WrongSecretError,
)
from moothall.services.access.events import RoleDefined, RoleGranted, RoleRevoked
from moothall.services.access.model import ADMINISTRATOR, Binding, RoleView
from moothall.services.access.rules import check_grantable, check_permissions
from moothall.services.identity.actions import FindMember, find_member
from moothall.services.identity.errors import MemberNotFoundError

STREAM = "access"

_SEE_BINDINGS = "see access.list_bindings; a binding is revoked where it stands"

MemberOrEveryone = Annotated[
    str, Meta(min_length=1, max_length=128, description="A member's name or id, or 'everyone'.")
]
Permission = Annotated[
    str,
    Meta(
        max_length=64,
        pattern=r"^(\*|[a-z][a-z0-9_]*:[a-z][a-z0-9_]*)(?!\n)$",
        description="A permission: noun:verb, at most 64 characters.",
    ),
]
RoleName = Annotated[
    str,
    Meta(
        pattern=r"^[a-z][a-z0-9_]{0,63}(?!\n)$",
        description="Lower-case letters, digits and '_', 1 to 64 characters; a letter first.",
    ),
]
PageSize = Annotated[int, Meta(ge=1, le=500)]


class ClaimAdministration(Request):
    """The one-time secret that the hall showed to its operator."""

    secret: Secret


class GrantRole(Request):
    """Who gets which role, where."""

    member: MemberOrEveryone
    role: Name
    at: ResourcePath = ROOT


class RevokeRole(Request):
    """Who loses which role, where."""

    member: MemberOrEveryone
    role: Name
    at: ResourcePath = ROOT


class DefineRole(Request):
    """A new role."""

    name: RoleName
    permissions: Annotated[tuple[Permission, ...], Meta(min_length=1, max_length=100)]
    summary: Text = ""


class ListRoles(Request):
    """Asks for nothing."""


class RoleList(Result):
    """All roles."""

    roles: list[RoleView]


class ListBindings(Request):
    """Which bindings; ``after`` is the ``next`` of the page before."""

    member: MemberOrEveryone | None = None
    limit: PageSize = 100
    after: tuple[str, str, str] = ("", "", "")


class BindingPage(Result):
    """A page of bindings; ``next`` is None on the last one."""

    bindings: list[Binding]
    next: tuple[str, str, str] | None


class Check(Request):
    """One's own permission at a resource."""

    permission: Permission
    at: ResourcePath = ROOT


class Answer(Result):
    """Whether the permission is held."""

    is_allowed: bool


@action(
    access=Signed("permissions:check_own"),
    effect=WRITE,
    limit=PerActor(calls=5, window_ms=60_000),
    raises=(AdministrationClaimedError, WrongSecretError),
)
async def claim_administration(ctx: Context, request: ClaimAdministration) -> Binding:
    """Become the first administrator of a fresh hall, by the secret its operator sees.

    Raises:
        AdministrationClaimedError: failed_precondition. Somebody was first.
        WrongSecretError: permission_denied. Look at what ``moothall serve`` printed.

    Emits:
        RoleGranted: once.
    """
    digest, claimed_by = await store.get_claim(ctx.tx)
    if claimed_by is not None:
        raise AdministrationClaimedError
    if not hmac.compare_digest(digest_secret(request.secret), digest):
        raise WrongSecretError(remedy="give the one that `moothall serve` printed last")
    await store.update_claim(ctx.tx, ctx.actor, ctx.now_ms)
    ctx.tx.on_commit(ctx.use(Claim).on_claimed)
    return await _bind(ctx, ctx.actor, ADMINISTRATOR, ROOT)


@action(
    access=Signed("roles:grant", at=store.find_path),
    effect=WRITE,
    limit=PerActor(calls=50, window_ms=1_000),
    raises=(RoleNotFoundError, GrantExceedsOwnError, MemberNotFoundError),
)
async def grant_role(ctx: Context, request: GrantRole) -> Binding:
    """Bind a role to a member, or to everyone, at a resource and what lies below it.

    Granting what stands already changes nothing.

    Raises:
        RoleNotFoundError: not_found. There is no such role.
        GrantExceedsOwnError: permission_denied. The role holds more than you do there.
        MemberNotFoundError: not_found. There is no such member.

    Emits:
        RoleGranted: once, unless the binding stands already.
    """
    permissions = ctx.use(StoredBindings).grantable(request.role)
    if permissions is None:
        raise RoleNotFoundError(remedy="see access.list_roles", role=request.role)
    check_grantable(ctx.may, permissions, request.at)
    subject = await _subject_of(ctx, request.member)
    return await _bind(ctx, subject, request.role, request.at)


@action(
    access=Signed("roles:grant", at=store.find_path),
    effect=WRITE,
    limit=PerActor(calls=50, window_ms=1_000),
    raises=(
        RoleNotFoundError,
        GrantExceedsOwnError,
        MemberNotFoundError,
        BindingNotFoundError,
        LastAdministratorError,
    ),
)
async def revoke_role(ctx: Context, request: RevokeRole) -> Binding:
    """Take a role away; it acts on the member's next call.

    Raises:
        RoleNotFoundError: not_found. There is no such role.
        GrantExceedsOwnError: permission_denied. The role holds more than you do there.
        MemberNotFoundError: not_found. There is no such member.
        BindingNotFoundError: not_found. The role is not bound there.
        LastAdministratorError: failed_precondition. Nobody could administer the hall.

    Emits:
        RoleRevoked: once.
    """
    bindings = ctx.use(StoredBindings)
    permissions = bindings.grantable(request.role)
    if permissions is None:
        raise RoleNotFoundError(remedy="see access.list_roles", role=request.role)
    check_grantable(ctx.may, permissions, request.at)
    subject = await _subject_of(ctx, request.member)
    if not await store.delete_binding(ctx.tx, subject, request.role, request.at):
        raise BindingNotFoundError(role=request.role, at=request.at, remedy=_SEE_BINDINGS)
    if (request.role, request.at) == (ADMINISTRATOR, ROOT) and not await store.count_others(
        ctx.tx, subject, ADMINISTRATOR, ROOT
    ):
        raise LastAdministratorError
    ctx.tx.on_commit(lambda: bindings.unbind(subject, request.role, request.at))
    ctx.emit(STREAM, RoleRevoked(subject=subject, role=request.role, at=request.at))
    return Binding(
        subject=subject,
        role=request.role,
        at=request.at,
        granted_by=ctx.actor,
        granted_at_ms=ctx.now_ms,
    )


@action(
    access=Signed("roles:define"),
    effect=WRITE,
    limit=PerActor(calls=10, window_ms=1_000),
    raises=(GrantExceedsOwnError, RoleExistsError),
)
async def define_role(ctx: Context, request: DefineRole) -> RoleView:
    """Make a role out of permissions that you hold yourself.

    Raises:
        GrantExceedsOwnError: permission_denied. You lack one of the permissions.
        RoleExistsError: already_exists. The name is taken.

    Emits:
        RoleDefined: once.
    """
    bindings = ctx.use(StoredBindings)
    check_permissions(request.permissions, ctx.known_permissions())
    check_grantable(ctx.may, request.permissions, ROOT)
    is_new = bindings.permissions_of(request.name) is None and await store.insert_role(
        ctx.tx, request.name, request.permissions, request.summary, ctx.now_ms
    )
    if not is_new:
        raise RoleExistsError(role=request.name, remedy="choose another name")
    ctx.tx.on_commit(lambda: bindings.define(request.name, request.permissions))
    ctx.emit(STREAM, RoleDefined(name=request.name, permissions=request.permissions))
    return RoleView(
        name=request.name,
        permissions=request.permissions,
        summary=request.summary,
        is_built_in=False,
    )


@action(
    access=Signed("roles:list"),
    effect=READ,
    limit=PerActor(calls=50, window_ms=1_000),
    raises=(),
)
async def list_roles(ctx: Context, request: ListRoles) -> RoleList:  # noqa: ARG001 - asks for nothing
    """List all roles, built in and defined, by name."""
    bindings = ctx.use(StoredBindings)
    roles = [
        RoleView(
            name=name, permissions=held, summary=bindings.summaries.get(name, ""), is_built_in=True
        )
        for name, held in bindings.built_in.items()
    ]
    roles += [
        RoleView(name=name, permissions=held, summary=summary, is_built_in=False)
        for name, held, summary in await store.list_roles(ctx.tx)
    ]
    return RoleList(roles=sorted(roles, key=lambda role: role.name))


@action(
    access=Signed("roles:list"),
    effect=READ,
    limit=PerActor(calls=50, window_ms=1_000),
    raises=(MemberNotFoundError,),
)
async def list_bindings(ctx: Context, request: ListBindings) -> BindingPage:
    """List who holds which role, where, by pages.

    Raises:
        MemberNotFoundError: not_found. There is no such member.
    """
    subject = None if request.member is None else await _subject_of(ctx, request.member)
    bindings = await store.list_bindings(ctx.tx, subject, request.after, request.limit)
    is_last = len(bindings) < request.limit
    last = None if is_last else (bindings[-1].subject, bindings[-1].at, bindings[-1].role)
    return BindingPage(bindings=bindings, next=last)


@action(
    access=Signed("permissions:check_own"),
    effect=READ,
    limit=PerActor(calls=100, window_ms=1_000),
    raises=(),
)
async def check(ctx: Context, request: Check) -> Answer:
    """Tell whether you hold a permission at a resource."""
    return Answer(is_allowed=ctx.may(request.permission, request.at))


def digest_secret(secret: str) -> str:
    """Return the digest under which the one-time secret is kept; it has 128 random bits."""
    return sha256(secret.strip().encode()).hexdigest()


async def _subject_of(ctx: Context, member: Id) -> str:
    """Return the subject that a member's name or id stands for."""
    if member == EVERYONE:
        return EVERYONE
    return (await ctx.call(find_member, FindMember(member=member))).member_id


async def _bind(ctx: Context, subject: str, role: str, at: str) -> Binding:
    """Write a binding and make it act with the commit; nothing if the house has it built in."""
    bindings = ctx.use(StoredBindings)
    binding = Binding(
        subject=subject, role=role, at=at, granted_by=ctx.actor, granted_at_ms=ctx.now_ms
    )
    if not bindings.is_built_in(subject, role, at) and await store.insert_binding(ctx.tx, binding):
        ctx.tx.on_commit(lambda: bindings.bind(subject, role, at))
        ctx.emit(STREAM, RoleGranted(subject=subject, role=role, at=at))
    return binding
