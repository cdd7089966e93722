"""A disk that a test can slow down, hold, fill up, break, or cut off from its power.

It is a layer between SQLite and the files of the system (an apsw VFS), so all that is
tested runs for real. Only the log (`-wal`) and the database itself are meddled with.
"""

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import apsw

_numbers = itertools.count()
_JOIN_S = 30

SECTOR_BYTES = 512


class Disk(apsw.VFS):
    """Faults are attributes; they act from the next operation on."""

    def __init__(self) -> None:
        self.vfs = f"disk-{next(_numbers)}"
        super().__init__(self.vfs, "unix")
        self.is_full = False
        self.breaks: set[str] = set()
        """Endings of files whose next syncs fail: "-wal", ".sqlite"."""
        self.before_sync: Callable[[str], None] = lambda _name: None
        self.sync_threads: list[str] = []
        self.writers: dict[str, set[str]] = {}
        """Names of the threads that wrote, by the ending of the file."""
        self.keeps_synced = False
        self.synced: dict[str, bytes] = {}
        """What each file held when it was last synced, by name."""

    def xOpen(self, name: apsw.URIFilename | str | None, flags: list[int]) -> "apsw.VFSFile":  # noqa: N802 - SQLite's name
        return _File(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: FBT001, N802 - SQLite's
        super().xDelete(filename, syncdir)
        # Stays deleted: the folder is synced with the first sync of the log.
        self.synced.pop(filename, None)

    @contextmanager
    def holding(self) -> Iterator[threading.Event]:
        """Hold the next sync of the log; the event tells when it has come."""
        has_come, may_go = threading.Event(), threading.Event()

        def wait(name: str) -> None:
            if name.endswith("-wal"):
                has_come.set()
                assert may_go.wait(_JOIN_S)

        self.before_sync = wait
        try:
            yield has_come
        finally:
            self.before_sync = lambda _name: None
            may_go.set()

    def cut_power(self, folder: Path, random: Random) -> None:
        """Write into `folder` what a disk may hold after a power cut.

        What was synced is there; of what was written since, each sector is there or not.
        """
        for name, synced in dict(self.synced).items():
            written = Path(name).read_bytes()
            length = random.choice((len(synced), len(written)))
            sectors = []
            for start in range(0, length, SECTOR_BYTES):
                source = random.choice((synced, written))
                sector = source[start : start + SECTOR_BYTES]
                sectors.append(sector.ljust(min(SECTOR_BYTES, length - start), b"\0"))
            (folder / Path(name).name).write_bytes(b"".join(sectors)[:length])


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: apsw.URIFilename | str | None, flags: list[int]) -> None:
        self._disk = disk
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        super().__init__("unix", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        if self._disk.is_full:
            raise apsw.exception_for(apsw.SQLITE_FULL)
        writers = self._disk.writers.setdefault(Path(self._name).suffix, set())
        writers.add(threading.current_thread().name)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        disk = self._disk
        disk.before_sync(self._name)
        disk.sync_threads.append(threading.current_thread().name)
        if any(self._name.endswith(ending) for ending in disk.breaks):
            raise apsw.exception_for(apsw.SQLITE_IOERR_FSYNC)
        super().xSync(flags)
        if disk.keeps_synced:
            disk.synced[self._name] = Path(self._name).read_bytes()
