"""``python -m bench.growth``: what calls cost as a hall grows by what is idle.

For each kind of row (``--of``) and each size (``--sizes``) a hall is filled (``bench.fillings``),
opened anew in this process, and called. Figures are microseconds of processor time a call, all
threads of the process together: the least of the rounds. Jobs run with nothing due. ``start`` is
the processor time of opening the hall in a fresh process, and ``memory`` what that process holds
afterwards; backups are not measured. Passwords cost nothing here, and no socket is involved.

The last column is the growth from the smallest size to the largest. Costs may grow by three where
the size grows a thousandfold, as a logarithm does; what grows by more is marked.
"""

import argparse
import asyncio
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from bench.fillings import BOARD, KINDS, fill, id_of, name_of
from bench.report import this_machine
from moothall.action.jobs import FRAMEWORK_JOBS
from moothall.testing import OpenHall, Visitor, open_test_hall

LIMITS_SCALE = 1e6
TABLES = {"sessions": {"per_hall_max": 10_000_000}}
"""By default a hall has a million sessions at most, and the one of the bench is one more."""
SIZES = "1000,10000,100000"
CALLS_PER_ROUND = 10
GROWTH_MAX = 3.0
"""For a thousandfold size."""
NOISE_US = 100.0
NOISE_MS = 100.0
NOISE_MIB = 8.0

_TWENTY_AGO = """
SELECT cursor FROM action_event WHERE stream = $1 ORDER BY seq DESC LIMIT 1 OFFSET 20
"""

Call = Callable[[], Awaitable[object]]
Figures = dict[str, float]


def calls_of(hall: OpenHall, boss: Visitor, bob: Visitor, size: int) -> dict[str, Call]:
    """Return what is measured, by name."""
    numbers = iter(range(1, sys.maxsize))
    middle = {"board_id": BOARD, "offset": size // 2}

    def by(who: Visitor, action: str, **request: Any) -> Call:
        return lambda: hall.call(action, request, as_=who)

    async def grant_and_revoke() -> None:
        role = {"member": "bob", "role": "board_moderator", "at": f"board/{BOARD}"}
        await hall.call("access.grant_role", role, as_=boss)
        await hall.call("access.revoke_role", role, as_=boss)

    async def verify() -> None:
        await hall.call("hall.ping", {}, as_=hall.renew(bob))

    async def first_call() -> None:
        """Call as a member who was not here before: what they hold is read."""
        token = hall.renew(_visitor(bob, id_of(next(numbers) % size + 1)))
        await hall.call("access.check", {"permission": "scores:read"}, as_=token)

    async def follow() -> None:
        """Come back to a feed after twenty events; what was missed longer ago is not read."""
        line = await hall.connect(boss)
        feed = f"board/{BOARD}/moderation"
        rows = await hall.rows(_TWENTY_AGO, feed)
        await line.call("feeds.subscribe", feed=feed, after=hall.cursor(rows[0][0] if rows else 0))
        await line.next_event()
        line.leave()

    at = f"board/{BOARD}"
    return {
        "submit_score": by(bob, "leaderboards.submit_score", board_id=BOARD, score=500_000.5),
        "get_rank": by(boss, "leaderboards.get_rank", board_id=BOARD, member="bob"),
        "list_entries, middle": by(bob, "leaderboards.list_entries", **middle),
        "list_around": by(boss, "leaderboards.list_around", board_id=BOARD, member="bob"),
        "list_waiting": by(boss, "leaderboards.list_waiting", board_id=BOARD),
        "list_boards": by(bob, "leaderboards.list_boards"),
        "list_levels": by(boss, "leaderboards.list_levels", board_id=BOARD),
        "list_members, middle": by(boss, "identity.list_members", after=name_of(size // 2)),
        "find_member": by(boss, "identity.find_member", member="bob"),
        "open_session": lambda: hall.sign_in("idle"),
        "ping, token remembered": by(bob, "hall.ping"),
        "ping, token verified": verify,
        "check": by(bob, "access.check", permission="scores:read", at=at),
        "check, first call": first_call,
        "explain": by(boss, "access.explain", member="bob", permission="scores:read", at=at),
        "grant and revoke": grant_and_revoke,
        "list_bindings": by(boss, "access.list_bindings"),
        "list_bindings, board": by(boss, "access.list_bindings", at=at),
        "list_audit": by(boss, "access.list_audit", after=size // 2),
        "list_audit, refusals": by(boss, "access.list_audit", outcome="rate_limited"),
        "list_files": by(bob, "files.list_files"),
        "follow, 20 events missed": follow,
        **{f"job {name}": partial(hall.run_job, name) for name in jobs_of(hall)},
    }


def _visitor(like: Visitor, member_id: str) -> Visitor:
    return Visitor(member_id, member_id, like.session_id, "")


def jobs_of(hall: OpenHall) -> list[str]:
    """Return the names of all jobs."""
    rooms = hall.hall.catalog.rooms.values()
    return [job.name for job in (*FRAMEWORK_JOBS, *(job for room in rooms for job in room.jobs))]


async def time_call(call: Call, rounds: int) -> float:
    """Return the least processor time of a call, in microseconds."""
    await call()
    best = math.inf
    for _ in range(rounds):
        began_ns = time.process_time_ns()
        for _ in range(CALLS_PER_ROUND):
            await call()
        best = min(best, (time.process_time_ns() - began_ns) / CALLS_PER_ROUND / 1_000)
    return best


async def prepare(folder: Path, kind: str, size: int) -> None:
    """Make a hall with its people and a board, and fill it."""
    async with open_test_hall(folder, limits_scale=LIMITS_SCALE, tables=TABLES) as hall:
        boss = await hall.administrator("boss")
        for name in ("bob", "idle"):
            await hall.member(name)
        board = {"board_id": BOARD, "name": "Kart", "direction": "descending"}
        await hall.call("leaderboards.create_board", {**board, "default_level": "write"}, as_=boss)
        entry = {"submitter": "bob", "score": 499_999, "submitted_at_ms": 1_600_000_000_000}
        request = {"board_id": BOARD, "entries": [entry]}
        await hall.call("leaderboards.import_entries", request, as_=boss)
        await fill(hall, boss, kind, size)
        for name in jobs_of(hall):  # what is due is done before anything is measured
            await hall.run_job(name)


async def measure(folder: Path, kind: str, size: int, rounds: int) -> Figures:
    """Return microseconds by call."""
    async with open_test_hall(folder, limits_scale=LIMITS_SCALE, tables=TABLES) as hall:
        boss, bob = await hall.sign_in("boss"), await hall.sign_in("bob")
        figures = {}
        for name, call in calls_of(hall, boss, bob, size).items():
            if name == "check, first call" and kind not in {"members", "bindings", "sessions"}:
                continue
            figures[name] = await time_call(call, rounds)
        return figures


async def start(folder: Path) -> None:
    """Open a hall; print milliseconds of processor time that it took, and MiB that it holds."""
    began = time.process_time()
    async with open_test_hall(folder):
        took_ms = (time.process_time() - began) * 1_000
        print(took_ms, psutil.Process().memory_info().rss / 2**20)


def time_start(folder: Path) -> Figures:
    """Start a process that opens the hall, three times; return the least of each."""
    command = [sys.executable, "-m", "bench.growth", "--start", str(folder)]
    found = []
    for _ in range(3):
        line = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found.append(tuple(map(float, line.split())))
    return {"start, ms": min(took for took, _ in found), "memory, MiB": min(m for _, m in found)}


def is_excessive(name: str, small: float, large: float, ratio: float) -> bool:
    """Tell whether a figure grew by more than a logarithm would, and by more than noise.

    Args:
        name: Of the figure; it tells the unit.
        small: Figure at the smallest size.
        large: At the largest.
        ratio: Between the sizes.
    """
    noise = {"start, ms": NOISE_MS, "memory, MiB": NOISE_MIB}.get(name, NOISE_US)
    allowed = 1 + (GROWTH_MAX - 1) * max(0.0, math.log(ratio)) / math.log(1_000)
    if name == "memory, MiB":
        return large - small > noise
    return large > small * allowed and large - small > noise


def table_of(kind: str, columns: Mapping[int, Figures]) -> list[str]:
    """Return the lines of one kind's table."""
    sizes = sorted(columns)
    lines = [f"{kind:<32}" + "".join(f"{size:>11,}" for size in sizes) + f"{'growth':>9}"]
    for name in columns[sizes[0]]:
        found = [columns[size][name] for size in sizes]
        is_marked = is_excessive(name, found[0], found[-1], sizes[-1] / sizes[0])
        growth = f"{found[-1] / max(found[0], 1e-9):>8.1f}x"
        cells = "".join(f"{one:>11,.1f}" for one in found)
        lines.append(f"{name:<32}{cells}{growth}{'  <-- grows' if is_marked else ''}")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return 1 if something grows that should not."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--sizes", default=SIZES, help=f"rows, rising ({SIZES})")
    parser.add_argument("--of", default=",".join(KINDS), help="kinds of rows (all)")
    parser.add_argument("--rounds", type=int, default=7, help="of ten calls each (7)")
    parser.add_argument("--start", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.start is not None:
        asyncio.run(start(chosen.start))
        return 0
    kinds, sizes = chosen.of.split(","), [int(size) for size in chosen.sizes.split(",")]
    if strange := set(kinds) - set(KINDS):
        parser.error(f"--of: there is no kind {sorted(strange)}; choose from {', '.join(KINDS)}")
    machine = this_machine()
    print(f"{machine.date}, {machine.cores} cores, load {machine.load_average:.1f}", flush=True)
    is_marked = False
    for kind in kinds:
        columns = {}
        for size in sizes:
            with tempfile.TemporaryDirectory(prefix="growth-") as folder:
                asyncio.run(prepare(Path(folder), kind, size))
                columns[size] = asyncio.run(measure(Path(folder), kind, size, chosen.rounds))
                columns[size] |= time_start(Path(folder))
        lines = table_of(kind, columns)
        print("", *lines, sep="\n", flush=True)
        is_marked = is_marked or any("<--" in line for line in lines)
    return int(is_marked)


if __name__ == "__main__":
    sys.exit(main())
