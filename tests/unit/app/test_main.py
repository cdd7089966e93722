"""The program: what it does before anything is opened."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from moothall.app import lifecycle, log
from moothall.app.main import serve


def test_what_a_server_writes_is_its_owners_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def write(*_: object) -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "file").touch()

    monkeypatch.setattr(lifecycle, "serve", write)
    monkeypatch.setattr(log, "configure_log", lambda _level: None)
    before = os.umask(0o000)
    try:
        result = CliRunner().invoke(serve, ["--data", str(tmp_path)], catch_exceptions=False)
    finally:
        os.umask(before)
    assert result.exit_code == 0
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
