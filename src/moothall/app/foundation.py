"""What a hall stands on: one file of this process, or a server and a bus that several nodes share.

Everything above is the same for both; the difference ends here.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

from moothall.action.hub import FeedHub
from moothall.action.jobs import SoleHolder
from moothall.action.push import Push
from moothall.action.tail import Tail
from moothall.app.config import Settings
from moothall.app.heads import name_node
from moothall.app.keyfile import load_sealing_key
from moothall.app.moved import check_not_moved
from moothall.app.place import check_place, disown_place, look_at_place
from moothall.core.errors import ConfigurationError
from moothall.ports.bus import Bus
from moothall.ports.database import Database, Transaction
from moothall.ports.entropy import Entropy
from moothall.ports.learner import Learner
from moothall.ports.lease import Lease
from moothall.storage.sqlite import SqliteBounds, SqliteDatabase

DATABASE_FILE = "hall.sqlite"
KEY_FILE = "sealing.key"

ASIDE_WRITERS = 1
ASIDE_READERS = 2
"""Connections that no call can keep waiting: for the tail and the lease."""

HOLDER_BYTES = 8

_KNOWS_HALL = "SELECT to_regclass('action_hall') IS NOT NULL"
_FIND_HALL = "SELECT key_digest FROM action_hall WHERE id = 1"
_ADD_HALL = "INSERT INTO action_hall (id, key_digest) VALUES (1, $1)"


class Foundation(Protocol):
    """What the composition asks of either, in this order.

    Attributes:
        database: Where the rows are.
        sealing_key: 32 bytes outside the database.
        lease: Which node keeps house.
        tail: What follows the other nodes; None where there are none.
    """

    database: Database
    sealing_key: bytes
    lease: Lease
    tail: Tail | None

    async def join(self, hub: FeedHub) -> None:
        """Take one's place, once the tables are there and before adapters load their state.

        Raises:
            ConfigurationError: This is no node of the hall that the database holds.
        """
        ...

    def publisher(self, hub: FeedHub) -> Callable[[Sequence[Push]], None]:
        """Return what events are given to when they are committed."""
        ...

    async def start(self, learners: Iterable[Learner]) -> None:
        """Follow the other nodes from now on."""
        ...

    async def close(self) -> None:
        """Finish what was accepted and let go of everything."""
        ...


class Embedded:
    """A file in the data folder: this process is the whole hall."""

    tail: Tail | None = None

    def __init__(self, database: SqliteDatabase, sealing_key: bytes) -> None:
        """Made by :func:`open_foundation`."""
        self.database: Database = database
        self.sealing_key = sealing_key
        self.lease: Lease = SoleHolder()

    async def join(self, hub: FeedHub) -> None:
        """Be the only one."""

    def publisher(self, hub: FeedHub) -> Callable[[Sequence[Push]], None]:
        """Give events to the hub in the order of the commits."""
        return hub.publish

    async def start(self, learners: Iterable[Learner]) -> None:
        """Follow nobody."""

    async def close(self) -> None:
        """Finish what was accepted and close the file."""
        await self.database.close()


class Shared:
    """A PostgreSQL server and a bus: this process is one node of the hall."""

    def __init__(
        self,
        database: Database,
        aside: Database,
        bus: Bus,
        lease: Lease,
        sealing_key: bytes,
        *,
        adopts: bool,
    ) -> None:
        """Made by :func:`open_foundation`."""
        self.database = database
        self.sealing_key = sealing_key
        self.lease = lease
        self.tail: Tail | None = None
        self._aside = aside
        self._bus = bus
        self._adopts = adopts

    async def join(self, hub: FeedHub) -> None:
        """Compare the sealing key with the hall's, see where its rows lie, and begin to follow."""
        await self.database.write(self._take_place)
        self.tail = Tail(self._aside, self._bus, hub)
        await self.tail.begin()

    async def _take_place(self, tx: Transaction) -> None:
        await bind_key(tx, self.sealing_key)
        await (disown_place(tx) if self._adopts else check_place(tx))

    def publisher(self, hub: FeedHub) -> Callable[[Sequence[Push]], None]:  # noqa: ARG002
        """Let the tail read events, which gives those of all nodes to the hub in one order."""
        return lambda _pushes: self.tell()

    def tell(self) -> None:
        """Let this node and the others look: something was committed here."""
        if self.tail is not None:
            self.tail.tell()

    async def start(self, learners: Iterable[Learner]) -> None:
        """Follow the other nodes, and keep house if nobody does."""
        assert self.tail is not None, "join comes first"
        self.tail.start(learners)
        await self.lease.start()

    async def close(self) -> None:
        """Let another node keep house, finish what was accepted and leave."""
        if self.tail is not None:
            await self.tail.close()
        await self.lease.close()
        await self._bus.close()
        await self._aside.close()
        await self.database.close()


async def open_foundation(
    settings: Settings,
    entropy: Entropy,
    *,
    on_sync_failure: Callable[[BaseException], None],
    bounds: SqliteBounds | None = None,
    vfs: str | None = None,
    bus: Bus | None = None,
    adopts: bool = False,
) -> Foundation:
    """Open what the settings choose; the data folder exists and is this process's own.

    Args:
        settings: The hall's settings.
        entropy: Where a new key comes from.
        on_sync_failure: Called when the disk of an embedded hall can no longer be trusted.
        bounds: Of an embedded database, instead of the defaults, in tests.
        vfs: Name of an apsw VFS instead of the system's, in tests of faults.
        bus: Between nodes, instead of the one that the settings name, in tests.
        adopts: Take rows that were restored; whoever does says at the end that they are adopted.

    Raises:
        ConfigurationError: Something must be mended first.
        StorageUnavailableError: The server cannot be reached.
    """
    folder = settings.data_path
    if settings.database:
        name_node(folder, entropy)
        return await _open_shared(settings, folder, entropy, bus, adopts=adopts)
    check_not_moved(folder)
    file = folder / DATABASE_FILE
    sealing_key = load_sealing_key(folder / KEY_FILE, entropy, database=file)
    database = SqliteDatabase.open(file, on_sync_failure=on_sync_failure, bounds=bounds, vfs=vfs)
    return Embedded(database, sealing_key)


async def _open_shared(
    settings: Settings, folder: Path, entropy: Entropy, bus: Bus | None, *, adopts: bool
) -> Shared:
    """Meet the server; the bus may come later."""
    # A hall on SQLite needs none of these, and they take a while to load.
    from moothall.bus import BusAccess, open_bus  # noqa: PLC0415
    from moothall.storage.postgres import (  # noqa: PLC0415
        PostgresBounds,
        PostgresDatabase,
        RowLease,
        read_address,
    )

    address = read_address(settings.database, settings.database_password_file)
    access = BusAccess(
        user=settings.bus_user,
        password_file=settings.bus_password_file,
        token_file=settings.bus_token_file,
        credentials_file=settings.bus_credentials_file,
        authority=settings.bus_authority,
    )
    few = PostgresBounds(writers=ASIDE_WRITERS, readers=ASIDE_READERS)
    bounds = PostgresBounds(
        writers=settings.database_writers_max, readers=settings.database_readers_max
    )
    async with AsyncExitStack() as opened:
        database = await PostgresDatabase.open(address, bounds=bounds)
        opened.push_async_callback(database.close)
        if not adopts:  # before the migrations, which would change rows that are not ours to serve
            await database.read(look_at_place)
        aside = await PostgresDatabase.open(address, bounds=few)
        opened.push_async_callback(aside.close)
        sealing_key = await _load_key(folder / KEY_FILE, database, entropy)
        hall_id = blake2b(sealing_key, digest_size=12, person=b"moothall bus").hexdigest()
        bus = bus or await open_bus(settings.bus, hall_id, access)
        opened.pop_all()
    lease = RowLease(aside, entropy.random_bytes(HOLDER_BYTES).hex())
    shared = Shared(database, aside, bus, lease, sealing_key, adopts=adopts)
    database.on_notice = shared.tell
    return shared


async def _load_key(path: Path, database: Database, entropy: Entropy) -> bytes:
    """Return this node's key; it makes one only for a hall that is not there yet."""

    async def find(tx: Transaction) -> bool:
        row = await tx.fetch_one(_KNOWS_HALL)
        assert row is not None
        return bool(row[0]) and await tx.fetch_one(_FIND_HALL) is not None

    if await database.read(find) and not path.exists():  # noqa: ASYNC240 - once, at the start
        msg = (
            f"{path}: the sealing key of this hall is missing; copy it from the data folder of "
            "another node, or from your backup of the keys"
        )
        raise ConfigurationError(msg)
    return load_sealing_key(path, entropy)


async def bind_key(tx: Transaction, sealing_key: bytes) -> None:
    """Refuse a node whose key is not the hall's; the first node says which that is.

    Raises:
        ConfigurationError: The rows are sealed by another key.
    """
    digest = blake2b(sealing_key, digest_size=16, person=b"moothall key").hexdigest()
    await tx.lock("hall")
    row = await tx.fetch_one(_FIND_HALL)
    if row is None:
        await tx.execute(_ADD_HALL, digest)
    elif row[0] != digest:
        msg = (
            "data: the sealing key of this node is not the one of the hall in this database; copy "
            f"{KEY_FILE} from the data folder of another node over this node's, or name another "
            "database"
        )
        raise ConfigurationError(msg)
