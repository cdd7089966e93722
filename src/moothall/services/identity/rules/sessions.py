"""Decisions about sessions and their refresh tokens."""

from enum import Enum, auto
from typing import NamedTuple

from moothall.core.errors import InvalidArgumentError
from moothall.core.units import SECOND_MS
from moothall.services.identity.model import Session

REFRESH_GRACE_MS = 10 * SECOND_MS
"""How long the refresh token before the newest may be repeated, for a reply that was lost."""


class Rotation(Enum):
    """What to do with a refresh token that is genuine."""

    ROTATE = auto()
    """It is the newest one: give its successor."""
    REPEAT = auto()
    """It is the one before and its reply may have been lost: give the newest again."""
    END = auto()
    """It was used before: somebody else may hold it, so the session ends."""
    REFUSE = auto()
    """The session is over."""


class RefreshToken(NamedTuple):
    """The parts of a refresh token that was found genuine."""

    session_id: str
    generation: int


def decide_rotation(session: Session | None, token: RefreshToken, now_ms: int) -> Rotation:
    """Decide by the session's row (RFC 9700, section 4.14.2)."""
    if session is None or session.ended_at_ms is not None or now_ms >= session.lapses_at_ms:
        return Rotation.REFUSE
    if token.generation == session.generation:
        return Rotation.ROTATE
    # Both ways, because the clock may have been set back since.
    is_graced = abs(now_ms - session.rotated_at_ms) <= REFRESH_GRACE_MS
    if token.generation == session.generation - 1 and is_graced:
        return Rotation.REPEAT
    return Rotation.END


def check_device(device: str) -> str:
    """Return the label of a device without blanks around it.

    Raises:
        InvalidArgumentError: It holds what cannot be printed on one line.
    """
    if not device.isprintable():
        reason = "a device label is one line of printable characters"
        raise InvalidArgumentError("device", reason, "call it by a few words, or leave it out")
    return device.strip()


def choose_ended(open_ids: list[str], newest: str, count_max: int) -> list[str]:
    """Return which of a member's sessions, given oldest first, end in favour of ``newest``."""
    others = [session_id for session_id in open_ids if session_id != newest]
    return others[: max(0, len(others) + 1 - count_max)]
