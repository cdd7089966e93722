"""``python -m bench``: parse what is wanted, run it, report it."""

import argparse
import sys
import tempfile
from pathlib import Path

from msgspec import structs

from bench import cases, report, yardsticks
from bench.hall import HallError
from bench.load import LoadError
from bench.wires import IN_FLIGHT_MAX
from bench.worker import WorkerError

MEASURED_S_MAX = 180.0
"""An access token lives for five minutes and is not renewed within a case."""


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    add = parser.add_argument
    add("--seconds", type=float, default=5.0, help="how long each case is measured (5)")
    add("--warmup", type=float, default=1.0, help="seconds of each case not measured (1)")
    add("--entries", type=int, default=20_000, help="rows on the board beforehand (20000)")
    add("--only", action="append", default=[], metavar="CASE", help="ping or websocket/ping:64")
    add("--doors", action="store_true", help="the same calls at each door, 1 and 64 connections")
    add("--in-flight", type=int, default=1, help="calls under way on each connection (1)")
    add("--tls", action="store_true", help="run everything again over TLS")
    add("--data", type=Path, help="a folder on the disk to measure (the temporary folder)")
    add("--json", type=Path, metavar="FILE", help="write the figures here too")
    add(
        "--program",
        type=Path,
        default=Path(sys.executable).with_name("moothall"),
        help="the hall to start (the one beside this Python)",
    )
    chosen = parser.parse_args(arguments)
    if not 0 < chosen.seconds <= MEASURED_S_MAX:
        parser.error(f"--seconds lies between 0 and {MEASURED_S_MAX:g}")
    if not chosen.program.exists():
        parser.error(f"there is no program {chosen.program}")
    if not 1 <= chosen.in_flight <= IN_FLIGHT_MAX:
        parser.error(f"--in-flight lies between 1 and {IN_FLIGHT_MAX}")
    try:
        found = cases.select(chosen.only, cases.DOOR_CASES if chosen.doors else cases.CASES)
        chosen.cases = [structs.replace(each, in_flight=chosen.in_flight) for each in found]
    except ValueError as error:
        parser.error(str(error))
    return chosen


def measure(chosen: argparse.Namespace, folder: Path) -> report.Run:
    """Take the yardsticks, run the cases, take the yardsticks again."""
    machine = report.this_machine()
    times = cases.Times(chosen.warmup, chosen.seconds)
    names = sorted({case.yardstick for case in chosen.cases} - {*yardsticks.ALWAYS})
    take_s = min(times.measured_s, yardsticks.TAKE_S_MAX)
    yard = yardsticks.Yard(folder, take_s, names, chosen.in_flight)
    rounds = []
    for tls in (False, True) if chosen.tls else (False,):
        tell(f"filling a board with {chosen.entries:,} entries")
        data = folder / ("hall-tls" if tls else "hall")
        filled = cases.fill(chosen.program, data, tls=tls, entries=chosen.entries)
        tell("yardsticks")
        yard.take_all()
        rounds.append(
            cases.measure(chosen.program, filled, chosen.cases, times, yard, tls=tls, tell=tell)
        )
    tell("yardsticks")
    yard.take_all()
    return report.Run(
        machine=machine,
        entries=chosen.entries,
        times=times,
        durability="synchronous=FULL",
        yardsticks=list(yard.yardsticks.values()),
        rounds=rounds,
    )


def tell(what: str) -> None:
    """Say on standard error what is being done."""
    print(f"... {what}", file=sys.stderr, flush=True)


def main() -> int:
    """Run the bench; return 1 if a call of any case failed or the hall did not serve."""
    chosen = parse()
    try:
        with tempfile.TemporaryDirectory(prefix="moothall-bench-", dir=chosen.data) as folder:
            run = measure(chosen, Path(folder))
    except (HallError, LoadError, WorkerError) as error:
        print(error, *getattr(error, "__notes__", ()), sep="\n", file=sys.stderr)
        return 1
    print(report.as_text(run))
    if chosen.json:
        chosen.json.write_bytes(report.as_json(run) + b"\n")
    return 1 if run.failures else 0


if __name__ == "__main__":
    sys.exit(main())
