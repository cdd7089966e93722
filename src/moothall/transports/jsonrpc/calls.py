"""The running calls of one door, those included whose client has left."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

CANCEL_SECONDS = 1.0
"""What cancelled calls may take to answer so."""

_log = structlog.get_logger("moothall.jsonrpc")


class Calls:
    """Keeps the tasks of calls, and waits for them when the door stops."""

    def __init__(self) -> None:
        """Begin with none."""
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, call: Coroutine[Any, Any, None]) -> None:
        """Run ``call`` to its end, whoever waits for it."""
        task = asyncio.get_running_loop().create_task(call)
        self._tasks.add(task)
        task.add_done_callback(self._forget)

    async def stop(self, timeout_s: float) -> None:
        """Wait for what runs; cancel what has not ended in time."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=max(0.0, timeout_s))
        if self._tasks:
            _log.warning("calls did not end in time", calls=len(self._tasks))
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(set(self._tasks), timeout=CANCEL_SECONDS)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a call was not answered", exc_info=error)
