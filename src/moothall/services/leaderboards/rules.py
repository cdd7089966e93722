"""Decisions about boards: ids, keys of scores, levels, what counts."""

import math
import sys
from collections.abc import Callable, Iterable

from moothall.core.errors import InvalidArgumentError
from moothall.core.ids import make_slug
from moothall.services.leaderboards.model import LEVEL_ROLES, Direction, Level

_SCALE = 2.0**64
"""Halves a sum's terms often enough that they cannot overflow; powers of two lose nothing."""

FUTURE_MS_MAX = 60_000
"""How far in the future an imported entry may lie, for clocks that differ."""


def check_board_name(name: str) -> str:
    """Return the name without spaces around it.

    Raises:
        InvalidArgumentError: Nothing is left, or a character cannot be shown.
    """
    shown = name.strip()
    if not shown:
        raise InvalidArgumentError("name", "the name is empty", "give 1 to 64 characters")
    if not shown.isprintable():
        reason = "the name has a character that cannot be shown"
        raise InvalidArgumentError("name", reason, "leave out line breaks, tabs and the like")
    return shown


def choose_board_id(board_id: str | None, name: str) -> str:
    """Return the id that was asked for, or one made from the name.

    Raises:
        InvalidArgumentError: Nothing of the name can stand in an id.
    """
    chosen = board_id or make_slug(name)
    if not chosen:
        reason = "no id can be made from this name"
        raise InvalidArgumentError("board_id", reason, "give one: letters, digits, hyphens")
    return chosen


def key_of(score: float, direction: Direction) -> float:
    """Return the score as a key that is smaller for a better one.

    Adding zero turns -0.0 into 0.0, so that both are one place.
    """
    return (score if direction is Direction.ASCENDING else -score) + 0.0


def score_of(key: float, direction: Direction) -> float:
    """Return the score that :func:`key_of` turned into ``key``."""
    return key_of(key, direction)


def sum_keys(keys: Iterable[float]) -> float:
    """Return the correctly rounded sum, whatever the order, so that equal totals tie.

    A total beyond all numbers becomes the largest one: a ranking holds numbers only.
    """
    terms = list(keys)
    try:
        return math.fsum(terms) + 0.0
    except OverflowError:  # some partial sum, not always the total
        total = math.fsum(term / _SCALE for term in terms) * _SCALE
    return max(-sys.float_info.max, min(total, sys.float_info.max))


def check_score(score: float, field: str = "score") -> None:
    """Refuse what is no number.

    Raises:
        InvalidArgumentError: The score is infinite or not a number.
    """
    if not math.isfinite(score):
        raise InvalidArgumentError(field, "a score is a finite number", "give a finite number")


def check_time(submitted_at_ms: int, now_ms: int, field: str) -> None:
    """Refuse history from the future.

    Raises:
        InvalidArgumentError: The time is more than a minute ahead.
    """
    if submitted_at_ms > now_ms + FUTURE_MS_MAX:
        reason = "the time lies in the future"
        raise InvalidArgumentError(field, reason, "give UTC epoch milliseconds")


def level_of(may: Callable[[str, str], bool], path: str) -> Level:
    """Return the highest level whose permissions are held at ``path``."""
    held = Level.NONE
    for level, (_, permissions, _) in LEVEL_ROLES.items():
        if all(may(permission, path) for permission in permissions):
            held = level
    return held


def higher_of(one: Level, other: Level) -> Level:
    """Return the higher of two levels."""
    return max(one, other, key=list(Level).index)
