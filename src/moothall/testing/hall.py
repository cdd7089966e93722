"""A hall for tests: everything is real but the clock, chance, and the cost of a password.

It is composed as the program composes it, on SQLite in a folder of the test; only the
doors are missing. The folder begins as the first start of a hall leaves it. Calls take the
whole road: limits, form, who, may they, the deed.
"""

import itertools
import os
import shutil
import sys
import traceback
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar, cast, overload

import msgspec
import structlog
from msgspec import structs

from moothall.action.call import Call, Reply
from moothall.action.connections import Connections
from moothall.action.cursor import Cursors, Place
from moothall.action.declare import Action
from moothall.action.model import Request
from moothall.action.token import sign_token
from moothall.app.compose import Hall, open_hall
from moothall.app.config import Settings
from moothall.app.foundation import KEY_FILE
from moothall.core.errors import Problem
from moothall.core.units import DAY_MS
from moothall.ports.bus import Bus
from moothall.ports.database import Row
from moothall.ports.hasher import PasswordHasher
from moothall.services.access.actions import digest_secret
from moothall.services.access.store import renew_claim
from moothall.storage.sqlite import SqliteBounds
from moothall.testing.clock import ManualClock
from moothall.testing.connection import OpenConnection
from moothall.testing.disk import SimulatedDisk
from moothall.testing.entropy import SeededEntropy
from moothall.testing.issuer import NearIssuer
from moothall.testing.prepared import prepare_folder

Q = TypeVar("Q", bound=Request)
R = TypeVar("R")

ISSUER = "https://hall.test"
PASSWORD = "correct horse battery staple"  # noqa: S105 - the password of everybody in a test
SOURCE = "192.0.2.1"
"""The address that calls come from; one of those kept for examples (RFC 5737)."""

FAULTS_MAX = 16
"""Faults that are kept for the tests that caused them; the oldest go first."""

_decode = msgspec.json.decode
_seeds = itertools.count(1 << 32)
"""Apart from those that a test names, or two halls would have the same keys."""
_faults: dict[str, BaseException] = {}
"""What handlers raised, by request, until the test learns of it."""


class ProblemError(Exception):
    """A call was refused; ``problem`` is what the client would see."""

    def __init__(self, action: str, problem: Problem, fault: BaseException | None = None) -> None:
        """Tell which call came to what, and of a fault what it was and where."""
        told = str(dict(problem.details)) if fault is None else _describe(fault)
        super().__init__(f"{action}: {problem.code}, {problem.name}: {told}")
        self.problem = problem
        self.code = problem.code
        self.name = problem.name
        self.details = problem.details


@dataclass(frozen=True, slots=True)
class Visitor:
    """A member who is signed in."""

    member_id: str
    name: str
    session_id: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """An event as it was written to its stream."""

    stream: str
    seq: int
    kind: str
    data: Any


class CheapHasher:
    """Implements PasswordHasher without its one virtue: it is quick. For tests only."""

    async def hash(self, password: str) -> str:
        """Return the hash to keep."""
        return "cheap:" + blake2b(password.encode(), digest_size=16).hexdigest()

    async def verify(self, known: str | None, password: str) -> bool:
        """Tell whether ``password`` belongs to ``known``."""
        return known is not None and known == await self.hash(password)

    def is_outdated(self, known: str) -> bool:
        """Tell whether ``known`` was made otherwise."""
        return not known.startswith("cheap:")


class OpenHall:
    """A hall that is open, and what a test does with it. Made by :func:`open_test_hall`.

    Attributes:
        hall: The hall itself, for what is not offered here.
        clock: Its clock; ``clock.advance(1_000)`` lets a second pass.
        settings: With which it was opened.
    """

    def __init__(self, hall: Hall, clock: ManualClock, settings: Settings) -> None:
        """Made by :func:`open_test_hall`."""
        self.hall = hall
        self.clock = clock
        self.settings = settings
        self._sources = itertools.count(1)

    @overload
    async def call(
        self,
        action: Action[Q, R],
        request: Q,
        *,
        as_: Visitor | None = None,
        key: str | None = None,
        source: str = SOURCE,
    ) -> R: ...

    @overload
    async def call(
        self,
        action: str,
        request: Mapping[str, Any] | Request | bytes | None = None,
        *,
        as_: Visitor | None = None,
        key: str | None = None,
        source: str = SOURCE,
    ) -> Any: ...

    async def call(
        self,
        action: Action[Any, Any] | str,
        request: Mapping[str, Any] | Request | bytes | None = None,
        *,
        as_: Visitor | None = None,
        key: str | None = None,
        source: str = SOURCE,
    ) -> Any:
        """Call an action and return its result.

        Args:
            action: The wire name (``shop.buy``), or the action itself.
            request: Its fields, its request type, or bytes as a client might send them.
            as_: Who calls; None calls without a token.
            key: Idempotency key.
            source: Address of the caller.

        Raises:
            ProblemError: The call was refused; ``code``, ``name`` and ``details`` say why. Where
                the handler failed, it is raised from what the handler raised.
        """
        name = action if isinstance(action, str) else action.name
        token = None if as_ is None else as_.token
        reply = await self.answer(name, request, token=token, key=key, source=source)
        if reply.problem is not None:
            fault = _faults.pop(reply.problem.request_id, None)
            raise ProblemError(name, reply.problem, fault) from fault
        assert reply.body is not None
        return _decode(reply.body, type=self.hall.catalog.actions[name].result_type)

    async def answer(
        self,
        action: str,
        request: Mapping[str, Any] | Request | bytes | None = None,
        *,
        token: str | None = None,
        key: str | None = None,
        source: str = SOURCE,
        deadline_ms: int | None = None,
    ) -> Reply:
        """Call an action and return the reply as a door would get it; never raises."""
        body = request if isinstance(request, bytes) else msgspec.json.encode(request or {})
        call = Call(action, body, source, token, key, deadline_ms)
        return await self.hall.pipeline.answer(call)

    async def member(self, name: str) -> Visitor:
        """Make an account and sign it in. It holds what every member holds, and no more."""
        fields = {"name": name, "password": PASSWORD}
        await self.call("identity.register", fields, source=self._another_source())
        return await self.sign_in(name)

    async def sign_in(self, name: str) -> Visitor:
        """Sign a member in again; a token lives for five minutes of the hall's clock."""
        fields = {"name": name, "password": PASSWORD}
        opened = await self.call("identity.open_session", fields, source=self._another_source())
        return Visitor(opened.member_id, opened.name, opened.session_id, opened.access_token)

    def renew(self, visitor: Visitor) -> Visitor:
        """Return the member with another access token of the same session."""
        token, _ = sign_token(
            self.hall.keys,
            issuer=self.hall.issuer,
            audience=self.hall.audience,
            member_id=visitor.member_id,
            session_id=visitor.session_id,
            session_expires_at_ms=self.clock.now_ms() + DAY_MS,
            token_id=f"renewed {next(self._sources)}",
            now_ms=self.clock.now_ms(),
        )
        return replace(visitor, token=token)

    async def token_for(self, visitor: Visitor, audience: str) -> Visitor:
        """Return the member with a token for a resource server that is registered here."""
        issued = await self.call("identity.issue_token", {"audience": audience}, as_=visitor)
        return replace(visitor, token=issued.access_token)

    async def administrator(self, name: str = "admin") -> Visitor:
        """Sign in the first administrator, who may do everything. Once per hall."""
        visitor = await self.member(name)
        await self.claim(visitor)
        return visitor

    async def claim(self, visitor: Visitor) -> None:
        """Make somebody who is there the first administrator. Once per hall."""
        secret, now_ms = "the secret of this test", self.clock.now_ms()
        digest = digest_secret(secret)
        await self.hall.database.write(lambda tx: renew_claim(tx, digest, now_ms))
        await self.call("access.claim_administration", {"secret": secret}, as_=visitor)

    async def connect(self, as_: Visitor | None = None, *, source: str = SOURCE) -> OpenConnection:
        """Open a connection that stays, signed in as ``as_``; it is closed with the hall."""
        opened = OpenConnection(self, source)
        if as_ is not None:
            await opened.call("identity.authenticate", token=as_.token)
        return opened

    def cursor(self, number: int) -> str:
        """Return a hall-wide number as a cursor."""
        return self.hall.house.use(Cursors).text(Place(number))

    def look_after_connections(self) -> None:
        """Do now what the hall does once a second: beat, and end what must go."""
        self.hall.house.use(Connections).look()

    async def run_job(self, name: str) -> None:
        """Run a job once, now: ``shop.remind_customers``. No job runs by itself in a test."""
        await self.hall.jobs.run(name)

    async def rows(self, sql: str, *params: object) -> list[Row]:
        """Read rows from the database; parameters are ``$1``, ``$2``."""
        return await self.hall.database.read(lambda tx: tx.fetch_all(sql, *params))

    async def events(self, stream: str) -> list[RecordedEvent]:
        """Return what was written to a stream, in order."""
        rows = await self.rows(
            "SELECT seq, kind, data FROM action_event WHERE stream = $1 ORDER BY seq", stream
        )
        return [RecordedEvent(stream, seq, kind, _decode(data)) for seq, kind, data in rows]

    def _another_source(self) -> str:
        """Return an address that nobody called from, so that no limit of a source is met."""
        return f"198.51.100.{next(self._sources)}"


@asynccontextmanager
async def open_test_hall(  # noqa: PLR0913 - each is a part of the world that a test may give
    folder: Path,
    *,
    functions: Path | str | Iterable[Path | str] = (),
    clock: ManualClock | None = None,
    seed: int | None = None,
    limits_scale: float = 1_000.0,
    follows: NearIssuer | None = None,
    disk: SimulatedDisk | None = None,
    bounds: SqliteBounds | None = None,
    node_of: OpenHall | None = None,
    bus: Bus | None = None,
    **settings: Any,
) -> AsyncIterator[OpenHall]:
    """Open a hall whose data lies in ``folder``, and close it at the end.

    Args:
        folder: A folder of the test, such as ``tmp_path``; opened twice, it is the same hall.
        functions: Your room, or a folder that holds some; or several of them.
        clock: One that is shared with something else; otherwise the hall has its own.
        seed: Chance is the same for the same seed. By default each hall has its own, so that
            one that is opened again makes no id twice.
        limits_scale: Rate limits are multiplied by this, because the clock stands still;
            1.0 to test them.
        follows: Makes it a resource server of another hall of the test; see ``NearIssuer``.
        disk: What its database lies on, to simulate faults; see ``SimulatedDisk``.
        bounds: Of its database, instead of the defaults.
        node_of: Another node of the same hall, which runs on PostgreSQL; with its rooms and clock.
        bus: Between nodes; see ``moothall.bus.MemoryBus``. Without one they look twice a second.
        settings: Other settings, by name. ``database`` lets it run on PostgreSQL; so does the
            environment's ``MOOTHALL_TEST_POSTGRES``, the address of a server on which each folder
            gets a database of its own.

    Raises:
        ConfigurationError: A room is declared wrongly; the message says what to do.
    """
    clock = clock or (node_of.clock if node_of else ManualClock())
    if not structlog.is_configured():
        # By itself it would show the local variables of a fault, and take a second for it.
        plain = structlog.dev.ConsoleRenderer(
            colors=sys.stdout.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        structlog.configure(processors=[_keep_fault, structlog.processors.add_log_level, plain])
    chosen = Settings(
        data=str(folder / "hall"),
        functions=(str(functions),)
        if isinstance(functions, Path | str)
        else tuple(map(str, functions)),
        limits_scale=limits_scale,
        **{"public_url": ISSUER, **(follows.settings if follows else {}), **settings},
    )
    if node_of is not None:
        chosen = _join(chosen, node_of)
    entropy = SeededEntropy(next(_seeds) if seed is None else seed)
    if disk is None and bounds is None and node_of is None and not chosen.database:
        chosen = await _choose_engine(chosen)
    # A simulated disk must see each file from the beginning.
    if disk is None and node_of is None and not chosen.database:
        await prepare_folder(chosen, entropy)
    hall = await open_hall(
        chosen,
        clock=clock,
        entropy=entropy,
        on_sync_failure=_give_up if disk is None else disk.sync_failures.append,
        issuer=follows,
        vfs=None if disk is None else disk.vfs,
        bounds=bounds,
        bus=bus,
    )
    # The ports are given to the framework as a dict; Argon2 at its real cost would take
    # most of the time of a test.
    cast("dict[type, object]", hall.house.ports)[PasswordHasher] = CheapHasher()
    try:
        yield OpenHall(hall, clock, chosen)
    finally:
        await hall.close()
        _faults.clear()


def _join(settings: Settings, first: OpenHall) -> Settings:
    """Make a node of a hall that is open: the same database, the same key, its own folder."""
    folder = settings.data_path
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (folder / KEY_FILE).exists():
        shutil.copy(first.settings.data_path / KEY_FILE, folder / KEY_FILE)
    shared = {
        name: getattr(first.settings, name)
        for name in ("database", "functions", "rooms", "public_url", "limits_scale", "tables")
    }
    return structs.replace(settings, **shared)


async def _choose_engine(settings: Settings) -> Settings:
    """Let the hall run on the server of this run of the tests, if there is one."""
    server = os.environ.get("MOOTHALL_TEST_POSTGRES")
    if not server:
        return settings
    from moothall.testing.postgres import prepare_database  # noqa: PLC0415 - takes a while to load

    return structs.replace(settings, database=await prepare_database(settings, server))


def _keep_fault(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Keep what a handler raised, which a client never learns, for the test that called it."""
    fault, request_id = event.get("exc_info"), event.get("request_id")
    if isinstance(fault, BaseException) and isinstance(request_id, str):
        while len(_faults) >= FAULTS_MAX:
            del _faults[next(iter(_faults))]
        _faults[request_id] = fault
    return event


def _describe(fault: BaseException) -> str:
    """Return what was raised, and the line that did it."""
    frames = traceback.extract_tb(fault.__traceback__)
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(fault).__name__}: {fault}{where}"


def _give_up(error: BaseException) -> None:
    """End the test: the disk under it failed."""
    msg = f"the disk failed to sync: {error}"
    raise SystemExit(msg)
