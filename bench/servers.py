"""The servers that a hall of several nodes stands on, for the bench: PostgreSQL and NATS.

PostgreSQL runs as an operator would run it: every commit is on the disk before it is acknowledged.
A folder in memory would make that cost nothing, so none is taken.
"""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.cases import Standing
from bench.hall import HallError
from tests.servers.nats import NatsServer
from tests.servers.postgres import PostgresServer

IN_MEMORY = {"tmpfs", "ramfs"}
ON_DISK = Path("/var/tmp")  # noqa: S108 - the server makes a folder of its own there
DATABASE = "hall"
DURABLE = ("fsync", "synchronous_commit", "full_page_writes")
NODE_OPTIONS = ("--metrics-port", "-1")


@dataclass(frozen=True, slots=True)
class Ground:
    """The servers; each is there until the bench ends."""

    postgres: PostgresServer
    nats: NatsServer | None

    @property
    def options(self) -> tuple[str, ...]:
        """Flags of a node that stands on them."""
        database = ("--database", self.postgres.url(DATABASE), *NODE_OPTIONS)
        return database if self.nats is None else (*database, "--bus", self.nats.url)

    @property
    def without_bus(self) -> tuple[str, ...]:
        """Flags of a node that looks at the database only."""
        return ("--database", self.postgres.url(DATABASE), *NODE_OPTIONS)

    @property
    def pids(self) -> dict[str, int]:
        """The first process of each server, by its name."""
        found = {"postgres": self.postgres.pid}
        return found if self.nats is None else found | {"nats": self.nats.pid}

    @property
    def standing(self) -> Standing:
        """What a hall that stands on them needs to know."""
        return Standing(self.options, self.pids)

    def durability(self) -> str:
        """Say which PostgreSQL it is, and what a commit promises.

        Raises:
            HallError: It promises nothing.
        """
        told = {name: self.postgres.run_sql(f"SHOW {name}") for name in DURABLE}
        if off := [name for name, value in told.items() if value != "on"]:
            raise HallError(f"PostgreSQL runs with {', '.join(off)} off: that is no measurement")
        version = self.postgres.run_sql("SHOW server_version")
        return f"PostgreSQL {version}, {', '.join(f'{name}=on' for name in DURABLE)}"

    def written_bytes(self) -> int:
        """Return how many bytes were written to PostgreSQL's log in all."""
        return int(self.postgres.run_sql("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn"))


@contextmanager
def open_ground(data: Path | None, *, has_bus: bool = False) -> Iterator[Ground]:
    """Run PostgreSQL with its files on a disk, and NATS if asked; both end afterwards.

    Args:
        data: A folder on the disk to measure; None: the temporary folder, or ``/var/tmp``.
        has_bus: Whether there is NATS.

    Raises:
        HallError: There is no folder on a disk.
    """
    with ExitStack() as opened:
        postgres = PostgresServer(has_port=True, is_safe=True, under=find_disk(data))
        opened.callback(postgres.remove)
        postgres.run_sql(f"CREATE DATABASE {DATABASE}")
        nats = opened.enter_context(NatsServer()) if has_bus else None
        yield Ground(postgres, nats)


def find_disk(data: Path | None) -> Path:
    """Return a folder whose files are on a disk.

    Raises:
        HallError: The wanted one is in memory, or none is not.
    """
    for folder in (data,) if data is not None else (Path(tempfile.gettempdir()), ON_DISK):
        if folder.is_dir() and filesystem_of(folder) not in IN_MEMORY:
            return folder
    raise HallError(
        f"{data or tempfile.gettempdir()} is in memory, where a commit costs nothing; say --data "
        "with a folder on the disk to measure"
    )


def filesystem_of(folder: Path) -> str:
    """Return the kind of the file system that holds a folder; empty if the system does not say."""
    place = folder.resolve()
    kinds = {
        Path(each.mountpoint): each.fstype
        for each in psutil.disk_partitions(all=True)  # later mounts lie over earlier ones
    }
    return next((kinds[path] for path in (place, *place.parents) if path in kinds), "")
