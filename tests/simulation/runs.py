"""Runs of the simulator: one is a seed and a number of steps, and can be played again exactly."""

import asyncio
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from hashlib import blake2b
from pathlib import Path
from unittest import mock

import structlog.testing

from moothall.action import hub
from moothall.services.leaderboards.actions import erasing, rebuilding
from moothall.testing import ManualClock
from tests.servers.postgres import use_postgres
from tests.simulation.loop import SimulatedLoop
from tests.simulation.nodes import NodesWorld
from tests.simulation.simulator import Run, Simulator
from tests.simulation.world import DiskWorld, World

STEPS = 120
"""Steps of a run, if nothing else is said."""

TRACE_SHOWN = 40
"""Last lines of the trace that a failure shows."""


class SimulationError(AssertionError):
    """A run found a fault; the text says how to see it again."""

    def __init__(self, seed: int, steps: int, told: str, nodes: int = 0) -> None:
        """Take what the run came to."""
        super().__init__(seed, steps, told, nodes)
        self.seed = seed
        self.steps = steps
        self._told = told
        self._nodes = nodes

    def __str__(self) -> str:
        """Tell what was found, and the one command that shows it again, or at least may."""
        again = f"make simulate SEED={self.seed} STEPS={self.steps}"
        if self._nodes:
            again += f" ARGS='--engine postgres --nodes {self._nodes}'"
            return f"{self._told}\n\nplay its plan again (calls may interleave otherwise): {again}"
        return f"{self._told}\n\nreplay it: {again}"


@contextmanager
def small_steps() -> Iterator[None]:
    """Let jobs and pages be so small that a few rows need several of them."""
    with ExitStack() as stack:
        for module, name, value in (
            (rebuilding, "ROWS_AT_ONCE", 3),
            (erasing, "ROWS_AT_ONCE", 3),
            (hub, "PAGE_ROWS", 4),
        ):
            stack.enter_context(mock.patch.object(module, name, value))
        yield


def _memory() -> str | None:
    """Return a folder in memory, where the system has one; what is safe, the simulated disk knows.

    Real syncs would take most of the time of a run.
    """
    place = "/dev/shm"  # as on every Linux
    return place if os.access(place, os.W_OK) else None


def shorten(seed: int, steps: int) -> int:
    """Return the least number of steps, as halving finds it, with which a run still fails."""
    passes, fails = -1, steps
    while fails - passes > 1:
        middle = (passes + fails) // 2
        try:
            simulate(seed, middle)
        except SimulationError:
            fails = middle
        else:
            passes = middle
    return fails


def simulate(seed: int, steps: int = STEPS, nodes: int = 0) -> Run:
    """Play one run.

    Args:
        seed: Decides everything; with nodes, all that is planned.
        steps: How many.
        nodes: On PostgreSQL with so many nodes; 0 is SQLite.

    Raises:
        SimulationError: It found a fault; says how to replay it, and shows the end of its trace.
    """
    run = Run(seed, steps)
    clock = ManualClock()
    try:
        with (
            structlog.testing.capture_logs() as logs,
            tempfile.TemporaryDirectory(dir=_memory()) as folder,
            small_steps(),
            ExitStack() as stack,
        ):
            world: World
            if nodes:
                stack.enter_context(use_postgres())
                world = NodesWorld(Path(folder), seed, clock, nodes)
                runner = stack.enter_context(asyncio.Runner())
            else:
                world = DiskWorld(Path(folder), seed, clock)
                loop = partial(SimulatedLoop, clock, seed)
                runner = stack.enter_context(asyncio.Runner(loop_factory=loop))
            runner.run(Simulator(world, clock, run, logs).play())
    except Exception as error:
        shown = "\n".join(run.trace[-TRACE_SHOWN:])
        raise SimulationError(seed, steps, f"{shown}\n{error!r}", nodes) from error
    run.digest = blake2b("\n".join(run.trace).encode(), digest_size=16).hexdigest()
    return run
