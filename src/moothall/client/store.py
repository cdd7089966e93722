"""What a client keeps about one hall between runs: the session, and what the hall offers."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from moothall.client.marks import override


class Session(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One open session.

    Attributes:
        refresh_token: Empty where it rests apart; see :meth:`Store.reveal`.
        access_lifetime_ms: Life of the access token, counted from ``received_at_ms``.
        received_at_ms: When the tokens came, by this machine's clock.
    """

    name: str
    member_id: str
    session_id: str
    refresh_token: str
    refresh_expires_at_ms: int
    access_token: str
    access_lifetime_ms: int
    received_at_ms: int

    @override
    def __repr__(self) -> str:
        """Show who and which, never a token."""
        return f"Session(name={self.name!r}, session_id={self.session_id!r})"


class IssuedToken(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token for one resource server.

    Attributes:
        audience: The server that takes it.
        session_id: The session at the identity server by which it was asked for.
        access_lifetime_ms: Its life, counted from ``received_at_ms``.
        received_at_ms: When it came, by this machine's clock.
    """

    audience: str
    session_id: str
    access_token: str
    access_lifetime_ms: int
    received_at_ms: int

    @override
    def __repr__(self) -> str:
        """Show for whom, never the token."""
        return f"IssuedToken(audience={self.audience!r}, session_id={self.session_id!r})"


class TokenShelf(Protocol):
    """Where the token for one resource server is kept between runs."""

    def load_token(self) -> IssuedToken | None:
        """Return the token, or None."""
        ...

    def save_token(self, token: IssuedToken) -> None:
        """Keep a token; a failure to do so is no error, because another can be asked for."""
        ...


class Store(Protocol):
    """Where things about one hall are kept."""

    def load_session(self) -> Session | None:
        """Return the session, or None; its refresh token may be left out."""
        ...

    def reveal(self, session: Session) -> Session:
        """Return a session that was loaded with its refresh token."""
        ...

    def save_session(self, session: Session | None) -> None:
        """Store the session durably, whole or not at all; None forgets it."""
        ...

    def lock_session(self) -> AbstractAsyncContextManager[None]:
        """Keep every other process from renewing this session meanwhile."""
        ...

    def load_catalog(self) -> tuple[str, bytes] | None:
        """Return the ETag and the description of the hall, or None."""
        ...

    def save_catalog(self, etag: str, document: bytes) -> None:
        """Keep a description; a failure to do so is no error."""
        ...


class MemoryStore:
    """Keeps things as long as the program runs."""

    def __init__(self, session: Session | None = None) -> None:
        self._session = session
        self._catalog: tuple[str, bytes] | None = None

    def load_session(self) -> Session | None:
        """Return the session, or None."""
        return self._session

    def reveal(self, session: Session) -> Session:
        """Return it as it is: nothing is left out here."""
        return session

    def save_session(self, session: Session | None) -> None:
        """Keep the session, or forget it."""
        self._session = session

    @contextlib.asynccontextmanager
    async def lock_session(self) -> AsyncIterator[None]:
        """Do nothing: no other process knows this session."""
        yield

    def load_catalog(self) -> tuple[str, bytes] | None:
        """Return the ETag and the description of the hall, or None."""
        return self._catalog

    def save_catalog(self, etag: str, document: bytes) -> None:
        """Keep a description."""
        self._catalog = etag, document
