"""Decisions about boards: ids, keys of scores, levels, what counts."""

import math
from collections.abc import Callable

from moothall.core.errors import InvalidArgumentError
from moothall.core.ids import make_slug
from moothall.services.leaderboards.model import LEVEL_ROLES, Direction, Level

FUTURE_MS_MAX = 60_000
"""How far in the future an imported entry may lie, for clocks that differ."""


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


def check_score(score: float, field: str = "score") -> None:
    """Refuse what is no number.

    Raises:
        InvalidArgumentError: The score is infinite or not a number.
    """
    if not math.isfinite(score):
        raise InvalidArgumentError(field, "a score is a finite number", "give another one")


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
