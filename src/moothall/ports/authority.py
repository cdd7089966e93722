"""Authority: who may do what, where. The access room keeps this promise."""

from collections.abc import Iterator
from typing import Protocol

from moothall.ports.database import Database, Transaction


class Rights(Protocol):
    """What one principal holds."""

    def allows(self, permission: str, path: str) -> bool:
        """Tell whether they hold ``permission`` at ``path`` or above it, and no ban denies it."""
        ...

    def list_held(self, path: str) -> Iterator[tuple[str, str]]:
        """Yield each (permission, place) that they hold at, above or below ``path``.

        Bans aside, with what teams give. ``*`` is every permission. For deciding whether
        somebody holds more than somebody else.
        """
        ...


class Authority(Protocol):
    """Answers from memory, in about a microsecond; changes act at their commit.

    In memory is whoever is kept, and for as long as there is room those who were. So one
    ``keep`` or ``admit`` comes before what may ask about a member, and one ``release`` after it.
    """

    @property
    def version(self) -> int:
        """A number that grows with every change of roles, bindings, teams and bans."""
        ...

    def keep(self, principal: str) -> bool:
        """Keep in memory what ``principal`` holds; False if it must be read by ``admit`` first."""
        ...

    async def admit(self, database: Database, principal: str) -> None:
        """Read what ``principal`` holds, and keep it in memory; not inside a transaction.

        Raises:
            StorageUnavailableError: The disk cannot be read.
            OverloadedError: It changes faster than it can be read.
        """
        ...

    def release(self, principal: str) -> None:
        """End one ``keep`` or ``admit``."""
        ...

    def allows(self, principal: str, permission: str, path: str) -> bool:
        """Tell whether ``principal`` holds ``permission`` at ``path`` or above it.

        ``principal`` is the id of a member who is kept, or ``room:<name>`` for a room that calls
        another one; nobody (the empty principal of a PUBLIC action) holds nothing.
        Whatever is not granted is denied, and a ban denies what is granted.

        Raises:
            LookupError: The member is not in memory; ask ``rights_of``.
        """
        ...

    async def rights_of(self, tx: Transaction, principal: str) -> Rights:
        """Return what anybody holds, from memory or else as ``tx`` sees it.

        To be asked at once and not to be kept: it may not learn of later changes.
        """
        ...
