"""Which sessions have ended, and the refresh tokens of those that have not."""

import hmac
from collections.abc import Callable

from moothall.action.token import LIFE_SECONDS
from moothall.core.units import HOUR_MS, SECOND_MS
from moothall.ports.clock import Clock
from moothall.ports.database import Transaction
from moothall.services.identity.adapters.keys import encode_base64url
from moothall.services.identity.rules.sessions import RefreshToken
from moothall.services.identity.store import servers, sessions

_ENDED_KEPT_MS = LIFE_SECONDS * SECOND_MS + HOUR_MS
"""An hour longer than tokens live, because the clock may be set in between."""

_ENDED_SWEPT_AT = 10_000


class EndedSessions:
    """Sessions that ended within a token's life. Implements SessionEnds."""

    def __init__(self, clock: Clock) -> None:
        """Begin with none."""
        self._clock = clock
        self._ended: dict[str, int] = {}
        self._listeners: list[Callable[[str, str], None]] = []

    def listen(self, on_ended: Callable[[str, str], None]) -> None:
        """Call ``on_ended`` whenever a session has ended."""
        self._listeners.append(on_ended)

    async def load(self, tx: Transaction) -> None:
        """Read those whose tokens may still live, so that a restart forgives nothing.

        Should the clock be far ahead now and be set right later, their tokens live then: so
        those that ended last are read whatever the time is.
        """
        now_ms = self._clock.now_ms()
        last_ms = await sessions.find_last_end(tx)
        since_ms = min(now_ms, now_ms if last_ms is None else last_ms) - _ENDED_KEPT_MS
        self._ended = dict(await sessions.list_ended(tx, since_ms))
        self._ended |= dict(await servers.list_ended(tx, since_ms))

    def has_ended(self, session_id: str) -> bool:
        """Tell whether the session ended."""
        return session_id in self._ended

    def add(self, session_id: str, ended_at_ms: int, reason: str) -> None:
        """Refuse the session's tokens from now on, and tell who listens."""
        self._ended[session_id] = ended_at_ms
        for on_ended in self._listeners:
            on_ended(session_id, reason)
        if len(self._ended) % _ENDED_SWEPT_AT == 0:
            since = self._clock.now_ms() - _ENDED_KEPT_MS
            self._ended = {key: ended for key, ended in self._ended.items() if ended > since}


class RefreshSeal:
    """Makes and recognises refresh tokens: ``<session>.<generation>.<HMAC>``.

    The token is a function of session, generation and a key outside the database, so no
    row holds it, a stolen database makes none, and a lost reply can be repeated exactly.
    """

    def __init__(self, key: bytes) -> None:
        """Authenticate with ``key``, 32 bytes for nothing else."""
        self._key = key

    def token(self, session_id: str, generation: int) -> str:
        """Return the token of one generation."""
        text = f"{session_id}.{generation}"
        mac = hmac.digest(self._key, text.encode(), "sha256")
        return f"{text}.{encode_base64url(mac)}"

    def open(self, token: str) -> RefreshToken | None:
        """Return the parts of a genuine token, or None."""
        session_id, _, rest = token.partition(".")
        generation = rest.partition(".")[0]
        if not (generation.isascii() and generation.isdigit() and len(generation) <= 9):  # noqa: PLR2004
            return None
        expected = self.token(session_id, int(generation))
        if not hmac.compare_digest(expected.encode(), token.encode()):
            return None
        return RefreshToken(session_id, int(generation))
