"""HeadLog: signed heads of the audit trail, kept where the database cannot reach them."""

from typing import Protocol


class HeadLog(Protocol):
    """Lines that are only ever added. Whoever copies them elsewhere makes them worth more."""

    async def append(self, line: str) -> None:
        """Add one line, which holds no line break, and return once it is durable.

        What a power cut left of a line before it stays there as a line of its own.

        Raises:
            OSError: It cannot be written.
        """
        ...

    async def read(self, position: int, limit: int) -> tuple[list[str], int]:
        """Return at most ``limit`` lines, oldest first, and the position after them.

        Args:
            position: 0 for the first line, else one that was returned before.
            limit: How many, at least 1.

        Raises:
            OSError: It cannot be read. That nothing was ever written is no error.
        """
        ...

    async def read_last(self, limit: int) -> list[str]:
        """Return at most the last ``limit`` lines, oldest first.

        Raises:
            OSError: It cannot be read.
        """
        ...
