"""What PostgreSQL does without a hall: ``pgbench``, and one statement by the driver of the hall.

Taken against the server that the hall stands on, in a database of their own. The processor time
of a take is the server's, like that of a case beside it.
"""

import asyncio
import re
import time
from collections.abc import Mapping
from typing import Any

import asyncpg
import uvloop

from bench.hall import HallError
from bench.load import cpu_seconds
from bench.servers import Ground
from bench.yardsticks import Deed, Take

DATABASE = "yardstick"
CLIENTS = 8
SCALE = 10
"""A million accounts; more branches than clients, or those would wait for each other's row."""

INSERT = "INSERT INTO entry (board_id, member_id, score, submitted_at_ms) VALUES ($1, $2, $3, $4)"
ROW = (1, 1, 1234.5, 1_700_000_000_000)
CREATE = """
CREATE TABLE entry (
    entry_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, board_id BIGINT NOT NULL,
    member_id BIGINT NOT NULL, score DOUBLE PRECISION NOT NULL, submitted_at_ms BIGINT NOT NULL
)
"""
_RATE = re.compile(r"^tps = ([\d.]+)", re.MULTILINE)
_DONE = re.compile(r"^number of transactions actually processed: (\d+)", re.MULTILINE)


def prepare(ground: Ground) -> Mapping[str, Deed]:
    """Fill the database of the yardsticks, and return them by name."""
    ground.postgres.run_sql(f"CREATE DATABASE {DATABASE}")
    url = ground.postgres.url(DATABASE)
    ground.postgres.run("pgbench", "--initialize", "--quiet", f"--scale={SCALE}", url)
    ground.postgres.run_sql(CREATE, DATABASE)
    told = f"{CLIENTS} connections"
    return {
        "pgbench": Deed(
            f"pgbench -c {CLIENTS} -M prepared, TPC-B-like (five statements), scale {SCALE}",
            lambda seconds: run_pgbench(ground, seconds),
        ),
        "pgbench-N": Deed(
            "the same with -N: no update of tellers and branches",
            lambda seconds: run_pgbench(ground, seconds, "--skip-some-updates"),
        ),
        "pgbench-S": Deed(
            "the same with -S: one SELECT by key",
            lambda seconds: run_pgbench(ground, seconds, "--select-only"),
        ),
        "insert": Deed(
            f"asyncpg, one INSERT of one row, {told}",
            lambda seconds: insert_rows(ground, seconds, CLIENTS),
        ),
        "insert:1": Deed(
            "the same, one connection", lambda seconds: insert_rows(ground, seconds, 1)
        ),
    }


def run_pgbench(ground: Ground, seconds: float, *flags: str) -> Take:
    """Run pgbench for whole seconds.

    Raises:
        HallError: Its report is not as it was.
    """
    pid = ground.postgres.pid
    before = cpu_seconds(pid)
    report = ground.postgres.run(
        "pgbench",
        f"--client={CLIENTS}",
        "--jobs=2",
        "--protocol=prepared",
        "--no-vacuum",
        f"--time={max(1, round(seconds))}",
        *flags,
        ground.postgres.url(DATABASE),
    )
    spent = cpu_seconds(pid) - before
    rate, done = _RATE.search(report), _DONE.search(report)
    if rate is None or done is None or not int(done[1]):
        raise HallError(f"pgbench says something else than expected:\n{report}")
    return Take(float(rate[1]), spent * 1e6 / int(done[1]))


def insert_rows(ground: Ground, seconds: float, connections: int) -> Take:
    """Insert rows, each in a transaction of its own."""
    url = ground.postgres.url(DATABASE)
    return uvloop.run(_insert(url, ground.postgres.pid, seconds, connections))


async def _insert(url: str, pid: int, seconds: float, count: int) -> Take:
    """Insert by ``count`` connections at the same time."""
    connections = [await asyncpg.connect(url) for _ in range(count)]
    try:
        statements = [await connection.prepare(INSERT) for connection in connections]
        before = cpu_seconds(pid)
        began_at = time.perf_counter()

        async def repeat(statement: Any) -> int:
            done = 0
            while time.perf_counter() < began_at + seconds:
                await statement.fetch(*ROW)
                done += 1
            return done

        done = sum(await asyncio.gather(*map(repeat, statements)))
        spent_s = time.perf_counter() - began_at
        return Take(done / spent_s, (cpu_seconds(pid) - before) * 1e6 / done)
    finally:
        for connection in connections:
            await connection.close()
