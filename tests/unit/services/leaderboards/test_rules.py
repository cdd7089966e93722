"""Decisions about boards, scores and sums, without a hall."""

import math
import sys
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moothall.core.errors import InvalidArgumentError
from moothall.services.leaderboards.model import Direction, Level
from moothall.services.leaderboards.rules import (
    FUTURE_MS_MAX,
    check_board_name,
    check_score,
    check_time,
    choose_board_id,
    higher_of,
    key_of,
    level_of,
    score_of,
    sum_keys,
)

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.requirement("R54")
@given(FINITE, FINITE, st.sampled_from(Direction))
def test_smaller_key_is_the_better_score(one: float, other: float, direction: Direction) -> None:
    is_better = one < other if direction is Direction.ASCENDING else one > other
    assert (key_of(one, direction) < key_of(other, direction)) is is_better
    assert (key_of(one, direction) == key_of(other, direction)) is (one == other)
    assert score_of(key_of(one, direction), direction) == one


@pytest.mark.requirement("R52")
@pytest.mark.parametrize("direction", Direction)
def test_minus_zero_is_zero(direction: Direction) -> None:
    for zero in (0.0, -0.0):
        key = key_of(zero, direction)
        assert math.copysign(1.0, key) == 1.0
        assert math.copysign(1.0, score_of(key, direction)) == 1.0


@pytest.mark.requirement("R52")
@pytest.mark.parametrize("score", [math.inf, -math.inf, math.nan])
def test_score_that_is_no_finite_number_is_refused(score: float) -> None:
    with pytest.raises(InvalidArgumentError) as refusal:
        check_score(score)
    assert refusal.value.details["field"] == "score"
    assert refusal.value.details["remedy"]


@pytest.mark.requirement("R61")
@given(st.lists(FINITE, max_size=20))
def test_sum_is_the_right_one_in_any_order(keys: list[float]) -> None:
    total = sum_keys(keys)
    assert math.isfinite(total)
    assert sum_keys(reversed(keys)) == total
    assert sum_keys(sorted(keys)) == total
    exact = sum((Fraction(key) for key in keys), Fraction())
    if abs(exact) <= Fraction(sys.float_info.max):
        assert abs(Fraction(total) - exact) <= abs(exact) / 2**52 + Fraction(5e-324)
    else:
        assert abs(total) == sys.float_info.max


@pytest.mark.requirement("R61")
def test_sum_beyond_all_numbers_is_the_largest_one() -> None:
    huge = sys.float_info.max
    assert sum_keys([huge, huge]) == huge
    assert sum_keys([-huge, -huge]) == -huge
    assert sum_keys([huge, huge, -huge, -huge, 0.0]) == 0.0
    assert sum_keys([]) == 0.0


@pytest.mark.requirement("R61")
def test_history_lies_at_most_a_minute_ahead() -> None:
    check_time(1_000_000 + FUTURE_MS_MAX, 1_000_000, "submitted_at_ms")
    with pytest.raises(InvalidArgumentError, match="future"):
        check_time(1_000_001 + FUTURE_MS_MAX, 1_000_000, "submitted_at_ms")


@pytest.mark.requirement("R59")
@pytest.mark.parametrize(
    ("board_id", "name", "chosen"),
    [
        (None, "Luigi Raceway: Three Lap", "luigi-raceway-three-lap"),
        ("mine", "Luigi Raceway", "mine"),
        (None, "--A--", "a"),
        (None, "x" * 64, "x" * 64),
    ],
)
def test_id_of_a_board_is_chosen_or_made_from_its_name(
    board_id: str | None, name: str, chosen: str
) -> None:
    assert choose_board_id(board_id, name) == chosen


@pytest.mark.requirement("R59")
@pytest.mark.parametrize("name", ["日本", "!!!"])
def test_name_that_makes_no_id_asks_for_one(name: str) -> None:
    with pytest.raises(InvalidArgumentError) as refusal:
        choose_board_id(None, name)
    assert refusal.value.details["field"] == "board_id"


@pytest.mark.requirement("R59")
@pytest.mark.parametrize(
    "name", ["", "   ", "two\nlines", "\x1b[2J", "a\N{RIGHT-TO-LEFT OVERRIDE}"]
)
def test_board_needs_a_name_that_can_be_read(name: str) -> None:
    with pytest.raises(InvalidArgumentError) as refusal:
        check_board_name(name)
    assert refusal.value.details["field"] == "name"
    assert refusal.value.details["remedy"]
    assert check_board_name("  Ärger & Co  ") == "Ärger & Co"


@pytest.mark.requirement("R50")
@pytest.mark.parametrize(
    ("held", "level"),
    [
        (set(), Level.NONE),
        ({"scores:read"}, Level.READ),
        ({"scores:read", "scores:write"}, Level.WRITE),
        ({"scores:read", "scores:write", "scores:moderate"}, Level.MODERATE),
        ({"scores:write"}, Level.NONE),
    ],
)
def test_level_is_the_highest_whose_permissions_are_held(held: set[str], level: Level) -> None:
    assert (
        level_of(lambda permission, path: path == "board/7" and permission in held, "board/7")
        is level
    )


@pytest.mark.requirement("R50")
def test_levels_rise_from_none_to_moderate() -> None:
    levels = [Level.NONE, Level.READ, Level.WRITE, Level.MODERATE]
    for index, one in enumerate(levels):
        for other in levels[: index + 1]:
            assert higher_of(one, other) is higher_of(other, one) is one


def test_level_counts_by_what_it_lets_do_with_scores_alone() -> None:
    held = {"scores:read", "scores:write", "scores:moderate"}
    assert level_of(lambda permission, _: permission in held, "board/7") is Level.MODERATE
    held = {"scores:read", "levels:set", "levels:list", "roles:grant"}
    assert level_of(lambda permission, _: permission in held, "board/7") is Level.READ
