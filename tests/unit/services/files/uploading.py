"""Uploading and reading files as a client does it: chunk after chunk, in base64."""

import hashlib
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import msgspec

from moothall.testing import OpenHall, Visitor

CHUNK = 256 * 1_024
HOLDERS = Path(__file__).parent / "rooms" / "shelf"
"""A room that holds files: ``shelf.keep`` and its like."""


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def pattern(size_bytes: int, seed: str = "") -> bytes:
    """Return bytes none of whose chunks are alike."""
    block = b"".join(hashlib.sha256(f"{seed}{number}".encode()).digest() for number in range(8_192))
    whole = b"".join(
        hashlib.sha256(f"{seed}/{start}".encode()).digest() + block[32:]
        for start in range(0, size_bytes, len(block))
    )
    return whole[:size_bytes]


async def put(
    hall: OpenHall,
    who: Visitor,
    data: bytes,
    at: int,
    *,
    sha256: str | None = None,
    size_bytes: int | None = -1,
) -> Any:
    """Send the chunk at one offset."""
    request = {
        "sha256": sha256 or digest_of(data),
        "offset": at,
        "data": b64encode(data[at : at + CHUNK]).decode(),
        "size_bytes": len(data) if size_bytes == -1 else size_bytes,
    }
    return await hall.call("files.put_chunk", msgspec.json.encode(request), as_=who)


async def upload(hall: OpenHall, who: Visitor, data: bytes, *, sha256: str | None = None) -> str:
    """Send all bytes and return the hash."""
    answer = None
    for at in range(0, max(len(data), 1), CHUNK):
        answer = await put(hall, who, data, at, sha256=sha256)
        assert answer.offset == min(at + CHUNK, len(data))
    assert answer is not None
    assert answer.is_finished
    return digest_of(data)


async def download(hall: OpenHall, who: Visitor, sha256: str) -> bytes:
    """Read all bytes by chunks, from the very JSON text."""
    file = await hall.call("files.get_file", {"sha256": sha256}, as_=who)
    data = b""
    while True:
        reply = await hall.answer(
            "files.get_chunk", {"sha256": sha256, "offset": len(data)}, token=who.token
        )
        assert reply.body is not None, reply.problem
        chunk = msgspec.json.decode(reply.body)
        assert (chunk["offset"], chunk["size_bytes"]) == (len(data), file.size_bytes)
        data += b64decode(chunk["data"])
        if len(data) == file.size_bytes:
            return data
        assert chunk["data"]


async def stored(hall: OpenHall) -> tuple[int, int]:
    """Return how many bytes are counted, and how many there are."""
    ((counted, real),) = await hall.rows(
        "SELECT stored_bytes, (SELECT COALESCE(SUM(LENGTH(data)), 0) FROM files_chunk)"
        " FROM files_usage"
    )
    return counted, real
