"""Learner: an adapter that keeps rows in memory, and learns when another node has changed them."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from moothall.ports.database import Database


@runtime_checkable
class Learner(Protocol):
    """Whoever changes such rows says so by ``tx.tell_nodes(topic, key)``, beside ``on_commit``.

    Attributes:
        topic: What the adapter remembers, by the name of its room: ``access.binding``.
    """

    topic: str

    async def relearn(self, database: Database, keys: Sequence[str]) -> None:
        """Read anew what the keys name, and change what is in memory.

        Called after the commit on every node, also on the one that did it, where ``on_commit``
        may have done so already; so it must bear repeating, and come to the same as ``load``. It
        is called for one round of changes after the other.

        Args:
            database: To read from.
            keys: What has changed, each once, as ``tell_nodes`` was given it; none if anything
                may have.
        """
        ...
