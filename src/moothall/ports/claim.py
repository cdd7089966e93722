"""Claim: how the process learns that a fresh hall has its first administrator."""

from typing import Protocol

CLAIM_TOPIC = "access.claim"
"""Of the notice by which other nodes learn of it."""


class Claim(Protocol):
    """The one-time secret of a fresh hall, as whoever showed it to the operator keeps it."""

    def spend(self) -> None:
        """Learn that the secret was used and opens nothing any more; must not raise."""
        ...
