"""What the access room gives the framework: the Authority and the AuditLog."""

from collections.abc import Mapping

from moothall.action import EVERYONE, Resources
from moothall.core.paths import ROOT
from moothall.ports.audit import AuditLog, AuditRow
from moothall.ports.authority import Authority
from moothall.ports.database import Transaction
from moothall.services.access import store
from moothall.services.access.rules import BindingIndex, merge_roles

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
            self.define(f"room:{name}", service.needs)

    async def load(self, tx: Transaction) -> None:
        """Read roles and bindings."""
        defined = [(name, permissions) for name, permissions, _ in await store.list_roles(tx)]
        for role, permissions in merge_roles(self.built_in, defined).items():
            self.define(role, permissions)
        self.bind(EVERYONE, MEMBER_ROLE, ROOT)
        for role in [name for name in self._roles if name.startswith("room:")]:
            self.bind(role, role, ROOT)
        for subject, role, path in await store.list_all_bindings(tx):
            if self.permissions_of(role) is not None:
                self.bind(subject, role, path)


def provide(resources: Resources) -> Mapping[type, object]:
    """Return the adapters by port."""
    bindings = StoredBindings(resources)
    return {Authority: bindings, StoredBindings: bindings, AuditLog: TableAuditLog()}
