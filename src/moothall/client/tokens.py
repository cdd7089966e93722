"""Access tokens for one server: where they come from, if not from a session there.

A hall that knows credentials gives tokens with its sessions (`sessions.py`). A resource server
has no sessions: `IssuedTokens` asks the identity server for a token for it, by one session for
any number of them. The audience is the address that the client itself speaks to, never a name
that a server tells: a false server could name another one's and use the token there.

A token is asked for before it ends. While the identity server is away, one that is still
valid is used on, and whoever waits in vain learns which server is away.
"""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from moothall.client.errors import CallError, HallUnreachableError
from moothall.client.lifetimes import Lifetime, lifetime_of
from moothall.client.retry import may_succeed_later
from moothall.client.store import IssuedToken, Session, TokenShelf
from moothall.client.world import World

if TYPE_CHECKING:
    from moothall.client.hall import Hall

_PAUSE_S = 5.0
"""After asking in vain, as long as the old token is valid: calls should not wait each time."""


class TokenSource(Protocol):
    """Gives the tokens that a :class:`~moothall.client.Hall` signs its calls with."""

    @property
    def session(self) -> Session | None:
        """The session behind the tokens; None where there is none, or it is no member's."""
        ...

    @property
    def fresh_s(self) -> float:
        """For how many seconds the token need not be renewed; 0 if it must be now."""
        ...

    async def access_token(self, rejected: str | None = None) -> str | None:
        """Return a token that should be valid now, or None to go unsigned.

        Args:
            rejected: A token that the server has just refused; another one is asked for once.

        Raises:
            CallError: Who gives tokens refused.
            HallUnreachableError: Who gives tokens did not answer.
        """
        ...

    async def close(self) -> None:
        """Let go of what belongs to it."""
        ...


class IssuedTokens:
    """Tokens for one resource server, from the identity server; a :class:`TokenSource`.

    Args:
        identity: The identity server, signed in or not yet.
        audience: Where the tokens are sent, such as ``https://boards.example:8443``.
        shelf: Where a token is kept between runs; nowhere by default.
        world: Time; tests bring their own.
        is_owner: Whether closing this closes ``identity`` too.
    """

    def __init__(
        self,
        identity: "Hall",
        audience: str,
        *,
        shelf: TokenShelf | None = None,
        world: World | None = None,
        is_owner: bool = False,
    ) -> None:
        self.audience = audience
        self._identity = identity
        self._shelf = shelf
        self._world = world or World()
        self._is_owner = is_owner
        self._token: IssuedToken | None = None
        self._life = Lifetime()
        self._paused_until_s = 0.0
        self._is_loaded = False
        self._fetch: asyncio.Task[None] | None = None

    @property
    def session(self) -> Session | None:
        """The session at the identity server."""
        return self._identity.session

    @property
    def fresh_s(self) -> float:
        """For how many seconds the token need not be renewed."""
        now_s = self._world.monotonic()
        return max(0.0, self._life.fresh_until_s - now_s, self._paused_until_s - now_s)

    async def access_token(self, rejected: str | None = None) -> str | None:
        """Return a token for the resource server, or None if nobody is signed in.

        Raises:
            CallError: The identity server refused; ``details.identity_server`` says which.
            HallUnreachableError: It did not answer, and no token is valid any more.
        """
        if (session := self.session) is None:
            self._take(None)
            return None
        token = self._kept(session, rejected)
        if token is not None and self.fresh_s > 0:
            return token
        if self._fetch is None:
            self._fetch = asyncio.create_task(self._fetch_once(session))
            self._fetch.add_done_callback(self._forget_fetch)
        fetch = self._fetch
        try:
            # Whoever gives up waiting must not stop it for the others.
            await asyncio.shield(fetch)
        except asyncio.CancelledError:
            if fetch.cancelled():
                raise HallUnreachableError("the client was closed before a token came") from None
            raise
        except HallUnreachableError as error:
            if (valid := self._pause(session, rejected)) is not None:
                return valid
            raise self._explain(error) from error
        except CallError as error:
            is_away = may_succeed_later(error.answer)
            if is_away and (valid := self._pause(session, rejected)) is not None:
                return valid
            raise self._name(error) from error
        return None if self._token is None else self._token.access_token

    async def close(self) -> None:
        """Ask no more; another token can be had at any time."""
        if (fetch := self._fetch) is not None:
            fetch.cancel()
            await asyncio.wait([fetch])
        if self._is_owner:
            await self._identity.close()

    def _kept(self, session: Session, rejected: str | None) -> str | None:
        """Return the token of this session that is still valid, and was not refused."""
        if not self._is_loaded:
            self._is_loaded = True
            self._take(self._shelf.load_token() if self._shelf else None, from_disk=True)
        token = self._token
        if token is None or (token.audience, token.session_id) != (
            self.audience,
            session.session_id,
        ):
            return None
        is_valid = self._world.monotonic() < self._life.valid_until_s
        return token.access_token if is_valid and token.access_token != rejected else None

    def _pause(self, session: Session, rejected: str | None) -> str | None:
        """Go on with the old token for a while, if it is still valid."""
        token = self._kept(session, rejected)
        if token is not None:
            self._paused_until_s = self._world.monotonic() + _PAUSE_S
        return token

    async def _fetch_once(self, session: Session) -> None:
        # The call that waits for it must still have time to say who is away.
        token = await self._identity.issue_token(
            self.audience, timeout_ms=self._identity.limits.timeout_ms * 3 // 4
        )
        if token.session_id != session.session_id:
            self._take(None)  # Another session was opened meanwhile.
            return
        if self._shelf is not None:
            self._shelf.save_token(token)
        self._take(token)

    def _take(self, token: IssuedToken | None, *, from_disk: bool = False) -> None:
        self._token = token
        self._paused_until_s = 0.0
        self._life = Lifetime()
        if token is not None:
            self._life = lifetime_of(
                self._world, token.access_lifetime_ms, token.received_at_ms, from_disk=from_disk
            )

    def _explain(self, error: HallUnreachableError) -> HallUnreachableError:
        """Return the error for a call that has no token to go with: nothing was sent."""
        return type(error)(
            f"no token for {self.audience}: {error}",
            f"its identity server, {self._identity.address.url}, must answer first",
        )

    def _name(self, error: CallError) -> CallError:
        """Return the refusal with the name of the server that refused."""
        facts = {**error.answer.details, "identity_server": self._identity.address.url}
        return CallError(replace(error.answer, details=facts))

    def _forget_fetch(self, task: asyncio.Task[None]) -> None:
        self._fetch = None
        if not task.cancelled():
            task.exception()  # Told to those who waited.
