"""How the file is opened."""

from pathlib import Path

import pytest

from moothall.core.errors import ConfigurationError
from moothall.storage.sqlite.connection import open_reader, open_writer
from moothall.testing import SimulatedDisk


def test_what_durability_rests_on(tmp_path: Path) -> None:
    connection = open_writer(tmp_path / "hall.sqlite")
    values = {
        name: connection.execute(f"PRAGMA {name}").fetchall()[0][0]
        for name in ("journal_mode", "synchronous", "foreign_keys", "wal_autocheckpoint")
    }
    connection.close()
    assert values == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "wal_autocheckpoint": 0,
    }


def test_a_reader_of_a_fresh_file(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "hall.sqlite")
    reader = open_reader(tmp_path / "hall.sqlite")
    assert reader.execute("SELECT count(*) FROM sqlite_schema").fetchall() == [(0,)]
    reader.close()
    writer.close()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere.hall\.sqlite: cannot be opened"):
        open_writer(tmp_path / "nowhere" / "hall.sqlite")


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "hall.sqlite"
    file.write_bytes(b"Dear diary, " * 1_000)
    with pytest.raises(ConfigurationError, match="not a database"):
        open_writer(file)
    assert file.read_bytes() == b"Dear diary, " * 1_000


def test_a_disk_without_room_for_a_log_is_refused(tmp_path: Path) -> None:
    disk = SimulatedDisk()
    disk.is_full = True
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        open_writer(tmp_path / "hall.sqlite", disk.vfs)
