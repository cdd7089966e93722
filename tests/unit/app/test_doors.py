"""Doors open only where the rooms serve what a door calls by name."""

from dataclasses import replace
from pathlib import Path

import pytest

from moothall.action.catalog import Catalog
from moothall.app.compose import LAST_HEAD_JOBS
from moothall.app.config import Settings
from moothall.app.doors import open_doors
from moothall.core.errors import ConfigurationError
from moothall.testing import open_test_hall
from moothall.transports.backend import CONNECTION_ACTIONS, FILE_ACTIONS


@pytest.mark.parametrize(
    ("room", "missing"), [("feeds", "feeds.subscribe"), ("files", "files.get_chunk")]
)
async def test_doors_do_not_open_without_what_they_call(
    tmp_path: Path, room: str, missing: str
) -> None:
    async with open_test_hall(tmp_path) as opened:
        hall = opened.hall
        served = set(hall.catalog.actions)
        assert served >= CONNECTION_ACTIONS | FILE_ACTIONS
        rooms = [each for each in hall.catalog.rooms.values() if each.name != room]
        actions = {name: one for name, one in hall.catalog.actions.items() if one.room != room}
        catalog = Catalog([])
        catalog.rooms = {each.name: each for each in rooms}
        catalog.actions = actions
        with pytest.raises(ConfigurationError, match=missing):
            await open_doors(replace(hall, catalog=catalog), Settings(port=0), None)


async def test_jobs_that_leave_the_last_head_are_served(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path) as opened:
        jobs = {job.name for room in opened.hall.catalog.rooms.values() for job in room.jobs}
        assert jobs >= set(LAST_HEAD_JOBS)
