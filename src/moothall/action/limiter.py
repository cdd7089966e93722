"""Throttles: how often a source or a member may call, per node and in memory.

The generic cell rate algorithm (ITU-T I.371) keeps one number per key: the time at
which the key's budget is whole again. A throttle protects the house from haste; what
must be counted exactly (guesses, registrations) is rows, not this.
"""

import math
from dataclasses import dataclass

from moothall.core.errors import DeclarationError, RateLimitedError
from moothall.ports.clock import Clock

_TOLERANCE = 2e-6
"""Seconds that the sums may be off: clocks that count for months have no finer steps."""

KEYS_MAX = 50_000
"""Keys that one limiter remembers; the oldest are forgotten first (at most 15 MB)."""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many calls in any window; all of them may come at once."""

    calls: int
    window_ms: int

    def __post_init__(self) -> None:
        """Refuse a rate that allows nothing or counts over no time."""
        if self.calls < 1 or self.window_ms < 1:
            msg = f"{self}: calls and window_ms must be at least 1"
            raise DeclarationError(msg)


@dataclass(frozen=True, slots=True)
class PerActor(Rate):
    """Limit of one member on one action."""


@dataclass(frozen=True, slots=True)
class PerSource(Rate):
    """Limit of one client address on one action; for PUBLIC actions."""


class Limiter:
    """Remembers how much of its rate each key has used."""

    def __init__(self, clock: Clock, *, scale: float = 1.0, keys_max: int = KEYS_MAX) -> None:
        """Multiply every rate by ``scale`` (a load test raises it)."""
        self._clock = clock
        self._scale = scale
        self._keys_max = keys_max
        self._whole_at: dict[object, float] = {}

    def spend(self, key: object, rate: Rate) -> None:
        """Use one call of ``rate`` on behalf of ``key``.

        Raises:
            RateLimitedError: Nothing is left; ``retry_after_ms`` says for how long.
        """
        self._take(key, rate, rate.window_ms / 1_000, 0.0)

    def reserve(
        self, key: object, rate: Rate, *, burst_seconds: float, delay_seconds_max: float
    ) -> float:
        """Use one call of ``rate`` and return in how many seconds it may begin.

        Where :meth:`spend` refuses, this spreads: what comes at once beyond a small burst
        gets one place after the other, at the pace of the rate.

        Args:
            key: On whose behalf.
            rate: How often.
            burst_seconds: The calls of so much time may begin at once.
            delay_seconds_max: Places later than this are not given away.

        Raises:
            RateLimitedError: No place is near enough; nothing was used.
        """
        delay = self._take(key, rate, burst_seconds, delay_seconds_max)
        return delay if delay > _TOLERANCE else 0.0

    def _take(self, key: object, rate: Rate, at_once: float, delay_max: float) -> float:
        """Use one call if it may begin within ``delay_max``, and return when that is."""
        # Scaled down to less than one call, a rate would let nobody in, ever.
        step = rate.window_ms / 1_000 / max(1.0, rate.calls * self._scale)
        now = self._clock.monotonic()
        whole_at = max(self._whole_at.get(key, now), now)
        wait = whole_at + step - now - at_once
        if wait - delay_max > _TOLERANCE:
            raise RateLimitedError(
                f"the limit is {rate.calls} calls in {rate.window_ms} ms",
                retry_after_ms=max(1, math.ceil((wait - delay_max - _TOLERANCE) * 1_000)),
            )
        self._whole_at[key] = whole_at + step
        if len(self._whole_at) > self._keys_max:
            self._forget(now)
        return wait

    def _forget(self, now: float) -> None:
        """Drop the keys whose budget is whole, and if none is, the older half."""
        kept = {key: at for key, at in self._whole_at.items() if at > now}
        if len(kept) > self._keys_max // 2:
            kept = dict(list(kept.items())[-self._keys_max // 2 :])
        self._whole_at = kept
