"""Decisions about wrong passwords in a row."""

from moothall.services.identity.errors import AccountLockedError
from moothall.services.identity.model import Guesses, LockoutSettings


def lock_left_ms(guesses: Guesses | None, now_ms: int, duration_ms: int) -> int:
    """Return how long a lock still lasts by the clock on the wall; 0 if there is none.

    Never longer than locks last: the clock may have been set back since.
    """
    if guesses is None:
        return 0
    return max(0, min(guesses.locked_until_ms - now_ms, duration_ms))


def check_is_not_locked(left_ms: int) -> None:
    """Refuse to look at a password while the account is locked.

    Raises:
        AccountLockedError: With ``retry_after_ms``.
    """
    if left_ms > 0:
        raise AccountLockedError(retry_after_ms=left_ms)


def count_guess(
    before: Guesses | None, series: str, now_ms: int, settings: LockoutSettings
) -> Guesses:
    """Return the guesses with one more; the last one that is allowed locks at once.

    Locking before the password is looked at is what makes the number exact: whoever comes
    while it is hashed, or after a crash, finds the lock. A success lifts it.

    Args:
        before: Those so far. Locked ones are of a lock that has passed.
        series: Name for a series that begins.
        now_ms: UTC epoch milliseconds.
        settings: How many, and for how long.
    """
    count = 1
    if before is not None and before.locked_until_ms == 0:
        series, count = before.series, before.count + 1
    is_last = count >= settings.attempts_max
    return Guesses(series, count, now_ms, now_ms + settings.duration_ms if is_last else 0)
