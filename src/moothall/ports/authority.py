"""Authority: who may do what, where. The access room keeps this promise."""

from typing import Protocol


class Authority(Protocol):
    """Answers from memory, in about a microsecond; changes act at their commit."""

    def allows(self, principal: str, permission: str, path: str) -> bool:
        """Tell whether ``principal`` holds ``permission`` at ``path`` or above it.

        ``principal`` is a member's id, or ``room:<name>`` for a room that calls
        another one. Whatever is not granted is denied.
        """
        ...
