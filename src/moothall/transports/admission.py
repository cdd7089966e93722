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
        source: Address of the client, as :func:`~moothall.core.addresses.source_of` writes it: of
            the peer, or of whom a trusted proxy has opened the connection for.
        network: By what the client is counted and has its turn.
        is_proxy: Whether the client is a trusted proxy, so that its requests are another's.
    """

    __slots__ = ("_admission", "_is_counted", "is_proxy", "network", "source")

    def __init__(self, admission: "Admission", source: str) -> None:
        """Belong to ``admission``, not counted for any network yet."""
        self._admission: Admission | None = admission
        self._is_counted = False
        self.source = source
        self.network = network_of(source)
        self.is_proxy = admission.trusts(source)

    def count(self) -> bool:
        """Count for the network; a proxy does not, because it speaks for many.

        Returns:
            Whether the network may have one more connection.
        """
        assert self._admission is not None
        self._is_counted = not self.is_proxy and self._admission.join(self.network)
        return self.is_proxy or self._is_counted

    def name_client(self, source: str | None) -> bool:
        """Make a proxy's seat that of the client for whom it has opened the connection.

        Args:
            source: Address of the client; None where the proxy speaks for itself or does not
                know for whom. The seat stays the proxy's then, but no request on it is believed
                to be another's: its client may have written it.

        Returns:
            Whether the client may have one more connection; otherwise the seat is to be released.
        """
        assert self._admission is not None
        if source is None:
            self.is_proxy = False
            return True
        self.source = source
        self.network = network_of(source)
        self.is_proxy = self._admission.trusts(source)
        return self.count()

    def release(self) -> None:
        """Give the seat back; a second time is nothing."""
        if self._admission is not None:
            self._admission.leave(self.network if self._is_counted else None)
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
        self.refused = 0
        """How many were turned away since the start."""
        self.empty = asyncio.Event()
        self.empty.set()

    def admit(self, source: str) -> Seat | None:
        """Return a seat, or None where the house or this source has no more."""
        seat = Seat(self, source)
        may_enter = seat.is_proxy or not self._proxies_only
        if self.connections >= self._connections_max or not may_enter or not seat.count():
            return None
        self.connections += 1
        self.empty.clear()
        return seat

    def trusts(self, source: str) -> bool:
        """Tell whether an address is a trusted proxy's."""
        return is_trusted(source, self._trusted_proxies)

    def join(self, network: str) -> bool:
        """Count one connection of a network, if it may have one more; called by its seat."""
        taken = self._taken.get(network, 0)
        if taken >= self._per_source_max:
            return False
        self._taken[network] = taken + 1
        return True

    def leave(self, network: str | None) -> None:
        """Count one connection less, of a network or of none; called by its seat."""
        self.connections -= 1
        if network is not None and (taken := self._taken[network] - 1) > 0:
            self._taken[network] = taken
        elif network is not None:
            del self._taken[network]
        if not self.connections:
            self.empty.set()
