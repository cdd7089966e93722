"""Files in the client: whole or not at all, and never over another one."""

import hashlib
import io
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from moothall.client import CallError, FileDamagedError, FileTakenError, HallUnreachableError
from moothall.client.files import download, upload
from moothall.core.errors import Problem
from moothall.core.units import CHUNK_SIZE_BYTES

DATA = hashlib.shake_128(b"x").digest(2 * CHUNK_SIZE_BYTES + 9)
SHA256 = hashlib.sha256(DATA).hexdigest()


class Shelf:
    """A hall that keeps one file, or forgets what it has when it is told to."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = data
        self.is_finished = False
        self.forgets_at: int | None = None
        self.offsets: list[int] = []

    async def ask(self, verb_noun: str, asked: Mapping[str, Any]) -> Any:
        if verb_noun == "get_file":
            return {"sha256": asked["sha256"], "size_bytes": len(self.data)}
        if verb_noun == "get_chunk":
            at = asked["offset"]
            return {"data": b64encode(self.data[at : at + CHUNK_SIZE_BYTES]).decode()}
        if verb_noun == "put_chunk":
            self.put(asked["offset"], b64decode(asked["data"]), asked["size_bytes"])
        return {"offset": len(self.data), "is_finished": self.is_finished}

    def put(self, offset: int, data: bytes, size_bytes: int) -> None:
        self.offsets.append(offset)
        if offset == self.forgets_at:
            self.data, self.forgets_at = b"", None
        if offset > len(self.data):
            raise out_of_order(len(self.data))
        if offset == len(self.data):
            self.data += data
        self.is_finished = len(self.data) == size_bytes


def out_of_order(offset: int) -> CallError:
    details = {"offset": offset}
    return CallError(
        Problem("", "no", 400, "failed_precondition", "chunk_out_of_order", details, False, "")  # noqa: FBT003 - as the wire has it
    )


@pytest.mark.requirement("R57")
@pytest.mark.parametrize("size", [0, 1, CHUNK_SIZE_BYTES, len(DATA)])
async def test_all_bytes_go_up(size: int) -> None:
    shelf, told = Shelf(), []
    sha256 = await upload(shelf.ask, io.BytesIO(DATA[:size]), lambda *now: told.append(now))
    assert (shelf.data, sha256) == (DATA[:size], hashlib.sha256(DATA[:size]).hexdigest())
    assert told[-1] == (size, size)


async def test_upload_goes_on_where_it_stopped() -> None:
    shelf = Shelf(DATA[:CHUNK_SIZE_BYTES])
    await upload(shelf.ask, io.BytesIO(DATA), None)
    assert shelf.offsets == [CHUNK_SIZE_BYTES, 2 * CHUNK_SIZE_BYTES]
    assert shelf.data == DATA


async def test_upload_that_the_hall_has_let_go_begins_anew() -> None:
    shelf = Shelf()
    shelf.forgets_at = 2 * CHUNK_SIZE_BYTES
    await upload(shelf.ask, io.BytesIO(DATA), None)
    assert shelf.data == DATA


async def test_upload_without_a_verdict_asks_for_it_with_the_last_chunk() -> None:
    shelf = Shelf(DATA)
    await upload(shelf.ask, io.BytesIO(DATA), None)
    assert shelf.offsets == [2 * CHUNK_SIZE_BYTES]


async def test_upload_that_never_ends_is_given_up() -> None:
    async def ask(_verb_noun: str, _asked: Mapping[str, Any]) -> Any:
        return {"offset": 0, "is_finished": False}

    with pytest.raises(HallUnreachableError):
        await upload(ask, io.BytesIO(DATA), None)


async def fetch(shelf: Shelf, path: Path, *, is_replacing: bool = False) -> Path:
    return await download(shelf.ask, SHA256, path, is_replacing=is_replacing, progress=None)


@pytest.mark.requirement("R57")
async def test_whole_file_comes_down(tmp_path: Path) -> None:
    path = await fetch(Shelf(DATA), tmp_path / "down")
    assert path.read_bytes() == DATA
    assert list(tmp_path.iterdir()) == [path]  # noqa: ASYNC240 - a folder of this test


@pytest.mark.requirement("R57")
@pytest.mark.parametrize("other", [DATA[:-1] + b"!", DATA[:-1], b""])
async def test_other_bytes_are_not_kept(tmp_path: Path, other: bytes) -> None:
    path = tmp_path / "down"
    path.write_bytes(b"mine")
    with pytest.raises(FileDamagedError):
        await fetch(Shelf(other), path, is_replacing=True)
    assert path.read_bytes() == b"mine"
    assert list(tmp_path.iterdir()) == [path]  # noqa: ASYNC240 - a folder of this test


@pytest.mark.requirement("R57")
async def test_file_that_came_meanwhile_is_not_lost(tmp_path: Path) -> None:
    path, shelf = tmp_path / "down", Shelf(DATA)

    async def ask(verb_noun: str, asked: Mapping[str, Any]) -> Any:
        if verb_noun == "get_chunk":
            path.write_bytes(b"mine")
        return await shelf.ask(verb_noun, asked)

    with pytest.raises(FileTakenError):
        await download(ask, SHA256, path, is_replacing=False, progress=None)
    with pytest.raises(FileTakenError):
        await fetch(shelf, path)
    assert path.read_bytes() == b"mine"
    await fetch(shelf, path, is_replacing=True)
    assert path.read_bytes() == DATA
    assert list(tmp_path.iterdir()) == [path]  # noqa: ASYNC240 - a folder of this test
