"""One run of the cases on one engine: yardsticks, the cases on a filled hall, yardsticks again."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from bench import cases, report
from bench.yardsticks import TAKE_S_MAX, Deed, Yard


class Engine(msgspec.Struct, frozen=True):
    """Where the rows of a hall lie, and what is measured beside them."""

    name: str
    durability: str
    """By what a commit is on the disk."""
    yardsticks: Sequence[str]
    """Those that are always taken; the cases name others."""
    fill: Callable[[bool], cases.Filled]
    """Returns the hall of a round: with TLS, or without."""
    deeds: Mapping[str, Deed] = {}
    """Yardsticks of this engine alone."""


def measure(
    chosen: argparse.Namespace,
    found: Sequence[cases.Case],
    times: cases.Times,
    folder: Path,
    engine: Engine,
    tell: Callable[[str], None],
) -> report.Run:
    """Measure a round without TLS, and one with it if that was asked for.

    Args:
        chosen: The command line of ``bench``.
        found: The cases.
        times: How long each takes.
        folder: For the yardsticks' files.
        engine: Where the rows lie.
        tell: Called with what is being done.

    Raises:
        HallError: The hall did not serve.
    """
    machine = report.this_machine()
    names = dict.fromkeys((*engine.yardsticks, *sorted({case.yardstick for case in found})))
    take_s = min(times.measured_s, TAKE_S_MAX)
    yard = Yard(folder, take_s, names, chosen.in_flight, engine.deeds)
    rounds = []
    for tls in (False, True) if chosen.tls else (False,):
        filled = engine.fill(tls)
        tell("yardsticks")
        yard.take_all()
        rounds.append(cases.measure(chosen.program, filled, found, times, yard, tls=tls, tell=tell))
    tell("yardsticks")
    yard.take_all()
    return report.Run(
        engine=engine.name,
        machine=machine,
        entries=chosen.entries,
        times=times,
        durability=engine.durability,
        yardsticks=list(yard.yardsticks.values()),
        rounds=rounds,
    )
