"""Locks beside their rows: a steady clock that nobody can set, and names that nobody has."""

import hmac
import math
from unicodedata import normalize

from moothall.core.units import SECOND_MS
from moothall.ports.clock import Clock
from moothall.services.identity.model import Guesses

LOCKS_KEPT_MAX = 25_000
"""Locks that one process remembers; the oldest are forgotten first (about 5 MB). One that is
forgotten is still in its row and goes by the clock on the wall."""


_TOLERANCE_MS = 1e-3
"""Milliseconds that the sums may be off: clocks that count for months have no finer steps."""


class LockWatch:
    """How long locks last by the steady clock of this process.

    The row of a lock goes by the clock on the wall, which alone means something after a
    restart. While the process lives, setting that clock neither shortens a lock nor makes it
    longer.
    """

    def __init__(self, clock: Clock, locks_max: int = LOCKS_KEPT_MAX) -> None:
        """Begin with none."""
        self._clock = clock
        self._locks_max = locks_max
        self._ends_s: dict[tuple[str, str, int], float] = {}

    def begin(self, key: str, lock: Guesses, duration_ms: int) -> None:
        """Watch a lock from now on."""
        self._ends_s[_id_of(key, lock)] = self._clock.monotonic() + duration_ms / SECOND_MS
        if len(self._ends_s) > self._locks_max:
            self._forget()

    def left_ms(self, key: str, lock: Guesses, by_wall_ms: int) -> int:
        """Return how long a lock still lasts; one that is not watched lasts ``by_wall_ms``.

        A lock that is first met here, after a restart, is watched from now on.
        """
        ends_s = self._ends_s.get(_id_of(key, lock))
        if ends_s is None:
            if by_wall_ms > 0:
                self.begin(key, lock, by_wall_ms)
            return by_wall_ms
        left_ms = (ends_s - self._clock.monotonic()) * SECOND_MS
        return max(0, math.ceil(left_ms - _TOLERANCE_MS))

    def _forget(self) -> None:
        """Drop the locks that have passed, and if none has, the older half."""
        now_s = self._clock.monotonic()
        kept = {key: ends_s for key, ends_s in self._ends_s.items() if ends_s > now_s}
        if len(kept) > self._locks_max // 2:
            kept = dict(list(kept.items())[-(self._locks_max // 2) :])
        self._ends_s = kept


def _id_of(key: str, lock: Guesses) -> tuple[str, str, int]:
    """Return what tells one lock from every other, also from an earlier one taken back."""
    return key, lock.series, lock.locked_until_ms


class MemberLocks(LockWatch):
    """Locks of members."""


class UnknownLocks(LockWatch):
    """Locks of names that nobody has, apart so that a flood of them forgets no member's."""


class UnknownNames:
    """Digests of names that nobody has, under a key outside the database."""

    def __init__(self, key: bytes) -> None:
        """Digest with ``key``, 32 bytes for nothing else."""
        self._key = key

    def digest(self, name: str, name_key: str | None) -> str:
        """Return the digest of a name; all its spellings have one, as a member's name has.

        Args:
            name: As it was written.
            name_key: Its key, or None if nobody can have such a name.
        """
        # No key holds a NUL, so that the two kinds never meet.
        text = "\0" + normalize("NFKC", name).casefold() if name_key is None else name_key
        return hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), "sha256").hex()
