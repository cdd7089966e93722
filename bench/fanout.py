"""Fan-out: what one writer's events cost when a crowd follows them: ``python -m bench.fanout``.

Members submit scores to a board; subscribers follow ``board/<id>/moderation``, where each score
is an event. ``paced``: one connection, one call at a time, so that each event is a commit and
a write of its own. ``full``: 64 connections as fast as they can, so that events of one commit
are joined. Beside it a bare server (picows, or asyncio.Protocol for lines) writes as many bytes to
as many readers, by itself in a loop: one message a write, and joined as the hall joined them.

``joined`` is messages a read, so at least what a write held. ``µs`` is processor time of the
server for one delivery, the writer's calls included. Exit status 1 if a reader was closed, or got
other bytes than the others.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from bench import bare, load, readers, wires, worker
from bench.cases import CASES, Filled, fill, script
from bench.hall import HallError, free_port, raise_file_limit, renew, serve
from bench.report import BOTTLENECK_SHARE, table, this_machine

WAIT_S = 1.5
"""From the start of a writer to the window; the writer outlasts the window by as much."""
WRITERS = {"paced": 1, "full": 64}
SUBMIT = next(
    each for each in CASES if each.door == wires.WEBSOCKET and each.verb == "submit_score"
)
TITLE = [
    *("door", "readers", "tls", "writer", "messages/s", "deliveries/s", "joined", "µs"),
    *("server %", "readers %", "bare/s", "bare µs", "ratio", "N", "s"),
]


class Crowd(msgspec.Struct, frozen=True):
    """Who reads, through which door, over TLS or not."""

    door: str
    readers: int
    tls: bool


class Fanout(msgspec.Struct, frozen=True):
    """What came to a crowd within a window."""

    counted: readers.Counted
    settled: readers.Settled

    @property
    def deliveries(self) -> float:
        """Messages that came to all readers together."""
        return self.counted.size_bytes / max(self.settled.message_bytes, 1)

    @property
    def per_s(self) -> float:
        """Deliveries a second."""
        return self.deliveries / self.counted.seconds

    @property
    def joined(self) -> float:
        """Messages a read."""
        return self.deliveries / max(self.counted.pieces, 1)

    @property
    def server_us(self) -> float:
        """Processor time of the server, in µs per delivery."""
        return self.counted.server_cpu_s * 1e6 / max(self.deliveries, 1)

    @property
    def failures(self) -> str:
        """What was wrong, or nothing."""
        told = [f"{count} closed: {reason}" for reason, count in self.settled.closed.items()]
        if self.settled.odd:
            told.append(f"{self.settled.odd} readers got other bytes than the first one")
        return "; ".join(told)


def follow_hall(
    port: int, server_pid: int, filled: Filled, crowd: Crowd, plan: load.Plan, seconds: float
) -> tuple[Fanout, load.Outcome]:
    """Let a crowd follow a board while its writers write."""
    with worker.start("bench.readers") as reading, ThreadPoolExecutor(1) as aside:
        reading.ask(
            readers.Open(
                door=crowd.door,
                port=port,
                tls=crowd.tls,
                connections=crowd.readers,
                tokens=[member.access_token for member in filled.members],
                feed=f"board/{filled.board_id}/moderation",
            ),
            float,
        )
        writing = aside.submit(load.run, plan)
        counted = reading.ask(readers.Measure(WAIT_S, seconds, server_pid), readers.Counted)
        outcome = writing.result()
        return Fanout(counted, reading.ask(readers.Settle(), readers.Settled)), outcome


def follow_bare(crowd: Crowd, size_bytes: int, joined: int, seconds: float) -> Fanout:
    """Let a crowd read what a bare server writes: messages of a size, so many in a write."""
    port = free_port()
    with (
        worker.start("bench.bare", crowd.door, str(port)) as server,
        worker.start("bench.readers") as reading,
    ):
        reading.ask(
            readers.Open(door=crowd.door, port=port, tls=False, connections=crowd.readers), float
        )
        text = '{"jsonrpc":"2.0","method":"event","params":"'
        text = text.ljust(size_bytes - len('"}'), "x") + '"}'
        server.tell(bare.Broadcast(text, joined, seconds + 2 * WAIT_S))
        counted = reading.ask(readers.Measure(WAIT_S, seconds, server.pid), readers.Counted)
        server.hear(bare.Sent)
        return Fanout(counted, reading.ask(readers.Settle(), readers.Settled))


def measure(
    program: Path, folder: Path, crowds: list[Crowd], seconds: float, *, tls: bool
) -> Iterator[tuple[list[str], str]]:
    """Yield the cells of a line for each crowd and writer, and what was wrong."""
    filled = fill(program, folder, tls=tls, entries=0, level="moderate")
    with serve(program, folder, tls=tls) as (hall, _):
        for crowd in crowds:
            for writer, connections in WRITERS.items():
                renew(hall, filled.members, 2 * WAIT_S + seconds)
                hall.hang_up()
                plan = load.Plan(
                    ports=[hall.port],
                    tls=tls,
                    connections=connections,
                    warmup_s=WAIT_S,
                    seconds=WAIT_S + seconds,
                    server_pids=[hall.pid],
                    scripts=[script(SUBMIT, each, filled.board_id) for each in filled.members],
                    door=wires.WEBSOCKET,
                    tokens=[each.access_token for each in filled.members],
                )
                port = hall.line_port if crowd.door == wires.NDJSON else hall.port
                seen, wrote = follow_hall(port, hall.pid, filled, crowd, plan, seconds)
                joined = 1 if writer == "paced" else max(1, round(seen.joined))
                size_bytes = max(100, round(seen.settled.message_bytes) - 4)
                beside = follow_bare(crowd, size_bytes, joined, seconds)
                failures = "; ".join(filter(None, (seen.failures, wrote.first_failure)))
                yield cells(crowd, writer, seen, beside), failures


def cells(crowd: Crowd, writer: str, seen: Fanout, beside: Fanout) -> list[str]:
    """Return a line of the table."""
    counted = seen.counted
    return [
        crowd.door,
        f"{crowd.readers:,}",
        "yes" if crowd.tls else "no",
        writer,
        f"{seen.per_s / crowd.readers:,.0f}",
        f"{seen.per_s:,.0f}",
        f"{seen.joined:.1f}",
        f"{seen.server_us:.2f}",
        f"{counted.server_cpu_s / counted.seconds * 100:.0f}",
        f"{counted.own_cpu_s / counted.seconds * 100:.0f}",
        f"{beside.per_s:,.0f}",
        f"{beside.server_us:.2f}",
        f"{seen.per_s / max(beside.per_s, 1):.2f}",
        f"{seen.deliveries:,.0f}",
        f"{counted.seconds:.1f}",
    ]


def parse() -> argparse.Namespace:
    """Read the command line."""
    summary, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m bench.fanout",
        description=summary,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--seconds", type=float, default=5.0, help="how long each line is measured (5)")
    add("--readers", type=int, action="append", help="subscribers (100 and 1000)")
    add("--door", choices=(wires.WEBSOCKET, wires.NDJSON), action="append", help="both")
    add("--tls", action="store_true", help="run everything again over TLS")
    add("--data", type=Path, help="a folder on the disk to measure (the temporary folder)")
    program = Path(sys.executable).with_name("moothall")
    add("--program", type=Path, default=program, help="the hall to start (the one beside this)")
    return parser.parse_args()


def main() -> int:
    """Measure and print; 1 if a reader missed anything, or the hall did not serve."""
    chosen = parse()
    raise_file_limit()
    machine = this_machine()
    lines, failures = [], []
    try:
        with tempfile.TemporaryDirectory(prefix="moothall-bench-", dir=chosen.data) as folder:
            for tls in (False, True) if chosen.tls else (False,):
                crowds = [
                    Crowd(door, count, tls)
                    for door in chosen.door or (wires.WEBSOCKET, wires.NDJSON)
                    for count in chosen.readers or (100, 1_000)
                ]
                data = Path(folder) / f"hall-{tls}"
                for line, wrong in measure(chosen.program, data, crowds, chosen.seconds, tls=tls):
                    lines.append(line)
                    print("...", *line[:6], file=sys.stderr, flush=True)
                    if wrong:
                        failures.append(f"FAILED {' '.join(line[:4])}: {wrong}")
                    if float(line[TITLE.index("readers %")]) > BOTTLENECK_SHARE * 100:
                        failures.append(f"WARNING {' '.join(line[:4])}: the readers were the limit")
    except (HallError, load.LoadError, worker.WorkerError) as error:
        print(error, *getattr(error, "__notes__", ()), sep="\n", file=sys.stderr)
        return 1
    print(
        f"{machine.date}, {machine.kernel}, Python {machine.python}, {machine.cores} cores, "
        f"load {machine.load_average:.1f}\n"
    )
    print(*table(TITLE, lines), *failures, sep="\n")
    return int(any(each.startswith("FAILED") for each in failures))


if __name__ == "__main__":
    sys.exit(main())
