"""Deeds: what a member wants done once, however often the call must be made for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from moothall.action.call import Reply

UNSURE = frozenset({"deadline_exceeded", "storage_unavailable", "overloaded"})
"""Problems after which a caller does not know what became of a call, or shall try again."""


@dataclass(eq=False)
class Deed:
    """One deed and its attempts.

    Each attempt comes from an address of its own, by which the audit trail tells them apart.

    Attributes:
        number: In the order in which deeds were thought of.
        actor: Id of the member who calls; empty where nobody is signed in.
        action: Wire name.
        request: Its fields.
        key: Idempotency key, if the action takes one.
        token: Access token.
        session_id: The session it belongs to.
        deadline_ms: For how long the caller waits.
        sources: Addresses of the attempts.
        replies: What the caller heard.
        audit: Number of the audit row that says it was done.
        done_at_ms: When its outcome was settled.
    """

    number: int
    actor: str
    action: str
    request: Mapping[str, Any]
    key: str | None = None
    token: str | None = field(default=None, repr=False)
    session_id: str = ""
    deadline_ms: int | None = None
    sources: list[str] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    audit: int | None = None
    done_at_ms: int = 0

    @property
    def body(self) -> bytes:
        """The request as a client sends it."""
        return msgspec.json.encode(self.request)

    @property
    def done(self) -> bytes | None:
        """The result, if the caller heard one."""
        return next((reply.body for reply in self.replies if reply.body is not None), None)

    @property
    def refusal(self) -> str | None:
        """Name of the problem, if the caller was refused for good."""
        if self.done is not None:
            return None
        for reply in self.replies:
            if reply.problem is not None and reply.problem.name not in UNSURE:
                return reply.problem.name
        return None

    def settle(self, body: bytes) -> None:
        """Take note of a result that the caller did not hear, but that there is."""
        self.replies.append(Reply("", body=body))

    @property
    def is_open(self) -> bool:
        """Whether the caller does not know what became of it."""
        return self.done is None and self.refusal is None

    def __str__(self) -> str:
        """Tell what was wanted, without secrets."""
        shown = {
            name: "..." if "password" in name or "token" in name or name == "data" else value
            for name, value in self.request.items()
        }
        return f"#{self.number} {self.actor[-4:] or 'nobody'} {self.action} {shown}"
