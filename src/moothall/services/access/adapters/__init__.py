"""What the access room gives the framework: the Authority and the AuditLog."""

from collections.abc import Mapping

from moothall.action import Resources
from moothall.ports.audit import AuditLog
from moothall.ports.authority import Authority
from moothall.services.access.adapters.audit import AuditTrail, TableAuditLog
from moothall.services.access.adapters.bindings import StoredBindings
from moothall.services.access.adapters.claim import ClaimSecrets
from moothall.services.access.adapters.learning import BindingLearner


def provide(resources: Resources) -> Mapping[type, object]:
    """Return the adapters by port."""
    bindings = StoredBindings(resources)
    return {
        Authority: bindings,
        StoredBindings: bindings,
        BindingLearner: BindingLearner(bindings),
        ClaimSecrets: ClaimSecrets(resources),
        AuditLog: TableAuditLog(),
        AuditTrail: AuditTrail(resources),
    }
