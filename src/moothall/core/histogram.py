"""Histogram: how often a value fell into which range; one addition for each value.

What counts on the road of a call keeps plain numbers, and whoever asks for metrics reads them
(``app/metrics.py``). So counting costs the same whether anybody asks or not.
"""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate


class Histogram:
    """Counts of values by range.

    Args:
        bounds: The upper bound of each range, itself included, in rising order; one more range
            takes what lies above the last.

    Attributes:
        bounds: As given.
        counts: How many values fell into each range; one more than there are bounds.
        total: The sum of all values.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> Iterator[tuple[float, int]]:
        """Yield each bound with how many values are at most that; infinity comes last."""
        return zip((*self.bounds, float("inf")), accumulate(self.counts), strict=True)


SECONDS = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0)
"""Bounds for what should take milliseconds, and may take seconds."""
