"""Backups: whole, of one moment, verified, and without keys unless asked for."""

import asyncio
import os
import shutil
import time
from pathlib import Path

import msgspec
import pytest

from moothall.app import backup, log
from moothall.app.admin import COMMANDS, EXIT_CONFIGURATION, EXIT_DISK
from moothall.app.backup import take_backup
from moothall.app.foundation import DATABASE_FILE, KEY_FILE
from moothall.app.heads import HEADS_FILE
from moothall.app.manifest import (
    FORMAT,
    MANIFEST_FILE,
    BackupDamagedError,
    FileEntry,
    Manifest,
    digest_file,
    verify_backup,
)
from moothall.app.snapshot import Snapshot, open_snapshot
from moothall.client.cli.main import build_cli, run
from moothall.core.errors import ConfigurationError
from moothall.testing import open_test_hall
from tests.unit.app.backups import (
    BOARD,
    alter,
    ask,
    back_up,
    furnish,
    ignore,
    modes_of,
    vouch,
    wall_clock,
)

AUDIT_ROWS = "SELECT count(*) FROM access_audit"


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """A hall that was stopped in good order."""
    async with open_test_hall(tmp_path, clock=wall_clock()) as hall:
        await furnish(hall)
    return tmp_path / "hall"


@pytest.fixture
def taken(data: Path, tmp_path: Path) -> Path:
    back_up(data, tmp_path / "backup")
    return tmp_path / "backup"


def rewrite(folder: Path, **changes: object) -> None:
    """Change the manifest, as somebody who may write it."""
    path = folder / MANIFEST_FILE
    manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(manifest, **changes)))


# --- what is taken --------------------------------------------------------------------------------


@pytest.mark.requirement("R36")
async def test_a_backup_is_of_one_moment_while_the_hall_goes_on(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path, clock=wall_clock()) as hall:
        boss, _ = await furnish(hall)
        # Large enough for several steps of copying.
        await hall.hall.database.write(
            lambda tx: tx.execute(
                "INSERT INTO action_event (stream, seq, kind, at_ms, data) "
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) "
                "SELECT 'x', i, 'x', 0, hex(randomblob(100)) FROM n"
            )
        )
        [(before,)] = await hall.rows(AUDIT_ROWS)
        loop, writes = asyncio.get_running_loop(), 0

        async def write() -> None:
            score = {"board_id": BOARD, "score": 1_000}
            await hall.call("leaderboards.submit_score", score, as_=boss)
            await vouch(hall)

        def advance(_bytes: int) -> None:
            nonlocal writes
            if writes < 5:  # while pages are copied, and before heads are
                writes += 1
                asyncio.run_coroutine_threadsafe(write(), loop).result(10)

        found = await asyncio.to_thread(
            back_up, tmp_path / "hall", tmp_path / "backup", None, advance
        )
        [(after,)] = await hall.rows(AUDIT_ROWS)

    assert writes == 5
    assert after == before + 5
    assert ask(tmp_path / "backup" / DATABASE_FILE, AUDIT_ROWS) == [(before,)]
    assert found.manifest.tables["access_audit"] == before
    # Of the heads, those that these rows count: `hall` has signed more since.
    heads = (tmp_path / "backup" / HEADS_FILE).read_bytes().splitlines()
    assert found.manifest.audit is not None
    assert len(heads) == found.manifest.audit.head_count == 1
    assert len((tmp_path / "hall" / HEADS_FILE).read_bytes().splitlines()) == 6


def test_it_holds_rows_heads_and_manifest_and_nothing_else(data: Path, taken: Path) -> None:
    assert {path.name for path in taken.iterdir()} == {DATABASE_FILE, HEADS_FILE, MANIFEST_FILE}
    assert modes_of(taken) == {"600", "700"}
    # One file: no log belongs to it, and whoever opens it makes none.
    assert (taken / DATABASE_FILE).read_bytes()[18:20] == b"\1\1"
    manifest = verify_backup(taken, DATABASE_FILE, ignore)
    assert manifest.format == FORMAT
    assert manifest.hall == "https://hall.test"
    assert manifest.tables["leaderboards_entry"] == 6
    assert f"{manifest.epoch}" == ask(taken / DATABASE_FILE, "SELECT epoch FROM action_epoch")[0][0]
    assert {step.room for step in manifest.migrations} >= {"action", "access", "identity"}
    assert manifest.audit is not None
    assert manifest.audit.sealed_number == manifest.tables["access_audit"]
    key = (data / KEY_FILE).read_text().strip()
    assert not any(key.encode() in path.read_bytes() for path in taken.iterdir())
    assert not list(data.glob("*-wal")), "the folder of a hall that is stopped stays as it was"


def test_a_hall_that_was_killed_is_copied_with_its_log(tmp_path: Path, data: Path) -> None:
    alter(data, "PRAGMA journal_mode = WAL")
    killed = tmp_path / "killed"

    def copy_as_a_kill_leaves_it() -> None:
        import apsw  # noqa: PLC0415

        connection = apsw.Connection(str(data / DATABASE_FILE))
        connection.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
        connection.execute("DELETE FROM leaderboards_comment").fetchall()
        connection.execute("UPDATE leaderboards_board SET name = 'in the log'").fetchall()
        shutil.copytree(data, killed)
        connection.close()

    copy_as_a_kill_leaves_it()
    assert (killed / f"{DATABASE_FILE}-wal").stat().st_size > 0
    back_up(killed, tmp_path / "backup")
    names = ask(tmp_path / "backup" / DATABASE_FILE, "SELECT name FROM leaderboards_board")
    assert names == [("in the log",)]


# --- whole or not there ---------------------------------------------------------------------------


def test_what_fails_leaves_nothing_behind(data: Path, tmp_path: Path) -> None:
    def fail(_bytes: int) -> None:
        raise KeyboardInterrupt

    before = {path.name for path in tmp_path.iterdir()}
    with pytest.raises(KeyboardInterrupt):
        back_up(data, tmp_path / "backup", None, fail)
    assert {path.name for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("destination", "keys", "told"),
    [
        ("full", None, "is not empty"),
        ("/", None, "is a mount point.*inside it"),
        ("file", None, "something else is in its place"),
        ("hall/inside", None, "outside of the hall's own"),
        ("missing/backup", None, "make the folder"),
        ("backup", "backup/keys", "must not lie together"),
        ("keys/backup", "keys", "must not lie together"),
        ("backup", "hall/keys", "outside of the hall's own"),
        ("backup", "full", "is not empty"),
        ("backup", "missing/keys", "make it"),
    ],
)
def test_places_that_would_undo_it_are_refused(
    data: Path, tmp_path: Path, destination: str, keys: str | None, told: str
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=told):
        back_up(data, tmp_path / destination, tmp_path / keys if keys else None)
    assert (tmp_path / "full" / "x").exists()
    assert not (tmp_path / "backup").exists()


def test_a_key_that_cannot_be_copied_is_told_before_rows_are(data: Path, tmp_path: Path) -> None:
    (data / KEY_FILE).unlink()
    with pytest.raises(ConfigurationError, match=rf"{KEY_FILE}: the sealing key cannot be read"):
        back_up(data, tmp_path / "backup", tmp_path / "keys")
    assert not (tmp_path / "backup").exists()


def test_the_folder_that_one_is_in_is_taken(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "backup").mkdir()
    monkeypatch.chdir(tmp_path / "backup")
    back_up(data, Path())
    verify_backup(tmp_path / "backup", DATABASE_FILE, ignore)


def test_what_cannot_be_read_is_named(data: Path, tmp_path: Path) -> None:
    heads = tmp_path / "heads"
    heads.mkdir()
    with pytest.raises(ConfigurationError, match=f"{heads}: cannot be read: Is a directory"):
        take_backup(data, heads, tmp_path / "backup", None, ignore)


def test_a_damaged_page_is_told_with_what_helps(data: Path, tmp_path: Path) -> None:
    where = "SELECT rootpage FROM sqlite_schema WHERE name = 'access_seal'"
    [(page,)] = ask(data / DATABASE_FILE, where)
    content = bytearray((data / DATABASE_FILE).read_bytes())
    at = (page - 1) * 4_096
    content[at : at + 16] = b"\xff" * 16
    (data / DATABASE_FILE).write_bytes(content)
    told = rf"{data / DATABASE_FILE}: cannot be read: .*malformed; .*moothall doctor"
    with pytest.raises(ConfigurationError, match=told):
        back_up(data, tmp_path / "backup")
    assert {path.name for path in tmp_path.iterdir()} == {"hall"}


def test_its_time_is_before_its_snapshot(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened_ms = 0

    def note(path: Path) -> Snapshot:
        nonlocal opened_ms
        opened = open_snapshot(path)
        opened_ms = time.time_ns() // 1_000_000
        while time.time_ns() // 1_000_000 == opened_ms:
            pass  # the next millisecond can be told from this one
        return opened

    monkeypatch.setattr(backup, "open_snapshot", note)
    assert back_up(data, tmp_path / "backup").manifest.created_at_ms <= opened_ms


def test_an_empty_folder_is_taken(data: Path, tmp_path: Path) -> None:
    (tmp_path / "backup").mkdir()
    back_up(data, tmp_path / "backup")
    verify_backup(tmp_path / "backup", DATABASE_FILE, ignore)


def test_where_there_is_no_hall(tmp_path: Path) -> None:
    nowhere = tmp_path / "hall"
    with pytest.raises(ConfigurationError, match=r"holds no hall.*--data"):
        back_up(nowhere, tmp_path / "backup")
    nowhere.mkdir()
    alter(nowhere, "CREATE TABLE other (x)")
    with pytest.raises(ConfigurationError, match="no tables of a hall"):
        back_up(nowhere, tmp_path / "backup")


# --- verifying ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [DATABASE_FILE, HEADS_FILE, MANIFEST_FILE])
@pytest.mark.parametrize("place", [0.0, 0.5, 0.99])
def test_an_altered_byte_is_found_and_its_file_named(taken: Path, name: str, place: float) -> None:
    content = bytearray((taken / name).read_bytes())
    at = int(place * len(content))
    content[at] ^= 0x80
    (taken / name).write_bytes(content)
    with pytest.raises(BackupDamagedError) as caught:
        verify_backup(taken, DATABASE_FILE, ignore)
    assert name in str(caught.value) or name == MANIFEST_FILE


@pytest.mark.parametrize("name", [DATABASE_FILE, HEADS_FILE])
def test_a_short_or_missing_file_is_found(taken: Path, name: str) -> None:
    content = (taken / name).read_bytes()
    (taken / name).write_bytes(content[:-1])
    with pytest.raises(BackupDamagedError, match=rf"{name}: it has {len(content) - 1} bytes"):
        verify_backup(taken, DATABASE_FILE, ignore)
    (taken / name).unlink()
    with pytest.raises(BackupDamagedError, match=f"{name}: cannot be read"):
        verify_backup(taken, DATABASE_FILE, ignore)


def test_rows_that_were_taken_out_are_found_though_the_hash_was_mended(taken: Path) -> None:
    alter(taken, "DELETE FROM leaderboards_board WHERE 0; DELETE FROM access_role; "
                 "DELETE FROM leaderboards_standing")  # fmt: skip
    mend_hash(taken)
    with pytest.raises(BackupDamagedError, match="table leaderboards_standing has 0 rows"):
        verify_backup(taken, DATABASE_FILE, ignore)


def test_a_broken_reference_is_found_though_the_hash_was_mended(taken: Path) -> None:
    alter(taken, "PRAGMA foreign_keys = OFF", "UPDATE leaderboards_entry SET board_id = 'gone'")
    mend_hash(taken)
    with pytest.raises(BackupDamagedError, match="refers to a row of leaderboards_board"):
        verify_backup(taken, DATABASE_FILE, ignore)


def mend_hash(folder: Path) -> None:
    manifest = msgspec.json.decode((folder / MANIFEST_FILE).read_bytes(), type=Manifest)
    files = [
        msgspec.structs.replace(
            entry,
            sha256=digest_file(folder / entry.name),
            size_bytes=(folder / entry.name).stat().st_size,
        )
        for entry in manifest.files
    ]
    rewrite(folder, files=files)


def test_a_later_format_is_refused(taken: Path) -> None:
    (taken / MANIFEST_FILE).write_text('{"format": 2, "whatever": "comes then"}')
    with pytest.raises(ConfigurationError, match="format 2, this release knows up to 1"):
        verify_backup(taken, DATABASE_FILE, ignore)


def test_a_manifest_reads_nothing_outside_of_its_folder(taken: Path) -> None:
    text = (taken / MANIFEST_FILE).read_text()
    (taken / MANIFEST_FILE).write_text(text.replace(HEADS_FILE, "../secret"))
    with pytest.raises(BackupDamagedError, match="no manifest"):
        verify_backup(taken, DATABASE_FILE, ignore)


@pytest.mark.parametrize("name", ["tls", f"{HEADS_FILE}\n"])
def test_a_manifest_brings_no_other_file(taken: Path, name: str) -> None:
    (taken / name).write_text("x")
    manifest = msgspec.json.decode((taken / MANIFEST_FILE).read_bytes(), type=Manifest)
    other = FileEntry(name, 1, digest_file(taken / name))
    rewrite(taken, files=[*manifest.files, other])
    with pytest.raises(BackupDamagedError, match=r"names the files .*tls|no manifest"):
        verify_backup(taken, DATABASE_FILE, ignore)


def test_a_manifest_without_one_of_its_files_is_refused(taken: Path) -> None:
    manifest = msgspec.json.decode((taken / MANIFEST_FILE).read_bytes(), type=Manifest)
    rewrite(taken, files=manifest.files[:1])
    with pytest.raises(
        BackupDamagedError, match=f"a backup holds {DATABASE_FILE} and {HEADS_FILE}"
    ):
        verify_backup(taken, DATABASE_FILE, ignore)


# --- commands -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["doctor", "--data", "x" * 300], EXIT_CONFIGURATION, "run this as the hall's user"),
        (
            ["backup", "new", "--data", "hall", "--keys", "x" * 300],
            EXIT_CONFIGURATION,
            "name too long",
        ),
        (["restore", "old", "--keys", ".", "--data", "x" * 300], EXIT_DISK, "File name too long"),
    ],
)
def test_what_the_system_refuses_is_told_and_not_traced(
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    told: str,
) -> None:
    back_up(data, data.parent / "old")
    monkeypatch.chdir(data.parent)
    monkeypatch.setattr(log, "configure_log", lambda _level: None)
    cli = build_cli()
    for command in COMMANDS:
        cli.add_command(command)
    before = os.umask(0o077)
    try:
        assert run(words, cli=cli) == code
    finally:
        os.umask(before)
    assert told in capsys.readouterr().err


# --- keys -----------------------------------------------------------------------------------------


def test_keys_go_to_a_place_of_their_own(data: Path, tmp_path: Path) -> None:
    (data / "tls").mkdir()
    (data / "tls" / "key.pem").write_text("k")
    keys = tmp_path / "keys"
    assert back_up(data, tmp_path / "first", keys).has_new_keys
    assert (keys / KEY_FILE).read_bytes() == (data / KEY_FILE).read_bytes()
    assert (keys / "tls" / "key.pem").read_text() == "k"
    assert modes_of(keys) == {"600", "700"}
    # Each night again, the same key stays as it is; another one is never replaced.
    assert not back_up(data, tmp_path / "second", keys).has_new_keys
    (keys / KEY_FILE).write_text("another")
    with pytest.raises(ConfigurationError, match="not empty"):
        back_up(data, tmp_path / "third", keys)
    assert (keys / KEY_FILE).read_text() == "another"


def test_heads_that_lie_elsewhere_are_taken_from_there(data: Path, tmp_path: Path) -> None:
    (data / HEADS_FILE).rename(tmp_path / "heads.jsonl")
    take_backup(data, tmp_path / "heads.jsonl", tmp_path / "backup", None, ignore)
    copied = (tmp_path / "backup" / HEADS_FILE).read_bytes()
    assert copied == (tmp_path / "heads.jsonl").read_bytes() != b""
