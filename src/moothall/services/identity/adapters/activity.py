"""When somebody last did something, by session: who is idle is signed out (R13)."""

from moothall.core.units import SECOND_MS
from moothall.ports.clock import Clock
from moothall.ports.database import Transaction
from moothall.services.identity.model import SessionSettings
from moothall.services.identity.store import sessions


class SessionActivity:
    """Last activity of each open session, on the steady clock. Implements the Activity port.

    It knows nothing where ``sessions.idle_timeout_ms`` is 0. A restart counts as activity.
    """

    def __init__(self, clock: Clock, settings: SessionSettings) -> None:
        """Begin with none."""
        self._clock = clock
        self._timeout = settings.idle_timeout_ms / SECOND_MS
        self._active_at: dict[str, float] = {}

    async def load(self, tx: Transaction) -> None:
        """Begin to count for the sessions that are open, so that none is forgotten."""
        if self._timeout:
            now = self._clock.monotonic()
            found = await sessions.list_all_open(tx, self._clock.now_ms())
            self._active_at = dict.fromkeys(found, now)

    def touch(self, session_id: str) -> None:
        """Note that somebody is there; also that a session was opened."""
        if self._timeout:
            # In the order of the last activity, so that the idle ones are found in front.
            self._active_at.pop(session_id, None)
            self._active_at[session_id] = self._clock.monotonic()

    def forget(self, session_id: str, _reason: str = "") -> None:
        """Forget a session that has ended."""
        self._active_at.pop(session_id, None)

    def list_idle(self, limit: int) -> list[str]:
        """Return sessions in which nothing was done for too long, at most ``limit``."""
        until = self._clock.monotonic() - self._timeout
        found: list[str] = []
        for session_id, active_at in self._active_at.items():
            if active_at > until or len(found) == limit:
                break
            found.append(session_id)
        return found
