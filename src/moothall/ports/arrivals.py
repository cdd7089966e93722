"""Arrivals: members who call here for the first time, on a resource server."""

from collections.abc import Callable
from typing import Protocol

from moothall.ports.database import Transaction


class Arrivals(Protocol):
    """Knows who has been here. On a hall that signs people in itself nobody keeps this promise."""

    def knows(self, member_id: str, name: str, expires_at_s: int) -> bool:
        """Tell from memory whether a call may go on without :meth:`welcome`.

        Args:
            member_id: Of the caller.
            name: As the access token tells it.
            expires_at_s: When that token expires, UTC epoch seconds.
        """
        ...

    def listen(self, on_removed: Callable[[str], None]) -> None:
        """Call ``on_removed`` with a member's id whenever a member was removed, at once.

        It must neither wait nor raise.
        """
        ...

    async def welcome(
        self, tx: Transaction, member_id: str, name: str, expires_at_s: int, now_ms: int
    ) -> bool:
        """Write down a member, or a name that is newer; True if something was written.

        Raises:
            UnauthenticatedError: The member was removed, or the token tells no name.
        """
        ...
