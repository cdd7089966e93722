"""Throttles, on a clock that the test turns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moothall.action.limiter import Limiter, PerActor, Rate
from moothall.core.errors import DeclarationError, RateLimitedError
from moothall.testing import ManualClock


def wait_of(limiter: Limiter, rate: Rate, key: object = "ada") -> int:
    """Use one call and return how long it must wait, 0 for a call that passes."""
    try:
        limiter.spend(key, rate)
    except RateLimitedError as error:
        wait = error.details["retry_after_ms"]
        assert isinstance(wait, int)
        return wait
    return 0


@pytest.mark.requirement("R35")
def test_all_calls_of_a_window_may_come_at_once_and_no_more() -> None:
    limiter, rate = Limiter(ManualClock()), PerActor(calls=30, window_ms=1_000)
    assert [wait_of(limiter, rate) for _ in range(30)] == [0] * 30
    assert wait_of(limiter, rate) == 34


@given(st.integers(1, 200), st.integers(1, 100_000), st.integers(0, 10**11))
def test_whoever_waits_as_told_passes_and_not_a_millisecond_earlier(
    calls: int, window_ms: int, uptime_ms: int
) -> None:
    clock = ManualClock()
    clock.advance(uptime_ms)
    limiter, rate = Limiter(clock), PerActor(calls=calls, window_ms=window_ms)
    for _ in range(calls):
        assert wait_of(limiter, rate) == 0
    wait = wait_of(limiter, rate)
    clock.advance(wait - 1)
    assert wait_of(limiter, rate) in {0, 1} if wait == 1 else wait_of(limiter, rate) == 1
    clock.advance(1)
    assert wait_of(limiter, rate) == 0


def test_a_whole_window_later_the_budget_is_whole() -> None:
    clock = ManualClock()
    limiter, rate = Limiter(clock), PerActor(calls=3, window_ms=500)
    for _ in range(5):
        assert [wait_of(limiter, rate) for _ in range(4)] == [0, 0, 0, 167]
        clock.advance(500)


def test_a_refused_call_costs_nothing() -> None:
    clock = ManualClock()
    limiter, rate = Limiter(clock), PerActor(calls=1, window_ms=1_000)
    assert [wait_of(limiter, rate) for _ in range(9)] == [0, *[1_000] * 8]
    clock.advance(1_000)
    assert wait_of(limiter, rate) == 0


def test_the_clock_on_the_wall_does_not_matter() -> None:
    clock = ManualClock()
    limiter, rate = Limiter(clock), PerActor(calls=1, window_ms=1_000)
    limiter.spend("ada", rate)
    clock.set_wall(0)
    assert wait_of(limiter, rate) == 1_000
    clock.set_wall(10**14)
    assert wait_of(limiter, rate) == 1_000


def test_keys_do_not_share_a_budget() -> None:
    limiter, rate = Limiter(ManualClock()), PerActor(calls=1, window_ms=1_000)
    assert [wait_of(limiter, rate, key) for key in ("ada", "bob", "ada")] == [0, 0, 1_000]


def test_scale_multiplies_but_never_shuts_everybody_out() -> None:
    clock = ManualClock()
    limiter, rate = Limiter(clock, scale=2.0), PerActor(calls=2, window_ms=1_000)
    assert [wait_of(limiter, rate) for _ in range(5)] == [0, 0, 0, 0, 250]
    tiny = Limiter(clock, scale=0.001)
    assert [wait_of(tiny, rate) for _ in range(2)] == [0, 1_000]


@pytest.mark.requirement("R35")
def test_memory_is_bounded_whoever_calls() -> None:
    limiter, rate = Limiter(ManualClock(), keys_max=100), PerActor(calls=1, window_ms=60_000)
    for number in range(1_000):
        limiter.spend(f"source-{number}", rate)
        assert len(limiter._whole_at) <= 101
    assert wait_of(limiter, rate, "source-999") == 60_000  # the newest is not forgotten


def test_what_is_whole_again_is_forgotten_first() -> None:
    clock = ManualClock()
    limiter, rate = Limiter(clock, keys_max=10), PerActor(calls=1, window_ms=1_000)
    for number in range(10):
        limiter.spend(number, rate)
    clock.advance(1_000)
    limiter.spend("ada", rate)
    assert set(limiter._whole_at) == {"ada"}


@pytest.mark.parametrize(("calls", "window_ms"), [(0, 1), (1, 0), (-1, 5)])
def test_a_rate_that_allows_nothing_is_a_mistake(calls: int, window_ms: int) -> None:
    with pytest.raises(DeclarationError, match="must be at least 1"):
        PerActor(calls=calls, window_ms=window_ms)


@pytest.mark.requirement("R35")
def test_what_comes_at_once_gets_one_place_after_the_other() -> None:
    clock = ManualClock()
    limiter, rate = Limiter(clock), Rate(calls=1_000, window_ms=1_000)

    def reserve() -> float:
        return limiter.reserve("ada", rate, burst_seconds=0.003, delay_seconds_max=0.01)

    assert [round(reserve(), 6) for _ in range(6)] == [0, 0, 0, 0.001, 0.002, 0.003]
    for _ in range(7):
        reserve()
    with pytest.raises(RateLimitedError) as refused:
        reserve()
    assert refused.value.details["retry_after_ms"] == 1
    clock.advance(1)
    assert round(reserve(), 6) == 0.01, "what was refused has used nothing"
    clock.advance(1_000)
    assert reserve() == 0
