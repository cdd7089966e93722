"""The buses that keep the promise of ``ports/bus.py``, each with a network that can fail."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Protocol

from moothall.bus import MemoryBus, MemoryNetwork, open_bus
from moothall.ports.bus import Bus
from tests.servers.nats import NatsServer, shared_server

WAIT_SECONDS_MAX = 20.0
"""A test that waits longer for an event has failed; the machine may be busy."""

_numbers = itertools.count()


def fresh_hall_id() -> str:
    """Return the id of a hall that nobody else in this process has: they share one server."""
    return f"Hall-{next(_numbers)}"


class Network(Protocol):
    """What lies between the nodes of a test."""

    async def open(self, hall_id: str) -> Bus: ...

    def cut(self) -> None: ...

    def restore(self) -> None: ...

    def close(self) -> None: ...


class InMemory:
    def __init__(self) -> None:
        self._network = MemoryNetwork()

    async def open(self, hall_id: str) -> Bus:
        return MemoryBus(hall_id, self._network)

    def cut(self) -> None:
        self._network.cut()

    def restore(self) -> None:
        self._network.restore()

    def close(self) -> None:
        """It holds nothing."""


class SharedNats:
    """The server of all tests: nobody may stop it."""

    async def open(self, hall_id: str) -> Bus:
        return await open_bus(shared_server().url, hall_id)

    def cut(self) -> None:
        raise NotImplementedError

    def restore(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Others need it."""


class OwnNats:
    """A server that is stopped and started again on the same port."""

    def __init__(self) -> None:
        self.server = NatsServer()

    async def open(self, hall_id: str) -> Bus:
        return await open_bus(self.server.url, hall_id)

    def cut(self) -> None:
        self.server.stop()

    def restore(self) -> None:
        self.server.start()

    def close(self) -> None:
        self.server.remove()


NETWORKS: dict[str, Callable[[], Network]] = {"memory": InMemory, "nats": SharedNats}
FAILING_NETWORKS: dict[str, Callable[[], Network]] = {"memory": InMemory, "nats": OwnNats}


class Node:
    """A bus with what it was told, each to be awaited."""

    def __init__(self, bus: Bus, *topics: str) -> None:
        self.bus = bus
        self.heard: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self.restored: asyncio.Queue[None] = asyncio.Queue()
        bus.on_restored(lambda: self.restored.put_nowait(None))
        for topic in topics:
            self.listen(topic)

    def listen(self, topic: str) -> None:
        self.bus.subscribe(topic, lambda payload: self.heard.put_nowait((topic, payload)))

    async def hear(self) -> tuple[str, bytes]:
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            return await self.heard.get()

    async def connect(self) -> None:
        """Return once it is connected, and forget that it was told so."""
        if not self.bus.is_connected:
            await self.be_restored()
        while not self.restored.empty():
            self.restored.get_nowait()

    async def be_restored(self) -> None:
        """Return once it was told of a connection that nobody has waited for yet."""
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            await self.restored.get()

    async def be_cut_off(self) -> None:
        """Return once its bus knows that nothing is carried."""
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            while self.bus.is_connected:  # noqa: ASYNC110 - the port tells nobody of this
                await asyncio.sleep(0.01)


@asynccontextmanager
async def joined(network: Network, hall_id: str, *topics: str) -> AsyncIterator[Node]:
    """Open a node of a hall, which listens to ``topics``, and connect it."""
    bus = await network.open(hall_id)
    try:
        node = Node(bus, *topics)
        await node.connect()
        yield node
    finally:
        await bus.close()


def finish_at_once(work: Coroutine[None, None, None]) -> None:
    """Run a coroutine that must not wait for anything.

    Raises:
        AssertionError: It waits.
    """
    try:
        work.send(None)
    except StopIteration:
        return
    work.close()
    raise AssertionError("it waits for something")
