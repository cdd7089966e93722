"""The simulated disk: what a power cut leaves, and a whole hall on a disk with faults."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import apsw
import pytest

from moothall.testing import ProblemError, SimulatedDisk, open_test_hall

CUTS = 40


@contextmanager
def opened(disk: SimulatedDisk, path: Path) -> Iterator[apsw.Connection]:
    """Open a database on a disk, with a rollback journal and one table."""
    connection = apsw.Connection(str(path), vfs=disk.vfs)
    try:
        connection.execute("CREATE TABLE IF NOT EXISTS item (id INTEGER PRIMARY KEY)")
        yield connection
    finally:
        connection.close()


def images(disk: SimulatedDisk, folder: Path) -> list[dict[str, bytes]]:
    """Cut the power many times at one moment, and return what was left, by name."""
    left = []
    for number in range(CUTS):
        disk.cut_power(folder / f"cut-{number}", Random(number))
        files = (folder / f"cut-{number}").iterdir()
        left.append({path.name: path.read_bytes() for path in files})
    return left


def test_what_was_synced_is_left_whole(tmp_path: Path) -> None:
    disk, path = SimulatedDisk(), tmp_path / "hall.sqlite"
    with opened(disk, path):
        # A deleted journal may come back; the file itself has one face.
        assert {image["hall.sqlite"] for image in images(disk, tmp_path)} == {path.read_bytes()}


def test_of_what_was_not_synced_any_part_may_be_left(tmp_path: Path) -> None:
    disk, path = SimulatedDisk(), tmp_path / "hall.sqlite"
    with opened(disk, path) as file:
        file.execute("PRAGMA synchronous = OFF")
        before = path.read_bytes()
        file.execute("INSERT INTO item VALUES (1)")
        after = path.read_bytes()
        faces = {image["hall.sqlite"] for image in images(disk, tmp_path)}
    assert {before, after} < faces


def test_a_name_may_come_back_until_its_folder_is_synced(tmp_path: Path) -> None:
    disk, path = SimulatedDisk(), tmp_path / "hall.sqlite"
    with opened(disk, path) as file:
        # SQLite deletes its journal without a sync of the folder.
        assert not Path(f"{path}-journal").exists()
        found = {"hall.sqlite-journal" in image for image in images(disk, tmp_path / "one")}
        assert found == {False, True}
        file.execute("PRAGMA journal_mode = WAL").fetchall()
        file.execute("INSERT INTO item VALUES (1)")
        # The first sync of a new log syncs the folder.
        for image in images(disk, tmp_path / "two"):
            assert set(image) == {"hall.sqlite", "hall.sqlite-wal"}


def test_a_file_that_was_cut_short_may_have_its_old_end(tmp_path: Path) -> None:
    disk, path = SimulatedDisk(), tmp_path / "hall.sqlite"
    with opened(disk, path) as file:
        file.execute("PRAGMA journal_mode = WAL").fetchall()
        file.execute("INSERT INTO item VALUES (1)")
        size = Path(f"{path}-wal").stat().st_size
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        sizes = {len(image["hall.sqlite-wal"]) for image in images(disk, tmp_path)}
    assert sizes == {0, size}


def test_what_lies_beside_is_taken_along(tmp_path: Path) -> None:
    disk, folder = SimulatedDisk(), tmp_path / "data"
    folder.mkdir()
    (folder / "sealing.key").write_bytes(b"key")
    (folder / "sealing.key").chmod(0o600)
    with opened(disk, folder / "hall.sqlite"):
        disk.cut_power(tmp_path / "image", Random(0))
    assert (tmp_path / "image" / "sealing.key").read_bytes() == b"key"
    assert (tmp_path / "image" / "sealing.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "image").stat().st_mode & 0o777 == 0o700


def test_what_a_failed_sync_covered_is_readable_and_not_safe(tmp_path: Path) -> None:
    disk, path = SimulatedDisk(), tmp_path / "hall.sqlite"
    with opened(disk, path) as file:
        file.execute("PRAGMA journal_mode = WAL").fetchall()
        file.execute("PRAGMA synchronous = FULL")
        file.execute("INSERT INTO item VALUES (1)")
        log = Path(f"{path}-wal")
        safe = log.read_bytes()
        disk.breaks = {"-wal"}
        with pytest.raises(apsw.IOError):
            file.execute("INSERT INTO item VALUES (2)")
        disk.mend()
        assert len(log.read_bytes()) > len(safe)
        assert {image["hall.sqlite-wal"] for image in images(disk, tmp_path)} == {safe}


def test_room_is_used_up_by_growth_alone(tmp_path: Path) -> None:
    disk, path = SimulatedDisk(), tmp_path / "hall.sqlite"
    with opened(disk, path) as file:
        file.execute("PRAGMA journal_mode = MEMORY").fetchall()
        disk.room_bytes = 0
        file.execute("INSERT INTO item VALUES (1)")
        with pytest.raises(apsw.FullError):
            file.execute("CREATE TABLE more (text TEXT)")
        disk.room_bytes = 4_096
        file.execute("CREATE TABLE more (text TEXT)")
        assert disk.room_bytes == 0


def test_both_sides_of_a_sync_are_told(tmp_path: Path) -> None:
    disk, path = SimulatedDisk(), tmp_path / "hall.sqlite"
    lengths: list[set[int]] = []

    def look(name: str) -> None:
        if name.endswith("-wal"):
            found = images(disk, tmp_path / str(len(lengths)))
            lengths.append({len(image.get("hall.sqlite-wal", b"")) for image in found})

    with opened(disk, path) as file:
        file.execute("PRAGMA journal_mode = WAL").fetchall()
        file.execute("PRAGMA synchronous = FULL")
        file.execute("INSERT INTO item VALUES (1)")
        disk.before_sync = disk.after_sync = look
        file.execute("INSERT INTO item VALUES (2)")
    assert len(lengths[-1]) == 1
    assert min(lengths[0]) < max(lengths[-1])


@pytest.mark.requirement("R36")
async def test_a_whole_hall_on_a_disk_that_is_full_for_a_while(tmp_path: Path) -> None:
    disk = SimulatedDisk()
    async with open_test_hall(tmp_path, disk=disk) as hall:
        ada = await hall.member("ada")
        disk.is_full = True
        with pytest.raises(ProblemError, match="the disk is full"):
            await hall.member("bo")
        assert (await hall.call("identity.get_self", as_=ada)).name == "ada"
        disk.mend()
        await hall.member("bo")
        disk.cut_power(tmp_path / "image" / "hall", Random(0))
    async with open_test_hall(tmp_path / "image") as hall:
        await hall.sign_in("bo")
