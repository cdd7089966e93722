"""SeededEntropy: chance that a test can repeat."""

import random


class SeededEntropy:
    """Implements the Entropy port. Everybody can foresee it, so it is for tests only."""

    def __init__(self, seed: int = 0) -> None:
        """The same seed gives the same bytes."""
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose

    def random_bytes(self, count: int) -> bytes:
        """Return ``count`` bytes."""
        return self._random.randbytes(count)
