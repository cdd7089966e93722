"""Restores: into a new folder, whole or not at all, and nothing comes back that must not."""

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from moothall.action.migrations import FRAMEWORK_MIGRATIONS, FRAMEWORK_ROOM, read_migrations
from moothall.app import backup
from moothall.app.backup import copy_private
from moothall.app.doctor import examine
from moothall.app.foundation import DATABASE_FILE, KEY_FILE
from moothall.app.heads import HEADS_FILE
from moothall.app.manifest import MANIFEST_FILE, BackupDamagedError, Manifest
from moothall.app.restore import Restoration, restore_backup
from moothall.core.errors import ConfigurationError, StorageUnavailableError
from moothall.services.identity.store import keys, registration
from moothall.testing import OpenHall, ProblemError, Visitor, open_test_hall
from tests.unit.app.backups import (
    BOARD,
    ask,
    back_up,
    furnish,
    ignore,
    modes_of,
    settings_of,
    vouch,
    wall_clock,
)


@dataclass
class Story:
    """A hall that was backed up and went on, until it was lost."""

    folder: Path
    boss: Visitor
    members: list[Visitor]
    late: Visitor
    """Who came after the backup."""
    refresh_tokens: dict[str, str]
    invitation: str
    recovery: str
    cursor: str
    """Of what happened after the backup."""

    @property
    def backup(self) -> Path:
        return self.folder / "backup"

    @property
    def keys(self) -> Path:
        return self.folder / "keys"

    @property
    def data(self) -> Path:
        return self.folder / "new" / "hall"

    async def restore(self, **options: Any) -> Restoration:
        keeps = options.pop("keeps_sessions", False)
        settings = settings_of(self.data, **options)
        return await asyncio.to_thread(
            restore_backup, settings, self.backup, self.keys, ignore, keeps_sessions=keeps
        )

    async def check(self) -> dict[str, str]:
        """Return what the doctor does not find well, by check."""
        settings = settings_of(self.data)
        reports = await asyncio.to_thread(examine, settings, None, is_thorough=True)
        return {each.check: each.told for each in reports if each.level != "ok"}


async def open_session(hall: OpenHall, name: str) -> tuple[str, str]:
    fields = {"name": name, "password": "correct horse battery staple"}
    opened = await hall.call("identity.open_session", fields)
    return opened.access_token, opened.refresh_token


@pytest.fixture
async def story(tmp_path: Path) -> Story:
    clock = wall_clock()
    async with open_test_hall(tmp_path, clock=clock) as hall:
        boss, members = await furnish(hall)
        refresh = {name: (await open_session(hall, name))[1] for name in ("ada", "bo")}
        invited = await hall.call("identity.create_invitation", {"uses": 3}, as_=boss)
        recovery = await hall.call("identity.issue_recovery_code", {"member": "cy"}, as_=boss)
        reader = await hall.connect(members[0])
        followed = await reader.call("feeds.subscribe", feed=f"board/{BOARD}")
        await reader.call("feeds.acknowledge", feed=f"board/{BOARD}", cursor=followed["cursor"])
        await asyncio.to_thread(back_up, tmp_path / "hall", tmp_path / "backup", tmp_path / "keys")
        # What is lost: a member, a score, a session that ended, and the rows that tell of it.
        late = await hall.member("late")
        await hall.call("leaderboards.submit_score", {"board_id": BOARD, "score": 5}, as_=late)
        await hall.call("identity.close_session", as_=members[1])
        await vouch(hall)
        [(last,)] = await hall.rows("SELECT max(cursor) FROM action_event")
        cursor = hall.cursor(last)
    return Story(
        tmp_path, boss, members, late, refresh, invited.code, recovery.code, cursor
    )  # fmt: skip


async def refused(hall: OpenHall, action: str, request: Any, as_: Visitor | None = None) -> str:
    with pytest.raises(ProblemError) as caught:
        await hall.call(action, request, as_=as_)
    return caught.value.name


# --- what comes back, and what does not -----------------------------------------------------------


@pytest.mark.requirement("R5")
@pytest.mark.requirement("R36")
async def test_the_hall_is_as_it_was_and_everybody_signs_in_anew(story: Story) -> None:
    done = await story.restore()
    assert await story.check() == {}
    assert modes_of(story.data) == {"600", "700"}
    clock = wall_clock()
    async with open_test_hall(story.folder / "new", clock=clock) as hall:
        for visitor in (story.boss, *story.members, story.late):
            assert await refused(hall, "identity.get_self", {}, visitor) == "unauthenticated"
        for token in story.refresh_tokens.values():
            request = {"refresh_token": token}
            assert await refused(hall, "identity.refresh_session", request) == "session_ended"
        assert await hall.rows(
            "SELECT count(*) FROM identity_session WHERE ended_at_ms IS NULL"
        ) == [(0,)]
        ada = await hall.sign_in("ada")
        page = await hall.call("leaderboards.list_entries", {"board_id": BOARD}, as_=ada)
        assert [each.score for each in page.standings] == [12.0, 11.0, 10.0]
        assert await refused(hall, "identity.find_member", {"member": "late"}, ada)
        told = await hall.events("identity/revocations")
        ended = [e.data["reason"] for e in told if e.kind == "identity.session_ended"]
        assert ended == ["restored"] * 6
        assert {"identity.key_made", "identity.key_retired"} <= {e.kind for e in told}
    assert done.manifest.tables["identity_member"] == 4


@pytest.mark.requirement("R5")
async def test_sessions_that_are_kept_need_new_tokens_all_the_same(story: Story) -> None:
    await story.restore(keeps_sessions=True)
    async with open_test_hall(story.folder / "new", clock=wall_clock()) as hall:
        # A token of a session that these rows do not know would verify with the old key.
        for visitor in (story.members[0], story.late):
            assert await refused(hall, "identity.get_self", {}, visitor) == "unauthenticated"
        renewed = await hall.call(
            "identity.refresh_session", {"refresh_token": story.refresh_tokens["ada"]}
        )
        assert renewed.access_token


async def test_codes_for_one_use_are_void(story: Story) -> None:
    await story.restore(keeps_sessions=True)
    async with open_test_hall(
        story.folder / "new", clock=wall_clock(), tables={"registration": {"mode": "invite"}}
    ) as hall:
        newcomer = {"name": "eve", "password": "correct horse battery staple"}
        with pytest.raises(ProblemError):
            await hall.call("identity.register", {**newcomer, "invitation": story.invitation})
        code = {"code": story.recovery, "new_password": "another horse battery staple"}
        with pytest.raises(ProblemError):
            await hall.call("identity.complete_recovery", {"name": "cy", **code})
        assert await hall.rows("SELECT count(*) FROM identity_recovery") == [(0,)]
        open_ones = "SELECT count(*) FROM identity_invitation WHERE revoked_at_ms IS NULL"
        assert await hall.rows(open_ones) == [(0,)]


@pytest.mark.requirement("R33")
async def test_cursors_of_before_are_refused_and_kept_positions_go_on(story: Story) -> None:
    done = await story.restore()
    assert not story.cursor.startswith(done.epoch)
    async with open_test_hall(story.folder / "new", clock=wall_clock()) as hall:
        ada = await hall.sign_in("ada")
        reader = await hall.connect(ada)
        with pytest.raises(ProblemError) as caught:
            await reader.call("feeds.subscribe", feed=f"board/{BOARD}", after=story.cursor)
        assert caught.value.name == "cursor_expired"
        [(position,)] = await hall.rows("SELECT cursor FROM feeds_position")
        assert position.partition(".")[0] == done.epoch


@pytest.mark.requirement("R24")
async def test_the_trail_tells_of_the_restore_and_is_whole(story: Story) -> None:
    heads_before = (story.backup / HEADS_FILE).read_text()
    done = await story.restore()
    row = "SELECT actor, path, outcome, source FROM access_audit WHERE action = 'hall.restore'"
    told = ("operator", f"backup/{done.manifest.backup_id}", "done", "console")
    assert ask(story.data / DATABASE_FILE, row) == [told]
    heads = (story.data / HEADS_FILE).read_text()
    assert heads.startswith(heads_before)
    assert len(heads.splitlines()) == len(heads_before.splitlines()) + 1
    async with open_test_hall(story.folder / "new", clock=wall_clock()) as hall:
        boss = await hall.sign_in("admin")
        report = await hall.call("access.verify_audit", {}, as_=boss)
        [(number,)] = await hall.rows(
            "SELECT number FROM access_audit WHERE action = 'hall.restore'"
        )
        assert report.last_head_number >= number


async def test_heads_may_lie_elsewhere(story: Story, tmp_path: Path) -> None:
    vault = tmp_path / "vault"
    vault.mkdir()
    tables = {"audit": {"heads": str(vault / "heads.jsonl")}}
    (vault / "heads.jsonl").write_text("those of the hall that was lost")
    with pytest.raises(ConfigurationError, match=r"heads\.jsonl holds heads already; move it"):
        await story.restore(tables=tables)
    assert not story.data.exists()
    (vault / "heads.jsonl").rename(vault / "heads.before")
    await story.restore(tables=tables)
    assert len((vault / "heads.jsonl").read_text().splitlines()) == 2
    assert not (story.data / HEADS_FILE).exists()


@pytest.mark.parametrize("heads", ["sub/heads.jsonl", "{data}/sub/heads.jsonl", "../heads.jsonl"])
async def test_heads_may_lie_where_a_folder_is_yet_to_be_made(story: Story, heads: str) -> None:
    heads = heads.format(data=story.data)
    await story.restore(tables={"audit": {"heads": heads}})
    assert len((story.data / heads).read_text().splitlines()) == 2
    assert not (story.data / HEADS_FILE).exists()


async def test_heads_without_a_folder_are_refused(story: Story) -> None:
    tables = {"audit": {"heads": str(story.folder / "none" / "heads.jsonl")}}
    with pytest.raises(ConfigurationError, match=r"audit\.heads: there is no folder .*none; make"):
        await story.restore(tables=tables)
    assert not story.data.parent.exists()


@pytest.mark.requirement("R24")
async def test_heads_are_never_written_over_however_they_are_named(story: Story) -> None:
    vault = story.folder / "new" / "vault"
    vault.mkdir(parents=True)
    (vault / "heads.jsonl").write_text("those of the hall that was lost")
    with pytest.raises(ConfigurationError, match="holds heads already"):
        await story.restore(tables={"audit": {"heads": "../vault/heads.jsonl"}})
    assert (vault / "heads.jsonl").read_text() == "those of the hall that was lost"
    # Nor is a file of the hall itself.
    with pytest.raises(ConfigurationError, match=r"audit\.heads: .*File exists"):
        await story.restore(tables={"audit": {"heads": DATABASE_FILE}})
    assert not story.data.exists()


@pytest.mark.parametrize("is_renamed", [False, True])
async def test_heads_elsewhere_are_there_if_the_hall_is(
    story: Story, monkeypatch: pytest.MonkeyPatch, *, is_renamed: bool
) -> None:
    heads = story.folder / "heads.jsonl"

    def fail(folder: Path) -> None:
        if heads.exists() and story.data.exists() == is_renamed:
            raise OSError(16, "Device or resource busy")

    monkeypatch.setattr(backup, "sync_path", fail)
    with pytest.raises(StorageUnavailableError, match="busy"):
        await story.restore(tables={"audit": {"heads": str(heads)}})
    assert heads.exists() == story.data.exists() == is_renamed


async def test_a_room_that_fails_is_named(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_given: object) -> None:
        msg = "no such table: other"
        raise apsw.SQLError(msg)

    monkeypatch.setattr(keys, "list_published", fail)
    with pytest.raises(
        ConfigurationError, match=r"room 'identity' .* SQLError: no such table: other"
    ):
        await story.restore()
    assert not story.data.exists()


async def test_the_folder_that_one_is_in_is_taken(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    story.data.mkdir(parents=True)
    monkeypatch.chdir(story.data)
    settings = settings_of(Path())
    await asyncio.to_thread(
        restore_backup, settings, story.backup, story.keys, ignore, keeps_sessions=False
    )
    assert await story.check() == {}


async def test_invitations_that_have_expired_are_void_too(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path, clock=wall_clock()) as hall:
        boss = await hall.administrator()
        await hall.call("identity.create_invitation", {"uses": 3}, as_=boss)
        late_ms = 2 * max((await hall.rows("SELECT expires_at_ms FROM identity_invitation"))[0])
        count = await hall.hall.database.write(
            lambda tx: registration.revoke_some_invitations(tx, late_ms, 500)
        )
    assert count == 1


# --- what is refused, before anything is written --------------------------------------------------


async def test_a_hall_is_never_restored_over(story: Story) -> None:
    shutil.copytree(story.folder / "hall", story.data)
    before = (story.data / DATABASE_FILE).read_bytes()
    with pytest.raises(ConfigurationError, match=r"nothing is restored over it.*mv "):
        await story.restore()
    assert (story.data / DATABASE_FILE).read_bytes() == before


async def test_a_folder_with_anything_in_it_is_refused(story: Story) -> None:
    story.data.mkdir(parents=True)
    (story.data / "notes").write_text("")
    with pytest.raises(ConfigurationError, match="is not empty"):
        await story.restore()


async def test_the_key_of_another_hall_is_refused(story: Story) -> None:
    (story.keys / KEY_FILE).write_text("ab" * 32 + "\n")
    with pytest.raises(ConfigurationError, match="this is the key of another hall"):
        await story.restore()
    assert not story.data.parent.exists()


async def test_a_missing_key_is_told(story: Story) -> None:
    (story.keys / KEY_FILE).unlink()
    with pytest.raises(ConfigurationError, match=r"sealing key of hall\.sqlite is missing"):
        await story.restore()
    assert not story.data.parent.exists()


async def test_a_damaged_backup_is_refused(story: Story) -> None:
    content = bytearray((story.backup / DATABASE_FILE).read_bytes())
    content[-1] ^= 1
    (story.backup / DATABASE_FILE).write_bytes(content)
    with pytest.raises(BackupDamagedError, match=r"hall\.sqlite: it was altered"):
        await story.restore()
    assert not story.data.parent.exists()


def count_known() -> int:
    """Return how many migrations the framework has."""
    return len(read_migrations(FRAMEWORK_ROOM, FRAMEWORK_MIGRATIONS, "sqlite"))


def append_step(backup: Path, **changes: object) -> None:
    """Make a manifest say that the framework had one more migration."""
    path = backup / MANIFEST_FILE
    manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    last = [step for step in manifest.migrations if step.room == "action"][-1]
    step = msgspec.structs.replace(last, **{"number": last.number + 1, **changes})
    steps = [
        each for each in manifest.migrations if each.number != step.number or each.room != "action"
    ]
    replaced = msgspec.structs.replace(manifest, migrations=[*steps, step])
    path.write_bytes(msgspec.json.encode(replaced))


async def test_rows_of_a_later_release_are_refused(story: Story) -> None:
    known = count_known()
    append_step(story.backup)
    told = f"action: the backup has {known + 1} migrations, this release knows {known}; restore it"
    with pytest.raises(ConfigurationError, match=told):
        await story.restore()
    assert not story.data.parent.exists()


async def test_rows_of_an_edited_migration_are_refused(story: Story) -> None:
    append_step(story.backup, number=count_known(), digest="x")
    with pytest.raises(ConfigurationError, match="was edited after it was applied"):
        await story.restore()


async def test_what_fails_in_the_middle_leaves_no_hall(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(source: Path, path: Path, *_rest: object) -> None:
        copy_private(source, path)
        if path.name == KEY_FILE:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup, "copy_private", fail)  # by which keys are copied
    with pytest.raises(Exception, match="No space left"):
        await story.restore()
    assert list(story.data.parent.iterdir()) == []
    monkeypatch.undo()
    await story.restore()
    assert await story.check() == {}


async def test_rooms_that_are_not_served_come_along_and_are_told(story: Story) -> None:
    done = await story.restore(rooms=("identity",))
    assert done.rooms_left_out == ["files", "leaderboards"]
    assert await story.check() == {}
