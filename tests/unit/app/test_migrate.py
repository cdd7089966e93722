"""Moving a hall from SQLite to PostgreSQL: whole or not at all, and the same hall afterwards."""

import asyncio
import contextlib
import shutil
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from moothall.action.checks import Level
from moothall.app import migrate, transfer
from moothall.app.config import Settings
from moothall.app.doctor import examine
from moothall.app.foundation import DATABASE_FILE, KEY_FILE
from moothall.app.migrate import Moved, move_hall
from moothall.app.moved import MARK_FILE
from moothall.app.restore import restore_backup
from moothall.core.errors import ConfigurationError
from moothall.testing import OpenHall, ProblemError, Visitor, open_test_hall
from tests.servers.postgres import drop_database, make_database
from tests.unit.app.backups import (
    BOARD,
    alter,
    back_up,
    furnish,
    ignore,
    settings_of,
    vouch,
    wall_clock,
)
from tests.unit.services.files.uploading import download, pattern, upload

_numbers = count(1)


@dataclass
class Watcher:
    """Implements Progress, and remembers it."""

    expected: int = 0
    done: int = 0
    told: list[str] = field(default_factory=list)

    def expect(self, rows: int) -> None:
        self.expected = rows

    def advance(self, rows: int) -> None:
        self.done += rows

    def tell(self, text: str) -> None:
        self.told.append(text)


@pytest.fixture
async def database() -> AsyncIterator[str]:
    """The address of an empty database."""
    name = f"moved_{id(_numbers)}_{next(_numbers)}"
    yield await make_database(name)
    await drop_database(name)


@pytest.fixture(scope="module")
def made() -> "dict[str, Story]":
    """The hall that is made once and copied for each test."""
    return {}


@pytest.fixture
async def crowded(
    made: "dict[str, Story]", tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> "Story":
    if not made:
        made["story"] = await _tell(tmp_path_factory.mktemp("crowded"))
    story = made["story"]
    shutil.copytree(story.data, tmp_path / "hall")
    return replace(story, folder=tmp_path)


@dataclass
class Story:
    """A hall on SQLite with something of everything in it, that has stopped."""

    folder: Path
    boss: Visitor
    ada: Visitor
    refresh_token: str
    sha256: str
    seen: dict[str, Any]
    rows: dict[str, Any]
    cursor: str

    @property
    def data(self) -> Path:
        return self.folder / "hall"

    async def move(self, database: str, **more: Any) -> tuple[Moved, Watcher]:
        watcher = Watcher()
        settings = settings_of(self.data, database=database, **more)
        return await asyncio.to_thread(move_hall, settings, watcher), watcher

    def open(self, **settings: Any) -> contextlib.AbstractAsyncContextManager[OpenHall]:
        return open_test_hall(self.folder, clock=wall_clock(), **settings)


async def _tell(folder: Path) -> Story:
    async with open_test_hall(folder, clock=wall_clock()) as hall:
        boss, (ada, bo, cy) = await furnish(hall)
        await _furnish_more(hall, boss, ada, bo, cy)
        file = await upload(hall, ada, pattern(700_000))
        [(entry,)] = await hall.rows(
            "SELECT min(entry_id) FROM leaderboards_entry WHERE member_id = $1", ada.member_id
        )
        proof = {"entry_id": entry, "sha256": file, "name": "run.bin"}
        proof["media_type"] = "application/octet-stream"
        await hall.call("leaderboards.add_proof", proof, as_=ada)
        fields = {"name": "ada", "password": "correct horse battery staple"}
        opened = await hall.call("identity.open_session", fields)
        await vouch(hall)
        [(last,)] = await hall.rows("SELECT max(cursor) FROM action_event")
        cursor = hall.cursor(last)
        position = {"feed": f"board/{BOARD}", "cursor": cursor}
        await hall.call("feeds.acknowledge", position, as_=ada)
        await vouch(hall)
        return Story(
            folder, boss, ada, opened.refresh_token, file,
            await look(hall, boss), await numbers(hall), cursor,
        )  # fmt: skip


async def _furnish_more(
    hall: OpenHall, boss: Visitor, ada: Visitor, bo: Visitor, cy: Visitor
) -> None:
    """Leave a row in as many tables as calls can."""
    calls: list[tuple[str, dict[str, Any], Visitor]] = [
        ("access.create_team", {"team": "judges", "summary": "à l'œuvre ✓"}, boss),
        ("access.add_team_member", {"team": "judges", "member": "bo"}, boss),
        ("access.define_role",
         {"name": "referee", "permissions": ["members:ban"], "summary": "x"}, boss),
        ("access.grant_role", {"member": "bo", "role": "referee"}, boss),
        ("access.ban", {"member": "cy", "at": f"board/{BOARD}", "reason": "late"}, boss),
        ("identity.create_invitation", {}, boss),
        ("identity.issue_recovery_code", {"member": "bo"}, boss),
        ("identity.add_audience", {"audience": "https://boards.test", "summary": "b"}, boss),
        ("identity.rename_self", {"name": "adelaide"}, ada),
        ("identity.rename_self", {"name": "ada"}, ada),
        ("leaderboards.create_board",
         {"board_id": "every", "name": "Each", "direction": "ascending", "counting": "every",
          "default_level": "write"}, boss),
        ("leaderboards.submit_score", {"board_id": "every", "score": -0.125}, bo),
        ("leaderboards.submit_score", {"board_id": "every", "score": 1e300}, boss),
        ("leaderboards.start_season", {"board_id": BOARD}, boss),
        ("leaderboards.submit_score", {"board_id": BOARD, "score": 3}, ada),
    ]  # fmt: skip
    for action, fields, who in calls:
        await hall.call(action, fields, as_=who)
    scored = {"board_id": BOARD, "score": 4}
    await hall.call("leaderboards.submit_score", scored, as_=bo, key="once-and-only-once-1")
    for name in ("ada", "nobody at all"):
        wrong = {"name": name, "password": "not this one, surely"}
        with pytest.raises(ProblemError):
            await hall.call("identity.open_session", wrong, source="192.0.2.78")
    await hall.call("identity.remove_member", {"member": "cy"}, as_=boss)


QUESTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("identity.list_members", {}),
    ("identity.list_invitations", {}),
    ("identity.list_audiences", {}),
    ("identity.list_keys", {}),
    ("identity.export_member", {"member": "ada"}),
    ("identity.export_member", {"member": "bo"}),
    ("identity.list_sessions_of", {"member": "ada"}),
    ("access.list_roles", {}),
    ("access.list_bindings", {}),
    ("access.list_teams", {}),
    ("access.list_team_members", {"team": "judges"}),
    ("access.list_bans", {}),
    ("leaderboards.list_boards", {}),
    ("leaderboards.list_seasons", {"board_id": BOARD}),
    ("leaderboards.list_entries", {"board_id": BOARD}),
    ("leaderboards.list_entries", {"board_id": BOARD, "season": 1}),
    ("leaderboards.list_entries", {"board_id": "every"}),
    ("leaderboards.list_waiting", {"board_id": "every"}),
    ("leaderboards.get_rank", {"board_id": BOARD, "member": "ada", "season": 1}),
)


async def look(hall: OpenHall, boss: Visitor) -> dict[str, Any]:
    """Return what calls that only read answer, but for the trail that they leave themselves."""
    boss = hall.renew(boss)
    found = {}
    for action, fields in QUESTIONS:
        answer = await hall.call(action, fields, as_=boss)
        found[f"{action} {fields}"] = msgspec.to_builtins(answer)
    return found


async def numbers(hall: OpenHall) -> dict[str, Any]:
    """Return the events and the trail, by their numbers."""
    return {
        "events": await hall.rows(
            "SELECT cursor, stream, seq, kind, at_ms, data FROM action_event ORDER BY cursor"
        ),
        "trail": await hall.rows(
            "SELECT number, at_ms, actor, action, path, outcome FROM access_audit ORDER BY number"
        ),
    }


def digest_of(file: Path) -> str:
    return sha256(file.read_bytes()).hexdigest()


@pytest.mark.requirement("R36")
async def test_a_hall_with_everything_is_the_same_hall_on_postgresql(
    crowded: Story, database: str
) -> None:
    before = digest_of(crowded.data / DATABASE_FILE)
    moved, watcher = await crowded.move(database)
    assert moved.faults == []
    assert not moved.was_done
    assert watcher.done == watcher.expected == 2 * sum(moved.tables.values())
    assert len(watcher.told) == len(moved.tables)
    assert sum(rows > 0 for rows in moved.tables.values()) >= 25
    assert digest_of(crowded.data / DATABASE_FILE) == before
    async with crowded.open(database=database) as hall:
        rows = await numbers(hall)
        assert rows["events"][: len(crowded.rows["events"])] == crowded.rows["events"]
        trail = rows["trail"]
        assert trail[: len(crowded.rows["trail"])] == crowded.rows["trail"]
        assert trail[len(crowded.rows["trail"])][3] == "hall.migrate"
        assert await look(hall, crowded.boss) == crowded.seen
        assert await download(hall, hall.renew(crowded.ada), crowded.sha256) == pattern(700_000)
        boss = hall.renew(crowded.boss)
        await hall.run_job("access.seal_audit")
        report = await hall.call("access.verify_audit", {}, as_=boss)
        assert report.last_sealed_number >= trail[-1][0] - 1
        # Members stay signed in: what they hold renews their session.
        await hall.call("identity.refresh_session", {"refresh_token": crowded.refresh_token})
        # Numbers go on behind all that were given out.
        fields = {"board_id": BOARD, "score": 9}
        await hall.call("leaderboards.submit_score", fields, as_=boss)
        [(newest,)] = await hall.rows("SELECT max(cursor) FROM action_event")
        assert newest > max(crowded.rows["events"][-1][0], crowded.rows["trail"][-1][0])


async def test_numbers_of_rows_that_were_swept_are_not_given_out_again(
    crowded: Story, database: str
) -> None:
    alter(crowded.data, "UPDATE sqlite_sequence SET seq = 5000 WHERE name = 'action_event'")
    await crowded.move(database)
    async with crowded.open(database=database) as hall:
        fields = {"board_id": BOARD, "score": 9}
        await hall.call("leaderboards.submit_score", fields, as_=hall.renew(crowded.boss))
        [(newest,)] = await hall.rows("SELECT max(cursor) FROM action_event")
        assert newest > 5_000


async def test_cursors_of_before_are_refused_and_positions_go_over(
    crowded: Story, database: str
) -> None:
    moved, _ = await crowded.move(database)
    assert not crowded.cursor.startswith(moved.epoch)
    async with crowded.open(database=database) as hall:
        connection = await hall.connect(as_=hall.renew(crowded.ada))
        with pytest.raises(ProblemError, match="cursor_expired"):
            await connection.call("feeds.subscribe", feed=f"board/{BOARD}", after=crowded.cursor)
        [(position,)] = await hall.rows("SELECT cursor FROM feeds_position")
        assert position == f"{moved.epoch}.{crowded.cursor.partition('.')[2]}"


async def test_what_was_moved_is_not_served_again_by_accident(
    crowded: Story, database: str
) -> None:
    await crowded.move(database)
    with pytest.raises(ConfigurationError, match=r"was moved to PostgreSQL on .* give --database"):
        async with crowded.open():
            pass
    # Nor into another database.
    other = await make_database("moved_elsewhere")
    with pytest.raises(ConfigurationError, match="was moved to PostgreSQL"):
        await crowded.move(other)
    await drop_database("moved_elsewhere")
    # A second run says that it is done, and does nothing.
    again, _ = await crowded.move(database)
    assert again.was_done
    # The way back that the message names.
    (crowded.data / MARK_FILE).unlink()
    async with crowded.open() as hall:
        await hall.call("hall.ping")
    with pytest.raises(ConfigurationError, match=r"it is not empty .*there is"):
        await crowded.move(database)


async def is_empty(database: str) -> bool:
    connection = await asyncpg.connect(database)
    try:
        sql = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        return bool(await connection.fetchval(sql) == 0)
    finally:
        await connection.close()


async def check_untouched(story: Story, database: str) -> None:
    """Nothing was moved, and the hall can be served and moved."""
    assert await is_empty(database)
    assert not (story.data / MARK_FILE).exists()
    async with story.open() as hall:
        assert await look(hall, story.boss) == story.seen


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE access_team SET created_at_ms = 'soon'", "access_team: .* str in column created"),
        ("UPDATE access_team SET summary = 'a' || char(0) || 'b'", "access_team: .*0x00"),
        ("CREATE TABLE strange (x)", "strange: migrations make it on SQLite and not on"),
        ("ALTER TABLE access_team ADD COLUMN strange", "access_team: the columns strange are on"),
        ("DELETE FROM action_migration WHERE room = 'files'", "files: the rows are of another rel"),
        ("INSERT INTO action_migration VALUES ('x', 1, 'x', 'x', 1)", "do not serve: x"),
    ],
)
async def test_rows_that_have_no_place_are_named_and_nothing_is_left(
    crowded: Story, database: str, statement: str, told: str
) -> None:
    shutil.copytree(crowded.data, crowded.folder / "kept")
    alter(crowded.data, statement)
    with pytest.raises(ConfigurationError, match=told):
        await crowded.move(database)
    shutil.rmtree(crowded.data)
    (crowded.folder / "kept").rename(crowded.data)
    await check_untouched(crowded, database)


class BrokenOffError(Exception):
    """Ends a move at a step."""


@pytest.mark.parametrize("step", ["fill", "read_back", "bind_key", "leave_mark", "_commit"])
async def test_a_move_that_ends_at_any_step_changes_nothing(
    crowded: Story, database: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def break_off(*_given: Any) -> None:
        raise BrokenOffError

    def break_off_at_once(*_given: Any) -> None:
        raise BrokenOffError

    is_leaving = step == "leave_mark"
    monkeypatch.setattr(migrate, step, break_off_at_once if is_leaving else break_off)
    with pytest.raises((BrokenOffError, ConfigurationError)):
        await crowded.move(database)
    monkeypatch.undo()
    if step == "_commit":
        # As after a kill in that moment: both sides refuse until it is run again.
        assert await is_empty(database)
        with pytest.raises(ConfigurationError, match="run moothall migrate again"):
            async with crowded.open():
                pass
        moved, _ = await crowded.move(database)
        assert not moved.was_done
        return
    await check_untouched(crowded, database)
    await crowded.move(database)


async def test_a_row_that_arrives_otherwise_is_found(
    crowded: Story, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = transfer._FIELDS["text"]

    class Twisted(transfer._Sending):
        def _encode(self, row: tuple[Any, ...]) -> bytes:
            # Sent otherwise than it was counted into the digest.
            return super()._encode(row).replace(write("judges"), write("judged"))

        def _finish(self, block: bytearray) -> bytes:
            self.digest.update(block.replace(b"judged", b"judges"))
            return bytes(block)

    monkeypatch.setattr(transfer, "_Sending", Twisted)
    with pytest.raises(ConfigurationError, match=r"table access_.*holds them otherwise"):
        await crowded.move(database)
    monkeypatch.undo()
    await check_untouched(crowded, database)


async def test_what_was_broken_before_is_told_and_moved_as_it_is(
    crowded: Story, database: str
) -> None:
    alter(crowded.data, "UPDATE identity_session_count SET open = 99")
    moved, _ = await crowded.move(database)
    assert len(moved.faults) == 1
    assert moved.faults[0].startswith("identity.session_count: 99 open sessions")


async def test_a_hall_that_runs_is_not_moved(tmp_path: Path, database: str) -> None:
    async with open_test_hall(tmp_path) as hall:
        settings = msgspec.structs.replace(hall.settings, database=database)
        with pytest.raises(ConfigurationError, match="in use by another hall"):
            await asyncio.to_thread(move_hall, settings, Watcher())


async def test_settings_without_a_place_are_refused(crowded: Story, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="give --database"):
        await crowded.move("")
    with pytest.raises(ConfigurationError, match="holds no hall"):
        move_hall(Settings(data=str(tmp_path), database="postgresql:///x"), Watcher())
    (crowded.data / KEY_FILE).unlink()
    with pytest.raises(ConfigurationError, match=r"sealing key of hall.sqlite is missing"):
        await crowded.move("postgresql:///x")


async def test_a_node_that_starts_while_a_hall_is_moved_there_is_refused(
    crowded: Story, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    settle = migrate._Move._settle

    async def start_a_node(move: Any, epoch: str, key: bytes) -> None:
        with pytest.raises(ConfigurationError) as refused:
            async with open_test_hall(tmp_path / "node", database=database):
                pass
        told.append(str(refused.value))
        await settle(move, epoch, key)

    monkeypatch.setattr(migrate._Move, "_settle", start_a_node)
    await crowded.move(database)
    assert "another process is making the tables" in told[0]


async def test_two_halls_that_move_to_one_database_are_not_mixed(
    crowded: Story, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(crowded.data, tmp_path / "other" / "hall")
    other = replace(crowded, folder=tmp_path / "other")
    settle = migrate._Move._settle
    begun, waits = threading.Event(), threading.Event()

    async def hold_the_first(move: Any, epoch: str, key: bytes) -> None:
        begun.set()
        await asyncio.to_thread(waits.wait, 60)
        await settle(move, epoch, key)

    monkeypatch.setattr(migrate._Move, "_settle", hold_the_first)
    first = asyncio.create_task(crowded.move(database))
    await asyncio.to_thread(begun.wait, 60)
    second = asyncio.create_task(other.move(database))
    await until_somebody_waits(database)
    waits.set()
    await first
    with pytest.raises(ConfigurationError, match="it is not empty"):
        await second
    async with crowded.open(database=database) as hall:
        assert await look(hall, crowded.boss) == crowded.seen
    assert not (other.data / MARK_FILE).exists()


async def until_somebody_waits(database: str) -> None:
    """Return when a lock in the database is waited for."""
    sql = """
    SELECT count(*) FROM pg_locks WHERE NOT granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    """
    connection = await asyncpg.connect(database)
    async with asyncio.timeout(60):
        while not await connection.fetchval(sql):  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.01)
    await connection.close()


async def test_old_rows_are_neither_copied_nor_called_well(crowded: Story, database: str) -> None:
    await crowded.move(database)
    with pytest.raises(ConfigurationError, match="was moved to PostgreSQL"):
        back_up(crowded.data, crowded.folder / "backup")
    reports = await asyncio.to_thread(examine, settings_of(crowded.data), None, is_thorough=False)
    assert [each.check for each in reports if each.level is Level.FAILED] == ["moved"]
    settings = settings_of(crowded.folder / "new", database=database)
    with pytest.raises(ConfigurationError, match="pg_restore, and then moothall adopt"):
        restore_backup(settings, crowded.folder, crowded.data, ignore, keeps_sessions=False)
