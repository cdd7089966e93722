"""What the access room gives the framework: the Authority and the AuditLog."""

from collections.abc import Callable, Mapping

from moothall.action import EVERYONE, Resources
from moothall.core.paths import ROOT
from moothall.ports.audit import AuditLog, AuditRow
from moothall.ports.authority import Authority
from moothall.ports.database import Transaction
from moothall.services.access import store
from moothall.services.access.rules import BindingIndex, merge_roles

_ROOM = "room:"
"""How the principals of rooms begin, and the roles that hold what each room needs."""

MEMBER_ROLE = "member"
"""What every signed-in member holds in the whole hall; rooms add to it by their name plates."""


class TableAuditLog:
    """Rows of ``access_audit``. Implements the AuditLog port."""

    async def append(self, tx: Transaction, row: AuditRow) -> None:
        """Add one row."""
        await store.insert_audit(tx, row)


class StoredBindings(BindingIndex):
    """The index, filled from the name plates and, at start, from the rows."""

    def __init__(self, resources: Resources) -> None:
        """Take built-in roles and what rooms need from the name plates."""
        super().__init__()
        services = resources.services
        member = [p for service in services.values() for p in service.member_permissions]
        self.built_in = {MEMBER_ROLE: tuple(sorted(set(member)))}
        self.summaries = {MEMBER_ROLE: "What every signed-in member may do."}
        for service in services.values():
            for role in service.roles:
                self.built_in[role.name] = role.permissions
                self.summaries[role.name] = role.summary
        for name, service in services.items():
            self.define(f"{_ROOM}{name}", service.needs)

    def grantable(self, role: str) -> frozenset[str] | None:
        """Return what ``role`` holds, or None if there is none that people could be given."""
        return None if role.startswith(_ROOM) else self.permissions_of(role)

    @staticmethod
    def is_built_in(subject: str, role: str, path: str) -> bool:
        """Tell whether the name plates make this binding, which nobody can change."""
        return (subject, role, path) == (EVERYONE, MEMBER_ROLE, ROOT)

    async def load(self, tx: Transaction) -> None:
        """Read roles and bindings."""
        defined = [(name, permissions) for name, permissions, _ in await store.list_roles(tx)]
        for role, permissions in merge_roles(self.built_in, defined).items():
            self.define(role, permissions)
        self.bind(EVERYONE, MEMBER_ROLE, ROOT)
        for role in [name for name in self._roles if name.startswith(_ROOM)]:
            self.bind(role, role, ROOT)
        for subject, role, path in await store.list_all_bindings(tx):
            if self.grantable(role) is not None:
                self.bind(subject, role, path)


class Claim:
    """The one claim of a fresh hall, as the process knows it."""

    def __init__(self, on_claimed: Callable[[], None]) -> None:
        """Call ``on_claimed`` when it is made."""
        self.on_claimed = on_claimed


def provide(resources: Resources) -> Mapping[type, object]:
    """Return the adapters by port."""
    bindings = StoredBindings(resources)
    return {
        Authority: bindings,
        StoredBindings: bindings,
        AuditLog: TableAuditLog(),
        Claim: Claim(resources.on_claimed),
    }
