"""Boards and files at two nodes at once: calls that are made to meet, and what must hold then."""

import asyncio
from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import asyncpg

from moothall.action.checks import Check, Finding, Inspection
from moothall.ports.database import Transaction
from moothall.testing import OpenHall
from tests.servers.nodes import Nodes
from tests.unit.services.leaderboards.naive_board import NaiveBoard, NaiveEntry, Row

if TYPE_CHECKING:
    from moothall.action.service import Resources

_BLOCKED = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
_GAPS = """
SELECT s.stream, s.last_seq, count(e.seq), min(e.seq), max(e.seq) FROM action_stream AS s
LEFT JOIN action_event AS e ON e.stream = s.stream GROUP BY s.stream, s.last_seq
HAVING count(e.seq) <> s.last_seq OR min(e.seq) <> 1 OR max(e.seq) <> s.last_seq
"""
_ENTRIES = """
SELECT entry_id, member_id, score, submitted_at_ms, verified_at_ms IS NOT NULL
FROM leaderboards_entry WHERE board_id = $1 AND season = $2
"""


async def run_behind(nodes: Nodes, lock: str, *works: Awaitable[Any]) -> list[Any]:
    """Start calls one after the other while the test holds a lock; then let them go on.

    The next one starts when those before it wait for a lock, or have ended. Return what each
    returned or raised.
    """
    url = nodes.halls[0].settings.database
    keeper, eye = await asyncpg.connect(url), await asyncpg.connect(url)
    try:
        held = keeper.transaction()
        await held.start()
        await keeper.execute(lock)
        tasks: list[asyncio.Future[Any]] = []
        for work in works:
            tasks.append(asyncio.ensure_future(work))
            while await eye.fetchval(_BLOCKED) < sum(not task.done() for task in tasks):  # noqa: ASYNC110 - the server tells nobody who waits
                await asyncio.sleep(0.005)
        await held.rollback()
        return await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        await keeper.close()
        await eye.close()


async def run_job_anyway(hall: OpenHall, name: str) -> None:
    """Run a job at a node that need not hold the lease, as one that was stopped may do."""
    jobs = hall.hall.jobs
    found = jobs._jobs[name]
    await found.handler(jobs._context(found))


async def find_faults(hall: OpenHall) -> list[str]:
    """Return what the rooms' checks find, and which streams miss a number or have one twice."""
    faults = [f"stream {row}" for row in await hall.rows(_GAPS)]
    for room in ("leaderboards", "files", "feeds"):
        for check in hall.hall.catalog.rooms[room].checks:
            found = await hall.hall.database.read(partial(_inspect, hall, check))
            faults += [f"{check.name}: {each.told}" for each in found]
    return faults


async def _inspect(hall: OpenHall, check: Check, tx: Transaction) -> list[Finding]:
    """Carry out a check, as thoroughly as the doctor does when asked to."""
    resources = cast("Resources", hall.hall.house)  # of which checks ask for settings only
    given = Inspection(tx=tx, now_ms=hall.clock.now_ms(), resources=resources, is_thorough=True)
    return await check.handler(given)


async def rank_naively(hall: OpenHall, board: Any) -> list[Row]:
    """Return the ranking of a board's current season, sorted from its entries."""
    naive = NaiveBoard(board.direction, board.counting)
    for row in await hall.rows(_ENTRIES, board.board_id, board.season):
        naive.add(NaiveEntry(*row))
    return naive.ranking()
