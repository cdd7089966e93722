"""What open connections cost a hall in memory: ``python -m bench.memory``.

Opens connections, signed in, each following the feed of a board where nothing happens, from many
addresses of loopback (127.x.y.z, so on Linux only), and reads the memory of the hall's process:
before the first, and with so many open. ``kB each`` is the growth by one of them. PSS counts
memory that is shared with other processes in part; what the kernel holds for a connection is in
neither.

Each line is a fresh hall. Members have up to 64 connections each, so it has one for 50.
"""

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import psutil

from bench import readers, wires, worker
from bench.cases import Filled, fill
from bench.hall import HallError, raise_file_limit, renew, serve
from bench.report import table, this_machine

PER_MEMBER = 50
PER_SOURCE = 200
REST_S = 2.0
"""Until what was needed to open is given back."""
KB, MB = 1_000, 1_000_000
TITLE = [
    *("door", "tls", "open", "RSS MB", "PSS MB", "kB each (RSS)", "kB each (PSS)"),
    *("opened in s", "server % at rest"),
]


class Weight(msgspec.Struct, frozen=True):
    """Memory of a process and its children, in bytes."""

    rss: int
    pss: int


def weigh(pid: int) -> Weight:
    """Return what a process holds now."""
    process = psutil.Process(pid)
    found = [each.memory_full_info() for each in (process, *process.children(recursive=True))]
    return Weight(sum(each.rss for each in found), sum(each.pss for each in found))


def sources(connections: int) -> tuple[str, ...]:
    """Return addresses of loopback, one for each ``PER_SOURCE`` connections."""
    count = math.ceil(connections / PER_SOURCE)
    return tuple(f"127.0.2.{number + 1}" for number in range(count))


def measure(
    program: Path, filled: Filled, door: str, counts: Sequence[int], *, tls: bool
) -> list[list[str]]:
    """Return the cells of a line for each number of open connections, nought first."""
    lines = []
    with (
        serve(program, filled.folder, tls=tls) as (hall, _),
        worker.start("bench.readers") as reading,
    ):
        renew(hall, filled.members, 0)
        hall.hang_up()
        time.sleep(REST_S)
        idle = weigh(hall.pid)
        lines.append([door, _yes(tls=tls), "0", *_mb(idle), "-", "-", "-", "-"])
        opened, seconds = 0, 0.0
        for count in counts:
            wanted = readers.Open(
                door=door,
                port=hall.line_port if door == wires.NDJSON else hall.port,
                tls=tls,
                connections=count - opened,
                tokens=[member.access_token for member in filled.members],
                feed=f"board/{filled.board_id}",
                sources=sources(max(counts)),
            )
            seconds += reading.ask(wanted, float)
            opened = count
            time.sleep(REST_S)
            now = weigh(hall.pid)
            rest = reading.ask(readers.Measure(0.0, REST_S, hall.pid), readers.Counted)
            each = [(now.rss - idle.rss) / KB / count, (now.pss - idle.pss) / KB / count]
            busy = rest.server_cpu_s / rest.seconds * 100
            told = [*(f"{kb:.1f}" for kb in each), f"{seconds:.1f}", f"{busy:.1f}"]
            lines.append([door, _yes(tls=tls), f"{count:,}", *_mb(now), *told])
        settled = reading.ask(readers.Settle(), readers.Settled)
        if settled.closed:
            raise worker.WorkerError(f"{door}: the hall closed connections: {settled.closed}")
    return lines


def _mb(weight: Weight) -> list[str]:
    return [f"{weight.rss / MB:.1f}", f"{weight.pss / MB:.1f}"]


def _yes(*, tls: bool) -> str:
    return "yes" if tls else "no"


def main() -> int:
    """Measure and print; 1 if the hall did not serve, or closed a connection."""
    summary, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m bench.memory",
        description=summary,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--open", type=int, action="append", help="connections (1000 and 5000)")
    add("--door", choices=(wires.WEBSOCKET, wires.NDJSON), action="append", help="both")
    add("--tls", choices=("yes", "no"), action="append", help="over TLS or not (both)")
    program = Path(sys.executable).with_name("moothall")
    add("--program", type=Path, default=program, help="the hall to start (the one beside this)")
    chosen = parser.parse_args()
    raise_file_limit()
    machine, lines = this_machine(), []
    counts = sorted(chosen.open or (1_000, 5_000))
    try:
        with tempfile.TemporaryDirectory(prefix="moothall-bench-") as folder:
            members = math.ceil(counts[-1] / PER_MEMBER)
            for tls in (each == "yes" for each in chosen.tls or ("no", "yes")):
                data = Path(folder) / f"hall-{tls}"
                filled = fill(chosen.program, data, tls=tls, entries=0, members=members)
                for door in chosen.door or (wires.WEBSOCKET, wires.NDJSON):
                    lines += measure(chosen.program, filled, door, counts, tls=tls)
    except (HallError, worker.WorkerError) as error:
        print(error, *getattr(error, "__notes__", ()), sep="\n", file=sys.stderr)
        return 1
    print(
        f"{machine.date}, {machine.kernel}, Python {machine.python}, {machine.cores} cores, "
        f"load {machine.load_average:.1f}\n"
    )
    print(*table(TITLE, lines), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
