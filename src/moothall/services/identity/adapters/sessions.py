"""Which sessions have ended, and the refresh tokens of those that have not."""

import hmac
from collections.abc import Callable, Iterable, Sequence

from moothall.action.token import LIFE_SECONDS
from moothall.core.units import HOUR_MS, SECOND_MS
from moothall.ports.clock import Clock
from moothall.ports.database import Database, Transaction
from moothall.services.identity.adapters.keys import encode_base64url
from moothall.services.identity.rules.sessions import RefreshToken
from moothall.services.identity.store import ended

ENDED_KEPT_MS = LIFE_SECONDS * SECOND_MS + HOUR_MS
"""An hour longer than tokens live."""

ENDED_LEAST = 5_000
"""So many that ended last are read at a start, whatever the time is: the clock may be far ahead
now and be set right later, when their tokens live."""

_ENDED_SWEPT_AT = 10_000


class EndedSessions:
    """Sessions that ended within a token's life. Implements SessionEnds and Learner."""

    topic = "identity.session_end"

    def __init__(self, clock: Clock) -> None:
        """Begin with none."""
        self._clock = clock
        self._ended: dict[str, float] = {}
        """Since when they are known here, on the steady clock."""
        self._listeners: list[Callable[[str, str], None]] = []

    def listen(self, on_ended: Callable[[str, str], None]) -> None:
        """Call ``on_ended`` whenever a session has ended."""
        self._listeners.append(on_ended)

    async def load(self, tx: Transaction) -> None:
        """Read those whose tokens may still live, so that a restart forgives nothing."""
        self._remember(await self._list_ended(tx))

    async def relearn(self, database: Database, keys: Sequence[str]) -> None:
        """Refuse the tokens of sessions that ended on any node, and tell who listens."""
        if keys:
            # A notice appears with the row that it is about, so there is nothing more to read.
            told = dict(_read_notice(key) for key in keys)
        else:
            told = dict.fromkeys(await database.read(self._list_ended), "")
        for session_id, reason in told.items():
            if session_id not in self._ended:
                self.add(session_id, reason)

    def has_ended(self, session_id: str) -> bool:
        """Tell whether the session ended."""
        return session_id in self._ended

    async def end(self, tx: Transaction, session_id: str, reason: str) -> None:
        """Refuse the session's tokens on every node once that is durable, and tell who listens."""
        tx.on_commit(lambda: self.add(session_id, reason))
        await tx.tell_nodes(self.topic, f"{session_id} {reason}")

    def add(self, session_id: str, reason: str) -> None:
        """Refuse the session's tokens at this node from now on, and tell who listens."""
        now = self._clock.monotonic()
        self._ended[session_id] = now
        for on_ended in self._listeners:
            on_ended(session_id, reason)
        if len(self._ended) % _ENDED_SWEPT_AT == 0:
            since = now - ENDED_KEPT_MS / SECOND_MS
            self._ended = {key: known for key, known in self._ended.items() if known > since}

    async def _list_ended(self, tx: Transaction) -> set[str]:
        """Return those whose tokens may still live, and some more."""
        since_ms = self._clock.now_ms() - ENDED_KEPT_MS
        found = await ended.list_ended(tx, ended.SESSIONS, since_ms, ENDED_LEAST)
        return found | await ended.list_ended(tx, ended.SERVERS, since_ms, ENDED_LEAST)

    def _remember(self, session_ids: Iterable[str]) -> None:
        """Take those in that ended before this process began."""
        self._ended |= dict.fromkeys(session_ids, self._clock.monotonic())


def _read_notice(key: str) -> tuple[str, str]:
    """Return session and reason, as :meth:`EndedSessions.end` told them."""
    session_id, _, reason = key.partition(" ")
    return session_id, reason


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
