"""Plays runs of the simulator: ``python -m tests.simulation --seed 7`` or ``--seeds 1000``."""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.simulation.runs import STEPS, SimulationError, shorten, simulate
from tests.simulation.simulator import Run


def main(arguments: list[str] | None = None) -> int:
    """Play one run or many, and return the exit status: 1 if one of them found a fault."""
    parser = argparse.ArgumentParser("simulate", description="Simulate whole halls, by seeds.")
    parser.add_argument("--seed", type=int, default=0, help="the run, or the first of many")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of each run ({STEPS})")
    parser.add_argument("--seeds", type=int, default=1, help="how many runs, on all cores (1)")
    parser.add_argument("--trace", action="store_true", help="show what happens")
    chosen = parser.parse_args(arguments)
    if chosen.seeds < 1 or chosen.steps < 0:
        parser.error("--seeds must be at least 1, --steps at least 0")
    seeds = range(chosen.seed, chosen.seed + chosen.seeds)
    counts: Counter[str] = Counter()
    try:
        for run in _play(seeds, chosen.steps):
            counts.update(run.counts)
            if chosen.trace:
                _say("\n".join(run.trace))
            _say(f"seed {run.seed}, {run.steps} steps: {run.digest}")
    except SimulationError as error:
        _say(str(error))
        least = shorten(error.seed, error.steps)
        _say(f"it fails with fewer steps: make simulate SEED={error.seed} STEPS={least}")
        return 1
    _say(
        f"{len(seeds)} runs without a fault: "
        + ", ".join(f"{n} {what}" for what, n in sorted(counts.items()))
    )
    return 0


def _play(seeds: range, steps: int) -> Iterator[Run]:
    """Return the runs in the order of their seeds, as they end."""
    if len(seeds) == 1:
        yield simulate(seeds[0], steps)
        return
    # Not forked: a run must begin in a fresh interpreter.
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(simulate, seed, steps) for seed in seeds]
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
