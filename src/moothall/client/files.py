"""Files, up and down, by whichever door: chunk after chunk, each an ordinary call.

The hash is computed first, so the hall refuses early what it would refuse in the end, and an upload
that was cut off goes on where it stopped. What comes down is written beside its place, compared
with its hash, and only then moved there: nobody finds half a file, and none is lost to another.
"""

import asyncio
import binascii
import contextlib
import hashlib
import os
import secrets
import shutil
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

from moothall.client.errors import CallError, FileDamagedError, FileTakenError, HallUnreachableError
from moothall.core.units import CHUNK_SIZE_BYTES

CHUNK_ATTEMPT_MS = 20_000
"""Time for one attempt to take a chunk over: slow lines need more than for other calls."""

_OUT_OF_ORDER = "chunk_out_of_order"
_TURNS_MAX = 3

Progress = Callable[[int, int], None]
"""Told how many bytes are done, and how many there are."""


class Readable(Protocol):
    """What bytes are read from."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most ``size`` bytes, none at the end."""
        ...


Source = str | Path | Readable
Ask = Callable[[str, Mapping[str, Any]], Awaitable[Any]]
"""Calls an action of the room of files and returns its result."""


async def upload(ask: Ask, source: Source, progress: Progress | None) -> str:
    """Send a file and return its SHA-256; what is there already is not sent again.

    Args:
        ask: Calls the hall.
        source: A path, or something to read bytes from; what cannot be read twice is kept in a
            temporary file meanwhile.
        progress: Told what is done.

    Raises:
        CallError: invalid_argument. The file is too large; failed_precondition. The quota is
            used up; or another refusal.
        OSError: The file cannot be read.
    """
    tell = progress or _tell_nobody
    with _open(source) as file:
        sha256, size = await asyncio.to_thread(_measure, file)
        last = max(size - 1, 0) // CHUNK_SIZE_BYTES * CHUNK_SIZE_BYTES
        there = await ask("get_upload", {"sha256": sha256})
        turns = 0
        while not there.get("is_finished"):
            done = _number(there, "offset")
            tell(min(done, size), size)
            # Where all is there but the verdict, the last chunk asks for that once more.
            at = min(done, last)
            file.seek(at)
            data = file.read(min(CHUNK_SIZE_BYTES, size - at))
            there = await _put(ask, sha256, size, at, data)
            turns = 0 if _number(there, "offset") > done else turns + 1
            if turns > _TURNS_MAX:
                raise HallUnreachableError("the upload does not go on", "try again later")
        tell(size, size)
        return sha256


async def _put(ask: Ask, sha256: str, size: int, at: int, data: bytes) -> Any:
    """Send a chunk and return how far the upload is, also where another chunk comes first."""
    chunk = {
        "sha256": sha256,
        "size_bytes": size,
        "offset": at,
        "data": b64encode(data).decode("ascii"),
    }
    try:
        return await ask("put_chunk", chunk)
    except CallError as error:
        if error.error_name != _OUT_OF_ORDER:
            raise
        # The hall has let go of what was there.
        return {"offset": _number(error.details, "offset"), "is_finished": False}


async def download(
    ask: Ask, sha256: str, path: Path, *, is_replacing: bool, progress: Progress | None
) -> Path:
    """Fetch a file by its hash and return where it is.

    Args:
        ask: Calls the hall.
        sha256: Which file.
        path: Where to; the hall has no say in it.
        is_replacing: Whether what is there goes.
        progress: Told what is done.

    Raises:
        CallError: not_found. There is none, or it is not for this member; or another refusal.
        FileTakenError: There is something at ``path``.
        FileDamagedError: Other bytes came than those with this hash; nothing is at ``path``.
        OSError: It cannot be written.
    """
    if not is_replacing:
        _check_free(path)
    size = _number(await ask("get_file", {"sha256": sha256}), "size_bytes")
    beside = path.with_name(f".{path.name[:64]}.{secrets.token_hex(6)}.part")
    try:
        with beside.open("xb") as file:
            found = await _fetch(ask, sha256, size, file, progress or _tell_nobody)
            file.flush()
            os.fsync(file.fileno())
        if found != sha256:
            raise FileDamagedError(
                "other bytes came than those that were asked for", "try again", sha256=sha256
            )
        _move(beside, path, is_replacing=is_replacing)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
    return path


async def _fetch(ask: Ask, sha256: str, size: int, file: IO[bytes], progress: Progress) -> str:
    """Write all bytes of a file and return the hash over them."""
    hasher, done = hashlib.sha256(), 0
    progress(0, size)
    while done < size:
        data = _bytes_of(await ask("get_chunk", {"sha256": sha256, "offset": done}))
        if not data or done + len(data) > size:
            raise FileDamagedError("the file has another size than the hall said", "try again")
        hasher.update(data)
        file.write(data)
        done += len(data)
        progress(done, size)
    return hasher.hexdigest()


@contextmanager
def _open(source: Source) -> Iterator[IO[bytes]]:
    """Open what can be read twice."""
    if isinstance(source, str | Path):
        with Path(source).open("rb") as file:
            yield file
        return
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(source, copy, CHUNK_SIZE_BYTES)
        yield copy


def _measure(file: IO[bytes]) -> tuple[str, int]:
    """Return hash and size of a file."""
    file.seek(0)
    hasher, size = hashlib.sha256(), 0
    while data := file.read(CHUNK_SIZE_BYTES):
        hasher.update(data)
        size += len(data)
    return hasher.hexdigest(), size


def _move(beside: Path, path: Path, *, is_replacing: bool) -> None:
    """Give a whole file its name; without leave to replace, no other file loses it."""
    if not is_replacing:
        try:
            os.link(beside, path)
        except FileExistsError:
            raise _taken(path) from None
        except OSError:
            # Some file systems have no links; then the moment between is all that is left.
            _check_free(path)
        else:
            return
    beside.replace(path)


def _check_free(path: Path) -> None:
    if path.exists():
        raise _taken(path)


def _taken(path: Path) -> FileTakenError:
    return FileTakenError(f"{path} is there already", "choose another name", path=str(path))


def _number(answer: Any, name: str) -> int:
    """Return a number of an answer.

    Raises:
        HallUnreachableError: There is none.
    """
    value = answer.get(name) if isinstance(answer, Mapping) else None
    if not isinstance(value, int) or value < 0:
        raise HallUnreachableError(f"the answer is not understood: it has no {name}")
    return value


def _bytes_of(answer: Any) -> bytes:
    data = answer.get("data") if isinstance(answer, Mapping) else None
    try:
        return b64decode(data if isinstance(data, str) else "!", validate=True)
    except binascii.Error:
        raise HallUnreachableError("the answer is not understood: it has no data") from None


def _tell_nobody(_done: int, _size: int) -> None:
    """Be asked for no progress."""
