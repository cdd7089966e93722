"""When somebody last did something, by session: who is idle is signed out (R13)."""

from collections.abc import Sequence

from moothall.core.units import SECOND_MS
from moothall.ports.clock import Clock
from moothall.ports.database import Database, Transaction
from moothall.ports.sessions import SessionEnds
from moothall.services.identity.model import SessionSettings
from moothall.services.identity.store import sessions

TOLD_EVERY_MS_MAX = 30 * SECOND_MS
"""How long at most a node keeps to itself who was active at it; never longer than a quarter of
``sessions.idle_timeout_ms``."""

HEARD_WITHIN_MS = 3 * SECOND_MS
"""How much later every other node knows: the job that tells runs once a second, and a node that
has not looked for 2 s lets nobody in."""

SESSIONS_AT_ONCE = 500
"""Sessions of which one notice tells (about 15 KB)."""


class SessionActivity:
    """Last activity of each open session, on the steady clock. Implements Activity and Learner.

    It knows nothing where ``sessions.idle_timeout_ms`` is 0. A restart counts as activity.

    Each node of a hall knows all sessions, and now and then tells the others which were active
    at it. A session counts as idle only when everybody who could know better has told.
    """

    topic = "identity.activity"

    def __init__(
        self, clock: Clock, settings: SessionSettings, ends: SessionEnds, *, is_shared: bool = False
    ) -> None:
        """Begin with none; with ``is_shared`` there may be other nodes."""
        self._clock = clock
        self._ends = ends
        ends.listen(self._forget)
        self._timeout = settings.idle_timeout_ms / SECOND_MS
        self._is_shared = is_shared
        told_every_ms = min(settings.idle_timeout_ms // 4, TOLD_EVERY_MS_MAX)
        self._told_every = told_every_ms / SECOND_MS
        self.late_ms = told_every_ms + HEARD_WITHIN_MS if is_shared else 0
        """How much later than it happened this node hears of activity at another one, at most; so
        for how much longer it must have heard of none. What it hears counts from then on, so a
        session may last longer by twice as much."""
        self._active_at: dict[str, float] = {}
        self._untold: dict[str, None] = {}
        self._told_at = clock.monotonic()

    async def load(self, tx: Transaction) -> None:
        """Begin to count for the sessions that are open, so that none is forgotten."""
        if self._timeout:
            self._note(await sessions.list_all_open(tx, self._clock.now_ms()))

    async def relearn(self, database: Database, keys: Sequence[str]) -> None:
        """Count sessions as active that were at any node; without keys, all that are open."""
        if not self._timeout:
            return
        if not keys:
            now_ms = self._clock.now_ms()
            self._note(await database.read(lambda tx: sessions.list_all_open(tx, now_ms)))
        for key in keys:
            self._note(key.split())

    def touch(self, session_id: str) -> None:
        """Note that somebody is there."""
        if self._timeout:
            self._note([session_id])
            if self._is_shared:
                self._untold[session_id] = None

    async def begin(self, tx: Transaction, session_id: str) -> None:
        """Count for a session that is opened, on every node, once that is durable."""
        if self._timeout:
            tx.on_commit(lambda: self._note([session_id]))
            await tx.tell_nodes(self.topic, session_id)

    def _forget(self, session_id: str, _reason: str) -> None:
        """Forget a session that has ended."""
        self._active_at.pop(session_id, None)
        self._untold.pop(session_id, None)

    def list_idle(self, limit: int) -> list[str]:
        """Return sessions in which nothing was done for too long, at most ``limit``."""
        until = self._clock.monotonic() - self._timeout - self.late_ms / SECOND_MS
        found: list[str] = []
        for session_id, active_at in self._active_at.items():
            if active_at > until or len(found) == limit:
                break
            found.append(session_id)
        return found

    def take_untold(self) -> list[str]:
        """Return the sessions that the other nodes are to be told of now; they count as told."""
        now = self._clock.monotonic()
        if not self._untold or now - self._told_at < self._told_every:
            return []
        self._told_at = now
        taken, self._untold = list(self._untold), {}
        return taken

    def give_back(self, session_ids: Sequence[str]) -> None:
        """Take back sessions of which the others could not be told."""
        self._untold |= dict.fromkeys(session_ids)
        self._told_at -= self._told_every

    async def tell(self, tx: Transaction, session_ids: Sequence[str]) -> None:
        """Tell all nodes that there was activity in some sessions."""
        for at in range(0, len(session_ids), SESSIONS_AT_ONCE):
            some = session_ids[at : at + SESSIONS_AT_ONCE]
            await tx.tell_nodes(self.topic, " ".join(some))

    def _note(self, session_ids: Sequence[str]) -> None:
        """Count sessions as active now."""
        now = self._clock.monotonic()
        for session_id in session_ids:
            # In the order of the last activity, so that the idle ones are found in front.
            self._active_at.pop(session_id, None)
            if not self._ends.has_ended(session_id):  # while its last call was under way
                self._active_at[session_id] = now
