"""The file of signed heads: lines that are added, durable and in order."""

import asyncio
import errno
import os
import stat
from pathlib import Path

import pytest

from moothall.app.heads import FileHeadLog
from moothall.core.errors import ConfigurationError


@pytest.fixture
def log(tmp_path: Path) -> FileHeadLog:
    return FileHeadLog(tmp_path / "heads")


async def test_lines_are_read_as_they_were_added(log: FileHeadLog) -> None:
    assert await log.read(0, 10) == ([], 0)
    assert await log.read_last(3) == []
    for line in ("one", "zwei äöü", "three"):
        await log.append(line)
    lines, end = await log.read(0, 10)
    assert lines == ["one", "zwei äöü", "three"]
    assert await log.read(end, 10) == ([], end)
    first, position = await log.read(0, 2)
    assert first == ["one", "zwei äöü"]
    assert await log.read(position, 2) == (["three"], end)
    assert await log.read_last(2) == ["zwei äöü", "three"]


async def test_only_the_owner_may_read_it(log: FileHeadLog, tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        await log.append("one")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "heads").stat().st_mode) == 0o600


async def test_what_a_power_cut_tore_stays_a_line_of_its_own(
    log: FileHeadLog, tmp_path: Path
) -> None:
    (tmp_path / "heads").write_bytes(b"one\ntor\xff\0")
    await log.append("two")
    lines, _ = await log.read(0, 10)
    assert (lines[0], len(lines), lines[2]) == ("one", 3, "two")
    assert (tmp_path / "heads").read_bytes() == b"one\ntor\xff\0\ntwo\n"


async def test_a_line_without_end_is_read_in_bounded_pieces(
    log: FileHeadLog, tmp_path: Path
) -> None:
    (tmp_path / "heads").write_bytes(b"x" * 1_000_000)
    lines, position = await log.read(0, 2)
    assert (len(lines[0]), position) == (4_096, 8_192)
    assert sum(map(len, await log.read_last(2))) <= 8_192


async def test_lines_added_at_once_do_not_mix(log: FileHeadLog) -> None:
    added = [str(number) * 300 for number in range(20)]
    await asyncio.gather(*(log.append(line) for line in added))
    lines, _ = await log.read(0, 100)
    assert sorted(lines) == sorted(added)


async def test_a_line_is_synced_before_it_counts(
    log: FileHeadLog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    synced: list[int] = []
    folder = tmp_path.stat().st_ino  # noqa: ASYNC240 - a test may wait for the disk
    real = os.fsync

    def note(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    await log.append("one")
    assert synced == [(tmp_path / "heads").stat().st_ino, folder]

    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, "the disk is gone")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="the disk is gone"):
        await log.append("two")


def test_a_folder_that_is_not_there_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"audit\.heads: there is no folder .*elsewhere"):
        FileHeadLog(tmp_path / "elsewhere" / "heads")
