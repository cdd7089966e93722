"""A request as a client sends it, and what comes back, whichever door it goes by. Pure."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

HTTP_OK = 200
HTTP_NOT_MODIFIED = 304

FindToken = Callable[[str | None], Awaitable[str | None]]
"""From a token that was refused, or None, to one that should be valid."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; the names of headers are in lower case.

    Attributes:
        status: As at the HTTPS door: 200 with the result as body, else a problem.
        headers: Those of HTTP; none where the door has none.
        body: JSON text.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A request as it is sent, each time the same.

    Attributes:
        action: Wire name of the action; empty for a document.
        path: Of a document; only HTTPS has documents.
        headers: For a document.
        body: The request of an action, as JSON text.
        idempotency_key: Of a write.
        is_signed: It carries the access token.
        is_safe: It does no harm if it arrives twice.
        attempt_timeout_ms: Time for one attempt, where it is not the usual one.
    """

    action: str = ""
    path: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    idempotency_key: str | None = None
    is_signed: bool
    is_safe: bool
    attempt_timeout_ms: int | None = None


class Carrier(Protocol):
    """Takes a request to the hall once, by one of its doors."""

    async def carry(self, exchange: Exchange, token: str | None, timeout_s: float) -> Answer:
        """Send one request and read the answer.

        Raises:
            CallError: The door itself refused.
            CallTimeoutError: No answer within ``timeout_s``.
            HallUnreachableError: No answer; ``outcome_unknown`` unless nothing was sent.
            CertificateUntrustedError: The hall is not the one trusted; nothing was sent.
        """
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...
