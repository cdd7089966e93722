"""Lease: of all processes of a hall, one does the housekeeping."""

from collections.abc import Callable
from typing import Protocol


class Lease(Protocol):
    """Held by one process at a time, and lost by whoever does not renew it.

    Attributes:
        on_lost: Called when this process has it no more; must not raise.
    """

    on_lost: Callable[[], None]

    async def start(self) -> None:
        """Ask for what may be held, and renew it from now on."""
        ...

    async def close(self) -> None:
        """Let another process have it at once."""
        ...

    def is_held(self) -> bool:
        """Tell whether this process has it."""
        ...
