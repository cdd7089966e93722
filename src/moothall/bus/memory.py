"""The bus of nodes that live in one process: a hall on its own, tests and simulations."""

import asyncio
from collections import deque
from collections.abc import Callable

from moothall.bus.bounds import WAITING_BYTES_MAX, check_hall_id, check_payload, check_topic
from moothall.bus.listeners import Listeners

_MESSAGE_BYTES = 128
"""What a hint takes beside its payload, about; so that empty ones have a bound too."""


class MemoryNetwork:
    """What connects the buses of one process. It can be cut, as a real network can."""

    def __init__(self) -> None:
        self.is_up = True
        self._buses: list[MemoryBus] = []

    def cut(self) -> None:
        """Carry nothing any more."""
        self.is_up = False

    def restore(self) -> None:
        """Carry hints again, and tell every bus so."""
        if not self.is_up:
            self.is_up = True
            for bus in tuple(self._buses):
                bus.tell_restored()

    def join(self, bus: "MemoryBus") -> None:
        """Connect a bus."""
        self._buses.append(bus)

    def leave(self, bus: "MemoryBus") -> None:
        """Let go of a bus."""
        if bus in self._buses:
            self._buses.remove(bus)

    def carry(self, sender: "MemoryBus", topic: str, payload: bytes) -> None:
        """Give a hint to all other buses of the sender's hall."""
        for bus in self._buses:
            if bus is not sender and bus.hall_id == sender.hall_id:
                bus.take(topic, payload)


class MemoryBus:
    """Implements the port Bus without a network.

    Args:
        hall_id: Buses of the same hall hear each other.
        network: What connects it to others; None: it is alone.

    Raises:
        ConfigurationError: The hall's id cannot be used.
    """

    def __init__(self, hall_id: str, network: MemoryNetwork | None = None) -> None:
        check_hall_id(hall_id)
        self.hall_id = hall_id
        self.published = 0
        self.dropped = 0
        self.received = 0
        self.reconnections = 0
        self._network = network or MemoryNetwork()
        self._listeners = Listeners()
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._waiting_bytes = 0
        self._is_closed = False
        self._was_connected = self._network.is_up
        self._network.join(self)

    @property
    def is_connected(self) -> bool:
        """Whether hints are carried."""
        return self._network.is_up and not self._is_closed

    async def publish(self, topic: str, payload: bytes) -> None:
        """Give a hint to all other nodes; see the port."""
        check_topic(topic)
        check_payload(payload)
        if not self.is_connected:
            self.dropped += 1
            return
        self.published += 1
        self._network.carry(self, topic, payload)

    def subscribe(self, topic: str, on_message: Callable[[bytes], None]) -> None:
        """Call ``on_message`` with each hint of a topic; see the port."""
        self._listeners.subscribe(topic, on_message)

    def on_restored(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when the network is restored; see the port."""
        self._listeners.on_restored(callback)

    async def close(self) -> None:
        """Leave the network."""
        self._is_closed = True
        self._waiting.clear()
        self._network.leave(self)

    def take(self, topic: str, payload: bytes) -> None:
        """Deliver a hint of another node in the next turn of the loop, as a network would."""
        size_bytes = len(payload) + _MESSAGE_BYTES
        if self._waiting_bytes + size_bytes > WAITING_BYTES_MAX:
            return  # lost on the way, as the port allows
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._deliver)
        self._waiting.append((topic, payload))
        self._waiting_bytes += size_bytes

    def tell_restored(self) -> None:
        """Learn that the network carries hints again."""
        self.reconnections += self._was_connected
        self._was_connected = True
        self._listeners.tell_restored()

    def _deliver(self) -> None:
        arrived, self._waiting = self._waiting, deque()
        self._waiting_bytes = 0
        for topic, payload in arrived:
            self.received += self._listeners.deliver(topic, payload)
