"""A first start whose files cannot be written: one line that names the file and what helps."""

import resource
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.plays.conftest import PROGRAM, environment
from tests.unit.test_docs import ROOT

# About the files of a hall on SQLite.
pytestmark = pytest.mark.sqlite

EXIT_CONFIGURATION = 78
EXIT_DISK = 74


def start(folder: Path, *flags: str, file_bytes_max: int | None = None) -> tuple[int, list[str]]:
    """Start a hall that cannot start; return its exit code and what it said."""

    def limit() -> None:
        assert file_bytes_max is not None
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes_max, file_bytes_max))

    done = subprocess.run(
        [*PROGRAM, "serve", "--data", str(folder), "--port", "0", "--log-level", "error", *flags],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        # Python would leave cut-off .pyc files behind, on which every later program fails.
        env=environment(PYTHONDONTWRITEBYTECODE="1"),
        preexec_fn=limit if file_bytes_max is not None else None,
    )
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.returncode, [line for line in done.stderr.splitlines() if line[0] != "{"]


@pytest.mark.parametrize(
    ("room", "name"), [(1, "hall"), (20, "hall/sealing.key"), (5_000, "hall/hall.sqlite")]
)
def test_disk_without_room_for_the_first_files(tmp_path: Path, room: int, name: str) -> None:
    code, (line,) = start(tmp_path / "hall", file_bytes_max=room)
    assert code == EXIT_CONFIGURATION
    assert str(tmp_path / name) in line
    assert not (tmp_path / "hall" / "sealing.key.new").exists()


def test_disk_without_room_for_the_tables(tmp_path: Path) -> None:
    code, (line,) = start(tmp_path / "hall", file_bytes_max=40_000)
    assert code == EXIT_DISK
    assert line == (
        f"moothall: {tmp_path / 'hall'}: the disk cannot be written; free some space there, or"
        " look at that disk, and start again"
    )


def occupy_key(folder: Path) -> Path:
    (folder / "sealing.key").mkdir()
    return folder / "sealing.key"


def occupy_secret(folder: Path) -> Path:
    (folder / "first-administrator-secret" / "inner").mkdir(parents=True)
    return folder / "first-administrator-secret"


def occupy_certificate(folder: Path) -> Path:
    (folder / "tls").touch()
    return folder / "tls"


@pytest.mark.parametrize("occupy", [occupy_key, occupy_secret, occupy_certificate])
def test_something_else_is_in_the_place_of_a_file(
    tmp_path: Path, occupy: Callable[[Path], Path]
) -> None:
    folder = tmp_path / "hall"
    folder.mkdir(mode=0o700)
    place = occupy(folder)
    code, (line,) = start(folder)
    assert code == EXIT_CONFIGURATION
    assert line.startswith(f"moothall: {place}")
    assert place.exists(), "what is there stays as it is"


@pytest.mark.requirement("R40")
def test_a_migration_with_wrong_sql_is_one_line(tmp_path: Path) -> None:
    room = tmp_path / "guestbook"
    shutil.copytree(ROOT / "examples" / "guestbook", room)
    (file,) = (room / "migrations").glob("*.sql")
    file.write_text("CREATE TABL guestbook_line (number INTEGER)")
    code, (line,) = start(tmp_path / "hall", "--functions", str(room))
    assert code == EXIT_CONFIGURATION
    assert line.startswith(f"moothall: guestbook: {file}: the migration cannot be applied: ")
    assert "TABL" in line
