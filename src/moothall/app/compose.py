"""Composition: from settings to a hall that answers calls, all but its doors (``doors.py``)."""

import asyncio
import contextlib
import fcntl
import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from moothall.action.assertion import show_server_key
from moothall.action.catalog import Catalog
from moothall.action.connections import Connections
from moothall.action.cursor import Cursors
from moothall.action.feed import FeedIndex
from moothall.action.house import House
from moothall.action.hub import FeedHub
from moothall.action.idempotency import ReplyClock
from moothall.action.jobs import FRAMEWORK_JOBS, KEEP_REPLY_CLOCK, JobRunner
from moothall.action.migrations import migrate
from moothall.action.outbox import Outbox
from moothall.action.pipeline import Pipeline
from moothall.action.service import Resources, RoomSettings
from moothall.action.tail import Tail
from moothall.action.token import TokenVerifier
from moothall.app.config import Settings, check_resource_server, read_hall_tables
from moothall.app.discovery import ALWAYS_SERVED, find_rooms
from moothall.app.foundation import Foundation, open_foundation
from moothall.app.heads import HEADS_FILE, FileHeadLog, find_node
from moothall.app.world import SystemClock, SystemEntropy
from moothall.core.disk import describe_failure, sync_path
from moothall.core.errors import ConfigurationError
from moothall.ports.arrivals import Arrivals
from moothall.ports.audit import AuditLog
from moothall.ports.authority import Authority
from moothall.ports.bus import Bus
from moothall.ports.claim import CLAIM_TOPIC, Claim
from moothall.ports.clock import Clock
from moothall.ports.database import Database, Transaction
from moothall.ports.entropy import Entropy
from moothall.ports.issuer import Issuer
from moothall.ports.keyring import KeyRing
from moothall.ports.learner import Learner
from moothall.ports.lease import Lease
from moothall.ports.sessions import SessionEnds
from moothall.ports.shutdown import Shutdown
from moothall.senders import build_senders
from moothall.services.access.model import AuditSettings
from moothall.services.access.store import is_claimed
from moothall.services.identity.store import following
from moothall.storage.sqlite import SqliteBounds

if TYPE_CHECKING:
    from typing import TextIO

LOCK_FILE = "hall.lock"

LAST_HEAD_JOBS = ("access.seal_audit", "access.publish_head")
"""Run once more when a hall closes, in this order."""

LAST_HEAD_SECONDS_MAX = 5.0
"""How long closing may wait for the last head of the audit trail."""

_log = structlog.get_logger("moothall.hall")


@dataclass(frozen=True, slots=True)
class Hall:
    """A hall that is open: the house, its database, and the road into it."""

    house: House
    pipeline: Pipeline
    database: Database
    catalog: Catalog
    keys: KeyRing
    issuer: str
    """Whose tokens it takes (``iss``)."""
    audience: str
    """For whom they must be (``aud``)."""
    issuer_url: str | None
    """Where a resource server fetches keys; None on a hall that signs people in itself."""
    server_key: str | None
    """By which a resource server proves itself to its issuer; None elsewhere."""
    jobs: JobRunner
    foundation: Foundation
    lock: "TextIO"

    def public_jwks(self) -> bytes:
        """Return the public signing keys as a JWK set (RFC 7517)."""
        return msgspec.json.encode(self.keys.public_jwks())

    async def close(self) -> None:
        """Finish what was accepted, vouch for it, and close the database."""
        await self.jobs.stop()
        if (issuer := self.house.find_port(Issuer)) is not None:
            await issuer.close()
        await self._leave_word()
        await self.foundation.close()
        self.lock.close()

    async def _leave_word(self) -> None:
        """Write down how far the clock of replies went, and sign how far the audit trail came.

        So that nobody cuts it off unseen meanwhile. It can do no more than try: the disk may be
        why the hall closes.
        """
        try:
            async with asyncio.timeout(LAST_HEAD_SECONDS_MAX):
                for name in (KEEP_REPLY_CLOCK, *LAST_HEAD_JOBS):
                    await self.jobs.run(name)
        except Exception as error:  # noqa: BLE001 - the hall must close all the same
            _log.warning("the audit trail was left without a last head", error=str(error))


async def open_hall(  # noqa: PLR0913 - each is a part of the world that a test may give
    settings: Settings,
    *,
    clock: Clock | None = None,
    entropy: Entropy | None = None,
    on_sync_failure: Callable[[BaseException], None],
    on_claimed: Callable[[], None] = lambda: None,
    on_shutdown: Callable[[], None] = lambda: None,
    issuer: Issuer | None = None,
    vfs: str | None = None,
    bounds: SqliteBounds | None = None,
    bus: Bus | None = None,
    adopts: bool = False,
) -> Hall:
    """Open the hall in the data folder, making it if there is none.

    Args:
        settings: The hall's settings.
        clock: Instead of the machine's, in tests.
        entropy: Instead of the machine's, in tests.
        on_sync_failure: Called when the disk can no longer be trusted.
        on_claimed: Called once the hall has its first administrator; must not raise.
        on_shutdown: Called when an administrator stops the hall; must not raise.
        issuer: Instead of the one at the settings' address, in tests of resource servers.
        vfs: Name of an apsw VFS instead of the system's, in tests of faults.
        bounds: Of the database, instead of the defaults, in tests.
        bus: Between nodes, instead of the one that the settings name, in tests.
        adopts: Take rows that the database's own tools brought back, and no node has served.

    Raises:
        ConfigurationError: Something must be mended first.
    """
    check_resource_server(settings)
    clock, entropy = clock or SystemClock(), entropy or SystemEntropy()
    catalog = find_catalog(settings)
    tables = read_hall_tables(settings.tables, catalog.settings)
    folder = settings.data_path
    _make_folder(folder)
    async with AsyncExitStack() as opened:
        lock = opened.enter_context(lock_folder(folder))
        foundation = await open_foundation(
            settings,
            entropy,
            on_sync_failure=on_sync_failure,
            bounds=bounds,
            vfs=vfs,
            bus=bus,
            adopts=adopts,
        )
        opened.push_async_callback(foundation.close)
        database, sealing_key = foundation.database, foundation.sealing_key
        resources = make_resources(settings, catalog, tables, sealing_key, clock, entropy)
        audience = resources.audience
        ports: dict[type, object] = {
            **tables,
            **_provide(catalog, resources),
            **_provide_own(resources, catalog),
            Shutdown: StopByAction(on_shutdown),
            Claim: ClaimByAction(on_claimed),
        }
        keys: KeyRing = _port(ports, KeyRing)
        authority = _port(ports, Authority)
        audit = _port(ports, AuditLog)
        await _migrate(database, clock, catalog)
        hub = FeedHub(database, authority)
        await foundation.join(hub)
        if foundation.tail is not None:
            ports[Tail] = foundation.tail
        way = await _find_way(settings, resources, database, issuer)
        if way.issuer is not None:
            opened.push_async_callback(way.issuer.close)
            ports[Issuer] = way.issuer
        await database.write(lambda tx: _load(tx, ports))
        sessions = _port(ports, SessionEnds)
        sight = None if foundation.tail is None else foundation.tail.check
        verifier = TokenVerifier(
            keys, sessions, clock, issuer=way.name, audience=audience, check_sight=sight
        )
        ports |= {FeedHub: hub, TokenVerifier: verifier}
        _tell_connections(ports, hub)
        outbox = Outbox(foundation.publisher(hub))
        house = House(catalog, database, clock, entropy, authority, audit, ports, outbox)
        pipeline = Pipeline(house, verifier, limits_scale=settings.limits_scale)
        runner = _make_runner(house, foundation.lease)
        await foundation.start(port for port in _each(ports) if isinstance(port, Learner))
        opened.pop_all()  # all went well: what is open stays open
        return Hall(
            house=house,
            pipeline=pipeline,
            database=database,
            catalog=catalog,
            keys=keys,
            issuer=way.name,
            audience=audience,
            issuer_url=None if way.issuer is None else way.issuer.url,
            server_key=way.server_key,
            jobs=runner,
            foundation=foundation,
            lock=lock,
        )


def _provide_own(resources: Resources, catalog: Catalog) -> dict[type, object]:
    """Return what the framework itself gives, by port."""
    node = resources.entropy.random_bytes(6).hex()
    return {
        Connections: Connections(resources.clock, node=node),
        Cursors: Cursors(),
        ReplyClock: ReplyClock(resources.clock),
        FeedIndex: catalog.feeds,
    }


def _tell_connections(ports: Mapping[type, object], hub: FeedHub) -> None:
    """Let connections learn what ends them."""
    connections: Connections = _port(ports, Connections)
    sessions: SessionEnds = _port(ports, SessionEnds)
    sessions.listen(connections.end_session)
    if (arrivals := ports.get(Arrivals)) is not None:
        cast("Arrivals", arrivals).listen(connections.end_member)
    # Each second; where nothing is published, this is how a grant that is gone ends a feed.
    connections.on_look = hub.check_all


def make_resources(
    settings: Settings,
    catalog: Catalog,
    tables: Mapping[type, RoomSettings],
    sealing_key: bytes,
    clock: Clock,
    entropy: Entropy,
) -> Resources:
    """Return what the rooms of a hall may build their adapters from.

    Raises:
        ConfigurationError: A setting cannot be used.
    """
    follows = settings.is_resource_server
    name = "" if follows else settings.public_url or _name_of_hall(sealing_key)
    return Resources(
        clock=clock,
        entropy=entropy,
        sealing_key=sealing_key,
        issuer=name,
        audience=settings.audience if follows else name,
        is_follower=follows,
        is_shared=bool(settings.database),
        services={name: room.service for name, room in catalog.rooms.items()},
        settings=tables,
        senders=build_senders(tables),
        heads=FileHeadLog(find_heads(settings.data_path, tables)),
        node=find_node(settings.data_path) if settings.database else "",
    )


def find_catalog(settings: Settings) -> Catalog:
    """Return the rooms that the settings choose, in the shape of this kind of hall.

    Raises:
        ConfigurationError: There is no such room, or one is declared wrongly.
    """
    chosen = (*settings.rooms, *ALWAYS_SERVED) if settings.rooms else ()
    own = map(Path, settings.functions)
    return Catalog(find_rooms(chosen, own, is_follower=settings.is_resource_server))


async def _migrate(database: Database, clock: Clock, catalog: Catalog) -> None:
    """Bring the tables of all rooms up to this release."""
    await migrate(database, clock, catalog.migrations, database.engine)


def _make_runner(house: House, lease: Lease) -> JobRunner:
    """Return what keeps the house."""
    jobs = [job for room in house.catalog.rooms.values() for job in room.jobs]
    return JobRunner(house, [*FRAMEWORK_JOBS, *jobs], lease)


@dataclass(frozen=True, slots=True)
class _Way:
    """Whose tokens are taken, and on a resource server the way to whoever makes them."""

    name: str
    issuer: Issuer | None = None
    server_key: str | None = None


async def _find_way(
    settings: Settings, resources: Resources, database: Database, issuer: Issuer | None
) -> _Way:
    """Return the way to the issuer, which a resource server must have reached once.

    Raises:
        ConfigurationError: It was never reached, or the folder belongs to the other kind of hall.
    """
    if not resources.is_follower:
        known = await database.read(following.find_issuer)
        if known is not None:
            msg = (
                f"data: this folder belongs to a resource server of {known.issuer}; give --issuer, "
                "or name another folder"
            )
            raise ConfigurationError(msg)
        return _Way(resources.issuer)
    # A hall that signs people in itself needs none of this, and no HTTP client.
    from moothall.app.issuer import IssuerClient, meet_issuer  # noqa: PLC0415

    key = Ed25519PrivateKey.from_private_bytes(resources.derive_key("resource server"))
    client = IssuerClient(settings, key, resources.clock, resources.entropy)
    used = issuer or client
    try:
        name = await meet_issuer(database, used, resources.clock)
    except BaseException:
        await used.close()
        raise
    client.name(name)
    return _Way(name, used, show_server_key(key.public_key().public_bytes_raw()))


class ClaimByAction:
    """Implements Claim, and Learner, by a callback of whoever runs the hall."""

    topic = CLAIM_TOPIC

    def __init__(self, on_claimed: Callable[[], None]) -> None:
        """Call ``on_claimed`` when the secret is spent."""
        self._on_claimed = on_claimed

    def spend(self) -> None:
        """Tell whoever runs the hall."""
        self._on_claimed()

    async def relearn(self, database: Database, keys: Sequence[str]) -> None:  # noqa: ARG002
        """Learn that another node has taken the secret."""
        if await database.read(is_claimed):
            self.spend()


class StopByAction:
    """Implements Shutdown by a callback of whoever runs the hall."""

    def __init__(self, on_shutdown: Callable[[], None]) -> None:
        """Call ``on_shutdown`` to begin."""
        self._on_shutdown = on_shutdown

    def begin(self) -> None:
        """Begin to stop, once the reply to whoever asked has its turn."""
        asyncio.get_running_loop().call_soon(self._on_shutdown)


def find_heads(folder: Path, tables: Mapping[type, RoomSettings]) -> Path:
    """Return the file of signed heads; a relative path begins at the data folder."""
    audit = tables.get(AuditSettings)
    named = audit.heads if isinstance(audit, AuditSettings) else ""
    return folder / (named or HEADS_FILE)


def _provide(catalog: Catalog, resources: Resources) -> dict[type, object]:
    """Return what the rooms give the framework, by port."""
    ports: dict[type, object] = {}
    for room in catalog.rooms.values():
        provided = room.provide(resources) if room.provide else {}
        for port, adapter in provided.items():
            if port in ports:
                msg = f"room {room.name!r} provides {port.__name__}, which another one provides"
                raise ConfigurationError(msg)
            ports[port] = adapter
    return ports


async def _load(tx: Transaction, ports: Mapping[type, object]) -> None:
    """Let each adapter read its state, once."""
    await tx.lift_limits()
    await tx.lock("load")  # what a fresh hall begins with, one node makes
    for adapter in _each(ports):
        load = getattr(adapter, "load", None)
        if load is not None:
            await load(tx)


def _each(ports: Mapping[type, object]) -> Iterable[Any]:
    """Return each adapter once, whatever it implements."""
    return list({id(adapter): adapter for adapter in ports.values()}.values())


def _port(ports: Mapping[type, object], port: Any) -> Any:
    """Return the implementation of a port that no hall can do without."""
    try:
        return ports[port]
    except KeyError:
        msg = f"no room that is served provides {port.__name__}; serve identity and access"
        raise ConfigurationError(msg) from None


def _name_of_hall(sealing_key: bytes) -> str:
    """Return the name under which a hall signs its tokens when the operator sets none.

    It belongs to the key, not to an address, so that tokens outlive a change of port.
    """
    digest = blake2b(sealing_key, digest_size=16, person=b"moothall name").hexdigest()
    return f"urn:moothall:hall:{digest}"


def _make_folder(folder: Path) -> None:
    """Make the data folder, for its owner only; refuse one that others may look into."""
    try:
        missing = [each for each in (folder, *folder.parents) if not each.exists()]
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for each in missing:
            # Otherwise a power cut may take the folder, with the key and the rows in it.
            sync_path(each.parent)
        mode = folder.stat().st_mode
    except OSError as error:
        msg = f"data: {folder} cannot be made: {describe_failure(error, folder)}"
        raise ConfigurationError(msg) from None
    if os.name == "posix" and mode & 0o077:
        # Not mended here: others may use a folder that was there before the hall.
        msg = (
            f"data: others may look into {folder}; run: chmod 700 {shlex.quote(str(folder))}, "
            "or name a folder that does not exist yet"
        )
        raise ConfigurationError(msg)


def lock_folder(folder: Path) -> "TextIO":
    """Take a data folder for this process; the system lets it go when the process ends.

    Raises:
        ConfigurationError: Another process has it, or it cannot be written.
    """
    try:
        descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        file = cast("TextIO", os.fdopen(descriptor, "r+", encoding="ascii"))
        os.fchmod(descriptor, 0o600)
    except OSError as error:
        raise _unwritable(folder, error) from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        owner = file.read().strip()
        file.close()
        msg = f"data: {folder} is in use by another hall (process {owner or 'unknown'})"
        raise ConfigurationError(msg) from None
    try:
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
    except OSError as error:
        with contextlib.suppress(OSError):  # it tries once more to write what it could not
            file.close()
        raise _unwritable(folder, error) from None
    return file


def _unwritable(folder: Path, error: OSError) -> ConfigurationError:
    """Return the error of a data folder in which the first file cannot be written."""
    reason = describe_failure(error, folder / LOCK_FILE)
    return ConfigurationError(f"data: {folder} cannot be written: {reason}")
