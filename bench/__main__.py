"""``python -m bench``: parse what is wanted, run it, report it."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import structs

from bench import cases, engines, postgres, report, yardsticks
from bench.hall import HallError
from bench.load import LoadError
from bench.wires import IN_FLIGHT_MAX
from bench.worker import WorkerError

MEASURED_S_MAX = 180.0
"""An access token lives for five minutes and is not renewed within a case."""

SQLITE = "sqlite"
ENGINES = (SQLITE, postgres.ENGINE)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    add = parser.add_argument
    add("--seconds", type=float, default=5.0, help="how long each case is measured (5)")
    add("--warmup", type=float, default=1.0, help="seconds of each case not measured (1)")
    add("--entries", type=int, default=20_000, help="rows on the board beforehand (20000)")
    add("--only", action="append", default=[], metavar="CASE", help="ping or websocket/ping:64")
    add("--engine", choices=ENGINES, action="append", help="where the hall keeps its rows (both)")
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
        chosen.cases = find_cases(
            chosen.engine or ENGINES, chosen.only, chosen.in_flight, are_doors=chosen.doors
        )
    except ValueError as error:
        parser.error(str(error))
    return chosen


def find_cases(
    engines: Sequence[str], only: Sequence[str], in_flight: int, *, are_doors: bool
) -> dict[str, list[cases.Case]]:
    """Return the cases by engine; an engine that has none of these names is left out.

    Raises:
        ValueError: A name fits no case of any of the engines.
    """
    offered = {SQLITE: cases.CASES, postgres.ENGINE: cases.POSTGRES_CASES}
    by_engine = {engine: cases.DOOR_CASES if are_doors else offered[engine] for engine in engines}
    wanted = cases.select(only, [case for each in by_engine.values() for case in each])
    return {
        engine: [structs.replace(case, in_flight=in_flight) for case in each if case in wanted]
        for engine, each in by_engine.items()
        if any(case in wanted for case in each)
    }


def measure(
    chosen: argparse.Namespace,
    found: Sequence[cases.Case],
    times: cases.Times,
    folder: Path,
    tell: Callable[[str], None],
) -> report.Run:
    """Run the cases on SQLite, each round on a hall of its own."""

    def fill(tls: bool) -> cases.Filled:  # noqa: FBT001 - as Engine.fill
        tell(f"filling a board with {chosen.entries:,} entries")
        data = folder / ("hall-tls" if tls else "hall")
        return cases.fill(chosen.program, data, tls=tls, entries=chosen.entries)

    embedded = engines.Engine(SQLITE, "synchronous=FULL", yardsticks.ALWAYS, fill)
    return engines.measure(chosen, found, times, folder, embedded, tell)


def tell(what: str) -> None:
    """Say on standard error what is being done."""
    print(f"... {what}", file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Run the bench; return 1 if a call of any case failed or the hall did not serve."""
    chosen = parse(arguments)
    times = cases.Times(chosen.warmup, chosen.seconds)
    runs = []
    try:
        for engine, found in chosen.cases.items():
            with tempfile.TemporaryDirectory(prefix="moothall-bench-", dir=chosen.data) as folder:
                take = measure if engine == SQLITE else postgres.measure
                run = take(chosen, found, times, Path(folder), tell)
            runs.append(run)
            print(report.as_text(run), *postgres.ratios(run), "", sep="\n")
    except (HallError, LoadError, WorkerError) as error:
        print(error, *getattr(error, "__notes__", ()), sep="\n", file=sys.stderr)
        return 1
    if chosen.json:
        chosen.json.write_bytes(report.as_json(runs) + b"\n")
    return 1 if any(run.failures for run in runs) else 0


if __name__ == "__main__":
    sys.exit(main())
