"""Jobs: how one is declared, and how they run."""

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from moothall.action import Context, job
from moothall.action.jobs import JobRunner, SoleHolder
from moothall.core.errors import DeclarationError
from moothall.testing import OpenHall, open_test_hall
from tests.unit.action.scenes import write_room

JOBS = """
import asyncio

from moothall.action import Context, job

DONE = asyncio.Semaphore(0)


@job(every_ms=100)
async def note_time(ctx: Context) -> None:
    '''Write down that it ran.'''

    async def insert(step: Context) -> None:
        await step.tx.execute("INSERT INTO {room}_run (at_ms) VALUES ($1)", step.now_ms)

    await ctx.write(insert)
    DONE.release()
    rows = await ctx.read(lambda step: step.tx.fetch_all("SELECT at_ms FROM {room}_run"))
    if len(rows) == 2:
        raise ValueError("the second run fails")
"""


def write_job_room(folder: Path, name: str, jobs: str = JOBS) -> None:
    room = write_room(folder, name, jobs=jobs.replace("{room}", name))
    (room / "migrations").mkdir()
    (room / "migrations" / "0001_run.sql").write_text(f"CREATE TABLE {name}_run (at_ms INTEGER);\n")


async def runs(hall: OpenHall, name: str) -> int:
    return int((await hall.rows(f"SELECT count(*) FROM {name}_run"))[0][0])


async def test_a_job_of_a_room_runs_and_is_audited(tmp_path: Path) -> None:
    write_job_room(tmp_path, "shop_t")
    async with open_test_hall(tmp_path, functions=[tmp_path]) as hall:
        await hall.run_job("shop_t.note_time")
        assert await runs(hall, "shop_t") == 1
        rows = await hall.rows("SELECT actor, action, outcome FROM access_audit")
        assert rows == [("room:shop_t", "shop_t.note_time", "done")]


SWEEP = """
from moothall.action import Context, job, repeat

STEPS = []


@job(every_ms=60_000)
async def sweep_runs(ctx: Context) -> None:
    '''Delete what there is, two rows at a time.'''

    async def delete(step: Context) -> int:
        some = "SELECT rowid FROM {room}_run ORDER BY rowid LIMIT 2"
        STEPS.append(await step.tx.execute(f"DELETE FROM {room}_run WHERE rowid IN ({some})"))
        return STEPS[-1]

    await repeat(ctx, delete)
"""


async def test_a_step_is_repeated_until_nothing_is_left(tmp_path: Path) -> None:
    write_job_room(tmp_path, "shop_v", SWEEP)
    async with open_test_hall(tmp_path, functions=[tmp_path]) as hall:
        sql = "INSERT INTO shop_v_run VALUES (1), (2), (3), (4)"
        await hall.hall.database.write(lambda tx: tx.execute(sql))
        await hall.run_job("shop_v.sweep_runs")
        assert await runs(hall, "shop_v") == 0
        assert sys.modules["shop_v.jobs"].STEPS == [2, 2, 0]
        assert await hall.rows("SELECT action FROM access_audit") == []


async def test_a_job_that_fails_is_logged_and_runs_again(tmp_path: Path) -> None:
    write_job_room(tmp_path, "shop_u")
    async with open_test_hall(tmp_path, functions=[tmp_path]) as hall:
        with capture_logs() as logs:
            hall.hall.jobs.start()
            async with asyncio.timeout(20):
                for _ in range(3):
                    await sys.modules["shop_u.jobs"].DONE.acquire()
            await hall.hall.jobs.stop()
            assert await runs(hall, "shop_u") >= 3
        assert [log["job"] for log in logs if log["event"] == "job failed"] == ["shop_u.note_time"]
        tally = hall.hall.jobs.tallies["shop_u.note_time"]
        assert (tally.runs >= 3, tally.failures) == (True, 1)
        assert tally.succeeded_at_ms == hall.clock.now_ms()


async def test_who_does_not_hold_the_lease_does_nothing(tmp_path: Path) -> None:
    class Taken(SoleHolder):
        def is_held(self) -> bool:
            return False

    write_job_room(tmp_path, "shop_v")
    async with open_test_hall(tmp_path, functions=[tmp_path]) as hall:
        jobs = hall.hall.catalog.rooms["shop_v"].jobs
        await JobRunner(hall.hall.house, jobs, Taken()).run("shop_v.note_time")
        assert await runs(hall, "shop_v") == 0


LONG = """
import asyncio

from moothall.action import Context, job

BEGUN, RUNNING = asyncio.Semaphore(0), set()


async def follow(name: str) -> None:
    RUNNING.add(name)
    BEGUN.release()
    try:
        await asyncio.Event().wait()
    finally:
        RUNNING.remove(name)


@job(every_ms=100)
async def of_one_node(ctx: Context) -> None:
    await follow("of_one_node")


@job(every_ms=100, is_of_each_node=True)
async def of_each_node(ctx: Context) -> None:
    await follow("of_each_node")
"""


async def test_who_loses_the_lease_ends_what_one_node_does(tmp_path: Path) -> None:
    write_job_room(tmp_path, "shop_w", LONG)
    async with open_test_hall(tmp_path, functions=[tmp_path]) as hall:
        jobs, lease = hall.hall.catalog.rooms["shop_w"].jobs, SoleHolder()
        module = sys.modules["shop_w.jobs"]
        runner = JobRunner(hall.hall.house, jobs, lease)
        one = asyncio.create_task(runner.run("shop_w.of_one_node"))
        each = asyncio.create_task(runner.run("shop_w.of_each_node"))
        for _ in jobs:
            await module.BEGUN.acquire()
        lease.on_lost()
        lease.on_lost()  # as whenever somebody else has it
        async with asyncio.timeout(20):
            await one
        assert list(module.RUNNING) == ["of_each_node"]
        assert runner.tallies["shop_w.of_one_node"].failures == 0
        each.cancel()
        with suppress(asyncio.CancelledError):
            await each


def test_wrong_declarations_are_refused() -> None:
    async def fine(ctx: Context) -> None: ...

    def plain(ctx: Context) -> None: ...

    async def greedy(ctx: Context, more: int) -> None: ...

    for handler, every_ms, told in (
        (plain, 1_000, "is an 'async def' function"),
        (greedy, 1_000, "takes \\(ctx\\)"),
        (fine, 10, "every_ms must be at least 100"),
        (fine, 1_000, "jobs are declared in a room's jobs.py"),
    ):
        with pytest.raises(DeclarationError, match=told):
            job(every_ms=every_ms)(handler)  # type: ignore[arg-type]
