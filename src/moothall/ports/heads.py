"""HeadLog: signed heads of the audit trail, kept where the database cannot reach them."""

from typing import Protocol


class HeadLog(Protocol):
    """Lines that are only ever added. Whoever copies them elsewhere makes them worth more."""

    async def append(self, line: str) -> None:
        """Add one line and return once it is durable.

        Raises:
            OSError: It cannot be written.
        """
        ...

    async def read(self) -> list[str]:
        """Return all lines, oldest first."""
        ...
