"""Activity: when a member last did something, by session (R13)."""

from typing import Protocol


class Activity(Protocol):
    """Told of each accepted call that a person caused. Must be cheap, and must not raise."""

    def touch(self, session_id: str) -> None:
        """Note that somebody is there."""
        ...
