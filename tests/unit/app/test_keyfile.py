"""The sealing key is made once, kept from others, and never overwritten."""

import os
from pathlib import Path

import pytest

from moothall.app.keyfile import LENGTH_BYTES, load_sealing_key, write_secret_file
from moothall.core.errors import ConfigurationError
from moothall.testing import SeededEntropy


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "hall").mkdir(mode=0o700)
    return tmp_path / "hall" / "sealing.key"


def load(path: Path, seed: int = 0) -> bytes:
    return load_sealing_key(path, SeededEntropy(seed), database=path.with_name("hall.sqlite"))


def test_it_is_made_once_and_found_again(path: Path) -> None:
    key = load(path, 1)
    text = path.read_text()
    assert len(key) == LENGTH_BYTES
    assert load(path, 2) == key
    assert path.read_text() == text


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_its_owner_can_read_it(path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        load(path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o666])
def test_a_key_that_others_may_read_stops_the_start(path: Path, mode: int) -> None:
    load(path)
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match="run: chmod 600"):
        load(path)


@pytest.mark.parametrize(
    "damage", [b"", b"00", b"zz" * 32, b"00" * 31, b"00" * 33, b"\xff" * 64, b"\x00" * 64]
)
def test_a_damaged_key_stops_the_start_and_stays_as_it_is(path: Path, damage: bytes) -> None:
    key = load(path)
    path.write_bytes(damage)
    with pytest.raises(ConfigurationError) as refused:
        load(path)
    assert path.read_bytes() == damage
    assert str(path) in str(refused.value)
    assert key.hex() not in str(refused.value)


@pytest.mark.requirement("R36")
def test_none_is_made_beside_rows_that_another_one_sealed(path: Path) -> None:
    path.with_name("hall.sqlite").write_bytes(b"x")
    with pytest.raises(ConfigurationError, match="restore it from your backup of the keys") as told:
        load(path)
    assert str(path) in str(told.value)
    assert not path.exists()


def test_a_start_that_was_cut_before_any_row_is_begun_again(path: Path) -> None:
    database = path.with_name("hall.sqlite")
    database.touch()
    key = load(path)
    database.unlink()
    assert load(path) == key


def test_a_folder_in_its_place(path: Path) -> None:
    path.mkdir()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(path)


def test_a_key_that_cannot_be_written_is_told_in_one_line(path: Path) -> None:
    nowhere = path.parent / "nowhere" / "sealing.key"
    with pytest.raises(ConfigurationError) as told:
        load_sealing_key(nowhere, SeededEntropy(1), database=path.with_name("hall.sqlite"))
    assert str(told.value) == (
        f"{nowhere}: cannot be written: No such file or directory; "
        f"make the folder {nowhere.parent}, or name another one"
    )
    assert told.value.__cause__ is None


def test_a_secret_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_secret_file(path, "one\n")
    with pytest.raises(ConfigurationError, match=r"File exists; .* move .*secret away"):
        write_secret_file(path, "two\n")
    assert path.read_text() == "one\n"


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(ConfigurationError, match="File exists"):
        write_secret_file(tmp_path / "link", "secret")
    assert not (tmp_path / "target").exists()


def test_half_a_secret_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ConfigurationError, match="No space left on device; free some space"):
        write_secret_file(tmp_path / "secret", "x")
    assert list(tmp_path.iterdir()) == []


def test_a_secret_file_appears_once_it_is_whole_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret"
    stood: list[bool] = []
    sync = os.fsync

    def watch(descriptor: int) -> None:
        stood.append(path.exists())
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    path.with_name("secret.new").write_text("half of one, from a start that was cut")
    write_secret_file(path, "whole\n")
    assert stood == [False, True], "first the file, then the folder that names it"
    assert path.read_text() == "whole\n"
    assert list(tmp_path.iterdir()) == [path]
