"""Context: what a handler sees of the house while it carries out one call."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import msgspec

from moothall.action.service import ROOM_PREFIX
from moothall.core.errors import (
    ConnectionNeededError,
    PermissionDeniedError,
)
from moothall.core.paths import ROOT
from moothall.ports.audit import AuditRow
from moothall.ports.database import Transaction

if TYPE_CHECKING:
    from moothall.action.connections import Connection
    from moothall.action.declare import Action
    from moothall.action.event import Event
    from moothall.action.house import House
    from moothall.action.jobs import Job
    from moothall.action.model import Request
    from moothall.action.service import Personal

P = TypeVar("P")
Q = TypeVar("Q", bound="Request")
R = TypeVar("R")

_encode = msgspec.json.encode


class Context:
    """One call, seen from inside.

    Attributes:
        actor: Id of the member who calls; empty for PUBLIC actions.
        session_id: The member's session; empty for PUBLIC actions.
        device: Where the session was opened, as an id; empty for PUBLIC actions.
        source: Address of the client.
        now_ms: When the deed began, UTC epoch milliseconds; one value for the whole call.
        path: The resource at which the call was permitted, or which it turned out to concern.
        events: What was emitted so far, as (stream, event).
    """

    __slots__ = (
        "_connection",
        "_house",
        "_principal",
        "_tx",
        "action",
        "actor",
        "device",
        "events",
        "is_audited",
        "now_ms",
        "path",
        "request_id",
        "resource_is_missing",
        "session_id",
        "source",
    )

    def __init__(  # noqa: PLR0913 - made on this floor only
        self,
        house: "House",
        action: "Action[Any, Any] | Job",
        tx: Transaction | None,
        *,
        actor: str,
        session_id: str,
        source: str,
        request_id: str,
        now_ms: int,
        principal: str | None = None,
        events: "list[tuple[str, Event]] | None" = None,
        connection: "Connection | None" = None,
        device: str = "",
    ) -> None:
        """Made by the pipeline; handlers receive it."""
        self._house = house
        self._tx = tx
        self._principal = actor if principal is None else principal
        self._connection = connection
        self.device = device
        # A Job has name, room and effect only; nothing else of it is ever asked.
        self.action: Any = action
        self.actor = actor
        self.session_id = session_id
        self.source = source
        self.request_id = request_id
        self.now_ms = now_ms
        self.path = ROOT
        self.resource_is_missing = False
        """Whether no row tells where the resource of this call is."""
        self.events: list[tuple[str, Event]] = [] if events is None else events
        self.is_audited = False
        """Whether a step of this FLOW has left its audit row already."""

    @property
    def tx(self) -> Transaction:
        """The call's transaction; a FLOW has none and opens its own by ``read`` or ``write``."""
        if self._tx is None:
            self._misuse("a FLOW has no transaction; use ctx.read(work) or ctx.write(work)")
        return self._tx

    @property
    def connection(self) -> "Connection":
        """The connection that the call came by.

        Raises:
            ConnectionNeededError: It came as a request of its own.
        """
        if self._connection is None:
            raise ConnectionNeededError(
                f"{self.action.name} belongs to a connection that stays",
                remedy="call it by WebSocket or NDJSON",
            )
        return self._connection

    @property
    def principal(self) -> str:
        """Whose permissions count: the member's id, or ``room:<name>`` of a room that calls."""
        return self._principal

    def new_id(self) -> str:
        """Return a fresh id for a row, greater than every id made before it."""
        return self._house.ids.make(self.now_ms, self._house.entropy.random_bytes)

    def use(self, port: type[P]) -> P:
        """Return the implementation of ``port`` that the app or a room provides."""
        return self._house.use(port)

    def may(self, permission: str, path: str) -> bool:
        """Tell whether the caller holds ``permission`` at ``path``."""
        return self._house.authority.allows(self._principal, permission, path)

    def known_permissions(self) -> frozenset[str]:
        """Return every permission that some action of this hall demands."""
        return self._house.catalog.permissions

    def personal_rooms(self) -> "Mapping[str, Personal]":
        """Return what exports and erases a member's data, by room; ``action`` is the framework."""
        return self._house.catalog.personal

    def demand(self, permission: str, path: str) -> None:
        """Refuse the call unless the caller holds ``permission`` at ``path``.

        Raises:
            PermissionDeniedError: With the permission and the path that are missing.
        """
        if not self.may(permission, path):
            raise missing_permission(permission, path)

    def emit(self, stream: str, event: "Event") -> None:
        """Write ``event`` to ``stream`` with this transaction; it is pushed after the commit."""
        if self.action.effect == "read" or self._tx is None:
            self._misuse("events are written by a WRITE, or by a step of a FLOW (ctx.write)")
        self.events.append((stream, event))

    async def read(self, work: "Callable[[Context], Awaitable[R]]") -> R:
        """Run ``work`` on a snapshot of its own; for FLOWs."""
        self._demand_flow()

        async def step(tx: Transaction) -> R:
            context = self._step(tx)
            try:
                return await work(context)
            finally:  # the audit trail names the resource of a refusal too
                self.concern(actor=context.actor, path=context.path)

        return await self._house.database.read(step)

    async def write(
        self, work: "Callable[[Context], Awaitable[R]]", *, outcome: str | None = "done"
    ) -> R:
        """Run ``work`` in a transaction of its own, durable when this returns; for FLOWs.

        Args:
            work: May be run again if the commit it was part of fails.
            outcome: Of the audit row that commits with the step, so that no change is
                without one; None for bookkeeping of which a later row will tell.
        """
        self._demand_flow()

        async def step(tx: Transaction) -> "tuple[Context, R]":
            context = self._step(tx)
            result = await work(context)
            if outcome is not None:
                await self._house.audit.append(tx, context.audit_row(outcome))
            await self._house.outbox.write(tx, context.events, context.now_ms)
            return context, result

        context, result = await self._house.database.write(step)
        self.concern(actor=context.actor, path=context.path)
        self.is_audited = self.is_audited or outcome is not None
        return result

    def concern(self, *, actor: str | None = None, path: str | None = None) -> None:
        """Say whom or what a PUBLIC FLOW turned out to concern, for the audit trail.

        It grants nothing: what the caller may do was decided before. Whoever is signed in
        stays the actor.
        """
        if actor not in {None, self.actor} and self._principal:
            self._misuse("only a PUBLIC FLOW learns on its way who acts")
        self.actor = self.actor if actor is None else actor
        self.path = self.path if path is None else path

    async def call(self, action: "Action[Q, R]", request: Q) -> R:
        """Call an action of another room in this transaction, in a savepoint of its own.

        The room that calls must name the other one in ``depends_on`` and hold the
        permission itself (``needs``). Input and permission are checked, limits are not.

        Raises:
            ActionError: What the action raises; this action's ``raises`` must name it too.
        """
        tx = self._check_call(action)
        principal = f"{ROOM_PREFIX}{self.action.room}"
        child = Context(
            self._house,
            action,
            tx,
            actor=self.actor,
            session_id=self.session_id,
            source=self.source,
            request_id=self.request_id,
            now_ms=self.now_ms,
            principal=principal,
            events=self.events,
            connection=self._connection,
            device=self.device,
        )
        checked = action.decode(_encode(request))
        before = len(self.events)
        try:
            return await tx.nested(lambda: self._run_child(child, checked))
        except BaseException:
            del self.events[before:]
            raise

    async def _run_child(self, child: "Context", request: Q) -> Any:
        """Authorize and run an action called by a room; audit it if it writes."""
        action = child.action
        await self._house.authorize(child, request)
        result = await action.run(child, request)
        if action.effect == "write":
            await self._house.audit.append(child.tx, child.audit_row("done"))
        return result

    def audit_row(self, outcome: str) -> AuditRow:
        """Return the row that tells of this call."""
        return AuditRow(
            at_ms=self.now_ms,
            actor=self.actor
            if self._principal in {"", self.actor}
            else f"{self._principal} for {self.actor}",
            action=self.action.name,
            path=self.path,
            outcome=outcome,
            source=self.source,
            request_id=self.request_id,
        )

    def _step(self, tx: Transaction) -> "Context":
        """Return the context of one step of a FLOW."""
        step = Context(
            self._house,
            self.action,
            tx,
            actor=self.actor,
            session_id=self.session_id,
            source=self.source,
            request_id=self.request_id,
            now_ms=self._house.clock.now_ms(),
            principal=self._principal,
            connection=self._connection,
            device=self.device,
        )
        step.path = self.path
        return step

    def _check_call(self, action: "Action[Any, Any]") -> Transaction:
        """Refuse a call between rooms that the name plates do not announce."""
        own, other = self.action, action
        if other.room not in self._house.catalog.rooms[own.room].service.depends_on:
            self._misuse(f"room {own.room} calls {other.name} but does not depend on {other.room}")
        if other.effect == "flow" or (other.effect == "write" and own.effect == "read"):
            self._misuse(f"{own.name} ({own.effect}) cannot call {other.name} ({other.effect})")
        return self.tx

    def _demand_flow(self) -> None:
        """Refuse a second transaction inside of one."""
        if self._tx is not None:
            self._misuse("only a FLOW opens transactions; this call has one: ctx.tx")

    def _misuse(self, what: str) -> NoReturn:
        """Stop a call whose author used the framework wrongly."""
        msg = f"{self.action.name}: {what}"
        raise RuntimeError(msg)


def missing_permission(permission: str, path: str | None) -> PermissionDeniedError:
    """Return the refusal for want of ``permission``.

    It names the path only where the caller named it, so that a hidden resource and an
    absent one are refused alike.
    """
    if path is None:
        return PermissionDeniedError(f"{permission} is missing there", permission=permission)
    where = f"at {path}" if path else "in the hall"
    return PermissionDeniedError(
        f"{permission} {where} is missing", permission=permission, path=path
    )
