"""SimulatedDisk: a disk that a test can fill up, slow down, break, or cut off from its power.

It is a layer between SQLite and the files of the system (an apsw VFS), so all that is tested
runs for real. Only SQLite's files are meddled with; what a hall keeps beside them (its key, the
heads of the audit trail) is synced by its writers and taken into an image as it is.

What a power cut leaves is kept in memory while the hall runs: for each file the bytes that were
synced and what was written since, for each name what stood under it when the folder was last
synced. So an image costs what it copies, and a sync what was written since the last one.
"""

import itertools
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import apsw

SECTOR_BYTES = 512
"""What a disk writes whole or not at all."""

_HOLD_SECONDS_MAX = 30
_numbers = itertools.count()


@dataclass(slots=True)
class _Contents:
    """What one file holds: the bytes that are safe, and what was done to it since."""

    safe: bytearray
    since: list[tuple[int, bytes | None]] = field(default_factory=list)
    """(offset, bytes written there), or (size, None) where the file was cut to that size."""

    def sync(self) -> None:
        """Make all of it safe."""
        for place, data in self.since:
            if data is None:
                del self.safe[place:]
            else:
                _put(self.safe, place, data)
        self.since.clear()

    def after_cut(self, random: Random) -> bytes:
        """Return the safe bytes with a random part of what was done since, sector by sector."""
        left = bytearray(self.safe)
        for place, data in self.since:
            if data is None:
                if random.random() < 0.5:  # noqa: PLR2004 - a coin
                    del left[place:]
                continue
            # Nothing of it, all of it, or any part of it: each happens, and each is hard.
            chance = random.choice((0.0, 0.5, 1.0))
            for start, end in _sectors(place, len(data)):
                if random.random() < chance:
                    _put(left, start, data[start - place : end - place])
        return bytes(left)


def _put(target: bytearray, place: int, data: bytes) -> None:
    """Write ``data`` at ``place``; what lies between the end and there is zero."""
    if len(target) < place:
        target.extend(bytes(place - len(target)))
    target[place : place + len(data)] = data


def _sectors(place: int, length: int) -> Iterator[tuple[int, int]]:
    """Divide a range of a file where its sectors meet."""
    start = place
    while start < place + length:
        end = min(place + length, (start // SECTOR_BYTES + 1) * SECTOR_BYTES)
        yield start, end
        start = end


class SimulatedDisk(apsw.VFS):
    """A disk for one database. Faults are attributes; they act from the next operation on.

    Attributes:
        vfs: Its name, for ``open_hall(vfs=...)``.
        is_full: Nothing can be written.
        room_bytes: By how much the files may still grow, together; None is no bound.
        is_read_only: Writes fail, as on a disk that the system has taken out of use.
        is_unreadable: Reads fail.
        breaks: Endings of files whose next syncs fail: ``-wal``, ``.sqlite``. What was written
            to such a file since its last sync is never safe then, though it can be read, until
            it is written again: systems forget what they could not write.
        sync_seconds: How long each sync takes.
        before_sync: Called with the file's name before each sync, on the thread that syncs.
        after_sync: Called with the file's name once a sync has succeeded: what it covers is safe,
            and nobody was told of it yet.
        after_write: Called with the file's name after each write: within a commit, for the log,
            and within a checkpoint, for the database.
        sync_threads: The thread's name of each sync.
        sync_failures: Errors for which a hall would have ended its process. What goes on in a
            test is the hall as it is in its last moment: it accepts no write any more.
        writers: The names of the threads that wrote, by the ending of the file.
    """

    def __init__(self, *, is_default: bool = False) -> None:
        """Make a disk without faults.

        Args:
            is_default: For whoever names no other in this process; so a whole program can be
                run on it.
        """
        self.vfs = f"disk-{next(_numbers)}"
        super().__init__(self.vfs, "unix", makedefault=is_default)
        self.is_full = False
        self.room_bytes: int | None = None
        self.is_read_only = False
        self.is_unreadable = False
        self.breaks: set[str] = set()
        self.sync_seconds = 0.0
        self.before_sync: Callable[[str], None] = lambda _name: None
        self.after_sync: Callable[[str], None] = lambda _name: None
        self.after_write: Callable[[str], None] = lambda _name: None
        self.sync_failures: list[BaseException] = []
        self.sync_threads: list[str] = []
        self.writers: dict[str, set[str]] = {}
        self._mutex = threading.RLock()
        self._names: dict[str, list[_Contents | None]] = {}
        """What stood under each name since the folder was synced, the present last."""

    # --- what a test does ---------------------------------------------------------------------

    def mend(self) -> None:
        """End all faults."""
        self.is_full = self.is_read_only = self.is_unreadable = False
        self.room_bytes = None
        self.breaks = set()
        self.sync_seconds = 0.0

    @contextmanager
    def holding(self) -> Iterator[threading.Event]:
        """Hold the next sync of the log; the event tells when it has come."""
        has_come, may_go = threading.Event(), threading.Event()

        def wait(name: str) -> None:
            if name.endswith("-wal"):
                has_come.set()
                assert may_go.wait(_HOLD_SECONDS_MAX)

        self.before_sync = wait
        try:
            yield has_come
        finally:
            self.before_sync = lambda _name: None
            may_go.set()

    def cut_power(self, into: Path, random: Random) -> None:
        """Write into a folder what this disk may hold after a power cut at this moment.

        What was synced is there; of what was written since, each sector is there or not; a file
        that was made, deleted or cut short since is so or not. The hall itself goes on.

        Args:
            into: The folder; made if there is none, for its owner only.
            random: Decides what is there.
        """
        into.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Nothing is written meanwhile, or what lies beside would be younger than the rows.
        with self._mutex:
            for name, stood in self._names.items():
                contents = random.choice(stood)
                if contents is not None:
                    (into / Path(name).name).write_bytes(contents.after_cut(random))
            for folder in {Path(name).parent for name in self._names}:
                for path in folder.iterdir():
                    # The index of the log (-shm) is made anew by whoever opens it first.
                    is_ours = str(path) in self._names or path.name.endswith("-shm")
                    if path.is_file() and not is_ours:
                        shutil.copy2(path, into / path.name)

    # --- what SQLite does ---------------------------------------------------------------------

    def xOpen(self, name: apsw.URIFilename | str | None, flags: list[int]) -> "apsw.VFSFile":  # noqa: N802 - SQLite's name
        """Open a file, and take note of what it holds."""
        path = Path(name.filename() if isinstance(name, apsw.URIFilename) else str(name))
        with self._mutex:
            is_new = not path.exists()
            if is_new and self.is_read_only:
                raise apsw.exception_for(apsw.SQLITE_CANTOPEN)
            file = _File(self, str(path), name, flags)
            stood = self._names.setdefault(str(path), [None] if is_new else [])
            if not stood or stood[-1] is None:
                # What was there before this disk counts as safe.
                stood.append(_Contents(bytearray(file.read_all())))
        return file

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: FBT001, N802 - SQLite's
        """Delete a file, which a power cut may bring back until the folder is synced."""
        with self._mutex:
            if self.is_read_only:
                raise apsw.exception_for(apsw.SQLITE_IOERR_DELETE)
            super().xDelete(filename, syncdir)
            self._names.setdefault(filename, []).append(None)
            if syncdir:
                self._sync_folder()

    def _read(self) -> None:
        """Fail a read that is to fail."""
        if self.is_unreadable:
            raise apsw.exception_for(apsw.SQLITE_IOERR_READ)

    def _write(self, file: "_File", data: bytes, offset: int) -> None:
        """Write, if that can be, and take note of it."""
        with self._mutex:
            growth = 0
            if self.room_bytes is not None:
                growth = max(0, offset + len(data) - file.xFileSize())
            if self.is_full or growth > (self.room_bytes or 0):
                raise apsw.exception_for(apsw.SQLITE_FULL)
            if self.is_read_only:
                raise apsw.exception_for(apsw.SQLITE_IOERR_WRITE)
            apsw.VFSFile.xWrite(file, data, offset)
            if self.room_bytes is not None:
                self.room_bytes -= growth
            writers = self.writers.setdefault(Path(file.name).suffix, set())
            writers.add(threading.current_thread().name)
            self._contents(file).since.append((offset, bytes(data)))
        self.after_write(file.name)

    def _truncate(self, file: "_File", size: int) -> None:
        """Cut a file short, and take note of it."""
        with self._mutex:
            if self.is_read_only:
                raise apsw.exception_for(apsw.SQLITE_IOERR_TRUNCATE)
            apsw.VFSFile.xTruncate(file, size)
            self._contents(file).since.append((size, None))

    def _sync(self, file: "_File", flags: int) -> None:
        """Sync a file, and its folder where SQLite does."""
        self.before_sync(file.name)
        if self.sync_seconds:
            time.sleep(self.sync_seconds)
        self.sync_threads.append(threading.current_thread().name)
        with self._mutex:
            if any(file.name.endswith(ending) for ending in self.breaks):
                self._contents(file).since.clear()
                raise apsw.exception_for(apsw.SQLITE_IOERR_FSYNC)
            apsw.VFSFile.xSync(file, flags)
            self._contents(file).sync()
            if file.syncs_folder:
                file.syncs_folder = False
                self._sync_folder()
        self.after_sync(file.name)

    def _sync_folder(self) -> None:
        """Make safe what stands under each name."""
        for name, stood in list(self._names.items()):
            del stood[:-1]
            if stood == [None]:
                del self._names[name]

    def _contents(self, file: "_File") -> _Contents:
        """Return what an open file holds."""
        contents = self._names[file.name][-1]
        assert contents is not None, f"{file.name} was deleted while it was open"
        return contents


class _File(apsw.VFSFile):
    """An open file. It asks its disk before each operation."""

    def __init__(
        self,
        disk: SimulatedDisk,
        name: str,
        given: apsw.URIFilename | str | None,
        flags: list[int],
    ) -> None:
        self._disk = disk
        self.name = name
        # As SQLite does: the first sync of a log or journal syncs the folder too.
        self.syncs_folder = bool(flags[0] & (apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL))
        super().__init__("unix", given, flags)

    def read_all(self) -> bytes:
        """Return all bytes.

        Not by way of Python: to close a file that SQLite has open ends SQLite's locks.
        """
        return super().xRead(self.xFileSize(), 0)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - SQLite's name
        self._disk._read()  # noqa: SLF001 - one thing in two classes
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        self._disk._write(self, data, offset)  # noqa: SLF001 - one thing in two classes

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's name
        self._disk._truncate(self, newsize)  # noqa: SLF001 - one thing in two classes

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        self._disk._sync(self, flags)  # noqa: SLF001 - one thing in two classes
