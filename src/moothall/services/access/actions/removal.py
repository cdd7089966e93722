"""Taking away all that was bound to a resource which is no more."""

from typing import Annotated

from msgspec import Meta

from moothall.action import WRITE, Context, PerActor, Request, ResourcePath, Result, Signed, action
from moothall.core.errors import InvalidArgumentError
from moothall.core.paths import ROOT
from moothall.services.access.adapters.bindings import StoredBindings
from moothall.services.access.events import STREAM, BanLifted, RoleRevoked
from moothall.services.access.rules.changed import Changed
from moothall.services.access.store import bans, bindings
from moothall.services.access.store.locks import lock_removal


class RevokeAll(Request):
    """The resource that is no more."""

    at: ResourcePath
    limit: Annotated[int, Meta(ge=1, le=500)] = 500
    """Bindings and bans that one call takes away."""


class Revoked(Result):
    """What one call took away; 0 when nothing is left."""

    count: int


@action(
    access=Signed("roles:revoke_all", at=bindings.find_path),
    effect=WRITE,
    limit=PerActor(calls=20, window_ms=1_000),
    raises=(),
    command="binding revoke",
)
async def revoke_all(ctx: Context, request: RevokeAll) -> Revoked:
    """Take away all roles and bans at a resource that is no more, and below it.

    Rooms call it when they remove what they own; call it until ``count`` is 0.

    Args:
        request.at: Such as ``board/7``; never the whole hall.
        request.limit: Bindings and bans that this call takes away, 1 to 500.

    Emits:
        RoleRevoked: once for each binding.
        BanLifted: once for each ban.
    """
    if request.at == ROOT:
        reason = "all roles of the whole hall cannot be taken away"
        raise InvalidArgumentError("at", reason, "name a resource, such as board/7")
    index = ctx.use(StoredBindings)
    await lock_removal(ctx.tx, request.at)
    unbound = await bindings.delete_bindings_at(ctx.tx, request.at, request.limit)
    for subject, role, path in unbound:
        ctx.emit(STREAM, RoleRevoked(subject=subject, role=role, at=path))
    lifted = await bans.delete_bans_at(ctx.tx, request.at, request.limit - len(unbound))
    for member_id, path in lifted:
        ctx.emit(STREAM, BanLifted(member_id=member_id, at=path))

    def forget() -> None:
        for subject, role, path in unbound:
            index.unbind(subject, role, path)
        for member_id, path in lifted:
            index.lift(member_id, path)

    if unbound or lifted:
        await index.change(ctx.tx, forget, Changed.BELOW.key(request.at))
    return Revoked(count=len(unbound) + len(lifted))
