"""Authority: who may do what, where. The access room keeps this promise."""

from collections.abc import Iterator
from typing import Protocol


class Authority(Protocol):
    """Answers from memory, in about a microsecond; changes act at their commit."""

    @property
    def version(self) -> int:
        """A number that grows with every change of roles, bindings, teams and bans."""
        ...

    def allows(self, principal: str, permission: str, path: str) -> bool:
        """Tell whether ``principal`` holds ``permission`` at ``path`` or above it.

        ``principal`` is a member's id, or ``room:<name>`` for a room that calls
        another one; nobody (the empty principal of a PUBLIC action) holds nothing.
        Whatever is not granted is denied, and a ban denies what is granted.
        """
        ...

    def list_held(self, principal: str, path: str) -> Iterator[tuple[str, str]]:
        """Yield each (permission, place) that ``principal`` holds at, above or below ``path``.

        Bans aside, with what teams give. ``*`` is every permission. For deciding whether
        somebody holds more than somebody else.
        """
        ...
