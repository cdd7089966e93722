"""A histogram counts each value once, in the first range that takes it."""

from moothall.core.histogram import Histogram


def test_a_value_counts_in_the_first_range_that_takes_it() -> None:
    histogram = Histogram((0.5, 1.0))
    for value in (0.25, 0.5, 0.75, 1.0, 8.0):
        histogram.observe(value)
    assert histogram.counts == [2, 2, 1]
    assert histogram.total == 10.5


def test_sums_over_ranges_end_with_all_values() -> None:
    histogram = Histogram((1, 2))
    for value in (1, 2, 2, 3):
        histogram.observe(value)
    assert list(histogram.cumulative()) == [(1, 1), (2, 3), (float("inf"), 4)]
