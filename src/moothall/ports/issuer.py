"""Issuer: the hall that signs people in, as a resource server sees it (decision 0010)."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from moothall.core.errors import MoothallError


class IssuerUnavailableError(MoothallError):
    """The issuer did not answer, or its answer is not understood; later it may."""


class IssuerUntrustedError(MoothallError):
    """Who answers at the issuer's address is not the issuer; nothing was sent."""


class IssuerRefusedError(MoothallError):
    """The issuer does not know this resource server: no administrator has registered its key."""


class CursorLostError(MoothallError):
    """What happened after the cursor is not kept any more."""


@dataclass(frozen=True, slots=True)
class IssuerKeys:
    """What the issuer publishes: its name (``iss`` of its tokens) and its keys (RFC 7517)."""

    issuer: str
    jwks: bytes


@dataclass(frozen=True, slots=True)
class IssuerEvent:
    """Something that resource servers must know; see the events of the identity room.

    ``at_ms`` is by the issuer's clock, UTC epoch milliseconds.
    """

    cursor: str
    kind: str
    at_ms: int
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class IssuerNames:
    """Names of members by id, and the ids of those who were removed; others do not exist."""

    names: Mapping[str, str]
    removed: Sequence[str]


class IssuerFeed(Protocol):
    """The issuer's feed of revocations, in order, without gap, over broken connections too."""

    @property
    def cursor(self) -> str:
        """Where it began; once an event came, after that one."""
        ...

    def __aiter__(self) -> AsyncIterator[IssuerEvent]:
        """Return what happens, without end.

        Raises:
            IssuerUnavailableError: The connection broke and cannot be had again.
            IssuerUntrustedError: Somebody else answers at the address.
            IssuerRefusedError: The key of this resource server is not registered any more.
            CursorLostError: What happened meanwhile is not kept.
        """
        ...


class Issuer(Protocol):
    """Asked over TLS, and only while it shows the certificate that is pinned or vouched for."""

    @property
    def url(self) -> str:
        """Its address."""
        ...

    async def fetch_keys(self) -> IssuerKeys:
        """Return its name and its keys; whoever asks needs no leave for it.

        Raises:
            IssuerUnavailableError: It did not answer, or is no issuer.
            IssuerUntrustedError: Somebody else answers at the address.
        """
        ...

    def follow(self, after: str | None) -> AbstractAsyncContextManager[IssuerFeed]:
        """Follow the feed ``identity/revocations`` after a cursor, or from now on.

        Raises:
            IssuerUnavailableError: It did not answer.
            IssuerUntrustedError: Somebody else answers at the address.
            IssuerRefusedError: The key of this resource server is not registered there.
            CursorLostError: What happened after the cursor is not kept.
        """
        ...

    async def name_members(self, member_ids: Sequence[str]) -> IssuerNames:
        """Return the names of at most 500 members.

        Raises:
            IssuerUnavailableError: It did not answer.
            IssuerUntrustedError: Somebody else answers at the address.
            IssuerRefusedError: The key of this resource server is not registered there.
        """
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...
