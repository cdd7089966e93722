"""``python -m bench.postgres``: the bench of a hall on PostgreSQL alone.

The same cases as on SQLite, on a real server with durable commits, beside ``pgbench`` and one
statement by the driver. ``make bench`` takes it after SQLite; ``--engine`` chooses.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import cases, engines, report, servers, transactions

ENGINE = "postgres"
WRITES = ("pgbench", "pgbench-N", "insert", "insert:1")


def measure(
    chosen: argparse.Namespace,
    found: Sequence[cases.Case],
    times: cases.Times,
    folder: Path,
    tell: Callable[[str], None],
) -> report.Run:
    """Run the cases on one node.

    Args:
        chosen: The command line of ``bench``.
        found: The cases.
        times: How long each takes.
        folder: For the node's data.
        tell: Called with what is being done.

    Raises:
        HallError: There is no disk to measure, or the hall did not serve.
    """
    with servers.open_ground(chosen.data) as ground:
        tell("filling PostgreSQL")
        deeds = transactions.prepare(ground)
        filled = cases.fill(
            chosen.program,
            folder / "hall-postgres",
            tls=False,
            entries=chosen.entries,
            standing=ground.standing,
        )
        shared = engines.Engine(
            ENGINE, ground.durability(), ("fsync", *WRITES), lambda _tls: filled, deeds
        )
        return engines.measure(chosen, found, times, folder, shared, tell)


def ratios(run: report.Run) -> list[str]:
    """Say how the rate of each write compares with each yardstick that writes, as lines."""
    means = {each.name: each.per_s for each in run.yardsticks if each.name in WRITES}
    cells = [
        [
            result.case.door,
            result.case.verb,
            *(f"{result.outcome.calls_per_s / mean:.2f}" for mean in means.values()),
        ]
        for one in run.rounds
        for result in one.results
        if result.case.yardstick in WRITES
    ]
    return report.table(["door", "a write, in units of", *means], cells) if cells else []


if __name__ == "__main__":
    from bench.__main__ import main

    sys.exit(main(["--engine", ENGINE, *sys.argv[1:]]))
