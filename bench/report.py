"""Say what was measured: a table for people, JSON for comparing runs."""

import os
import platform
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import apsw
import msgspec

from bench.cases import Result, Round, Times
from bench.yardsticks import Yardstick

BOTTLENECK_SHARE = 0.9
DRIFT_MAX = 0.15
SYNCS_PER_S_MAX = 100_000
MIB = 1 << 20


class Machine(msgspec.Struct, frozen=True):
    """Where and when the figures were taken."""

    date: str
    cores: int
    kernel: str
    python: str
    sqlite: str
    load_average: float


class Run(msgspec.Struct, frozen=True):
    """Everything one run of the bench has seen on one engine."""

    engine: str
    machine: Machine
    entries: int
    times: Times
    durability: str
    yardsticks: list[Yardstick]
    rounds: list[Round]

    @property
    def failures(self) -> int:
        """The failed calls of all cases."""
        return sum(each.outcome.failures for one in self.rounds for each in one.results)


class Row(msgspec.Struct, frozen=True):
    """One line of the table, with what is derived from the raw counts."""

    case: str
    door: str
    connections: int
    in_flight: int
    tls: bool
    calls: int
    seconds: float
    calls_per_s: float
    yardstick: str
    ratio: float
    of_plain: float | None
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    server_cpu_us: float
    generator_cpu_us: float
    generator_share: float
    failures: int
    first_failure: str
    beside_cpu_us: dict[str, float]


def this_machine() -> Machine:
    """Describe the machine, before the bench itself loads it."""
    return Machine(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        cores=os.cpu_count() or 0,
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        sqlite=apsw.sqlite_lib_version(),
        load_average=os.getloadavg()[0],
    )


def rows(run: Run) -> list[Row]:
    """Return a line per case."""
    plain = {each.case.name: each for one in run.rounds if not one.tls for each in one.results}
    return [
        row(each, plain[each.case.name], tls=one.tls) for one in run.rounds for each in one.results
    ]


def row(result: Result, plain: Result, *, tls: bool) -> Row:
    """Return the line of one case, beside the same case over plain HTTP."""
    seen = result.outcome
    return Row(
        case=result.case.verb,
        door=result.case.door,
        connections=result.case.connections,
        in_flight=result.case.in_flight,
        tls=tls,
        calls=seen.calls,
        seconds=seen.seconds,
        calls_per_s=seen.calls_per_s,
        yardstick=result.case.yardstick,
        ratio=result.ratio,
        # By the ratios, so that what others did to the machine meanwhile cancels.
        of_plain=result.ratio / plain.ratio if tls and plain.ratio else None,
        p50_ms=seen.p50_ms,
        p90_ms=seen.p90_ms,
        p99_ms=seen.p99_ms,
        max_ms=seen.max_ms,
        server_cpu_us=seen.server_cpu_us,
        generator_cpu_us=seen.generator_cpu_us,
        generator_share=seen.generator_share,
        failures=seen.failures,
        first_failure=seen.first_failure,
        beside_cpu_us=seen.beside_cpu_us,
    )


def as_json(runs: Sequence[Run]) -> bytes:
    """Return all figures as indented JSON: a list of runs, with the table's lines as ``rows``."""
    return msgspec.json.format(
        msgspec.json.encode(
            [
                {
                    "engine": run.engine,
                    "machine": run.machine,
                    "entries": run.entries,
                    "durability": run.durability,
                    "times": run.times,
                    "yardsticks": run.yardsticks,
                    "rows": rows(run),
                    "footprints": [{"tls": one.tls, "hall": one.footprint} for one in run.rounds],
                }
                for run in runs
            ]
        )
    )


def as_text(run: Run) -> str:
    """Return the figures as a readable table."""
    lines = [*header(run), "", *yardstick_table(run), "", *case_table(rows(run)), ""]
    return "\n".join([*lines, *footprint_lines(run), *warnings(run)])


def header(run: Run) -> Iterator[str]:
    """Say where, when and under which conditions."""
    machine = run.machine
    doors = "plain HTTP and TLS" if any(one.tls for one in run.rounds) else "TLS off"
    yield (
        f"{machine.date}  {machine.cores} cores, {machine.kernel}, Python {machine.python},"
        f" SQLite {machine.sqlite}, load {machine.load_average:.1f} before"
    )
    yield (
        f"{run.engine}, durability {run.durability}; {doors}; {run.entries:,} entries on the board;"
        f" {run.times.measured_s:g} s a case after {run.times.warmup_s:g} s of warm-up"
    )


def yardstick_table(run: Run) -> list[str]:
    """Say what the machine can do without the hall."""
    cells = [
        [
            each.name,
            f"{each.per_s:,.0f}",
            f"{min(take.per_s for take in each.takes):,.0f}",
            f"{max(take.per_s for take in each.takes):,.0f}",
            f"{each.cpu_us:.1f}",
            f"{len(each.takes)}",
            each.meaning,
        ]
        for each in run.yardsticks
    ]
    title = ["yardstick", "per second", "slowest", "fastest", "cpu µs", "takes", "meaning"]
    return table(title, cells)


def case_table(lines: Sequence[Row]) -> list[str]:
    """Say what the hall did."""
    title = [
        "case",
        "door",
        "conn",
        "in flight",
        "tls",
        "N",
        "s",
        "calls/s",
        "ratio",
        "to",
        "of plain",
        "p50 ms",
    ]
    beside = list(lines[0].beside_cpu_us)
    title += ["p99 ms", "server µs", *(f"{name} µs" for name in beside)]
    title += ["generator µs", "failures"]
    cells = [
        [
            each.case,
            each.door,
            f"{each.connections}",
            f"{each.in_flight}",
            "yes" if each.tls else "no",
            f"{each.calls:,}",
            f"{each.seconds:.1f}",
            f"{each.calls_per_s:,.0f}",
            f"{each.ratio:.2f}",
            each.yardstick,
            "-" if each.of_plain is None else f"{each.of_plain:.2f}",
            f"{each.p50_ms:.2f}",
            f"{each.p99_ms:.2f}",
            f"{each.server_cpu_us:.1f}",
            *(f"{each.beside_cpu_us[name]:.1f}" for name in beside),
            f"{each.generator_cpu_us:.1f}",
            f"{each.failures:,}",
        ]
        for each in lines
    ]
    return table(title, cells)


def footprint_lines(run: Run) -> Iterator[str]:
    """Say how soon each hall answered and how much memory it took."""
    for one in run.rounds:
        hall = one.footprint
        yield (
            f"hall {'over TLS' if one.tls else 'plain'}: first answer after"
            f" {hall.start_empty_s:.2f} s on an empty folder, {hall.start_filled_s:.2f} s filled;"
            f" {hall.idle_bytes / MIB:.0f} MiB idle, {hall.after_bytes / MIB:.0f} MiB after"
        )


def warnings(run: Run) -> Iterator[str]:
    """Name what makes the figures doubtful, and each case's first failure."""
    for limit in run.yardsticks:
        if limit.drift > DRIFT_MAX:
            yield (
                f"WARNING {limit.name} varied by {limit.drift:.0%} during the run:"
                " the machine is not quiet"
            )
        if limit.name == "fsync" and limit.per_s > SYNCS_PER_S_MAX:
            yield "WARNING fsync costs nothing here, as if in memory: say --data with a real disk"
    for each in rows(run):
        name = f"{each.door}/{each.case}:{each.connections}{' over TLS' if each.tls else ''}"
        if each.generator_share > BOTTLENECK_SHARE:
            yield (
                f"WARNING {name}: the generator used {each.generator_share:.0%} of a core;"
                " the hall could do more"
            )
        if each.failures:
            yield f"FAILED {name}: {each.failures:,} failures, the first:\n{each.first_failure}"


def table(title: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    """Align columns: those that hold numbers to the right."""
    columns = list(zip(title, *cells, strict=True))
    widths = [max(map(len, column)) for column in columns]
    numeric = [all(is_number(cell) for cell in column[1:]) for column in columns]
    return [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in (title, *cells)
    ]


def is_number(cell: str) -> bool:
    """Return whether a cell is a number as this module writes them."""
    return cell == "-" or cell.replace(",", "").replace(".", "").isdigit()
