"""Making, changing and listing roles."""

from typing import Annotated

from msgspec import Meta

from moothall.action import (
    READ,
    WRITE,
    Context,
    PerActor,
    Request,
    Result,
    Signed,
    Text,
    action,
)
from moothall.core.paths import ROOT
from moothall.services.access.actions.checks import Permission
from moothall.services.access.actions.subjects import check_caller_holds
from moothall.services.access.adapters.bindings import StoredBindings
from moothall.services.access.errors import (
    GrantExceedsOwnError,
    LimitReachedError,
    RoleBuiltInError,
    RoleExistsError,
    RoleInUseError,
    RoleNotFoundError,
)
from moothall.services.access.events import STREAM, RoleDefined, RoleDeleted, RoleUpdated
from moothall.services.access.model import AccessSettings, RoleView
from moothall.services.access.rules.changed import Changed
from moothall.services.access.rules.granting import check_permissions
from moothall.services.access.store import bindings, roles
from moothall.services.access.store.locks import lock_roles

BINDINGS_FORCED_MAX = 5_000
"""Bindings that go with a role at once; more would keep other calls waiting."""

RoleName = Annotated[
    str,
    Meta(
        pattern=r"^[a-z][a-z0-9_]{0,63}(?!\n)$",
        description="Lower-case letters, digits and '_', 1 to 64 characters; a letter first.",
    ),
]
Permissions = Annotated[tuple[Permission, ...], Meta(min_length=1, max_length=100)]


class DefineRole(Request):
    """A new role."""

    name: RoleName
    permissions: Permissions
    summary: Text = ""


class UpdateRole(Request):
    """What a role shall hold from now on; ``summary`` stays if it is left out."""

    name: RoleName
    permissions: Permissions
    summary: Text | None = None


class DeleteRole(Request):
    """A role that is no longer wanted."""

    name: RoleName
    force: bool = False
    """Whether to take it from everybody who has it."""


class RoleDeletion(Result):
    """What went."""

    name: str
    bindings: int
    """How many bindings went with it."""


class ListRoles(Request):
    """Asks for nothing."""


class RoleList(Result):
    """All roles."""

    roles: list[RoleView]


@action(
    access=Signed("roles:define"),
    effect=WRITE,
    limit=PerActor(calls=10, window_ms=1_000),
    raises=(GrantExceedsOwnError, RoleExistsError, LimitReachedError),
)
async def define_role(ctx: Context, request: DefineRole) -> RoleView:
    """Make a role out of permissions that you hold yourself, in the whole hall.

    Raises:
        GrantExceedsOwnError: permission_denied. You lack one of the permissions.
        RoleExistsError: already_exists. The name is taken.
        LimitReachedError: failed_precondition. There are too many roles.

    Emits:
        RoleDefined: once.
    """
    index = ctx.use(StoredBindings)
    check_permissions(request.permissions, ctx.known_permissions())
    await check_caller_holds(ctx, request.permissions, ROOT)
    await lock_roles(ctx.tx)
    is_new = request.name not in index.built_in and await roles.insert_role(
        ctx.tx, request.name, request.permissions, request.summary, ctx.now_ms
    )
    if not is_new:
        raise RoleExistsError(role=request.name, remedy="choose another name")
    limit = ctx.use(AccessSettings).roles_max
    if await roles.count_roles(ctx.tx) > limit:
        raise LimitReachedError(limit=limit, remedy="delete a role that is not needed")

    def define() -> None:
        index.forget(request.name)  # what another node took away, and this one has yet to learn
        index.define(request.name, request.permissions)

    await index.change(ctx.tx, define, Changed.ROLE_GONE.key(request.name))
    ctx.emit(STREAM, RoleDefined(name=request.name, permissions=request.permissions))
    return RoleView(
        name=request.name,
        permissions=request.permissions,
        summary=request.summary,
        is_built_in=False,
    )


@action(
    access=Signed("roles:define"),
    effect=WRITE,
    limit=PerActor(calls=10, window_ms=1_000),
    raises=(RoleBuiltInError, RoleNotFoundError, GrantExceedsOwnError),
)
async def update_role(ctx: Context, request: UpdateRole) -> RoleView:
    """Change what a role holds; it acts on the next call of everybody who has it.

    What is put in or taken out you must hold yourself, in the whole hall; what stays may
    be more than you hold.

    Raises:
        RoleBuiltInError: failed_precondition. It came with a room.
        RoleNotFoundError: not_found. There is no such role.
        GrantExceedsOwnError: permission_denied. You lack one of the permissions.

    Emits:
        RoleUpdated: once.
    """
    index = ctx.use(StoredBindings)
    check_permissions(request.permissions, ctx.known_permissions())
    held, summary = await _get_defined(ctx, request.name)
    await check_caller_holds(ctx, set(held) ^ set(request.permissions), ROOT)
    if request.summary is not None:
        summary = request.summary
    await roles.update_role(ctx.tx, request.name, request.permissions, summary)
    await index.change(
        ctx.tx,
        lambda: index.define(request.name, request.permissions),
        Changed.ROLE.key(request.name),
    )
    ctx.emit(STREAM, RoleUpdated(name=request.name, permissions=request.permissions))
    return RoleView(
        name=request.name, permissions=request.permissions, summary=summary, is_built_in=False
    )


@action(
    access=Signed("roles:define"),
    effect=WRITE,
    limit=PerActor(calls=10, window_ms=1_000),
    raises=(RoleBuiltInError, RoleNotFoundError, GrantExceedsOwnError, RoleInUseError),
)
async def delete_role(ctx: Context, request: DeleteRole) -> RoleDeletion:
    """Take a role away for good; with ``force`` from everybody who has it.

    Raises:
        RoleBuiltInError: failed_precondition. It came with a room.
        RoleNotFoundError: not_found. There is no such role.
        GrantExceedsOwnError: permission_denied. It holds more than you do.
        RoleInUseError: failed_precondition. It is bound, ``details.bindings`` times.

    Emits:
        RoleDeleted: once.
    """
    index, name = ctx.use(StoredBindings), request.name
    held, _ = await _get_defined(ctx, name)
    await check_caller_holds(ctx, held, ROOT)
    count = await bindings.count_bindings_of_role(ctx.tx, name)
    if count > (BINDINGS_FORCED_MAX if request.force else 0):
        remedy = "revoke some of them first" if request.force else "revoke them, or use force"
        raise RoleInUseError(role=name, bindings=count, remedy=remedy)
    gone = await bindings.delete_bindings_of_role(ctx.tx, name)
    await roles.delete_role(ctx.tx, name)

    def forget() -> None:
        for subject, path in gone:
            index.unbind(subject, name, path)
        index.forget(name)

    await index.change(ctx.tx, forget, Changed.ROLE_GONE.key(name))
    ctx.emit(STREAM, RoleDeleted(name=name, bindings=len(gone)))
    return RoleDeletion(name=name, bindings=len(gone))


@action(
    access=Signed("roles:list"),
    effect=READ,
    limit=PerActor(calls=50, window_ms=1_000),
    raises=(),
)
async def list_roles(ctx: Context, request: ListRoles) -> RoleList:  # noqa: ARG001 - asks for nothing
    """List all roles, built in and defined, by name."""
    index = ctx.use(StoredBindings)
    found = [
        RoleView(
            name=name, permissions=held, summary=index.summaries.get(name, ""), is_built_in=True
        )
        for name, held in index.built_in.items()
    ]
    found += [
        RoleView(name=name, permissions=held, summary=summary, is_built_in=False)
        for name, held, summary in await roles.list_roles(ctx.tx)
        if name not in index.built_in
    ]
    return RoleList(roles=sorted(found, key=lambda role: role.name))


async def _get_defined(ctx: Context, name: str) -> tuple[tuple[str, ...], str]:
    """Return permissions and summary of a role that can be changed.

    Raises:
        RoleBuiltInError: It came with a room.
        RoleNotFoundError: There is none.
    """
    if name in ctx.use(StoredBindings).built_in:
        raise RoleBuiltInError(role=name, remedy="define another role")
    found = await roles.find_role(ctx.tx, name)
    if found is None:
        raise RoleNotFoundError(role=name, remedy="see access.list_roles")
    return found
