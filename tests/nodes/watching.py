"""Waiting for what a node learns from the others."""

import asyncio
from collections.abc import Callable

from moothall.action.tail import Tail
from moothall.testing import OpenHall
from tests.servers.nodes import Nodes

WITHIN_SECONDS = 1.0
"""R5."""


async def until(is_so: Callable[[], bool], seconds: float = WITHIN_SECONDS) -> None:
    """Wait for what a node learns by itself; nothing tells when it has."""
    async with asyncio.timeout(seconds):
        while not is_so():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.002)


def tail_of(hall: OpenHall) -> Tail:
    """Return what follows the other nodes."""
    tail = hall.hall.foundation.tail
    assert tail is not None
    return tail


async def look(nodes: Nodes) -> None:
    """Let all nodes learn what there is to learn."""
    for hall in nodes.halls:
        await tail_of(hall).look()
