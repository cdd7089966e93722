"""What is measured: each case is an action, a number of connections, and its yardstick."""

import random
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from bench import load
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
    """One action under one number of connections, compared with one yardstick."""

    action: str
    connections: int
    yardstick: str

    @property
    def name(self) -> str:
        """What ``--only`` calls it."""
        return f"{self.action.partition('.')[2]}:{self.connections}"


# One connection waits for each commit; many share it, and then the answers are the limit.
CASES = (
    Case("leaderboards.submit_score", 1, "commit"),
    Case("leaderboards.submit_score", 64, "asgi"),
    Case("leaderboards.submit_score", 512, "asgi"),
    Case("leaderboards.get_rank", 64, "asgi"),
    Case("hall.ping", 64, "asgi"),
)


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


class Filled(msgspec.Struct, frozen=True):
    """A hall's data once its members and its board are there."""

    folder: Path
    members: list[Member]
    board_id: str
    start_empty_s: float


def select(wanted: Sequence[str]) -> list[Case]:
    """Return the cases of these names (``ping`` or ``ping:64``), all if there is none.

    Raises:
        ValueError: A name fits no case.
    """
    for name in wanted:
        if not any(is_named(case, name) for case in CASES):
            raise ValueError(
                f"no case is named {name}; there are {', '.join(case.name for case in CASES)}"
            )
    return [case for case in CASES if not wanted or any(is_named(case, name) for name in wanted)]


def is_named(case: Case, name: str) -> bool:
    """Return whether a name, with or without connections, means this case."""
    return name in (case.name, case.name.partition(":")[0])


def fill(program: Path, folder: Path, *, tls: bool, entries: int) -> Filled:
    """Start a fresh hall, sign members in, fill a board, and stop the hall."""
    folder.mkdir(mode=0o700)
    with serve(program, folder, tls=tls) as (hall, start_empty_s):
        members = [sign_in(hall, f"bencher{number:02}") for number in range(MEMBERS)]
        claim_administration(hall, folder, members[0])
        board_id = create_board(hall, members[0])
        names = [member.name for member in members]
        import_entries(hall, members[0], board_id, names, entries)
    return Filled(folder, members, board_id, start_empty_s)


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
    with serve(program, filled.folder, tls=tls) as (hall, start_filled_s):
        idle_bytes = hall.memory_bytes()
        for case in cases:
            tell(f"{case.name}{' over TLS' if tls else ''}")
            renew(hall, filled.members, times.total_s)
            hall.hang_up()
            plan = load.Plan(
                port=hall.port,
                tls=tls,
                connections=case.connections,
                warmup_s=times.warmup_s,
                seconds=times.measured_s,
                server_pid=hall.pid,
                scripts=[SCRIPTS[case.action](each, filled.board_id) for each in filled.members],
            )
            before = yard.last(case.yardstick)
            outcome = load.run(plan)
            after = yard.take(case.yardstick)
            results.append(Result(case, outcome, (before.per_s + after.per_s) / 2))
        after_bytes = hall.memory_bytes()
    footprint = Footprint(filled.start_empty_s, start_filled_s, idle_bytes, after_bytes)
    return Round(tls, footprint, results)


def submit_score(member: Member, board_id: str) -> list[str]:
    """Submit different scores, each call under a key of its own."""
    chance = random.Random(member.name)
    key = f"{secrets.token_hex(8)}-{load.KEY_HOLE}"
    return [
        http_request(
            "leaderboards.submit_score",
            {"board_id": board_id, "score": chance.randrange(SCORE_MAX)},
            member,
            key,
        )
        for _ in range(SCORES_PER_MEMBER)
    ]


def get_rank(member: Member, board_id: str) -> list[str]:
    """Ask for one's own standing."""
    return [http_request("leaderboards.get_rank", {"board_id": board_id}, member)]


def ping(member: Member, _board_id: str) -> list[str]:
    """Ask for ``pong``."""
    return [http_request("hall.ping", {}, member)]


SCRIPTS: dict[str, Callable[[Member, str], list[str]]] = {
    "leaderboards.submit_score": submit_score,
    "leaderboards.get_rank": get_rank,
    "hall.ping": ping,
}


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
