"""ManualClock: time passes when the test says so, so that no test sleeps."""

NEW_YEAR_MS = 1_767_225_600_000
"""2026-01-01 00:00 UTC, where every test begins."""


class ManualClock:
    """Implements the Clock port. Both clocks stand still until they are moved."""

    def __init__(self, now_ms: int = NEW_YEAR_MS) -> None:
        """Begin at ``now_ms`` (UTC epoch milliseconds)."""
        self._now_ms = now_ms
        self._steady_ms = 1_000_000

    def now_ms(self) -> int:
        """Return UTC epoch milliseconds."""
        return self._now_ms

    def monotonic(self) -> float:
        """Return seconds on the steady clock."""
        return self._steady_ms / 1_000

    def advance(self, milliseconds: int) -> None:
        """Let time pass on both clocks."""
        if milliseconds < 0:
            msg = "time does not go back; set_wall() sets the clock on the wall"
            raise ValueError(msg)
        self._now_ms += milliseconds
        self._steady_ms += milliseconds

    def set_wall(self, now_ms: int) -> None:
        """Set the clock on the wall, as its owner may at any time; no time passes."""
        self._now_ms = now_ms
