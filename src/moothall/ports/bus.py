"""Bus: hints between the nodes of one hall. Any of them may be lost; the database has the truth."""

from collections.abc import Callable
from typing import Protocol


class Bus(Protocol):
    """Tells the other nodes that there is something new. What it is they read in the database.

    A hint that cannot be sent is dropped and counted, never kept for later. So whoever relies on
    hints also looks by themselves at intervals, and whenever :meth:`on_restored` calls.

    A topic is one or more words of ``a-z 0-9 _ -`` joined by dots, 64 characters at most. A
    payload has 65,536 bytes at most. Hints of one node arrive in the order in which it published
    them. All methods belong to the thread of the event loop.
    """

    @property
    def is_connected(self) -> bool:
        """Whether hints are carried now, as far as this node knows; it may learn late."""
        ...

    @property
    def published(self) -> int:
        """Hints that were handed over; some of them may have been lost on the way."""
        ...

    @property
    def dropped(self) -> int:
        """Hints that were not sent: no connection, or more waited for it than the bound."""
        ...

    @property
    def received(self) -> int:
        """Hints of other nodes for which there was a subscriber."""
        ...

    @property
    def reconnections(self) -> int:
        """How often a connection began after the first one."""
        ...

    async def publish(self, topic: str, payload: bytes) -> None:
        """Give a hint to all other nodes of the hall; this node does not hear it.

        It neither waits for the network nor fails because of it.

        Raises:
            ValueError: The topic or the payload is not as described above.
        """
        ...

    def subscribe(self, topic: str, on_message: Callable[[bytes], None]) -> None:
        """Call ``on_message`` with the payload of each hint of a topic, until the bus is closed.

        It must be quick. If it raises, that is logged and harms nobody else.

        Raises:
            ValueError: The topic is not as described above.
        """
        ...

    def on_restored(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` whenever a connection has begun: hints may have been missed until now.

        The first connection counts too if the bus was not connected when it was opened. What
        holds of ``on_message`` holds of ``callback``.
        """
        ...

    async def close(self) -> None:
        """Leave; within 3 s, whatever the network does. To be called once or more often."""
        ...
