"""``python -m bench.postgres``: the bench of a hall on PostgreSQL alone.

The same cases as on SQLite, on a real server with durable commits, beside ``pgbench`` and one
statement by the driver. ``make bench`` takes it after SQLite; ``--engine`` chooses.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import cases, report, servers, transactions
from bench.yardsticks import TAKE_S_MAX, Yard

ENGINE = "postgres"
WRITES = ("pgbench", "pgbench-N", "insert", "insert:1")


def measure(
    chosen: argparse.Namespace,
    found: Sequence[cases.Case],
    times: cases.Times,
    folder: Path,
    tell: Callable[[str], None],
) -> report.Run:
    """Take the yardsticks, run the cases on one node, take the yardsticks again.

    Args:
        chosen: The command line of ``bench``.
        found: The cases.
        times: How long each takes.
        folder: For the node's data.
        tell: Called with what is being done.

    Raises:
        HallError: There is no disk to measure, or the hall did not serve.
    """
    machine = report.this_machine()
    names = dict.fromkeys(("fsync", *WRITES, *sorted({case.yardstick for case in found})))
    take_s = min(times.measured_s, TAKE_S_MAX)
    with servers.open_ground(chosen.data) as ground:
        durability = ground.durability()
        tell("filling PostgreSQL")
        deeds = transactions.prepare(ground)
        yard = Yard(folder, take_s, names, chosen.in_flight, deeds)
        filled = cases.fill(
            chosen.program,
            folder / "hall-postgres",
            tls=False,
            entries=chosen.entries,
            standing=ground.standing,
        )
        tell("yardsticks of PostgreSQL")
        yard.take_all()
        rounds = [
            cases.measure(chosen.program, filled, found, times, yard, tls=tls, tell=tell)
            for tls in ((False, True) if chosen.tls else (False,))
        ]
        tell("yardsticks of PostgreSQL")
        yard.take_all()
    return report.Run(
        engine=ENGINE,
        machine=machine,
        entries=chosen.entries,
        times=times,
        durability=durability,
        yardsticks=list(yard.yardsticks.values()),
        rounds=rounds,
    )


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
