"""Clock: the time of day for people, and a steady one for waiting."""

from typing import Protocol


class Clock(Protocol):
    """Two clocks that must not be confused."""

    def now_ms(self) -> int:
        """Return UTC epoch milliseconds; may jump when the machine's clock is set."""
        ...

    def monotonic(self) -> float:
        """Return seconds since some start; never goes back. For time limits."""
        ...
