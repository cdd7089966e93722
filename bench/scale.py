"""``python -m bench.scale --from results.json``: what a million connected members would take.

Computes from the costs that ``python -m bench.nodes --json results.json`` has measured, and from
assumptions that are told with the result: what the nodes, PostgreSQL and NATS would have to do, and
which part gives way first. Costs are taken as they were on one machine with few nodes, so it tells
the order of the parts and their size, and not what a cluster would do to the last node.

    python -m bench.scale --from results.json --assume reads_per_member_hour=60
    python -m bench.scale --from results.json --write docs/explanation/at-scale.md
"""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from bench.costs import READ, WRITE, Seen

BEGIN, END = "<!-- figures -->", "<!-- /figures -->"
SECONDS_PER_HOUR = 3_600
US_PER_S = 1e6
MEMBERS_MAX = 10**10
ASIDE_CONNECTIONS = 3
"""Of each node to PostgreSQL, for the tail and the lease (``app/foundation.py``)."""


class Assumptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is not measured: what members do, and how large the machines are."""

    members: int = 1_000_000
    """Connected, each by one connection with one feed."""
    writes_per_member_hour: float = 6.0
    """Each is one commit with one event."""
    reads_per_member_hour: float = 30.0
    followers_per_event: float = 20.0
    """Connected members to whom an event goes."""
    node_share: float = 0.6
    """Of the one core that a node can use; the rest is for bursts."""
    node_memory_gib: float = 4.0
    connections_per_node: int = 10_000
    postgres_cores: float = 32.0
    postgres_share: float = 0.6
    postgres_connections: int = 2_000
    database_connections_per_node: int = 18 + ASIDE_CONNECTIONS
    """As the settings come: 12 for writes, 6 for reads."""
    log_mb_per_s: float = 200.0
    """What the disk and the standbys of PostgreSQL take."""
    nats_cores: float = 4.0


class Part(msgspec.Struct, frozen=True):
    """One part that may give way: what is asked of it, and what it has."""

    name: str
    unit: str
    needed: float
    there: float

    @property
    def share(self) -> float:
        """Which part of what it has is needed; 1 is all."""
        return self.needed / self.there


class Demand(msgspec.Struct, frozen=True):
    """What so many members ask for."""

    writes_per_s: float
    reads_per_s: float
    deliveries_per_s: float
    nodes: float
    """How many are needed; infinite where no number suffices."""
    nodes_because: str
    parts: list[Part]


def compute(seen: Seen, assumed: Assumptions, members: int) -> Demand:
    """Return what ``members`` connected members ask of each part.

    Each node reads every event of the hall, whether somebody follows there or not: that share of a
    node does not become smaller with more nodes, and for PostgreSQL it grows with them.
    """
    write, read, rest, tail = seen.cost_of(WRITE), seen.cost_of(READ), seen.rest, seen.tail
    writes = members * assumed.writes_per_member_hour / SECONDS_PER_HOUR
    reads = members * assumed.reads_per_member_hour / SECONDS_PER_HOUR
    deliveries = writes * assumed.followers_per_event

    of_each_us = rest.node_us_per_s + writes * tail.node_us
    # What a write cost where it was measured includes the tail of its own node.
    spread_us = (
        writes * max(0.0, write.node_us - tail.node_us)
        + reads * read.node_us
        + deliveries * tail.delivery_us
        + members * rest.connection_us_per_s
    )
    left_us = assumed.node_share * US_PER_S - of_each_us
    wanted = {
        "processor": spread_us / left_us if left_us > 0 else math.inf,
        "connections": members / assumed.connections_per_node,
        "memory": members * rest.connection_bytes / (assumed.node_memory_gib * 2**30),
    }
    because = max(wanted, key=lambda name: wanted[name])
    nodes = wanted[because]
    nodes = nodes if math.isinf(nodes) else float(max(1, math.ceil(nodes)))

    postgres_us = (
        writes * max(0.0, write.postgres_us - tail.postgres_us)
        + reads * read.postgres_us
        + nodes * (writes * tail.postgres_us + rest.postgres_us_per_s)
    )
    # A hint goes to each node; it was measured with as many as there were at most.
    most = max((each for each in seen.calls if each.action == WRITE), key=lambda each: each.nodes)
    nats_us = writes * nodes * most.nats_us / most.nodes
    return Demand(
        writes_per_s=writes,
        reads_per_s=reads,
        deliveries_per_s=deliveries,
        nodes=nodes,
        nodes_because=because,
        parts=[
            Part(
                "each node: reading every event", "cores", of_each_us / US_PER_S, assumed.node_share
            ),
            Part(
                "PostgreSQL: processor",
                "cores",
                postgres_us / US_PER_S,
                assumed.postgres_cores * assumed.postgres_share,
            ),
            Part(
                "PostgreSQL: connections",
                "",
                nodes * assumed.database_connections_per_node,
                assumed.postgres_connections,
            ),
            Part("PostgreSQL: log", "MB/s", writes * write.log_bytes / 1e6, assumed.log_mb_per_s),
            Part("NATS: processor", "cores", nats_us / US_PER_S, assumed.nats_cores),
        ],
    )


def find_limits(seen: Seen, assumed: Assumptions) -> dict[str, int]:
    """Return by part with how many members it is used up, the first to give way first."""
    names = [part.name for part in compute(seen, assumed, assumed.members).parts]

    def suffices(place: int) -> Callable[[int], bool]:
        return lambda members: compute(seen, assumed, members).parts[place].share <= 1

    found = {name: _find_last(suffices(place)) for place, name in enumerate(names)}
    return dict(sorted(found.items(), key=lambda pair: pair[1]))


def _find_last(holds: Callable[[int], bool]) -> int:
    """Return the largest number up to which something holds, by halving."""
    low, high = 0, MEMBERS_MAX
    while low < high:
        middle = (low + high + 1) // 2
        if holds(middle):
            low = middle
        else:
            high = middle - 1
    return low


def as_markdown(seen: Seen, assumed: Assumptions) -> str:
    """Return the costs, the assumptions and what follows from them, as a piece of a page."""
    write, read, rest, tail = seen.cost_of(WRITE), seen.cost_of(READ), seen.rest, seen.tail
    demand, limits = compute(seen, assumed, assumed.members), find_limits(seen, assumed)
    first = next(iter(limits))
    measured = [
        ("a score: node; PostgreSQL", f"{write.node_us:,.0f}; {write.postgres_us:,.0f} µs"),
        ("a rank: node; PostgreSQL", f"{read.node_us:,.0f}; {read.postgres_us:,.0f} µs"),
        ("a score in PostgreSQL's log", f"{write.log_bytes:,.0f} bytes"),
        ("an event of another node: node; PostgreSQL",
         f"{tail.node_us:,.0f}; {tail.postgres_us:,.0f} µs"),
        ("an event to one follower more", f"{tail.delivery_us:,.1f} µs"),
        ("a connection at rest",
         f"{rest.connection_bytes / 1_000:,.1f} kB, {rest.connection_us_per_s:,.1f} µs a second"),
        ("a node at rest: node; PostgreSQL",
         f"{rest.node_us_per_s / 1_000:,.1f}; {rest.postgres_us_per_s / 1_000:,.1f} ms a second"),
    ]  # fmt: skip
    needed = [
        (
            part.name,
            _amount(part.needed, part.unit),
            _amount(part.there, part.unit),
            _members(limits[part.name]),
        )
        for part in demand.parts
    ]
    given = [
        (name.replace("_", " "), f"{value:,}")
        for name, value in msgspec.structs.asdict(assumed).items()
    ]
    source = (
        f"Measured {seen.date[:10]} on {seen.cores} cores, Python {seen.python}, {seen.durability}."
    )
    asked = (
        f"{assumed.members:,} members ask for {demand.writes_per_s:,.0f} scores and "
        f"{demand.reads_per_s:,.0f} ranks a second; {demand.deliveries_per_s:,.0f} events a second "
        f"are delivered. They take {_nodes(demand)}."
    )
    return "\n".join(
        [
            *(source, ""),
            *(*_rows(("measured", "cost"), measured), ""),
            *(*_rows(("assumed", "value"), given), ""),
            *(asked, ""),
            *(*_rows(("part", "needed", "there", "used up at"), needed), ""),
            f"**What gives way first: {first}**, at {_members(limits[first])}.",
        ]
    )


def write_page(page: Path, block: str) -> None:
    """Put a block between the marks of a page.

    Raises:
        ValueError: The page has not exactly one pair of marks.
    """
    text = page.read_text("utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"{page} has not one {BEGIN} and after it one {END}")
    before, _, rest = text.partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{block}\n{END}{rest.partition(END)[2]}", "utf-8")


def assume(changes: Sequence[str]) -> Assumptions:
    """Return the assumptions with changes like ``members=5000``.

    Raises:
        ValueError: There is no such assumption, or it is no number above nought.
    """
    given: dict[str, str] = {}
    for change in changes:
        name, _, value = change.partition("=")
        given[name] = value
    try:
        assumed = msgspec.convert(given, Assumptions, strict=False)
    except msgspec.ValidationError as error:
        known = ", ".join(Assumptions.__struct_fields__)
        raise ValueError(f"--assume: {error}; there are {known}") from None
    for name, value in msgspec.structs.asdict(assumed).items():
        if not 0 < value <= MEMBERS_MAX:
            raise ValueError(f"--assume {name}: must lie above 0 and at most at {MEMBERS_MAX:,}")
    return assumed


def _rows(title: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [title, ["---"] * len(title), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _amount(value: float, unit: str) -> str:
    if math.isinf(value):
        return "no number suffices"
    return f"{value:,.0f} {unit}".strip() if value >= 100 else f"{value:,.2f} {unit}".strip()


def _members(count: int) -> str:
    if count >= MEMBERS_MAX:
        return "never, within these assumptions"
    digits = max(0, len(str(count)) - 2)
    return f"{count // 10**digits * 10**digits:,} members"


def _nodes(demand: Demand) -> str:
    if math.isinf(demand.nodes):
        return "more nodes than there can be, because each has to read more events than it can"
    return f"{demand.nodes:,.0f} nodes, as many as their {demand.nodes_because} demand"


def main() -> int:
    """Compute, print, and write the page if asked; 2 if something given cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.scale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--from", dest="source", type=Path, required=True, help="what bench.nodes --json wrote")
    add("--assume", action="append", default=[], metavar="NAME=VALUE", help="another assumption")
    add("--write", type=Path, metavar="PAGE", help="put it between the marks of a page too")
    chosen = parser.parse_args()
    try:
        seen = msgspec.json.decode(chosen.source.read_bytes(), type=Seen)
        block = as_markdown(seen, assume(chosen.assume))
        if chosen.write:
            write_page(chosen.write, block)
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        print(f"bench.scale: {error}", file=sys.stderr)
        return 2
    print(block)
    return 0


if __name__ == "__main__":
    sys.exit(main())
