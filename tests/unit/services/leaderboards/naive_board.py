"""A board as a list of entries that is counted and sorted anew each time: slow, and plain."""

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import NamedTuple

from moothall.services.leaderboards.model import Counting, Direction


@dataclass(frozen=True)
class NaiveEntry:
    entry_id: str
    member: str
    score: float
    submitted_at_ms: int
    is_verified: bool


class Row(NamedTuple):
    """What a ranking shows of one row."""

    place: int
    member: str
    score: float
    submitted_at_ms: int
    entry_id: str


@dataclass
class NaiveBoard:
    direction: Direction
    counting: Counting
    entries: dict[str, NaiveEntry] = field(default_factory=dict)

    def add(self, entry: NaiveEntry) -> None:
        self.entries[entry.entry_id] = entry

    def set_verified(self, entry_id: str, *, is_verified: bool) -> None:
        self.entries[entry_id] = replace(self.entries[entry_id], is_verified=is_verified)

    def remove(self, entry_id: str) -> None:
        del self.entries[entry_id]

    def ranking(self) -> list[Row]:
        sign = 1 if self.direction is Direction.ASCENDING else -1
        verified = [entry for entry in self.entries.values() if entry.is_verified]
        counting = sorted(
            (sign * entry.score, entry.submitted_at_ms, entry.entry_id, entry.member)
            for entry in self._counting(verified)
        )
        keys = [row[0] for row in counting]
        return [
            Row(keys.index(key) + 1, member, sign * key, submitted_at_ms, entry_id)
            for key, submitted_at_ms, entry_id, member in counting
        ]

    def waiting(self) -> list[str]:
        return sorted(one.entry_id for one in self.entries.values() if not one.is_verified)

    def _counting(self, verified: list[NaiveEntry]) -> Iterable[NaiveEntry]:
        if self.counting is Counting.EVERY:
            return verified
        by_member = groupby(sorted(verified, key=lambda one: one.member), lambda one: one.member)
        return [self._one_of(list(own)) for _, own in by_member]

    def _one_of(self, own: list[NaiveEntry]) -> NaiveEntry:
        last = max(own, key=lambda one: (one.submitted_at_ms, one.entry_id))
        if self.counting is Counting.LAST:
            return last
        if self.counting is Counting.SUM:
            return replace(last, score=total([one.score for one in own]))
        is_low_best = self.direction is Direction.ASCENDING
        return min(
            own,
            key=lambda one: (
                one.score if is_low_best else -one.score,
                one.submitted_at_ms,
                one.entry_id,
            ),
        )


def total(scores: list[float]) -> float:
    """Add as exactly as integers are added, then find the nearest number there is."""
    pieces = [score.as_integer_ratio() for score in scores]
    denominator = math.lcm(*(low for _, low in pieces))
    numerator = sum(high * (denominator // low) for high, low in pieces)
    try:
        return numerator / denominator
    except OverflowError:
        return sys.float_info.max if numerator > 0 else -sys.float_info.max
