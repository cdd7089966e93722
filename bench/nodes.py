"""``python -m bench.nodes``: one hall on several nodes, and what each part of it costs.

On one machine several nodes share its cores, so the rate does not grow with them; read the
processor time: of the nodes, of PostgreSQL and of NATS, for each call. Then what a push to another
node takes, with the bus and without; what connections at rest cost; and what a node does for an
event that another one has written. ``--json`` keeps it for ``python -m bench.scale``.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from bench import cases, costs, load, pushes, readers, servers, wires, worker
from bench.hall import Hall, HallError, raise_file_limit, renew, serve
from bench.memory import REST_S, sources, weigh
from bench.report import table, this_machine
from moothall.client.errors import ClientError

KEY_FILE = "sealing.key"
CONNECTIONS = 64
FEW_CONNECTIONS = 8
"""For what an event costs: many at once would be read together."""
TITLE_CALLS = [
    *("nodes", "call", "N", "calls/s", "p50 ms", "p99 ms", "nodes µs", "postgres µs", "nats µs"),
    *("log bytes", "failures"),
]


class Bench:
    """The servers, the hall's data, and how long each thing is measured."""

    def __init__(
        self, ground: servers.Ground, filled: cases.Filled, chosen: argparse.Namespace
    ) -> None:
        self.ground = ground
        self.filled = filled
        self.program: Path = chosen.program
        self.times = cases.Times(chosen.warmup, chosen.seconds)
        self.rest_s: float = chosen.rest

    @contextmanager
    def serve(self, count: int, *, has_bus: bool = True) -> Iterator[list[Hall]]:
        """Run so many nodes."""
        options = self.ground.options if has_bus else self.ground.without_bus
        with ExitStack() as opened:
            halls = []
            for number in range(count):
                folder = self.filled.folder.with_name(f"node{number}")
                if not folder.exists():
                    folder.mkdir(mode=0o700)
                    shutil.copy(self.filled.folder / KEY_FILE, folder / KEY_FILE)
                hall, _ = opened.enter_context(
                    serve(self.program, folder, tls=False, options=options)
                )
                halls.append(hall)
            renew(halls[0], self.filled.members, self.times.total_s + 2 * self.rest_s)
            halls[0].hang_up()
            yield halls

    def load(
        self, action: str, connections: int, halls: Sequence[Hall], beside: dict[str, int]
    ) -> load.Outcome:
        """Call some nodes by WebSocket; ``beside`` are other processes to watch."""
        case = cases.Case(action, connections, "", wires.WEBSOCKET)
        filled = self.filled
        return load.run(
            load.Plan(
                ports=[hall.port for hall in halls],
                tls=False,
                connections=connections,
                warmup_s=self.times.warmup_s,
                seconds=self.times.measured_s,
                server_pids=[hall.pid for hall in halls],
                scripts=[cases.script(case, each, filled.board_id) for each in filled.members],
                door=wires.WEBSOCKET,
                tokens=[each.access_token for each in filled.members],
                beside_pids=self.ground.pids | beside,
            )
        )


def measure_calls(bench: Bench, halls: Sequence[Hall]) -> Iterator[costs.Calls]:
    """Yield what each action costs on these nodes."""
    for action in costs.ACTIONS:
        before = bench.ground.written_bytes()
        seen = bench.load(action, CONNECTIONS, halls, {})
        # Calls of the warm-up have written too; their number is not known.
        total_s = bench.times.total_s
        written = (bench.ground.written_bytes() - before) * bench.times.measured_s / total_s
        yield costs.Calls(
            nodes=len(halls),
            action=action,
            connections=CONNECTIONS,
            calls=seen.calls,
            calls_per_s=seen.calls_per_s,
            p50_ms=seen.p50_ms,
            p99_ms=seen.p99_ms,
            node_us=seen.server_cpu_us,
            postgres_us=seen.beside_cpu_us["postgres"],
            nats_us=seen.beside_cpu_us["nats"],
            log_bytes=written / max(seen.calls, 1),
            failures=seen.failures,
            first_failure=seen.first_failure,
        )


def measure_push(bench: Bench, count: int, events: int, *, has_bus: bool) -> costs.Push:
    """Write at the first node and follow at the last."""
    filled = bench.filled
    with bench.serve(count, has_bus=has_bus) as halls:
        took = pushes.measure(halls[0], halls[-1], filled.members[0], filled.board_id, events)
    return costs.Push(
        count, has_bus, events, pushes.quantile(took, 0.5), pushes.quantile(took, 0.99)
    )


def measure_rest(bench: Bench, connections: int) -> costs.Rest:
    """Let one node rest, alone and with connections that follow where nothing happens."""
    with bench.serve(1) as (hall,), worker.start("bench.readers") as reading:
        time.sleep(REST_S)
        postgres_before = load.cpu_seconds(bench.ground.postgres.pid)
        before = load.cpu_seconds(hall.pid)
        time.sleep(bench.rest_s)
        node_s = load.cpu_seconds(hall.pid) - before
        postgres_s = load.cpu_seconds(bench.ground.postgres.pid) - postgres_before
        empty = weigh(hall.pid)
        reading.ask(
            readers.Open(
                door=wires.WEBSOCKET,
                port=hall.port,
                tls=False,
                connections=connections,
                tokens=[member.access_token for member in bench.filled.members],
                feed=f"board/{bench.filled.board_id}",
                sources=sources(connections),
                is_quiet=True,
            ),
            float,
        )
        rest = reading.ask(readers.Measure(REST_S, bench.rest_s, hall.pid), readers.Counted)
        full = weigh(hall.pid)
        closed = reading.ask(readers.Listen(is_on=True), dict[str, int])
    if closed:
        raise HallError(f"the hall closed connections at rest: {closed}")
    busy_us_per_s = rest.server_cpu_s / rest.seconds * 1e6 - node_s / bench.rest_s * 1e6
    return costs.Rest(
        connections=connections,
        seconds=rest.seconds,
        connection_bytes=(full.rss - empty.rss) / connections,
        connection_us_per_s=max(0.0, busy_us_per_s / connections),
        node_us_per_s=node_s / bench.rest_s * 1e6,
        postgres_us_per_s=postgres_s / bench.rest_s * 1e6,
    )


def measure_tail(bench: Bench, followers: int) -> costs.TailCosts:
    """Write at one node: alone, beside another one, and where many follow at that."""
    with bench.serve(1) as halls:
        alone = bench.load(costs.WRITE, FEW_CONNECTIONS, halls, {})
    with bench.serve(2) as (first, other), worker.start("bench.readers") as reading:
        beside = {"other": other.pid}
        unread = bench.load(costs.WRITE, FEW_CONNECTIONS, [first], beside)
        reading.ask(
            readers.Open(
                door=wires.WEBSOCKET,
                port=other.port,
                tls=False,
                connections=followers,
                tokens=[member.access_token for member in bench.filled.members],
                feed=f"board/{bench.filled.board_id}/moderation",
                sources=sources(followers),
            ),
            float,
        )
        read = bench.load(costs.WRITE, FEW_CONNECTIONS, [first], beside)
        settled = reading.ask(readers.Settle(), readers.Settled)
    if settled.closed or settled.odd:
        raise HallError(f"followers missed events: {settled.odd} of them; closed: {settled.closed}")
    unread_us, read_us = unread.beside_cpu_us["other"], read.beside_cpu_us["other"]
    return costs.TailCosts(
        events=unread.calls,
        node_us=unread_us,
        followers=followers,
        delivery_us=max(0.0, (read_us - unread_us) / followers),
        postgres_us=max(0.0, unread.beside_cpu_us["postgres"] - alone.beside_cpu_us["postgres"]),
    )


def measure(chosen: argparse.Namespace, folder: Path) -> costs.Seen:
    """Measure everything, on servers of its own.

    Raises:
        HallError: There is no disk to measure, or a node did not serve.
    """
    machine = this_machine()
    with servers.open_ground(chosen.data, has_bus=True) as ground:
        durability = ground.durability()
        tell("filling PostgreSQL")
        filled = cases.fill(
            chosen.program,
            folder / "node0",
            tls=False,
            entries=chosen.entries,
            level="moderate",
            standing=ground.standing,
        )
        bench = Bench(ground, filled, chosen)
        calls: list[costs.Calls] = []
        for count in chosen.nodes:
            tell(f"{count} nodes")
            with bench.serve(count) as halls:
                calls += measure_calls(bench, halls)
        tell("pushes")
        pushed = [
            measure_push(bench, count, chosen.pushes, has_bus=has_bus)
            for count, has_bus in ((1, True), (2, True), (2, False))
        ]
        tell("connections at rest")
        rest = measure_rest(bench, chosen.open)
        tell("the tail")
        tail = measure_tail(bench, chosen.followers)
    return costs.Seen(
        date=machine.date,
        cores=machine.cores,
        kernel=machine.kernel,
        python=machine.python,
        durability=durability,
        calls=calls,
        pushes=pushed,
        rest=rest,
        tail=tail,
    )


def as_text(seen: costs.Seen) -> str:
    """Return the figures for a person."""
    cells = [
        [
            f"{each.nodes}",
            each.action.partition(".")[2],
            f"{each.calls:,}",
            f"{each.calls_per_s:,.0f}",
            f"{each.p50_ms:.2f}",
            f"{each.p99_ms:.2f}",
            f"{each.node_us:.1f}",
            f"{each.postgres_us:.1f}",
            f"{each.nats_us:.1f}",
            f"{each.log_bytes:,.0f}",
            f"{each.failures}",
        ]
        for each in seen.calls
    ]
    pushed = [
        [
            f"{each.nodes}",
            "yes" if each.has_bus else "no",
            f"{each.events}",
            f"{each.p50_ms:.2f}",
            f"{each.p99_ms:.2f}",
        ]
        for each in seen.pushes
    ]
    rest, tail = seen.rest, seen.tail
    lines = [
        f"{seen.date}  {seen.cores} cores, {seen.kernel}, Python {seen.python}, {seen.durability}",
        "",
        *table(TITLE_CALLS, cells),
        "",
        "from the writer's answer to the follower at the last node:",
        *table(["nodes", "bus", "events", "p50 ms", "p99 ms"], pushed),
        "",
        *table(
            ["what", "node", "postgres"],
            [
                [
                    "a node at rest, µs a second",
                    f"{rest.node_us_per_s:,.0f}",
                    f"{rest.postgres_us_per_s:,.0f}",
                ],
                [
                    f"each of {rest.connections:,} connections at rest, bytes",
                    f"{rest.connection_bytes:,.0f}",
                    "-",
                ],
                ["the same, µs a second", f"{rest.connection_us_per_s:.2f}", "-"],
                [
                    "an event of another node, µs",
                    f"{tail.node_us:.1f}",
                    f"{tail.postgres_us:.1f}",
                ],
                [
                    f"each of {tail.followers:,} followers more, µs",
                    f"{tail.delivery_us:.2f}",
                    "-",
                ],
            ],
        ),
    ]
    return "\n".join(lines)


def tell(what: str) -> None:
    """Say on standard error what is being done."""
    print(f"... {what}", file=sys.stderr, flush=True)


def parse() -> argparse.Namespace:
    """Read the command line."""
    summary, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(prog="python -m bench.nodes", description=summary, epilog=rest)
    add = parser.add_argument
    add("--nodes", default="1,2,3", help="how many nodes, one number after the other (1,2,3)")
    add("--seconds", type=float, default=5.0, help="how long each case is measured (5)")
    add("--warmup", type=float, default=1.0, help="seconds of each case not measured (1)")
    add("--entries", type=int, default=20_000, help="rows on the board beforehand (20000)")
    add("--pushes", type=int, default=200, help="events that are waited for (200)")
    add("--open", type=int, default=2_000, help="connections at rest (2000)")
    add("--rest", type=float, default=30.0, help="seconds they rest, two heartbeats or more (30)")
    add("--followers", type=int, default=500, help="who follow at the other node (500)")
    add("--data", type=Path, help="a folder on the disk to measure (the temporary folder)")
    add("--json", type=Path, metavar="FILE", help="write the figures here too")
    program = Path(sys.executable).with_name("moothall")
    add("--program", type=Path, default=program, help="the hall to start (the one beside this)")
    chosen = parser.parse_args()
    try:
        chosen.nodes = [int(each) for each in chosen.nodes.split(",")]
    except ValueError:
        parser.error("--nodes takes numbers, as in 1,2,3")
    if not all(1 <= each <= 8 for each in chosen.nodes):
        parser.error("--nodes lie between 1 and 8: they share this machine")
    if min(chosen.open, chosen.followers, chosen.pushes) < 1:
        parser.error("--open, --followers and --pushes are 1 or more")
    return chosen


def main() -> int:
    """Measure and print; 1 if a node did not serve, or a call failed."""
    chosen = parse()
    raise_file_limit()
    try:
        with tempfile.TemporaryDirectory(prefix="moothall-bench-", dir=chosen.data) as folder:
            seen = measure(chosen, Path(folder))
    except (HallError, ClientError, load.LoadError, worker.WorkerError) as error:
        print(error, *getattr(error, "__notes__", ()), sep="\n", file=sys.stderr)
        return 1
    print(as_text(seen))
    if chosen.json:
        chosen.json.write_bytes(msgspec.json.format(msgspec.json.encode(seen)) + b"\n")
    failed = [each for each in seen.calls if each.failures]
    for each in failed:
        print(f"FAILED {each.nodes} nodes, {each.action}: {each.failures}, {each.first_failure}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
