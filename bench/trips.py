"""``python -m bench.trips``: how often a call asks PostgreSQL, and what its parts cost the node.

A hall is opened in this process, without a door, on a server of its own, and called, one call
after the other. Each statement is a round trip, once it is prepared; those of the tail and of the
lease are not counted. With ``--profile`` the processor time of a fixed number of calls is told by
function. Round trips do not depend on what else the machine does.
"""

import argparse
import asyncio
import cProfile
import functools
import pstats
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from bench import servers
from bench.stages import prepare
from moothall.action.call import Call
from moothall.app.compose import Hall, open_hall
from moothall.app.config import Settings
from moothall.app.main import loop_factory

WARM_CALLS = 20
"""Until every connection has prepared what is asked on it."""
COUNTED_CALLS = 10
PROFILED_CALLS = 300
FUNCTIONS_SHOWN = 40
METHODS = ("execute", "fetch", "fetchrow", "fetchval")
CASES: dict[str, tuple[dict[str, object], bool]] = {
    "hall.ping": ({}, False),
    "identity.get_self": ({}, False),
    "leaderboards.get_rank": ({"board_id": "board"}, False),
    "leaderboards.submit_score": ({"board_id": "board", "score": 12.5}, True),
    "identity.open_session": (
        {"name": "bencher", "password": "a password for the bench"},
        False,
    ),
}
"""Requests, and whether each has an idempotency key."""

_asked: ContextVar[Counter[str] | None] = ContextVar("asked", default=None)
"""What was asked on behalf of the running call; a task that it starts inherits it."""


def count_statements() -> None:
    """Let every connection of the driver note what it is asked."""
    for name in METHODS:
        setattr(asyncpg.Connection, name, _noting(getattr(asyncpg.Connection, name)))


def _noting(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(method)
    async def noted(connection: Any, sql: str, *args: Any, **options: Any) -> Any:
        if (asked := _asked.get()) is not None:
            asked[" ".join(sql.split())] += 1
        return await method(connection, sql, *args, **options)

    return noted


async def call(hall: Hall, action: str, token: str, number: int) -> None:
    """Make one call, which must succeed."""
    request, has_key = CASES[action]
    key = f"trips-{number}" if has_key else None
    body = msgspec.json.encode(request)
    reply = await hall.pipeline.answer(Call(action, body, "127.0.0.1", token, key))
    assert reply.body is not None, reply.problem


async def count(hall: Hall, action: str, token: str) -> Counter[str]:
    """Return the statements of ``COUNTED_CALLS`` calls, connections being warm."""
    for number in range(WARM_CALLS):
        await call(hall, action, token, number)
    asked: Counter[str] = Counter()
    told = _asked.set(asked)
    try:
        for number in range(COUNTED_CALLS):
            await call(hall, action, token, WARM_CALLS + number)
    finally:
        _asked.reset(told)
    return asked


async def profile(hall: Hall, action: str, token: str) -> pstats.Stats:
    """Return where the processor time of ``PROFILED_CALLS`` calls went."""
    profiler = cProfile.Profile(time.thread_time)
    profiler.enable()
    for number in range(PROFILED_CALLS):
        await call(hall, action, token, 1_000_000 + number)
    profiler.disable()
    return pstats.Stats(profiler)


async def run(url: str, actions: list[str], *, has_profile: bool) -> None:
    """Open the hall, call it and print."""
    count_statements()
    with tempfile.TemporaryDirectory(prefix="moothall-trips-") as folder:
        settings = Settings(data=str(Path(folder)), limits_scale=1e6, database=url)
        hall = await open_hall(settings, on_sync_failure=lambda _error: None)
        try:
            token = await prepare(hall, 500)
            for action in actions:
                asked = await count(hall, action, token)
                print(f"\n{action}: {asked.total() / COUNTED_CALLS:g} round trips")
                for sql, times in asked.items():
                    print(f"  {times / COUNTED_CALLS:4.1f}  {sql[:110]}")
                if has_profile:
                    stats = await profile(hall, action, token)
                    stats.sort_stats("tottime").print_stats(FUNCTIONS_SHOWN)
        finally:
            await hall.close()


def main() -> int:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=CASES, action="append", help="an action (all)")
    parser.add_argument("--profile", action="store_true", help="tell the time by function too")
    parser.add_argument("--data", type=Path, help="a folder on a disk (the temporary folder)")
    chosen = parser.parse_args()
    with (
        servers.open_ground(chosen.data) as ground,
        asyncio.Runner(loop_factory=loop_factory()) as runner,
    ):
        url = ground.postgres.url(servers.DATABASE)
        runner.run(run(url, chosen.only or list(CASES), has_profile=chosen.profile))
    return 0


if __name__ == "__main__":
    sys.exit(main())
