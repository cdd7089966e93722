"""Files that are whole or absent, and locks that die with their process.

A file is written beside its place, synced, and moved there, so that a crash leaves the
old one or the new one. A file that cannot be understood is reported and never written
over: what is in it may be all that its owner has.
"""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from moothall.client.errors import WalletDamagedError, WalletError
from moothall.core.disk import sync_path

FORMAT = 2
"""Version of all files; it grows when an older client could not understand them.

1 knew one kind of server, and kept every secret in the file.
"""

T = TypeVar("T")

_PRIVATE_FILE = 0o600
_PRIVATE_FOLDER = 0o700
_LOCK_TIMEOUT_S = 10.0
_LOCK_POLL_S = 0.02


class _Versioned(msgspec.Struct):
    """What is read first."""

    format: int


def read_file(path: Path, shape: type[T]) -> T | None:
    """Return what a file holds, or None if there is no such file.

    Raises:
        WalletDamagedError: It cannot be understood.
        WalletError: It cannot be read, or a newer Moothall wrote it.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise WalletError(f"{path} cannot be read: {error.strerror}", path=str(path)) from error
    try:
        version = msgspec.json.decode(text, type=_Versioned).format
        if version > FORMAT:
            raise WalletError(
                f"{path} was written by a newer Moothall (format {version})",
                "update this one",
                path=str(path),
            )
        return msgspec.json.decode(text, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # The message names the fault and its place, never a value.
        raise WalletDamagedError(path, str(error)) from error


def encode_file(content: msgspec.Struct) -> bytes:
    """Return what a file holds, so that a person can read it too."""
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"


def write_file(path: Path, content: bytes) -> None:
    """Put a file in its place, readable by its owner alone.

    Raises:
        WalletError: It cannot be written; the old one is as it was.
    """
    beside = path.with_name(f"{path.name}.{os.getpid()}-{time.monotonic_ns()}.new")
    try:
        make_folder(path.parent)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE_FILE)
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        if sys.platform != "win32":  # A folder cannot be opened there.
            sync_path(path.parent)
    except OSError as error:
        raise WalletError(f"{path} cannot be written: {error.strerror}", path=str(path)) from error


def make_folder(folder: Path) -> None:
    """Make a folder that only its owner may enter."""
    folder.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)


class FileLock:
    """A lock between processes. The system frees it when its holder dies."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def try_acquire(self) -> bool:
        """Take the lock if it is free.

        Raises:
            WalletError: The file of the lock cannot be made.
        """
        try:
            make_folder(self._path.parent)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, _PRIVATE_FILE)
        except OSError as error:
            raise WalletError(
                f"{self._path} cannot be opened: {error.strerror}", path=str(self._path)
            ) from error
        try:
            _lock(descriptor)
        except OSError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Let others take it."""
        if self._descriptor is not None:
            # Closing frees it. The file stays: removing it would split the lock in two.
            os.close(self._descriptor)
            self._descriptor = None

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock for a moment.

        Raises:
            WalletError: Another process did not let go in time.
        """
        ends_s = time.monotonic() + _LOCK_TIMEOUT_S
        while not self.try_acquire():
            if time.monotonic() >= ends_s:
                raise self.busy()
            time.sleep(_LOCK_POLL_S)
        try:
            yield
        finally:
            self.release()

    def busy(self) -> WalletError:
        """Return the error for a lock that another process keeps."""
        return WalletError(
            f"another moothall keeps {self._path} locked",
            "wait until it is done, or end it",
            path=str(self._path),
        )


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
