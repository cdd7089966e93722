"""A whole hall on a disk with faults: it refuses by name, goes on reading, and comes back alone."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from moothall.action.call import Reply
from moothall.core.errors import StorageUnavailableError
from moothall.storage.sqlite import SqliteBounds
from moothall.testing import (
    ManualClock,
    OpenHall,
    ProblemError,
    SimulatedDisk,
    Visitor,
    open_test_hall,
)
from moothall.testing.hall import PASSWORD
from tests.simulation.image import Deed, Promise, check_image

# A server's disk is the server's: what a hall does when that fails, tests/nodes shows.
pytestmark = pytest.mark.sqlite

JOBS_THAT_WRITE = ("access.seal_audit", "access.publish_head")
WAIT_S = 20
FAULTS: dict[str, Callable[[SimulatedDisk], None]] = {
    "full": lambda disk: setattr(disk, "is_full", True),
    "read-only": lambda disk: setattr(disk, "is_read_only", True),
    "no room to grow": lambda disk: setattr(disk, "room_bytes", 0),
}
ON_THREAD = SqliteBounds(commit_seconds_inline_max=0.0)
"""Every COMMIT leaves the loop's thread, as on a disk that is slow."""


async def make_board(hall: OpenHall) -> Visitor:
    """Bring in the administrator, and make a board for everybody."""
    boss = await hall.administrator("boss")
    fields = {"board_id": "every", "name": "every", "counting": "every"}
    more = {"direction": "descending", "default_level": "moderate"}
    await hall.call("leaderboards.create_board", {**fields, **more}, as_=boss)
    return boss


async def submit(hall: OpenHall, who: Visitor, key: str, **more: Any) -> Reply:
    """Submit a score, whose description is its key."""
    fields = {"board_id": "every", "score": 1, "description": key}
    return await hall.answer("leaderboards.submit_score", fields, token=who.token, key=key, **more)


def is_refused(reply: Reply) -> bool:
    """Tell whether a call was refused because of the disk; it must be so by name."""
    if reply.problem is None:
        return False
    assert (reply.problem.name, reply.problem.status) == ("storage_unavailable", 503)
    return True


async def refusal(call: Any) -> str:
    """Return the name of the problem that a call meets."""
    with pytest.raises(ProblemError) as refused:
        await call
    return refused.value.name


async def check_whole(hall: OpenHall, boss: Visitor) -> None:
    """Run the jobs of the audit trail, and verify it."""
    for job in JOBS_THAT_WRITE:
        await hall.run_job(job)
    checked = await hall.call("access.verify_audit", as_=boss)
    assert checked.unsealed_rows <= 1  # that of the call itself
    assert checked.last_head_number > 0
    assert await hall.rows("PRAGMA integrity_check") == [("ok",)]


@pytest.mark.requirement("R36")
@pytest.mark.parametrize("fault", FAULTS)
async def test_nothing_that_must_write_lies_while_it_cannot(tmp_path: Path, fault: str) -> None:
    disk = SimulatedDisk()
    async with open_test_hall(tmp_path, disk=disk) as hall:
        boss, ada = await make_board(hall), await hall.member("ada")
        await hall.run_job("access.seal_audit")
        assert (await submit(hall, ada, "before")).problem is None
        FAULTS[fault](disk)
        assert is_refused(await submit(hall, ada, "meanwhile"))
        # Reads go on, also for those who sign nothing.
        waiting = {"board_id": "every"}
        page = await hall.call("leaderboards.list_waiting", waiting, as_=boss)
        assert [entry.member_id for entry in page.entries] == [ada.member_id]
        assert (await hall.call("hall.ping")).answer
        # A guess that cannot be counted is not looked at, however often and whichever it is.
        for password in ("wrong", PASSWORD) * 5:
            fields = {"name": "ada", "password": password}
            call = hall.call("identity.open_session", fields)
            assert await refusal(call) == "storage_unavailable"
        # A refusal that cannot be written into the audit trail is none yet.
        call = hall.call("access.list_audit", as_=ada)
        assert await refusal(call) == "storage_unavailable"
        for job in JOBS_THAT_WRITE:
            with pytest.raises(StorageUnavailableError, match="disk"):
                await hall.run_job(job)
        disk.mend()
        # What was refused was not done; the same key does it now, once.
        assert (await submit(hall, ada, "meanwhile")).problem is None
        page = await hall.call("leaderboards.list_waiting", waiting, as_=boss)
        assert len(page.entries) == 2
        await hall.sign_in("ada")
        await check_whole(hall, boss)


@pytest.mark.requirement("R34")
@pytest.mark.requirement("R36")
@pytest.mark.parametrize("seed", range(2))
async def test_room_that_comes_and_goes(tmp_path: Path, seed: int) -> None:
    """Full in the middle of a commit or of a checkpoint, again and again, under load."""
    random, disk, clock = Random(seed), SimulatedDisk(), ManualClock()
    small = SqliteBounds(
        log_pages_wish=20, log_pages_max=60, commit_seconds_inline_max=random.choice((0.0, 60.0))
    )
    deeds: list[Deed] = []
    answered: list[Deed] = []
    refused = 0

    async def write(number: int) -> None:
        nonlocal refused
        fields = {"board_id": "every", "score": 1, "description": f"{number}{'x' * 2_000}"}
        body, key = msgspec.json.encode(fields), f"key-{number}"
        deed = Deed("leaderboards.submit_score", body, ada.token, key)
        deeds.append(deed)
        reply = await hall.answer(deed.action, body, token=ada.token, key=key)
        if is_refused(reply):
            refused += 1
        else:
            deed.reply = reply.body
            answered.append(deed)

    async with open_test_hall(tmp_path, disk=disk, clock=clock, bounds=small) as hall:
        await make_board(hall)
        ada = await hall.member("ada")
        for cycle in range(8):
            disk.room_bytes = random.randrange(120_000)
            await asyncio.gather(*(write(100 * cycle + number) for number in range(40)))
            disk.mend()
            await write(100 * cycle + 99)
            assert answered[-1] is deeds[-1], f"seed {seed}: it did not come back"
    assert refused, f"seed {seed}: there was always room"
    promise = Promise(
        tmp_path, "full", tuple(answered), tuple(deeds), pushed=(), now_ms=clock.now_ms()
    )
    assert await check_image(promise) > refused, f"seed {seed}"


@pytest.mark.requirement("R36")
async def test_the_audit_trail_waits_for_room_beside_the_database(tmp_path: Path) -> None:
    """The file of heads lies on a disk of its own, which is full for a while."""
    heads = tmp_path / "heads.jsonl"
    heads.symlink_to("/dev/full")
    settings = {"audit": {"heads": str(heads)}}
    async with open_test_hall(tmp_path, tables=settings) as hall:
        boss = await make_board(hall)
        await hall.run_job("access.seal_audit")
        with pytest.raises(OSError, match="No space left"):
            await hall.run_job("access.publish_head")
        assert (await submit(hall, boss, "goes-on")).problem is None
        heads.unlink()
        await check_whole(hall, boss)


@pytest.mark.requirement("R36")
async def test_a_disk_that_cannot_be_read_for_a_while(tmp_path: Path) -> None:
    disk = SimulatedDisk()
    async with open_test_hall(tmp_path, disk=disk) as hall:
        boss, ada = await make_board(hall), await hall.member("ada")
        disk.is_unreadable = True
        outcomes = [await submit(hall, ada, f"key-{number}") for number in range(20)]
        for reply in outcomes:
            is_refused(reply)
        # What is in memory is served; what is not is refused, and not as if it were not there.
        for _ in range(5):
            reply = await hall.answer("leaderboards.list_boards", token=ada.token)
            assert is_refused(reply) or b"every" in (reply.body or b"")
        disk.mend()
        again = [await submit(hall, ada, f"key-{number}") for number in range(20)]
        assert [reply.problem for reply in again] == [None] * 20
        page = await hall.call("leaderboards.list_waiting", {"board_id": "every"}, as_=boss)
        assert len(page.entries) == 20
        await check_whole(hall, boss)


@pytest.mark.requirement("R36")
async def test_a_failed_sync_ends_all_writing_and_loses_nothing(tmp_path: Path) -> None:
    disk = SimulatedDisk()
    async with open_test_hall(tmp_path, disk=disk) as hall:
        boss = await make_board(hall)
        ada = await hall.member("ada")
        first = await submit(hall, ada, "first")
        disk.breaks = {"-wal"}
        assert is_refused(await submit(hall, ada, "second"))
        # Here its process would have ended.
        assert len(disk.sync_failures) == 1
        disk.mend()
        assert is_refused(await submit(hall, ada, "third"))
        disk.cut_power(tmp_path / "image" / "hall", Random(0))
    async with open_test_hall(tmp_path / "image") as hall:
        assert (await submit(hall, ada, "first")).body == first.body
        for key in ("second", "third"):
            assert (await submit(hall, ada, key)).problem is None
        page = await hall.call("leaderboards.list_waiting", {"board_id": "every"}, as_=boss)
        assert len(page.entries) == 3
        await check_whole(hall, boss)


@pytest.mark.requirement("R36")
async def test_pings_and_reads_go_on_while_a_slow_disk_commits(tmp_path: Path) -> None:
    disk, clock = SimulatedDisk(), ManualClock()
    async with open_test_hall(tmp_path, disk=disk, clock=clock, bounds=ON_THREAD) as hall:
        boss, ada = await make_board(hall), await hall.member("ada")
        with disk.holding() as has_come:
            first = asyncio.create_task(submit(hall, ada, "first"))
            assert await asyncio.to_thread(has_come.wait, WAIT_S)
            late = asyncio.create_task(submit(hall, ada, "late", deadline_ms=1_000))
            for _ in range(20):
                await asyncio.sleep(0)  # let it come as far as the writer
                assert (await hall.call("hall.ping")).answer
                page = await hall.call("leaderboards.list_waiting", {"board_id": "every"}, as_=boss)
                assert page.entries == []  # not before it is safe
            clock.advance(1_001)
            assert not first.done()
        assert (await first).problem is None
        problem = (await late).problem
        assert problem is not None
        assert problem.code == "deadline_exceeded"
        page = await hall.call("leaderboards.list_waiting", {"board_id": "every"}, as_=boss)
        assert len(page.entries) == 1  # what came too late was not done


@pytest.mark.requirement("R36")
async def test_calls_share_the_syncs_of_a_slow_disk(tmp_path: Path) -> None:
    disk, callers, calls = SimulatedDisk(), 64, 5
    async with open_test_hall(tmp_path, disk=disk) as hall:
        await make_board(hall)
        ada = await hall.member("ada")

        async def call(caller: int) -> None:
            for number in range(calls):
                reply = await submit(hall, ada, f"{caller}-{number}")
                assert reply.problem is None

        disk.sync_seconds = 0.05
        disk.sync_threads.clear()
        await asyncio.gather(*map(call, range(callers)))
        # One call a sync would be 320 syncs, 16 s.
        assert len(disk.sync_threads) < callers * calls / 8
        # After the first one it is known that they are slow.
        assert set(disk.sync_threads[4:]) == {"moothall-commit_0"}
