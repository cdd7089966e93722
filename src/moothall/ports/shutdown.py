"""Shutdown: how an action asks the process to stop."""

from typing import Protocol


class Shutdown(Protocol):
    """Stops the hall: tells clients, lets running calls end, saves, exits."""

    def begin(self) -> None:
        """Begin, and return at once; a second time is nothing."""
        ...
