"""Plays runs of the simulator: ``python -m tests.simulation --seed 7`` or ``--seeds 1000``."""

import argparse
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from multiprocessing import get_context
from pathlib import Path

from tests.servers.postgres import RUN_FOLDER, stop_shared
from tests.simulation.runs import STEPS, SimulationError, shorten, simulate
from tests.simulation.simulator import Run

NODES_MAX = 5


def main(arguments: list[str] | None = None) -> int:
    """Play one run or many, and return the exit status: 1 if one of them found a fault."""
    parser = argparse.ArgumentParser("simulate", description="Simulate whole halls, by seeds.")
    parser.add_argument("--seed", type=int, default=0, help="the run, or the first of many")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of each run ({STEPS})")
    parser.add_argument("--seeds", type=int, default=1, help="how many runs, on all cores (1)")
    parser.add_argument("--engine", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--nodes", type=int, default=2, help="of each hall, on postgres (2)")
    parser.add_argument("--trace", action="store_true", help="show what happens")
    chosen = parser.parse_args(arguments)
    if chosen.seeds < 1 or chosen.steps < 0:
        parser.error("--seeds must be at least 1, --steps at least 0")
    if not 1 <= chosen.nodes <= NODES_MAX:
        parser.error(f"--nodes must be from 1 to {NODES_MAX}")
    seeds = range(chosen.seed, chosen.seed + chosen.seeds)
    nodes = chosen.nodes if chosen.engine == "postgres" else 0
    counts: Counter[str] = Counter()
    try:
        with servers() if nodes else nullcontext():
            for run in _play(seeds, chosen.steps, nodes):
                counts.update(run.counts)
                if chosen.trace:
                    _say("\n".join(run.trace))
                # Of several nodes no run is the same twice.
                told = f"{run.counts.get('done', 0)} deeds" if nodes else run.digest
                _say(f"seed {run.seed}, {run.steps} steps: {told}")
    except SimulationError as error:
        _say(str(error))
        if nodes:  # fewer steps would be another run
            return 1
        least = shorten(error.seed, error.steps)
        _say(f"it fails with fewer steps: make simulate SEED={error.seed} STEPS={least}")
        return 1
    _say(
        f"{len(seeds)} runs without a fault: "
        + ", ".join(f"{n} {what}" for what, n in sorted(counts.items()))
    )
    return 0


@contextmanager
def servers() -> Iterator[None]:
    """Let all processes of this run share one server, and stop it in the end."""
    if RUN_FOLDER in os.environ:  # of the tests, which see to it
        yield
        return
    folder = tempfile.mkdtemp(prefix="moothall-simulation-")
    os.environ[RUN_FOLDER] = folder
    try:
        yield
    finally:
        del os.environ[RUN_FOLDER]
        stop_shared(Path(folder))
        shutil.rmtree(folder, ignore_errors=True)


def _play(seeds: range, steps: int, nodes: int) -> Iterator[Run]:
    """Return the runs in the order of their seeds, as they end."""
    if len(seeds) == 1:
        yield simulate(seeds[0], steps, nodes)
        return
    # Not forked: a run must begin in a fresh interpreter.
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(simulate, seed, steps, nodes) for seed in seeds]
        try:
            for future in futures:
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
