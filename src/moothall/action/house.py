"""House: everything that one running hall shares between its calls."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar, cast

from moothall.action.access import Signed
from moothall.action.catalog import Catalog
from moothall.action.context import Context, missing_permission
from moothall.action.model import Request
from moothall.action.outbox import Outbox
from moothall.core.errors import ConfigurationError
from moothall.core.ids import RisingIds
from moothall.ports.audit import AuditLog
from moothall.ports.authority import Authority
from moothall.ports.clock import Clock
from moothall.ports.database import Database
from moothall.ports.entropy import Entropy

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class House:
    """The ports and the catalogue. Made once, at start-up."""

    catalog: Catalog
    database: Database
    clock: Clock
    entropy: Entropy
    authority: Authority
    audit: AuditLog
    ports: Mapping[type, object] = field(default_factory=dict)
    outbox: Outbox = field(default_factory=Outbox)
    ids: RisingIds = field(default_factory=RisingIds)

    def use(self, port: type[P]) -> P:
        """Return the implementation of ``port``.

        Raises:
            ConfigurationError: No room that is served provides it.
        """
        try:
            return cast("P", self.ports[port])
        except KeyError:
            msg = f"no room that is served provides {port.__name__}"
            raise ConfigurationError(msg) from None

    def find_port(self, port: type[P]) -> P | None:
        """Return the implementation of ``port``, or None where no room provides it."""
        return cast("P | None", self.ports.get(port))

    async def authorize(self, ctx: Context, request: Request) -> None:
        """Find the resource of the call and refuse it unless the caller may (R20).

        A resource that does not exist is refused like one that is hidden, except to those
        who hold the permission for the whole hall.

        Raises:
            PermissionDeniedError: With the permission and the path that are missing.
        """
        access = ctx.action.access
        if not isinstance(access, Signed):
            return
        at = access.at
        if isinstance(at, str):
            path = ctx.action.path_of(request)
        else:
            path = await at(ctx, request)
            ctx.resource_is_missing = path is None
        if path is not None:
            ctx.path = path
        if not ctx.may(access.permission, ctx.path):
            # The caller may know the path only if it stood in the request. What a store
            # function found is not told, only a whole path as the caller sent it.
            sent = path if isinstance(at, str) else getattr(request, "at", None)
            known = sent if isinstance(sent, str) else None
            raise missing_permission(access.permission, known)
