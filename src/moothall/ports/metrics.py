"""Measured and Health: what a part of the house can tell whoever watches over it.

Both are optional. A part that has them is asked for each scrape and each look at ``/readyz``,
on the loop's thread, so it answers from memory. PostgreSQL's database and the tail of another
node's events have their place here.
"""

from collections.abc import Mapping
from typing import Protocol, TypeAlias, runtime_checkable

from moothall.core.histogram import Histogram

Measure: TypeAlias = float | Histogram
"""A count since the start, a state of the moment, or a distribution."""


@runtime_checkable
class Measured(Protocol):
    """Has numbers without labels."""

    def measures(self) -> Mapping[str, Measure]:
        """Return numbers by the names of their metrics, without the prefix ``moothall_``.

        Each name stands in ``METRICS`` of ``app/metrics.py``, which says what it means.
        """
        ...


@runtime_checkable
class Health(Protocol):
    """Knows whether it can do its part."""

    def find_trouble(self) -> str | None:
        """Return in one sentence why no calls should come here now, or None.

        Anybody on this machine may read it: it names no member, address or secret.
        """
        ...
