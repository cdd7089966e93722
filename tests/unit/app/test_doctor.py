"""The doctor: each thing is broken for real, and seen by its name; nothing is changed."""

import asyncio
import datetime as dt
import os
import re
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from moothall.action.checks import Level
from moothall.app import machine
from moothall.app.compose import LOCK_FILE
from moothall.app.doctor import Report, examine, is_running
from moothall.app.foundation import DATABASE_FILE, KEY_FILE
from moothall.app.heads import HEADS_FILE
from moothall.core.errors import ConfigurationError
from moothall.testing import open_test_hall
from moothall.transports.tls import make_certificate
from tests.unit.app.backups import alter, furnish, settings_of, wall_clock
from tests.unit.services.files.uploading import pattern, upload

FAR_MS = 10_000_000_000_000


@pytest.fixture(scope="module")
def well(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hall that is well, made once and copied for each test."""
    return tmp_path_factory.mktemp("well")


@pytest.fixture
async def data(well: Path, tmp_path: Path) -> Path:
    if not (well / "hall").exists():
        async with open_test_hall(well, clock=wall_clock()) as hall:
            _, (ada, *_) = await furnish(hall)
            [(entry_id,)] = await hall.rows(
                "SELECT entry_id FROM leaderboards_entry WHERE member_id = $1 LIMIT 1",
                ada.member_id,
            )
            proof = {"entry_id": entry_id, "sha256": await upload(hall, ada, pattern(300_000))}
            named = {**proof, "name": "run.bin", "media_type": "application/octet-stream"}
            await hall.call("leaderboards.add_proof", named, as_=ada)
    shutil.copytree(well / "hall", tmp_path / "hall")
    return tmp_path / "hall"


def look(data: Path, *, is_thorough: bool = True, **settings: object) -> dict[str, Report]:
    """Return what is not well, by check; of several findings of one check, the first."""
    found: dict[str, Report] = {}
    for report in examine(settings_of(data, **settings), None, is_thorough=is_thorough):
        if report.level is not Level.OK:
            found.setdefault(report.check, report)
    return found


def contents_of(folder: Path) -> dict[str, str]:
    return {
        path.name: sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_hall_that_is_well_is_told_so_and_left_as_it_is(data: Path) -> None:
    before = contents_of(data)
    assert look(data) == {}
    assert look(data, is_thorough=False) == {}
    assert contents_of(data) == before


async def test_a_hall_that_runs_is_looked_at_without_a_lock(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path, clock=wall_clock()) as hall:
        boss, _ = await furnish(hall)
        assert is_running(tmp_path / "hall")
        found = await asyncio.to_thread(look, tmp_path / "hall")
        assert found == {}
        await hall.call("access.list_audit", {}, as_=boss)
    assert not list((tmp_path / "hall").glob("*-wal"))


def test_where_there_is_no_hall(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="holds no hall"):
        look(tmp_path)


ROWS = {
    "action.streams": ("UPDATE action_stream SET last_seq = last_seq + 1", "its last one is"),
    "action.replies": (
        "INSERT INTO action_reply VALUES (1, 'x', 'x', 'x', '', ''), (5, 'x', 'x', 'x', '', '')",
        "of 5 days are kept",
    ),
    "identity.session_count": ("UPDATE identity_session_count SET open = 99", "99 open sessions"),
    "identity.unknown_name_count": (
        "UPDATE identity_unknown_name_count SET names = 7",
        "7 unknown names are counted and 0",
    ),
    "identity.sealing_key": (
        "UPDATE identity_key SET sealed_hex = replace(sealed_hex, '0', '1')",
        "does not open the signing keys",
    ),
    "identity.signing_keys": ("DELETE FROM identity_key", "no key signs"),
    "identity.swept": (
        "UPDATE identity_session SET ended_at_ms = 1; UPDATE identity_session_count SET open = 0",
        "sessions are over and not swept",
    ),
    "access.last_seal": ("UPDATE access_seal SET row_count = 3", "made with another key"),
    "access.audit_trail": (
        "UPDATE access_audit SET actor = 'nobody' WHERE number = 2",
        "altered: row 2 was altered",
    ),
    "access.administration": ("UPDATE access_claim SET claimed_by = NULL", "nobody has claimed"),
    "feeds.swept": ("UPDATE action_event SET at_ms = 1", "events .* not swept"),
    "files.usage": ("UPDATE files_usage SET stored_bytes = 5", "5 bytes are counted"),
    "files.sizes": ("DELETE FROM files_chunk WHERE number = 1", "are there"),
    "files.holds": ("DELETE FROM files_hold", "stays for a holder that is not there"),
    "files.contents": (
        "UPDATE files_chunk SET data = zeroblob(length(data)) WHERE number = 0",
        "was altered",
    ),
    "files.swept": (
        "INSERT INTO files_upload VALUES ('m', 'x', 1, 1, 0, NULL, 1, NULL, NULL)",
        "1 unfinished uploads",
    ),
    "leaderboards.rank_counts": (
        "UPDATE leaderboards_rank_bucket SET row_count = row_count + 1 WHERE level = 0",
        "a bucket counts 4 rows and holds 3",
    ),
    "leaderboards.ranked": ("DELETE FROM leaderboards_rank", "0 rows are ranked for 3 members"),
    "leaderboards.scores": (
        "UPDATE leaderboards_entry SET score = score + 1",
        "is not what counts",
    ),
    "schema": ("UPDATE action_migration SET digest = 'x'", "was edited after it was applied"),
    "clock": (
        f"UPDATE action_event SET at_ms = {FAR_MS}",
        "s in the future",
    ),
    "database": (
        "PRAGMA foreign_keys = OFF; UPDATE leaderboards_entry SET board_id = 'gone'",
        "refers to a row of leaderboards_board",
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_rows_that_are_wrong_are_named(data: Path, name: str) -> None:
    sql, told = ROWS[name]
    alter(data, sql)
    found = look(data)
    assert name in found, found
    assert re.search(told, found[name].told), found[name].told
    assert found[name].remedy


def test_replies_from_before_a_stop_are_well(data: Path) -> None:
    alter(
        data,
        "DELETE FROM action_reply",
        "INSERT INTO action_reply (day, actor, action, key, request_digest) "
        "VALUES (1, 'x', 'x', 'x', ''), (3, 'x', 'x', 'x', '')",
    )
    assert look(data) == {}


def test_a_damaged_page_is_seen_quickly(data: Path) -> None:
    content = bytearray((data / DATABASE_FILE).read_bytes())
    for at in range(4_096 * 20, len(content), 4_096):
        content[at : at + 16] = b"\xff" * 16
    (data / DATABASE_FILE).write_bytes(content)
    found = look(data, is_thorough=False)
    assert found["database"].level is Level.FAILED


def test_a_lost_index_is_seen_by_a_thorough_look(data: Path) -> None:
    alter(
        data,
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET sql = replace(sql, 'score,', 'season,') "
        "WHERE name = 'leaderboards_entry_verified'",
    )
    assert "database" in look(data)


def remove_key(data: Path) -> None:
    (data / KEY_FILE).unlink()


def change_key(data: Path) -> None:
    (data / KEY_FILE).write_text("ab" * 32 + "\n")


def lose_everything(data: Path) -> None:
    (data / KEY_FILE).unlink()
    (data / DATABASE_FILE).write_bytes(b"")


def open_to_others(data: Path) -> None:
    (data / DATABASE_FILE).chmod(0o644)


def cut_heads(data: Path) -> None:
    (data / HEADS_FILE).write_text("")


def expire_certificate(data: Path) -> None:
    _write_certificate(data, dt.timedelta(days=-4_000))


def let_certificate_expire_soon(data: Path) -> None:
    _write_certificate(data, dt.timedelta(days=-3_640))


def mix_certificates(data: Path) -> None:
    _write_certificate(data, dt.timedelta())
    kept = (data / "tls" / "key.pem").read_bytes()
    _write_certificate(data, dt.timedelta())
    (data / "tls" / "key.pem").write_bytes(kept)


def _write_certificate(data: Path, ago: dt.timedelta) -> None:
    (data / "tls").mkdir(mode=0o700, exist_ok=True)
    certificate, key = make_certificate(["localhost"], dt.datetime.now(dt.UTC) + ago)
    (data / "tls" / "certificate.pem").write_bytes(certificate)
    (data / "tls" / "key.pem").write_bytes(key)
    (data / "tls" / "key.pem").chmod(0o600)


def write_in_the_future(data: Path) -> None:
    os.utime(data / DATABASE_FILE, (4_000_000_000, 4_000_000_000))


def grow_log(data: Path) -> None:
    with (data / f"{DATABASE_FILE}-wal").open("wb") as log:
        os.truncate(log.fileno(), machine.LOG_BYTES_MAX + 1)
    (data / f"{DATABASE_FILE}-wal").chmod(0o600)


FILES: list[tuple[Callable[[Path], None], str, str]] = [
    (remove_key, "key", "is missing"),
    (lose_everything, "key", "is missing"),
    (change_key, "identity.sealing_key", "does not open"),
    (change_key, "access.last_seal", "another key"),
    (open_to_others, "modes", "mode 644"),
    (cut_heads, "access.audit_trail", "head_missing"),
    (expire_certificate, "certificate", "expired on"),
    (let_certificate_expire_soon, "certificate", "expires on"),
    (mix_certificates, "certificate", "key"),
    (write_in_the_future, "clock", "was written"),
    (grow_log, "log", "the log has 128 MiB"),
]


@pytest.mark.parametrize(
    ("spoil", "name", "told"), FILES, ids=lambda one: getattr(one, "__name__", None)
)
def test_files_that_are_wrong_are_named(
    data: Path, spoil: Callable[[Path], None], name: str, told: str
) -> None:
    spoil(data)
    spoiled = {path.name for path in data.iterdir()}
    found = look(data)
    assert {path.name for path in data.iterdir()} - {f"{DATABASE_FILE}-shm"} == spoiled
    assert name in found, found
    assert told in found[name].told


def test_settings_that_cannot_be_used_keep_nothing_else_from_being_looked_at(data: Path) -> None:
    found = examine(settings_of(data, rooms=("chess",)), None, is_thorough=False)
    assert found[0] == Report(
        "settings",
        Level.FAILED,
        found[0].told,
        "mend the setting that is named",
    )
    assert "no room 'chess'" in found[0].told
    assert {"database", "disk"} <= {each.check for each in found}


def test_a_network_file_system_is_warned_of(
    data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        f"21 1 8:1 / / rw - ext4 /dev/sda1 rw\n22 1 0:9 / {data.resolve()} rw - nfs4 server:/x rw\n"
    )
    monkeypatch.setattr(machine, "_MOUNTS", mounts)
    assert "network file system (nfs4)" in look(data)["disk"].told
    mounts.write_text("21 1 8:1 / / rw - ext4 /dev/sda1 rw\n")
    assert "disk" not in look(data)


def test_a_full_disk_is_warned_of(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "FREE_BYTES_MIN", 2**60)
    assert "MiB are free" in look(data)["disk"].told


def test_a_hall_that_was_stopped_does_not_run(data: Path) -> None:
    (data / LOCK_FILE).write_text("999999999")
    assert not is_running(data)
    (data / LOCK_FILE).unlink()
    assert not is_running(data)
