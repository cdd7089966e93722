"""AuditLog: who did what, when, from where, and what came of it (R24)."""

from typing import NamedTuple, Protocol

from moothall.ports.database import Transaction


class AuditRow(NamedTuple):
    """One change or refusal, in the order of its columns.

    ``outcome`` is ``done`` or the name of the error; ``path`` the resource, if it was
    reached; ``source`` the client's address. ``actor`` is empty for a call without a
    valid token.
    """

    at_ms: int
    actor: str
    action: str
    path: str
    outcome: str
    source: str
    request_id: str


class AuditLog(Protocol):
    """Rows that commit with the deed they tell of."""

    async def append(self, tx: Transaction, row: AuditRow) -> None:
        """Add ``row`` in the transaction of the deed."""
        ...
