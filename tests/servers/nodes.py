"""Several nodes of one hall in one process, on the PostgreSQL of this run of the tests."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moothall.bus import MemoryBus, MemoryNetwork
from moothall.testing import OpenHall, open_test_hall
from moothall.testing.postgres import drop_databases
from tests.servers.postgres import use_postgres


@dataclass(frozen=True, slots=True)
class Nodes:
    """One hall, and what connects its nodes.

    Attributes:
        halls: The nodes; all have one clock.
        network: Carries their hints; ``network.cut()`` ends that.
    """

    halls: list[OpenHall]
    network: MemoryNetwork


@asynccontextmanager
async def open_nodes(folder: Path, count: int = 2, **settings: Any) -> AsyncIterator[Nodes]:
    """Open ``count`` nodes of a fresh hall; ``settings`` are those of ``open_test_hall``."""
    network = MemoryNetwork()
    halls: list[OpenHall] = []
    async with AsyncExitStack() as opened:
        opened.enter_context(use_postgres())
        opened.push_async_callback(drop_databases)
        for number in range(count):
            each = settings if number == 0 else {"node_of": halls[0]}
            hall = open_test_hall(folder / f"node{number}", bus=MemoryBus("hall", network), **each)
            halls.append(await opened.enter_async_context(hall))
        yield Nodes(halls, network)
