"""The audit trail of several nodes: what commits late is sealed late, and heads belong to nodes."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from moothall.app.heads import HEADS_FILE, NODE_FILE
from moothall.ports.audit import AuditRow
from moothall.ports.database import Transaction
from moothall.services.access.jobs import seal_audit
from moothall.services.access.store.audit import insert_audit
from moothall.testing import OpenHall, ProblemError, Visitor, open_test_hall
from tests.servers.nodes import Nodes, open_nodes
from tests.unit.services.access.calls import do

ROUNDS = 20
_GATE = "gate"
# As PostgresTransaction.lock does.
_HOLD = "SELECT pg_advisory_lock(hashtextextended($1, 0) & $2)"
_MASK = (1 << 62) - 1


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[Nodes]:
    async with open_nodes(tmp_path) as opened:
        yield opened


async def seal(hall: OpenHall) -> None:
    """Seal at this node, whichever holds the lease: one that lost it may not know yet."""
    jobs: Any = hall.hall.jobs
    await seal_audit.handler(jobs._context(seal_audit))


async def last_sealed(hall: OpenHall) -> int:
    return int((await hall.rows("SELECT max(last_number) FROM access_seal"))[0][0] or 0)


async def verify(hall: OpenHall, who: Visitor) -> Any:
    return await hall.call("access.verify_audit", as_=who)


@asynccontextmanager
async def closed_gate(hall: OpenHall) -> AsyncIterator[None]:
    """Hold a lock for which a write can be made to wait."""
    connection = await asyncpg.connect(hall.settings.database)
    try:
        await connection.execute(_HOLD, _GATE, _MASK)
        yield
    finally:
        await connection.close()


async def start_late_row(hall: OpenHall) -> tuple[int, "asyncio.Task[None]"]:
    """Begin a write that has taken the number of its row and waits at the gate."""
    taken: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def work(tx: Transaction) -> None:
        await insert_audit(tx, AuditRow(1, "late", "shop.buy", "", "done", "", "r"))
        row = await tx.fetch_one("SELECT max(number) FROM access_audit WHERE actor = 'late'")
        assert row is not None
        if not taken.done():
            taken.set_result(row[0])
        await tx.lock(_GATE)

    task = asyncio.get_running_loop().create_task(hall.hall.database.write(work))
    return await taken, task


@pytest.mark.requirement("R24")
async def test_r24_a_row_that_commits_late_is_sealed_late_and_the_trail_is_whole(
    nodes: Nodes,
) -> None:
    first, second = nodes.halls
    boss = await first.administrator("boss")
    async with closed_gate(first):
        number, late = await start_late_row(first)
        for at in range(3):
            await do(second, boss, "grant_role", member="boss", role="auditor", at=f"a/{at}")
        for hall in nodes.halls:
            await seal(hall)
            await hall.run_job("access.publish_head")
            assert 0 < await last_sealed(hall) < number
        report = await verify(second, boss)
        assert report.unsealed_rows > 0, "rows with higher numbers wait for it"
        assert not late.done()
    await late
    await seal(second)
    rows = [row[0] for row in await first.rows("SELECT number FROM access_audit ORDER BY number")]
    assert number in rows
    assert await last_sealed(first) == rows[-1] > number
    for hall in nodes.halls:
        rows_of_others = len(await hall.rows("SELECT 1 FROM access_audit")) - len(rows)
        report = await verify(hall, boss)
        assert report.rows_checked == len(rows)
        assert report.unsealed_rows == rows_of_others, "verifying leaves a row itself"


@pytest.mark.requirement("R24")
@pytest.mark.parametrize("seed", range(3))
async def test_r24_two_sealers_at_once_beside_writers_make_one_chain(
    nodes: Nodes, seed: int
) -> None:
    first, second = nodes.halls
    chance = random.Random(seed)
    boss = await first.administrator("boss")

    async def write(hall: OpenHall, number: int) -> None:
        for at in range(5):
            for _ in range(chance.randint(0, 20)):
                await asyncio.sleep(0)
            await do(hall, boss, "grant_role", member="boss", role="auditor", at=f"a{number}/{at}")

    async def seal_often(hall: OpenHall) -> None:
        for _ in range(ROUNDS):
            await seal(hall)

    await asyncio.gather(
        *(write(nodes.halls[number % 2], number) for number in range(6)),
        *(seal_often(hall) for hall in nodes.halls),
    )
    await seal(first)
    seals = await first.rows("SELECT after_number, last_number FROM access_seal ORDER BY 1")
    assert [after for after, _ in seals] == [0, *(last for _, last in seals[:-1])], seed
    (rows,) = (await first.rows("SELECT count(*) FROM access_audit"))[0]
    assert (await verify(second, boss)).rows_checked == rows, seed


@pytest.mark.requirement("R24")
async def test_r24_each_node_signs_heads_of_its_own_and_misses_them(nodes: Nodes) -> None:
    first, second = nodes.halls
    boss = await first.administrator("boss")
    for hall in (first, second, second):
        await do(hall, boss, "create_team", team=f"t{await last_sealed(hall)}")
        await seal(hall)
        await hall.run_job("access.publish_head")
    files = [hall.settings.data_path / HEADS_FILE for hall in nodes.halls]
    assert [len(file.read_text().splitlines()) for file in files] == [1, 2]
    for hall, heads in zip(nodes.halls, (1, 2), strict=True):
        assert (await verify(hall, boss)).heads_checked == heads
        assert (await hall.call("access.get_audit_head", as_=boss)).head_count == heads
    files[1].unlink()
    assert (await verify(first, boss)).heads_checked == 1
    with pytest.raises(ProblemError) as refusal:
        await verify(second, boss)
    assert refusal.value.details["fault"] == "head_missing"


@pytest.mark.requirement("R24")
async def test_r24_a_node_keeps_its_name(tmp_path: Path) -> None:
    async with open_nodes(tmp_path) as nodes:
        first, second = nodes.halls
        names = [(hall.settings.data_path / NODE_FILE).read_text() for hall in nodes.halls]
        assert names[0] != names[1]
        assert (second.settings.data_path / NODE_FILE).stat().st_mode & 0o777 == 0o600
        async with open_test_hall(tmp_path / "third", node_of=first) as third:
            boss = await third.administrator("boss")
            await seal(third)
            await third.run_job("access.publish_head")
            name = (third.settings.data_path / NODE_FILE).read_text()
        async with open_test_hall(tmp_path / "third", node_of=first) as third:
            assert (third.settings.data_path / NODE_FILE).read_text() == name
            assert (await verify(third, boss)).heads_checked >= 1
        sql = "SELECT head_count FROM access_head WHERE node = $1"
        assert await first.rows(sql, name.strip()) != []
