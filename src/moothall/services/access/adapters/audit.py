"""The audit trail, as the framework writes it, and what seals and signs it."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from moothall.action import Resources
from moothall.core.errors import ConfigurationError
from moothall.ports.audit import AuditRow
from moothall.ports.database import Transaction
from moothall.services.access.rules.chain import TrailKeys
from moothall.services.access.store import audit


class TableAuditLog:
    """Rows of ``access_audit``. Implements the AuditLog port."""

    async def append(self, tx: Transaction, row: AuditRow) -> None:
        """Add one row."""
        await audit.insert_audit(tx, row)


class AuditTrail:
    """What the trail is sealed with, and where its heads are kept.

    Attributes:
        keys: Of the chain and the seals.
        signing_key: Signs heads; derived too, so that it rests in no further place.
        hall: Name of the hall, for whoever keeps heads of several.
        heads: Where they are kept.
        node: Whose heads these are; empty where the hall is one process.
    """

    def __init__(self, resources: Resources) -> None:
        """Derive the keys.

        Raises:
            ConfigurationError: The app says not where heads are kept.
        """
        if resources.heads is None:
            raise ConfigurationError("the audit trail needs a HeadLog for its heads")
        self.keys = TrailKeys(
            resources.derive_key("audit chain"), resources.derive_key("audit seals")
        )
        self.signing_key = Ed25519PrivateKey.from_private_bytes(resources.derive_key("audit heads"))
        self.hall = resources.audience  # has a name on a resource server too
        self.heads = resources.heads
        self.node = resources.node
