"""Readiness: a balancer is told when calls should come, and why not."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from moothall.action.connections import Connections
from moothall.app import watch as watch_module
from moothall.app.compose import Hall
from moothall.app.doors import OpenDoors
from moothall.app.watch import Watch
from moothall.testing import SimulatedDisk, open_test_hall

if TYPE_CHECKING:
    from moothall.ports.database import Database


def open_for(hall: Hall) -> Watch:
    watch = Watch()
    watch.opened(hall, OpenDoors((), hall.house.use(Connections)))
    return watch


async def ask(watch: Watch, path: str = "/readyz") -> tuple[int, dict[str, Any]]:
    answer = await watch.answer(path)
    assert answer is not None
    return answer.status, msgspec.json.decode(answer.body)


async def test_readiness_follows_the_life_of_a_hall(tmp_path: Path) -> None:
    watch = Watch()
    assert await ask(watch) == (503, {"status": "not ready", "reasons": ["the hall is starting"]})
    async with open_test_hall(tmp_path) as hall:
        watch.opened(hall.hall, OpenDoors((), hall.hall.house.use(Connections)))
        assert await ask(watch) == (200, {"status": "ready", "reasons": []})
        watch.stopping()
        stopping = {"status": "not ready", "reasons": ["the hall is stopping"]}
        assert await ask(watch) == (503, stopping)
    assert await ask(watch) == (503, stopping)


@pytest.mark.parametrize("path", ["/livez", "/metrics"])
async def test_liveness_and_metrics_need_no_hall(path: str) -> None:
    answer = await Watch().answer(path)
    assert answer is not None
    assert answer.status == 200
    assert await Watch().answer("/") is None


async def test_a_disk_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    disk = SimulatedDisk()
    async with open_test_hall(tmp_path, disk=disk) as hall:
        watch = open_for(hall.hall)
        assert (await ask(watch))[0] == 200
        await hall.member("ada")  # what was read before a commit is not in memory any more
        disk.is_unreadable = True
        told = await ask(watch)
        disk.mend()
        reasons = ["the database cannot be read (storage_unavailable)"]
        assert told == (503, {"status": "not ready", "reasons": reasons})
        assert (await ask(watch))[0] == 200


class Silent:
    """A database that is away: nothing comes back."""

    engine = "sqlite"

    async def read(self, work: Callable[..., Awaitable[object]]) -> None:
        await asyncio.Event().wait()


class Far(Silent):
    """One that answers, and knows that it is behind."""

    def find_trouble(self) -> str | None:
        return "nothing was heard of the other nodes"

    async def read(self, work: Callable[..., Awaitable[object]]) -> None:
        pass


async def test_a_database_that_does_not_answer_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert watch_module.DATABASE_SECONDS_MAX == 2.0
    monkeypatch.setattr(watch_module, "DATABASE_SECONDS_MAX", 0.01)
    async with open_test_hall(tmp_path) as hall:
        watch = open_for(replace(hall.hall, database=cast("Database", Silent())))
        async with asyncio.timeout(5):
            told = await ask(watch)
    reasons = ["the database has not answered for 0.01 s"]
    assert told == (503, {"status": "not ready", "reasons": reasons})


async def test_a_part_that_knows_its_own_trouble_is_heard(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path) as hall:
        watch = open_for(replace(hall.hall, database=cast("Database", Far())))
        told = await ask(watch)
    reasons = ["nothing was heard of the other nodes"]
    assert told == (503, {"status": "not ready", "reasons": reasons})
