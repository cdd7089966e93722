"""What ``bench.nodes`` has measured, as ``bench.scale`` reads it; both by JSON."""

import msgspec

WRITE, READ, PING = "leaderboards.submit_score", "leaderboards.get_rank", "hall.ping"
ACTIONS = (WRITE, READ, PING)


class Calls(msgspec.Struct, frozen=True):
    """One action on so many nodes; processor time in µs per call."""

    nodes: int
    action: str
    connections: int
    calls: int
    calls_per_s: float
    p50_ms: float
    p99_ms: float
    node_us: float
    postgres_us: float
    nats_us: float
    log_bytes: float
    """Written to PostgreSQL's log for each call."""
    failures: int
    first_failure: str = ""


class Push(msgspec.Struct, frozen=True):
    """How long after the writer's answer a follower at the last node had the event."""

    nodes: int
    has_bus: bool
    events: int
    p50_ms: float
    p99_ms: float


class Rest(msgspec.Struct, frozen=True):
    """What one node, and connections to it, cost while nothing happens."""

    connections: int
    seconds: float
    connection_bytes: float
    """Of the node's memory (RSS), for each."""
    connection_us_per_s: float
    """Processor time of the node, for each: heartbeats."""
    node_us_per_s: float
    """Of a node without connections: its tail, its lease, its jobs."""
    postgres_us_per_s: float
    """What that node costs PostgreSQL."""


class TailCosts(msgspec.Struct, frozen=True):
    """What a node does for an event that another node has written."""

    events: int
    node_us: float
    """Nobody follows it there."""
    followers: int
    delivery_us: float
    """For each follower more."""
    postgres_us: float
    """Of PostgreSQL, for the node's reading."""


class Seen(msgspec.Struct, frozen=True):
    """All of it."""

    date: str
    cores: int
    kernel: str
    python: str
    durability: str
    calls: list[Calls]
    pushes: list[Push]
    rest: Rest
    tail: TailCosts

    def cost_of(self, action: str) -> Calls:
        """Return what was measured of an action on the fewest nodes.

        Raises:
            ValueError: It was not measured.
        """
        found = [each for each in self.calls if each.action == action]
        if not found:
            raise ValueError(f"{action} was not measured")
        return min(found, key=lambda each: each.nodes)
