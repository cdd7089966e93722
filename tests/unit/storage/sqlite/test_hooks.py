"""What a hook has learned is never newer than what a read sees that starts after it."""

import asyncio
from pathlib import Path

import pytest

from moothall.ports.database import Transaction
from tests.unit.storage.sqlite.opening import opened


async def count(tx: Transaction) -> int:
    row = await tx.fetch_one("SELECT count(*) FROM note")
    assert row is not None
    return int(row[0])


@pytest.mark.requirement("R22")
async def test_r22_read_that_starts_after_a_hook_ran_sees_its_commit(tmp_path: Path) -> None:
    """Also in the same round of the loop, in which a read before has made its snapshot."""
    async with opened(tmp_path) as database:
        await database.write(lambda tx: tx.execute("CREATE TABLE note (text TEXT)"))
        found: list[str] = []
        tasks: list[asyncio.Task[None]] = []
        loop = asyncio.get_running_loop()

        async def read(when: str) -> None:
            found.append(f"{when}: {await database.read(count)}")

        async def work(tx: Transaction) -> None:
            await tx.execute("INSERT INTO note VALUES ('x')")
            tx.on_commit(lambda: found.append("hook"))

        # Three steps of this round put a read, the batch and a read into the next one.
        loop.call_soon(lambda: tasks.append(loop.create_task(read("before"))))
        writing = loop.create_task(database.write(work))
        loop.call_soon(lambda: tasks.append(loop.create_task(read("after"))))
        await writing
        await asyncio.gather(*tasks)
        assert found == ["before: 0", "hook", "after: 1"]
