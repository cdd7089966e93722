"""Halls that older releases made are opened by this one: nothing is lost, and ranks are right.

What they hold was written by their own code; ``older/fill.py`` tells how.
"""

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from moothall.action.checks import Level
from moothall.app.compose import find_catalog
from moothall.app.config import Settings
from moothall.app.doctor import examine
from moothall.app.foundation import DATABASE_FILE, KEY_FILE
from moothall.app.heads import HEADS_FILE
from moothall.core.errors import ConfigurationError
from moothall.testing import open_test_hall
from moothall.testing.hall import ISSUER
from tests.plays.conftest import environment
from tests.plays.kill_load import recount

# About the files of a hall on SQLite.
pytestmark = pytest.mark.sqlite

OLDER = Path(__file__).parent / "older"
COMMITS = ("045c252", "c1c0135")
NAMES = ("ada", "bo", "boss", "cy", "dee")
BOARDS = {"every": "every", "best": "best"}
KEPT = "identity_member", "identity_session", "access_binding", "leaderboards_entry"

# Applies some of the migrations and dies within the next one, as by a kill.
DIE = """
import os, sys
from pathlib import Path
from moothall.action import migrations
from moothall.testing import open_test_hall
import asyncio

apply, left = migrations._apply, int(sys.argv[2])

async def apply_or_die(*arguments):
    global left
    await apply(*arguments)
    left -= 1
    if left < 0:
        os._exit(9)

migrations._apply = apply_or_die

async def main():
    async with open_test_hall(Path(sys.argv[1])):
        pass

asyncio.run(main())
"""


def unpack(commit: str, folder: Path) -> Path:
    """Make the data folder as that commit left it."""
    text = (OLDER / f"{commit}.sql").read_text("utf-8")
    data = folder / "hall"
    data.mkdir(mode=0o700)
    comments = [line for line in text.splitlines() if line.startswith("-- ")]
    told = [line.removeprefix("-- ").partition(": ") for line in comments]
    secret = next(value for name, _, value in told if name == "sealing key")
    heads = [value for name, _, value in told if name == "head"]
    for name, lines in ((KEY_FILE, [secret]), (HEADS_FILE, heads)):
        (data / name).write_text("".join(f"{line}\n" for line in lines))
        (data / name).chmod(0o600)
    rows = apsw.Connection(str(data / DATABASE_FILE))
    rows.execute(text).fetchall()
    rows.close()
    (data / DATABASE_FILE).chmod(0o600)
    return data


def count(data: Path) -> dict[str, int]:
    rows = apsw.Connection(str(data / DATABASE_FILE))
    found: dict[str, Any] = {
        name: rows.execute(f"SELECT count(*) FROM {name}").fetchall()[0][0] for name in KEPT
    }
    rows.close()
    return found


def count_steps() -> int:
    """Return how many migrations a fresh hall of today applies."""
    catalog = find_catalog(Settings())
    folders = [room.migrations for room in catalog.rooms.values() if room.migrations]
    files = [file.name for folder in folders for file in folder.glob("*.sql")]
    return len([name for name in files if not name.endswith(".postgres.sql")])


def list_failed(data: Path) -> Iterator[Any]:
    """Yield what the doctor finds broken; the clock of these halls stands long ago."""
    settings = Settings(data=str(data), public_url=ISSUER)
    for report in examine(settings, None, is_thorough=True):
        if report.level is Level.FAILED:
            yield report


@pytest.mark.requirement("R36")
@pytest.mark.requirement("R54")
@pytest.mark.parametrize("commit", COMMITS)
async def test_an_older_hall_is_whole_after_the_upgrade(commit: str, tmp_path: Path) -> None:
    data = unpack(commit, tmp_path)
    before = count(data)
    async with open_test_hall(tmp_path) as hall:
        boss = await hall.sign_in("boss")
        members = [await hall.sign_in(name) for name in NAMES]
        found = await hall.call("access.list_bindings", {}, as_=boss)
        assert {"administrator", "greeter"} <= {each.role for each in found.bindings}
        for board, counting in BOARDS.items():
            page = await hall.call(
                "leaderboards.list_entries", {"board_id": board, "limit": 100}, as_=members[0]
            )
            entries = [
                dict(zip(("entry_id", "member_id", "score", "submitted_at_ms"), row, strict=True))
                for row in await hall.rows(
                    "SELECT entry_id, member_id, score, submitted_at_ms FROM leaderboards_entry "
                    "WHERE board_id = $1 AND verified_at_ms IS NOT NULL",
                    board,
                )
            ]
            assert [(s.place, s.entry_id, s.score) for s in page.standings] == recount(
                entries, counting
            )
            assert {entry["score"] for entry in entries} <= set(map(float, range(10)))
            # The board can be played on: what is new takes its place among the old ones.
            best = {"board_id": board, "score": 1_000}
            submitted = await hall.call("leaderboards.submit_score", best, as_=members[0])
            entry = {"entry_id": submitted.entry_id}
            await hall.call("leaderboards.verify_entry", entry, as_=boss)
            page = await hall.call("leaderboards.list_entries", {"board_id": board}, as_=boss)
            assert page.standings[0].entry_id == submitted.entry_id
        await hall.run_job("access.seal_audit")
        await hall.call("access.verify_audit", {}, as_=boss)
    after = Counter(count(data))
    after.subtract(before)
    signed_in = 1 + len(NAMES)
    assert after == {"identity_session": signed_in, "leaderboards_entry": 2} | dict.fromkeys(
        ("identity_member", "access_binding"), 0
    )
    assert await asyncio.to_thread(lambda: list(list_failed(data))) == []


@pytest.mark.requirement("R36")
@pytest.mark.parametrize("part", [0.0, 0.5, 0.95])
async def test_a_kill_within_a_migration_is_made_good_by_the_next_start(
    part: float, tmp_path: Path
) -> None:
    data = unpack("045c252", tmp_path)
    before = count(data)
    to_come = count_steps() - 4
    dies_at = int(part * to_come)
    died = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", DIE, str(tmp_path), str(dies_at)],
        env=environment(),
        check=False,
        timeout=60,
    )
    assert died.returncode == 9
    async with open_test_hall(tmp_path) as hall:
        await hall.sign_in("ada")
    assert count(data) == {**before, "identity_session": before["identity_session"] + 1}
    assert await asyncio.to_thread(lambda: list(list_failed(data))) == []


async def test_rows_of_a_later_release_are_refused_with_a_remedy(tmp_path: Path) -> None:
    data = unpack(COMMITS[-1], tmp_path)
    async with open_test_hall(tmp_path):
        pass
    rows = apsw.Connection(str(data / DATABASE_FILE))
    rows.execute(
        "INSERT INTO action_migration (room, number, name, digest, applied_at_ms) "
        "SELECT room, number + 100, 'later', 'x', 0 FROM action_migration "
        "WHERE room = 'leaderboards'"
    ).fetchall()
    rows.close()
    with pytest.raises(ConfigurationError, match=r"leaderboards: .* run the newer release"):
        async with open_test_hall(tmp_path):
            pass
    found = {each.check: each for each in await asyncio.to_thread(lambda: list(list_failed(data)))}
    assert "run the release that wrote" in found["schema"].remedy
