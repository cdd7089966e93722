"""A member's session on one hall: kept, renewed once for all who wait, stored before use.

The access token lives minutes, the refresh token weeks, and each refresh token may be
used once: the hall answers with its successor. So a new one is stored before it is used,
one renewal serves all calls that wait for it, and a lock keeps two processes from
renewing the same session at once. When a token ends is reckoned from the lifetime that
the hall gave and this machine's own monotonic clock, so that a wrong clock does no harm.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import msgspec

from moothall.client.errors import CallError, HallUnreachableError
from moothall.client.exchange import Answer
from moothall.client.lifetimes import Lifetime, left_at_answer_ms, lifetime_of
from moothall.client.store import IssuedToken, Session, Store
from moothall.client.world import World
from moothall.core.codes import Code


class SessionKeeper:
    """Gives out a valid access token, and renews the session behind it."""

    def __init__(
        self,
        store: Store,
        renew: Callable[[Session], Awaitable[Session]],
        world: World,
    ) -> None:
        self._store = store
        self._renew = renew
        self._world = world
        self._session: Session | None = None
        self._life = Lifetime()
        self._loaded = False
        self._renewal: asyncio.Task[None] | None = None

    @property
    def session(self) -> Session | None:
        """The session as far as this process knows."""
        if not self._loaded:
            self._take(self._store.load_session(), from_disk=True)
        return self._session

    @property
    def fresh_s(self) -> float:
        """For how many seconds the access token need not be renewed."""
        return max(0.0, self._life.fresh_until_s - self._world.monotonic())

    async def access_token(self, rejected: str | None = None) -> str | None:
        """Return a token that should be valid now, or None without a session.

        Args:
            rejected: A token that the hall has just refused.

        Raises:
            CallError: The hall refused to renew the session; it is over then.
            HallUnreachableError: The hall did not answer.
        """
        session = self.session
        if session is None:
            return None
        if session.access_token != rejected and self.fresh_s > 0:
            return session.access_token
        if self._renewal is None:
            self._renewal = asyncio.create_task(self._renew_once(session))
            self._renewal.add_done_callback(self._forget_renewal)
        # Whoever gives up waiting must not stop it: the hall may have answered already.
        await asyncio.shield(self._renewal)
        return None if self._session is None else self._session.access_token

    async def replace(self, session: Session | None) -> None:
        """Begin a new session, or end this one."""
        async with self._store.lock_session():
            self._store.save_session(session)
        self._take(session)

    async def close(self) -> None:
        """Wait for a renewal that is under way, so that its result is stored."""
        if self._renewal is not None:
            with contextlib.suppress(Exception):
                await asyncio.shield(self._renewal)

    async def _renew_once(self, mine: Session) -> None:
        async with self._store.lock_session():
            stored = self._store.load_session()
            if stored is None or stored.session_id != mine.session_id:
                self._take(None)
                return
            if stored.access_token != mine.access_token:
                # Another process was quicker.
                self._take(stored, from_disk=True)
                if self.fresh_s > 0:
                    return
            try:
                renewed = await self._renew(self._store.reveal(stored))
            except CallError as error:
                if error.error_code in {Code.UNAUTHENTICATED, Code.NOT_FOUND}:
                    self._store.save_session(None)
                    self._take(None)
                raise
            self._store.save_session(renewed)
            self._take(renewed)

    def _take(self, session: Session | None, *, from_disk: bool = False) -> None:
        self._session = session
        self._loaded = True
        self._life = Lifetime()
        if session is not None:
            self._life = lifetime_of(
                self._world, session.access_lifetime_ms, session.received_at_ms, from_disk=from_disk
            )

    def _forget_renewal(self, task: asyncio.Task[None]) -> None:
        self._renewal = None
        if not task.cancelled():
            # Told to those who waited; a failure that nobody waited for shows again.
            task.exception()


class _OpenedSession(msgspec.Struct, frozen=True):
    """Result of ``identity.open_session`` and ``identity.refresh_session``."""

    session_id: str
    member_id: str
    name: str
    refresh_token: str
    refresh_expires_at_ms: int
    access_token: str
    access_expires_at_ms: int


def read_session(answer: Answer, hall_now_ms: int | None, now_ms: int) -> Session:
    """Return the session that an answer opens or renews.

    Args:
        answer: Of ``identity.open_session`` and its like.
        hall_now_ms: The clock of the hall, if it was asked for; else the answer may tell.
        now_ms: The clock of this machine.

    Raises:
        HallUnreachableError: The answer is not understood.
    """
    try:
        opened = msgspec.json.decode(answer.body, type=_OpenedSession)
    except msgspec.DecodeError as error:
        raise HallUnreachableError(f"the new session is not understood: {error}") from error
    return Session(
        name=opened.name,
        member_id=opened.member_id,
        session_id=opened.session_id,
        refresh_token=opened.refresh_token,
        refresh_expires_at_ms=opened.refresh_expires_at_ms,
        access_token=opened.access_token,
        access_lifetime_ms=left_at_answer_ms(
            opened.access_expires_at_ms, answer, hall_now_ms=hall_now_ms, now_ms=now_ms
        ),
        received_at_ms=now_ms,
    )


class _IssuedToken(msgspec.Struct, frozen=True):
    """Result of ``identity.issue_token``."""

    audience: str
    access_token: str
    access_expires_at_ms: int


def read_token(
    answer: Answer, session_id: str, hall_now_ms: int | None, now_ms: int
) -> IssuedToken:
    """Return the token for another server that an answer holds.

    Args:
        answer: Of ``identity.issue_token``.
        session_id: The session by which it was asked for.
        hall_now_ms: The clock of the hall, if it was asked for; else the answer may tell.
        now_ms: The clock of this machine.

    Raises:
        HallUnreachableError: The answer is not understood.
    """
    try:
        issued = msgspec.json.decode(answer.body, type=_IssuedToken)
    except msgspec.DecodeError as error:
        raise HallUnreachableError(f"the new token is not understood: {error}") from error
    return IssuedToken(
        audience=issued.audience,
        session_id=session_id,
        access_token=issued.access_token,
        access_lifetime_ms=left_at_answer_ms(
            issued.access_expires_at_ms, answer, hall_now_ms=hall_now_ms, now_ms=now_ms
        ),
        received_at_ms=now_ms,
    )
