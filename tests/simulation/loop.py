"""An event loop without threads and without waiting, so that a run can be repeated exactly.

Time is the hall's own manual clock: when nothing is ready, the clock is moved to the next timer
instead of sleeping. What would go to a thread runs on the loop itself, some turns later, so that
other tasks get between; how many turns, the seed decides. A run that waits for what can never
come is told at once (:class:`StandstillError`) instead of hanging.
"""

import asyncio
import math
import selectors
from collections.abc import Callable
from random import Random
from typing import Any

from moothall.testing import ManualClock

TURNS_MAX = 4
"""After how many turns of the loop a thread's work is done at the latest."""


class StandstillError(RuntimeError):
    """Everybody waits, and nothing will ever come: a reply or a wake-up was lost."""


class _Selector(selectors.DefaultSelector):
    """Sees what is ready, and moves the clock instead of waiting."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            msg = "everybody waits, and nothing will ever come"
            raise StandstillError(msg)
        self._clock.advance(max(1, math.ceil(timeout * 1_000)))
        return ready


class SimulatedLoop(asyncio.SelectorEventLoop):
    """The loop of one run."""

    def __init__(self, clock: ManualClock, seed: int) -> None:
        """Keep the time of ``clock``; ``seed`` decides when work of threads is done."""
        self._clock = clock
        self._chance = Random(f"loop {seed}")
        super().__init__(_Selector(clock))

    def time(self) -> float:
        """Return seconds on the clock of the run."""
        return self._clock.monotonic()

    def run_in_executor(  # type: ignore[override]  # the base class promises a thread
        self, executor: object, func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        """Run ``func`` on this thread, some turns of the loop later."""
        future: asyncio.Future[Any] = self.create_future()

        def work(turns: int) -> None:
            if turns:
                self.call_soon(work, turns - 1)
                return
            try:
                result = func(*args)
            except Exception as error:  # noqa: BLE001 - whatever it is belongs to who waits
                if not future.done():
                    future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(result)

        self.call_soon(work, self._chance.randrange(TURNS_MAX))
        return future
