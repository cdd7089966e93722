"""Entropy: randomness that nobody can foresee, or a seed in a simulation."""

from typing import Protocol


class Entropy(Protocol):
    """A source of random bytes."""

    def random_bytes(self, count: int) -> bytes:
        """Return ``count`` bytes, fit for keys and secrets outside simulations."""
        ...
