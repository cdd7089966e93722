"""The clock that a test turns."""

import pytest

from moothall.testing import ManualClock


def test_it_stands_still_until_it_is_moved() -> None:
    clock = ManualClock(5_000)
    steady = clock.monotonic()
    clock.advance(1_500)
    assert clock.now_ms() == 6_500
    assert clock.monotonic() - steady == 1.5


def test_only_the_clock_on_the_wall_can_be_set_back() -> None:
    clock = ManualClock(5_000)
    steady = clock.monotonic()
    clock.set_wall(1_000)
    assert (clock.now_ms(), clock.monotonic()) == (1_000, steady)
    with pytest.raises(ValueError, match="time does not go back"):
        clock.advance(-1)
