"""The one claim of a fresh hall, as the process knows it."""

from collections.abc import Callable


class Claim:
    """The one claim of a fresh hall, as the process knows it."""

    def __init__(self, on_claimed: Callable[[], None]) -> None:
        """Call ``on_claimed`` when it is made."""
        self.on_claimed = on_claimed
