"""When a call is repeated, and after what time. Pure.

A call is repeated only where a second arrival does no harm: a read, or a write
under an idempotency key (the same key each time). Where it is certain that nothing was
sent, any call may be repeated. Waiting times double, and each is drawn anew between
nothing and its bound (full jitter), so that many clients do not come back together.
"""

from dataclasses import dataclass
from enum import StrEnum

from moothall.core.codes import Code
from moothall.core.errors import Problem


class Effect(StrEnum):
    """What an action does, as its declaration says."""

    READ = "read"
    WRITE = "write"
    FLOW = "flow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of every call of a client.

    Attributes:
        timeout_ms: Time for one call with all its repetitions.
        attempt_timeout_ms: Time for one attempt, where another may follow.
        retries: Repetitions at most; 0 means that a call is made once.
        backoff_ms: Bound of the first wait; it doubles with each repetition.
        backoff_max_ms: Bound of any wait that the hall did not ask for.
        reply_bytes_max: Size of the largest answer that is read.
        calls_max: Calls in flight on one connection that stays; more wait for their turn.
        feeds_max: Feeds that one client follows at a time; each has its own connection.
        events_max: Events of a feed that wait to be taken; then nothing more is read.
        reconnect_ms: Bound of the first wait before a feed's connection is opened anew.
        reconnect_max_ms: Bound of any such wait.
    """

    timeout_ms: int = 30_000
    attempt_timeout_ms: int = 10_000
    retries: int = 4
    backoff_ms: int = 100
    backoff_max_ms: int = 5_000
    reply_bytes_max: int = 32 * 1_024 * 1_024
    calls_max: int = 64
    feeds_max: int = 32
    events_max: int = 1_000
    reconnect_ms: int = 500
    reconnect_max_ms: int = 30_000


def is_safe_to_repeat(effect: Effect | None, key: str | None) -> bool:
    """Tell whether the call does no harm if it arrives twice."""
    return effect is Effect.READ or (effect is Effect.WRITE and key is not None)


def may_succeed_later(problem: Problem) -> bool:
    """Tell whether a call that is safe to repeat should be, after this answer."""
    return problem.retryable or problem.code == Code.DEADLINE_EXCEEDED


def wait_ms(limits: Limits, attempt: int, fraction: float, asked_ms: int | None) -> float:
    """Return how long to wait before repetition number ``attempt`` (1, 2, ...).

    Args:
        limits: Bounds of the call.
        attempt: Number of the repetition.
        fraction: Random, 0 to 1.
        asked_ms: Time that the hall asked to wait, or None.
    """
    bound = min(limits.backoff_max_ms, limits.backoff_ms * 2.0 ** min(attempt - 1, 30))
    if asked_ms is None:
        return bound * fraction
    # Not earlier than asked, and not all at the same moment.
    return asked_ms + min(bound, limits.backoff_ms) * fraction
