"""Real halls on disks that fill up or fail: they say so, go on reading, and come back, or stop."""

import asyncio
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.plays.kill_load import (
    COUNTING,
    MEMBERS,
    PASSWORD,
    KilledHall,
    Load,
    ask,
    call_once,
    check_hall,
    settle_in,
)

# About the files of a hall on SQLite.
pytestmark = pytest.mark.sqlite

EXIT_DISK = 74
CONNECTIONS = 16
NO_LIMIT = resource.RLIM_INFINITY
BREAKING = """
import signal
from moothall.testing import SimulatedDisk

disk = SimulatedDisk(is_default=True)
signal.signal(signal.SIGUSR1, lambda *_: disk.breaks.add("-wal"))

from moothall.app.main import serve

serve()
"""
"""The program on a disk whose log fails to sync from a signal on."""

StartHall = Callable[..., KilledHall]


@pytest.fixture
async def make_hall(tmp_path: Path) -> AsyncIterator[StartHall]:
    made: list[KilledHall] = []

    def make(folder: Path = tmp_path / "hall", **options: Any) -> KilledHall:
        made.append(KilledHall(folder, **options))
        return made[-1]

    yield make
    for hall in made:
        await hall.leave()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 8 MiB, where that is allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if (
        shutil.which("mount") is None
        or subprocess.run(mount, capture_output=True, check=False).returncode
    ):
        pytest.skip("nobody may mount a disk here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def check_refused_and_back(
    hall: KilledHall, tokens: dict[str, str], fill: Callable[[], None], free: Callable[[], None]
) -> None:
    """Fill the disk, look at what still goes, free it, and look at what goes again."""
    ada = tokens[MEMBERS[0]]
    score = {"board_id": "every", "score": 1, "description": "x" * 3_000}
    assert (await ask(hall.port, "leaderboards.submit_score", score, ada, "first"))[0] == 200
    fill()
    refused = 0
    for number in range(20):
        status, problem = await ask(
            hall.port, "leaderboards.submit_score", score, ada, f"full-{number}"
        )
        if status != 200:
            assert (status, problem["name"]) == (503, "storage_unavailable"), problem
            refused += 1
    assert refused
    credentials = {"name": MEMBERS[1], "password": PASSWORD}
    status, problem = await ask(hall.port, "identity.open_session", credentials)
    assert (status, problem["name"]) == (503, "storage_unavailable")
    assert (await ask(hall.port, "hall.ping", {}))[0] == 200
    waiting = {"board_id": "every", "limit": 200}
    status, page = await ask(hall.port, "leaderboards.list_waiting", waiting, ada)
    assert (status, len(page["entries"])) == (200, 1 + 20 - refused)
    free()
    for number in range(20):
        again = await ask(hall.port, "leaderboards.submit_score", score, ada, f"full-{number}")
        assert again[0] == 200, again
    status, page = await ask(hall.port, "leaderboards.list_waiting", waiting, ada)
    assert (status, len(page["entries"])) == (200, 21)
    assert (await ask(hall.port, "identity.open_session", credentials))[0] == 200
    status, checked = await ask(hall.port, "access.verify_audit", {}, ada)
    assert status == 200, checked
    assert await hall.stop() == 0


@pytest.mark.requirement("R36")
async def test_a_hall_whose_files_cannot_be_written_and_its_log_neither(
    make_hall: StartHall,
) -> None:
    """A limit of the system, which needs no rights; what the hall logs falls under it too."""
    hall = make_hall()
    await hall.start()
    tokens = await settle_in(hall)

    def limit(size_bytes: int) -> None:
        resource.prlimit(hall.process_id, resource.RLIMIT_FSIZE, (size_bytes, NO_LIMIT))

    await check_refused_and_back(hall, tokens, lambda: limit(1), lambda: limit(NO_LIMIT))


@pytest.mark.requirement("R36")
async def test_a_disk_that_is_really_full(make_hall: StartHall, small_disk: Path) -> None:
    hall = make_hall(small_disk / "hall")  # its log lies beside it
    await hall.start()
    tokens = await settle_in(hall)
    ballast = small_disk / "ballast"

    def fill() -> None:
        with ballast.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(4_096)):
                    pass
            except OSError:
                return

    await check_refused_and_back(hall, tokens, fill, ballast.unlink)


@pytest.mark.requirement("R36")
async def test_a_failed_sync_ends_the_process_and_loses_nothing(make_hall: StartHall) -> None:
    breaking = make_hall(program=(sys.executable, "-c", BREAKING))
    await breaking.start()
    load = Load(Random(0), await settle_in(breaking), list(COUNTING))
    running = asyncio.create_task(load.run(breaking.port, CONNECTIONS))
    await load.answered(300, running)
    os.kill(breaking.process_id, signal.SIGUSR1)
    async with asyncio.timeout(20):
        assert await breaking.wait() == EXIT_DISK
    await running
    assert "the disk failed to sync; stopping" in breaking.folder.with_suffix(".log").read_text()
    hall = make_hall()
    await hall.start()
    await load.run_until_settled(hall.port, CONNECTIONS)
    assert await call_once(hall.port, "hall.ping", {})
    await check_hall(hall, load)
