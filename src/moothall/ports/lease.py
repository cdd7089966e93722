"""Lease: of all processes of a hall, one does the housekeeping."""

from typing import Protocol


class Lease(Protocol):
    """Held by one process at a time, and lost by whoever does not renew it."""

    async def start(self) -> None:
        """Ask for what may be held, and renew it from now on."""
        ...

    async def close(self) -> None:
        """Let another process have it at once."""
        ...

    async def hold(self, name: str) -> bool:
        """Take or renew the lease ``name``; False if another process has it."""
        ...
