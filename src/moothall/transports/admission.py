"""Who may have a connection, and when: counted and queued per source, before the TLS handshake.

A handshake costs a signature; a flood must be turned away before it. Whoever is admitted
holds a seat until the connection is gone, and may have to wait for a turn.
"""

import asyncio
from collections import OrderedDict, deque
from typing import Generic, TypeVar

from moothall.core.addresses import network_of
from moothall.transports.proxies import Networks, is_trusted

Item = TypeVar("Item")


class Turns(Generic[Item]):
    """Who waits: a queue for each source, and the sources one after the other.

    However many items one source has waiting, they delay the next of another by one turn. It
    has no bound of its own: what waits here holds a seat.
    """

    def __init__(self) -> None:
        """Begin with nobody."""
        self._queues: OrderedDict[str, deque[Item]] = OrderedDict()
        self._waiting = 0

    def __len__(self) -> int:
        """Return how many items wait."""
        return self._waiting

    def add(self, source: str, item: Item) -> None:
        """Let an item wait behind those of its source; a new source comes last."""
        self._queues.setdefault(source, deque()).append(item)
        self._waiting += 1

    def take(self) -> Item | None:
        """Return the first item of the source whose turn it is, or None if nobody waits."""
        if not self._queues:
            return None
        source, queue = self._queues.popitem(last=False)
        item = queue.popleft()
        if queue:
            self._queues[source] = queue
        self._waiting -= 1
        return item

    def drain(self) -> list[Item]:
        """Return all that wait, who then wait no more."""
        items = [item for queue in self._queues.values() for item in queue]
        self._queues.clear()
        self._waiting = 0
        return items


class Seat:
    """The right to one connection; given back once, however it ends.

    Attributes:
        source: Address of the peer, as :func:`~moothall.core.addresses.source_of` writes it.
        network: By what the peer is counted and has its turn.
        is_proxy: Whether the peer is a trusted proxy, so that its requests are another's.
    """

    __slots__ = ("_admission", "is_proxy", "network", "source")

    def __init__(
        self, admission: "Admission", network: str, source: str, *, is_proxy: bool
    ) -> None:
        """Belong to a network of ``admission``."""
        self._admission: Admission | None = admission
        self.network = network
        self.source = source
        self.is_proxy = is_proxy

    def release(self) -> None:
        """Give the seat back; a second time is nothing."""
        if self._admission is not None:
            self._admission.leave(self.network)
            self._admission = None


class Admission:
    """Counts the open connections of one door.

    Args:
        connections_max: In all.
        connections_per_source_max: From one network; trusted proxies, which speak for many,
            have only the bound of the house.
        trusted_proxies: Networks of proxies.
        proxies_only: Turn away everybody else.
    """

    def __init__(
        self,
        connections_max: int,
        connections_per_source_max: int,
        trusted_proxies: Networks = (),
        *,
        proxies_only: bool = False,
    ) -> None:
        self._connections_max = connections_max
        self._per_source_max = connections_per_source_max
        self._trusted_proxies = trusted_proxies
        self._proxies_only = proxies_only
        self._taken: dict[str, int] = {}
        self.connections = 0
        self.empty = asyncio.Event()
        self.empty.set()

    def admit(self, source: str) -> Seat | None:
        """Return a seat, or None where the house or this source has no more."""
        network = network_of(source)
        taken = self._taken.get(network, 0)
        is_proxy = is_trusted(source, self._trusted_proxies)
        may_enter = is_proxy or (taken < self._per_source_max and not self._proxies_only)
        if self.connections >= self._connections_max or not may_enter:
            return None
        self._taken[network] = taken + 1
        self.connections += 1
        self.empty.clear()
        return Seat(self, network, source, is_proxy=is_proxy)

    def leave(self, network: str) -> None:
        """Count one connection less; called by its seat."""
        self.connections -= 1
        if (taken := self._taken[network] - 1) > 0:
            self._taken[network] = taken
        else:
            del self._taken[network]
        if not self.connections:
            self.empty.set()
