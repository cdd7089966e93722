"""What is measured: each case is an action, a number of connections, and its yardstick."""

import random
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from bench import load, wires
from bench.hall import (
    SCORE_MAX,
    Member,
    claim_administration,
    create_board,
    import_entries,
    renew,
    serve,
    sign_in,
)
from bench.yardsticks import Yard

MEMBERS = 64
SCORES_PER_MEMBER = 64


class Case(msgspec.Struct, frozen=True):
    """One action at one door under one number of connections, compared with one yardstick."""

    action: str
    connections: int
    yardstick: str
    door: str = wires.HTTPS
    in_flight: int = 1

    @property
    def verb(self) -> str:
        """The action without its room."""
        return self.action.partition(".")[2]

    @property
    def name(self) -> str:
        """What ``--only`` calls it."""
        prefix = "" if self.door == wires.HTTPS else f"{self.door}/"
        return f"{prefix}{self.verb}:{self.connections}"


# One connection waits for each commit; many share it, and then the answers are the limit.
CASES = (
    Case("leaderboards.submit_score", 1, "commit"),
    Case("leaderboards.submit_score", 64, "asgi"),
    Case("leaderboards.submit_score", 512, "asgi"),
    Case("leaderboards.get_rank", 64, "asgi"),
    Case("identity.get_self", 64, "asgi"),
    Case("hall.ping", 64, "asgi"),
    Case("leaderboards.submit_score", 64, "websocket", wires.WEBSOCKET),
    Case("leaderboards.get_rank", 64, "websocket", wires.WEBSOCKET),
    Case("identity.get_self", 64, "websocket", wires.WEBSOCKET),
    Case("hall.ping", 64, "websocket", wires.WEBSOCKET),
)

YARDSTICKS = {wires.HTTPS: "asgi", wires.WEBSOCKET: "websocket", wires.NDJSON: "ndjson"}
DOOR_CASES = tuple(
    Case(action, connections, YARDSTICKS[door] + (":1" if connections == 1 else ""), door)
    for door in wires.DOORS
    for action in ("hall.ping", "leaderboards.get_rank", "leaderboards.submit_score")
    for connections in (1, 64)
)
"""The same calls at each door (``--doors``)."""


POSTGRES_CASES = (
    Case("leaderboards.submit_score", 64, "pgbench"),
    Case("leaderboards.get_rank", 64, "pgbench-S"),
    Case("hall.ping", 64, "asgi"),
    Case("leaderboards.submit_score", 64, "pgbench", wires.WEBSOCKET),
    Case("leaderboards.get_rank", 64, "pgbench-S", wires.WEBSOCKET),
    Case("hall.ping", 64, "websocket", wires.WEBSOCKET),
)
"""On PostgreSQL: a write, a read, and a call that asks the database for nothing."""


class Times(msgspec.Struct, frozen=True):
    """How long each case runs, in seconds."""

    warmup_s: float
    measured_s: float

    @property
    def total_s(self) -> float:
        """How long the members' tokens must live."""
        return self.warmup_s + self.measured_s


class Result(msgspec.Struct, frozen=True):
    """One case, what was seen, and the mean rate of its yardstick just before and after."""

    case: Case
    outcome: load.Outcome
    yardstick_per_s: float

    @property
    def ratio(self) -> float:
        """The case's rate in units of its yardstick's."""
        return self.outcome.calls_per_s / self.yardstick_per_s


class Footprint(msgspec.Struct, frozen=True):
    """What a hall costs while it does nothing, and what it has grown to after the cases."""

    start_empty_s: float
    start_filled_s: float
    idle_bytes: int
    after_bytes: int


class Round(msgspec.Struct, frozen=True):
    """All cases of one hall, over plain HTTP or over TLS."""

    tls: bool
    footprint: Footprint
    results: list[Result]


class Standing(msgspec.Struct, frozen=True):
    """What a hall stands on: the flags that say so, and the processes that work for it."""

    options: tuple[str, ...] = ()
    beside_pids: dict[str, int] = {}


EMBEDDED = Standing()


class Filled(msgspec.Struct, frozen=True):
    """A hall's data once its members and its board are there."""

    folder: Path
    members: list[Member]
    board_id: str
    start_empty_s: float
    standing: Standing


def select(wanted: Sequence[str], cases: Sequence[Case] = CASES) -> list[Case]:
    """Return the cases of these names, all if there is none.

    Args:
        wanted: ``ping``, ``ping:64``, ``websocket/ping``, ``websocket/ping:64``.
        cases: From which.

    Raises:
        ValueError: A name fits no case.
    """
    for name in wanted:
        if not any(is_named(case, name) for case in cases):
            raise ValueError(
                f"no case is named {name}; there are {', '.join(case.name for case in cases)}"
            )
    return [case for case in cases if not wanted or any(is_named(case, name) for name in wanted)]


def is_named(case: Case, name: str) -> bool:
    """Return whether a name, with or without door and connections, means this case."""
    door, _, rest = name.rpartition("/")
    return (not door or door == case.door) and rest in (
        case.verb,
        f"{case.verb}:{case.connections}",
    )


def fill(
    program: Path,
    folder: Path,
    *,
    tls: bool,
    entries: int,
    level: str = "write",
    members: int = MEMBERS,
    standing: Standing = EMBEDDED,
) -> Filled:
    """Start a fresh hall, sign members in, fill a board, and stop the hall.

    Everybody has ``level`` at the board.
    """
    folder.mkdir(mode=0o700)
    with serve(program, folder, tls=tls, options=standing.options) as (hall, start_empty_s):
        signed = [sign_in(hall, f"bencher{number:02}") for number in range(members)]
        claim_administration(hall, folder, signed[0])
        board_id = create_board(hall, signed[0], level)
        names = [member.name for member in signed]
        import_entries(hall, signed[0], board_id, names, entries)
    return Filled(folder, signed, board_id, start_empty_s, standing)


def measure(
    program: Path,
    filled: Filled,
    cases: Sequence[Case],
    times: Times,
    yard: Yard,
    *,
    tls: bool,
    tell: Callable[[str], None],
) -> Round:
    """Start the filled hall again and run the cases on it, one after the other."""
    results = []
    options = filled.standing.options
    with serve(program, filled.folder, tls=tls, options=options) as (hall, start_filled_s):
        idle_bytes = hall.memory_bytes()
        for case in cases:
            tell(f"{case.name}{' over TLS' if tls else ''}")
            renew(hall, filled.members, times.total_s)
            hall.hang_up()
            plan = load.Plan(
                ports=[hall.line_port if case.door == wires.NDJSON else hall.port],
                tls=tls,
                connections=case.connections,
                warmup_s=times.warmup_s,
                seconds=times.measured_s,
                server_pids=[hall.pid],
                scripts=[script(case, each, filled.board_id) for each in filled.members],
                door=case.door,
                tokens=[each.access_token for each in filled.members],
                in_flight=case.in_flight,
                beside_pids=filled.standing.beside_pids,
            )
            before = yard.last(case.yardstick)
            outcome = load.run(plan)
            after = yard.take(case.yardstick)
            results.append(Result(case, outcome, (before.per_s + after.per_s) / 2))
        after_bytes = hall.memory_bytes()
    footprint = Footprint(filled.start_empty_s, start_filled_s, idle_bytes, after_bytes)
    return Round(tls, footprint, results)


Call = tuple[dict[str, object], str]
"""A request, and the idempotency key beside it, if any."""


def submit_score(member: Member, board_id: str) -> list[Call]:
    """Submit different scores, each call under a key of its own."""
    chance = random.Random(member.name)
    key = f"{secrets.token_hex(8)}-{wires.KEY_HOLE}"
    return [
        ({"board_id": board_id, "score": chance.randrange(SCORE_MAX)}, key)
        for _ in range(SCORES_PER_MEMBER)
    ]


def get_rank(_member: Member, board_id: str) -> list[Call]:
    """Ask for one's own standing."""
    return [({"board_id": board_id}, "")]


def get_self(_member: Member, _board_id: str) -> list[Call]:
    """Read one's own account: a read by id with a permission check."""
    return [({}, "")]


def ping(_member: Member, _board_id: str) -> list[Call]:
    """Ask for ``pong``."""
    return [({}, "")]


CALLS: dict[str, Callable[[Member, str], list[Call]]] = {
    "leaderboards.submit_score": submit_score,
    "leaderboards.get_rank": get_rank,
    "identity.get_self": get_self,
    "hall.ping": ping,
}


def script(case: Case, member: Member, board_id: str) -> list[str]:
    """Return what a connection of a member sends, over and over."""
    calls = CALLS[case.action](member, board_id)
    if case.door == wires.HTTPS:
        return [http_request(case.action, request, member, key) for request, key in calls]
    return [wires.call_text(case.action, request, key) for request, key in calls]


def http_request(action: str, request: dict[str, object], member: Member, key: str = "") -> str:
    """Return a whole HTTP request."""
    body = msgspec.json.encode(request).decode()
    head = [
        f"POST /v1/{action} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Bearer {member.access_token}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    if key:
        head.append(f"Idempotency-Key: {key}")
    return "\r\n".join([*head, "", body])
