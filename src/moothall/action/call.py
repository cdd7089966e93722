"""Call and Reply: what every door turns its bytes into, and back.

A door knows how bytes look; the pipeline knows what a call means. These two
structs are all they share, so a new door is a folder under ``transports/``.
"""

from typing import TYPE_CHECKING

import msgspec

from moothall.core.errors import Problem

if TYPE_CHECKING:
    from moothall.action.connections import Connection


KEY_LENGTH_MAX = 255
"""Characters of an idempotency key."""


def is_idempotency_key(text: str) -> bool:
    """Tell whether every door can carry this key: visible ASCII characters, not too many."""
    is_visible = text.isascii() and text.isprintable() and " " not in text
    return is_visible and 1 <= len(text) <= KEY_LENGTH_MAX


class Call(msgspec.Struct, frozen=True, gc=False):
    """One request, as a door hands it to the pipeline."""

    action: str
    """Wire name, ``<room>.<action>``."""
    body: bytes | bytearray | memoryview
    """The request as JSON text; empty means an empty object."""
    source: str
    """Address of the client, without port. Limits and the audit trail use it."""
    token: str | None = None
    """Access token as it came (RFC 6750), or None."""
    idempotency_key: str | None = None
    """See :func:`is_idempotency_key`; only WRITE actions of signed-in members take one."""
    deadline_ms: int | None = None
    """Time left for this call when it arrived, or None for the action's own bound."""
    connection: "Connection | None" = None
    """The connection it came by, if that stays; None for a request of its own."""
    is_charged: bool = False
    """Whether its source was charged already, by :meth:`Pipeline.charge_source`."""

    def __repr__(self) -> str:
        """Tell nothing secret: a call may stand in a traceback."""
        return f"Call({self.action!r}, {len(self.body)} bytes, from {self.source})"


class Reply(msgspec.Struct, frozen=True, gc=False):
    """The answer. Exactly one of ``body`` and ``problem`` is set."""

    request_id: str
    body: bytes | None = None
    """The result as JSON text."""
    problem: Problem | None = None
