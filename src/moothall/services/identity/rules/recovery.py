"""Decisions about codes for forgotten passwords."""

from collections.abc import Callable, Iterable

from moothall.services.identity.errors import RecoveryExceedsOwnError
from moothall.services.identity.model import RecoveryCode, RecoverySettings


def may_guess(code: RecoveryCode | None, now_ms: int, settings: RecoverySettings) -> bool:
    """Tell whether one more guess at a code is looked at."""
    return code is not None and now_ms < code.expires_at_ms and code.guesses < settings.attempts_max


def may_send(before: RecoveryCode | None, now_ms: int, settings: RecoverySettings) -> bool:
    """Tell whether another code may be sent to a member so soon after the one before.

    Both ways, because the clock may have been set back since.
    """
    return before is None or abs(now_ms - before.made_at_ms) >= settings.interval_ms


def check_holds_no_more(may: Callable[[str, str], bool], held: Iterable[tuple[str, str]]) -> None:
    """Refuse to open the account of somebody who holds what one does not hold oneself.

    Args:
        may: What the one who hands the code over may.
        held: Each (permission, path) of the other, in the whole hall.

    Raises:
        RecoveryExceedsOwnError: With the first permission that is missing.
    """
    for permission, path in sorted(set(held)):
        if not may(permission, path):
            raise RecoveryExceedsOwnError(
                f"they hold {permission} and you do not", permission=permission, path=path
            )
