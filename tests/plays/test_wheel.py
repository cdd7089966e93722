"""What people install is the wheel: it must hold all that a hall needs."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, PROJECT],
        check=True,
        capture_output=True,
        timeout=100,
    )
    [found] = folder.glob("*.whl")
    return found


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    """Rooms are found by folder and tables are made from SQL files: none may be left behind."""
    packed = set(zipfile.ZipFile(wheel).namelist())
    source = PROJECT / "src"
    wanted = {
        path.relative_to(source).as_posix()
        for path in (source / "moothall").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted - packed == set()


def test_a_hall_opens_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """Nothing but the wheel and its dependencies: the hall opens, shows itself, and closes."""
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    program = "from moothall.app.main import main; main()"
    command = [sys.executable, "-P", "-c", program, "serve", "--port", "0"]
    hall = subprocess.Popen(
        [*command, "--data", str(tmp_path / "hall")],
        env={**os.environ, "PYTHONPATH": str(site), "MOOTHALL_CONFIG_DIR": str(tmp_path / "w")},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert hall.stdout is not None
    try:
        banner = []
        for line in hall.stdout:
            banner.append(line)
            if line.startswith("Ctrl-C"):
                break
    finally:
        hall.terminate()
        hall.wait(20)
        hall.stdout.close()
    assert banner[0].startswith("Moothall is open at https://127.0.0.1:"), banner
    assert any("sha256:" in line for line in banner)
    assert hall.returncode == 0
