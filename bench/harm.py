"""What harm one client can do to others: ``python -m bench.harm``.

16 members call a hall over TLS, with its ordinary limits, 20 pings and 10 scores a second each;
then somebody does harm, then stops. What is held is the p99 of the members while it happens, as
a ratio to the p99 before and after (both together):

- ten times the limit from one source (R35): at most 1.5. ``calls`` are pings over WebSocket,
  ``requests`` pings over HTTPS on 64 connections, as fast as they are answered; ``logins`` are
  those of a minute at once, then on; ``connections`` are tried at the same time, then each
  second; ``handshakes``, of which no limit is known, are opened and closed on 64 connections;
- ``stopped``: 100 readers follow what the members write, then stop reading (R33): at most 1.2.
  Before and after they read, because to be followed costs something in any case;
- ``dripping``: 1,000 connections from five sources that send a handshake, or the head of a
  request, two bytes a second: at most 1.2.

Whoever does harm runs at the lowest priority, since they would have a machine of their own. Exit
status 1 if a bound was missed or a member's call failed.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from bench import floods, probe, readers, wires, worker
from bench.cases import Filled, fill
from bench.hall import Hall, HallError, raise_file_limit, renew, serve
from bench.load import cpu_seconds, quantile_ms
from bench.report import table, this_machine
from moothall.action.pipeline import SOURCE_RATE
from moothall.services.identity.actions.sessions import open_session
from moothall.transports.http.bounds import HttpBounds

FACTOR = 10
MEMBERS = 24
PROBED = 16
STOPPED = 100
DRIPPING = 1_000
REST_S = 1.0
MEMBER_SOURCE, HARM_SOURCE = "127.0.0.2", "127.0.0.3"
DRIP_SOURCES = [f"127.0.3.{number}" for number in range(1, 6)]
TITLE = [
    *("harm", "call", "before p50", "p99", "during p50", "p99", "after p50", "p99 ms"),
    *("ratio", "bound", "N", "server %"),
]


class Harm(msgspec.Struct, frozen=True):
    """One kind of harm, and by what factor a member's p99 may rise meanwhile."""

    name: str
    bound: float
    per_s: float = 0.0
    count: int = 0
    sources: list[str] = []


def kinds() -> list[Harm]:
    """Return all kinds of harm, as hard as the hall's own limits say."""
    source = [HARM_SOURCE]
    calls_per_s = FACTOR * SOURCE_RATE.calls * 1_000 / SOURCE_RATE.window_ms
    logins = open_session.limit
    logins_per_s = FACTOR * logins.calls * 1_000 / logins.window_ms
    connections = FACTOR * HttpBounds().listener.connections_per_source_max
    return [
        Harm("calls", 1.5, per_s=calls_per_s, sources=source),
        Harm("requests", 1.5, per_s=calls_per_s, sources=source),
        Harm("logins", 1.5, per_s=logins_per_s, sources=source),
        Harm("connections", 1.5, count=connections, sources=source),
        Harm("handshakes", 1.5, sources=source),
        Harm("stopped", 1.2, count=STOPPED, sources=source),
        Harm("dripping", 1.2, count=DRIPPING, sources=DRIP_SOURCES),
    ]


Deed = Callable[[], dict[str, Any]]
"""Begins or ends the harm, and tells what there is to tell."""


@contextmanager
def attacker(harm: Harm, hall: Hall, filled: Filled, *, tls: bool) -> Iterator[tuple[Deed, Deed]]:
    """Give what begins to do harm, and what ends it."""
    if harm.name != "stopped":
        with worker.start("bench.floods", is_modest=True) as flood:
            wanted = floods.Begin(harm.name, hall.port, tls, harm.sources, harm.per_s, harm.count)
            yield (
                lambda: flood.ask(wanted, dict[str, Any]),
                lambda: tell(flood.ask(floods.Stop(), floods.Told)),
            )
        return
    with worker.start("bench.readers", is_modest=True) as reading:
        wanted_readers = readers.Open(
            door=wires.WEBSOCKET,
            port=hall.port,
            tls=tls,
            connections=harm.count,
            tokens=[member.access_token for member in filled.members[PROBED:]],
            feed=f"board/{filled.board_id}/moderation",
            sources=tuple(harm.sources),
            has_small_buffers=True,
        )
        reading.ask(wanted_readers, float)
        yield (
            lambda: reading.ask(readers.Listen(is_on=False), dict[str, int]),
            lambda: {"closed": reading.ask(readers.Listen(is_on=True), dict[str, int])},
        )


def tell(told: floods.Told) -> dict[str, Any]:
    """Return what came of a flood, by the second."""
    rates = {name: f"{count / told.seconds:,.0f}/s" for name, count in told.counts.items()}
    return {**rates, "attacker": f"{told.own_cpu_s / told.seconds:.0%} of a core"}


def measure(
    hall: Hall, filled: Filled, harm: Harm, seconds: float, *, tls: bool
) -> tuple[list[list[str]], list[str]]:
    """Return the lines of one kind of harm, and what is to be said below them."""
    renew(hall, filled.members, 4 * seconds + 60)
    hall.hang_up()
    tokens = [member.access_token for member in filled.members[:PROBED]]
    with (
        worker.start("bench.probe") as members,
        attacker(harm, hall, filled, tls=tls) as (begin, end),
    ):
        members.ask(probe.Open(hall.port, tls, MEMBER_SOURCE, tokens, filled.board_id), type(None))
        before = members.ask(probe.Take(seconds), probe.Taken)
        begin()
        cpu_before, began_at = cpu_seconds(hall.pid), time.perf_counter()
        during = members.ask(probe.Take(seconds), probe.Taken)
        busy = (cpu_seconds(hall.pid) - cpu_before) / (time.perf_counter() - began_at)
        told = end()
        time.sleep(REST_S)
        after = members.ask(probe.Take(seconds), probe.Taken)
    lines, remarks = [], [f"{harm.name}: {', '.join(f'{k} {v}' for k, v in told.items())}"]
    for action in (probe.PING, probe.SUBMIT):
        line, ratio = compare(harm, action, (before, during, after))
        lines.append([*line, f"{busy * 100:.0f}"])
        if ratio > harm.bound:
            remarks.append(f"MISSED {harm.name}: p99 of {action} is {ratio:.2f} times as long")
    for name, taken in (("before", before), ("during", during), ("after", after)):
        if taken.failures:
            remarks.append(f"FAILED {harm.name}, {name}: {taken.failures}, {taken.first_failure}")
    return lines, remarks


def compare(
    harm: Harm, action: str, taken: tuple[probe.Taken, probe.Taken, probe.Taken]
) -> tuple[list[str], float]:
    """Return the cells of one action, and its ratio."""
    ticks = [each.ticks.get(action, {}) for each in taken]
    cells = [f"{quantile_ms(one, part):.2f}" for one in ticks for part in (0.5, 0.99)]
    undisturbed = quantile_ms(dict(Counter(ticks[0]) + Counter(ticks[2])), 0.99)
    ratio = quantile_ms(ticks[1], 0.99) / max(undisturbed, 0.01)
    calls = f"{sum(ticks[1].values()):,}"
    return [harm.name, action, *cells, f"{ratio:.2f}", f"{harm.bound:g}", calls], ratio


def parse() -> argparse.Namespace:
    """Read the command line."""
    summary, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m bench.harm",
        description=summary,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    names = [harm.name for harm in kinds()]
    add("--seconds", type=float, default=10.0, help="each of before, during and after (10)")
    add("--only", choices=names, action="append", help="which harm (all)")
    add("--plain", action="store_true", help="without TLS")
    program = Path(sys.executable).with_name("moothall")
    add("--program", type=Path, default=program, help="the hall to start (the one beside this)")
    return parser.parse_args()


def main() -> int:
    """Measure and print; 1 if a bound was missed, a call failed, or the hall did not serve."""
    chosen = parse()
    raise_file_limit()
    machine, tls = this_machine(), not chosen.plain
    lines: list[list[str]] = []
    remarks: list[str] = []
    try:
        with tempfile.TemporaryDirectory(prefix="moothall-bench-") as folder:
            data = Path(folder) / "hall"
            filled = fill(
                chosen.program, data, tls=tls, entries=0, level="moderate", members=MEMBERS
            )
            for harm in kinds():
                if chosen.only and harm.name not in chosen.only:
                    continue
                print(f"... {harm.name}", file=sys.stderr, flush=True)
                # A fresh hall each time: what one did must not be counted against the next.
                with serve(chosen.program, data, tls=tls, limits_scale="1", per_source_max=256) as (
                    hall,
                    _,
                ):
                    found, told = measure(hall, filled, harm, chosen.seconds, tls=tls)
                lines += found
                remarks += told
    except (HallError, worker.WorkerError) as error:
        print(error, *getattr(error, "__notes__", ()), sep="\n", file=sys.stderr)
        return 1
    print(
        f"{machine.date}, {machine.kernel}, Python {machine.python}, {machine.cores} cores, "
        f"load {machine.load_average:.1f}; {chosen.seconds:g} s each\n"
    )
    print(*table(TITLE, lines), "", *remarks, sep="\n")
    return int(any(each.startswith(("MISSED", "FAILED")) for each in remarks))


if __name__ == "__main__":
    sys.exit(main())
