"""Lanes: writes that change the same take turns here, before they take a connection.

More than a few of them would only wait inside the server for the row that the first one holds,
which costs it more than the work itself, and on connections that others could use.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from moothall.core.errors import OverloadedError, StorageUnavailableError
from moothall.storage.postgres.bounds import PostgresBounds


@dataclass(slots=True)
class _Lane:
    """One of them, while somebody is in it."""

    places: asyncio.Semaphore
    users: int = 0
    """Calls that have a place or wait for one."""


class Lanes:
    """All lanes of a node. Lives on the loop's thread.

    Attributes:
        waiting: Calls that wait for their turn.
    """

    def __init__(self, bounds: PostgresBounds) -> None:
        """Begin without any."""
        self._bounds = bounds
        self._lanes: dict[str, _Lane] = {}
        self.waiting = 0

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """Have a turn, in the order of asking; with an empty name at once.

        Raises:
            OverloadedError: Too many wait in this lane already.
            StorageUnavailableError: The turn did not come in time.
        """
        if not name:
            yield
            return
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = _Lane(asyncio.Semaphore(self._bounds.lane_writers))
        lane.users += 1
        try:
            await self._wait(lane)
            try:
                yield
            finally:
                lane.places.release()
        finally:
            lane.users -= 1
            if not lane.users:
                del self._lanes[name]

    async def _wait(self, lane: _Lane) -> None:
        """Take a place."""
        if not lane.places.locked():
            await lane.places.acquire()
            return
        if lane.users > self._bounds.lane_calls_max:
            raise OverloadedError("too many calls change the same", retry_after_ms=1_000)
        self.waiting += 1
        try:
            async with asyncio.timeout(self._bounds.wait_seconds_max):
                await lane.places.acquire()
        except TimeoutError:
            raise StorageUnavailableError(
                "too many calls change the same", remedy="try again later"
            ) from None
        finally:
            self.waiting -= 1
