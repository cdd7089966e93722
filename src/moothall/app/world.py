"""The real world behind the ports: this machine's clocks and randomness."""

import os
import time


class SystemClock:
    """Implements the Clock port."""

    def now_ms(self) -> int:
        """Return UTC epoch milliseconds."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back."""
        return time.monotonic()


class SystemEntropy:
    """Implements the Entropy port with the kernel's generator."""

    def random_bytes(self, count: int) -> bytes:
        """Return ``count`` unpredictable bytes."""
        return os.urandom(count)
