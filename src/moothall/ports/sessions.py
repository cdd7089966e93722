"""SessionEnds: which sessions have ended, and word of each when it does."""

from collections.abc import Callable
from typing import Protocol


class SessionEnds(Protocol):
    """Sessions that ended before their access tokens ran out."""

    def has_ended(self, session_id: str) -> bool:
        """Tell whether the session was closed or revoked within a token's life."""
        ...

    def listen(self, on_ended: Callable[[str, str], None]) -> None:
        """Call ``on_ended`` with (session id, reason) whenever a session has ended, at once.

        It must neither wait nor raise.
        """
        ...
