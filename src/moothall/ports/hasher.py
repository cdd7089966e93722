"""PasswordHasher: slow on purpose, and never on the loop's thread."""

from typing import Protocol


class PasswordHasher(Protocol):
    """Hashes and verifies in a bounded pool."""

    async def hash(self, password: str) -> str:
        """Return the hash to keep.

        Raises:
            OverloadedError: Too many passwords are being hashed already.
        """
        ...

    async def verify(self, known: str | None, password: str) -> bool:
        """Tell whether ``password`` belongs to ``known``.

        With None (no such member, or one without a password) it takes the same time
        and says no.

        Raises:
            OverloadedError: Too many passwords are being hashed already.
        """
        ...

    def is_outdated(self, known: str) -> bool:
        """Tell whether ``known`` was made with weaker parameters than today's."""
        ...
