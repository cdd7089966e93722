"""Moving a hall from SQLite to PostgreSQL, whole or not at all (decision 0014).

All of it is one transaction of the server: tables, rows, the comparison of both sides and the
checks of the rooms. Whatever ends it before its COMMIT, a kill or a power cut included, leaves
the database empty and the file of rows as it was. Just before the COMMIT the data folder is marked
(``moved.py``), so that no moment is left in which both sides would be served.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import apsw

from moothall.action.catalog import Catalog
from moothall.action.checks import FRAMEWORK_CHECKS, Inspection, Level
from moothall.action.migrations import (
    FRAMEWORK_MIGRATIONS,
    FRAMEWORK_ROOM,
    check_known,
    migrate,
    read_migrations,
)
from moothall.action.restore import renew_epoch
from moothall.action.service import Resources
from moothall.app.backup import read_schema
from moothall.app.compose import find_catalog, lock_folder, make_resources
from moothall.app.config import Settings, check_resource_server, read_hall_tables
from moothall.app.foundation import DATABASE_FILE, KEY_FILE, bind_key
from moothall.app.keyfile import read_sealing_key
from moothall.app.manifest import count_rows, steps_by_room
from moothall.app.moved import Mark, check_not_moved, find_mark, leave_mark, remove_mark
from moothall.app.session import (
    UNBOUNDED_SECONDS,
    explain,
    find_relation,
    open_session,
)
from moothall.app.snapshot import Snapshot, check_is_there, open_snapshot
from moothall.app.transfer import (
    LEFT_OUT,
    Content,
    Table,
    check_alike,
    drop_references,
    fill,
    read_back,
    read_tables,
)
from moothall.app.world import SystemClock, SystemEntropy
from moothall.core.errors import ConfigurationError
from moothall.ports.audit import AuditRow
from moothall.ports.clock import Clock
from moothall.ports.database import Transaction
from moothall.services.access.store import audit
from moothall.services.feeds.store import update_epoch
from moothall.storage.postgres import PostgresDatabase
from moothall.storage.postgres.database import lock_making, make_sequence
from moothall.storage.postgres.dialect import SEQUENCE
from moothall.storage.postgres.failure import is_unreachable
from moothall.storage.postgres.transaction import PostgresTransaction
from moothall.storage.sqlite import SqliteDatabase

T = TypeVar("T")

OPERATOR = "operator"
CONSOLE = "console"
ACTION = "hall.migrate"

TIMES_TOLD = 2
"""How often each row is dealt with: copied, and read back."""

_NUMBERED = f"""
SELECT c.relname, a.attname FROM pg_attrdef AS d
JOIN pg_class AS c ON c.oid = d.adrelid AND c.relnamespace = current_schema()::regnamespace
JOIN pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
WHERE pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%{SEQUENCE}%'
"""


class Progress(Protocol):
    """Whoever watches."""

    def expect(self, rows: int) -> None:
        """Learn how many rows will be told of in all."""
        ...

    def advance(self, rows: int) -> None:
        """Learn that rows are dealt with."""
        ...

    def tell(self, text: str) -> None:
        """Learn what was done."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A hall that was moved.

    Attributes:
        epoch: In which cursors are written from now on.
        tables: Rows by table, as both sides have them.
        faults: What the rooms' checks found on SQLite already, and find on PostgreSQL too.
        was_done: An earlier run had moved it, and was ended before it could say so.
    """

    epoch: str
    tables: dict[str, int]
    faults: list[str]
    was_done: bool = False


def move_hall(settings: Settings, progress: Progress) -> Moved:
    """Move the hall in the data folder to the empty database that the settings name.

    Args:
        settings: Of the hall, as ``serve`` takes them.
        progress: Told of rows: :data:`TIMES_TOLD` times all there are.

    Raises:
        ConfigurationError: Something is in the way, or does not fit together; nothing was changed.
        StorageUnavailableError: The server cannot be reached.
    """
    if not settings.database:
        msg = "settings: database: it says where to; give --database postgresql://USER@HOST/NAME"
        raise ConfigurationError(msg)
    check_resource_server(settings)
    folder = settings.data_path
    check_is_there(folder / DATABASE_FILE)
    with lock_folder(folder):
        return asyncio.run(_move(settings, folder, progress))


async def _move(settings: Settings, folder: Path, progress: Progress) -> Moved:
    """Do it, with the folder locked."""
    clock, entropy = SystemClock(), SystemEntropy()
    catalog = find_catalog(settings)
    tables = read_hall_tables(settings.tables, catalog.settings)
    key = read_sealing_key(folder / KEY_FILE, database=folder / DATABASE_FILE)
    resources = make_resources(settings, catalog, tables, key, clock, entropy)
    with open_snapshot(folder / DATABASE_FILE) as snapshot:
        _check_schema(snapshot, catalog)
        async with open_session(settings) as connection:
            mark = find_mark(folder)
            if mark is not None:
                if await _is_of(connection, mark):
                    return Moved(epoch=mark.epoch, tables={}, faults=[], was_done=True)
                if mark.database != settings.database:
                    check_not_moved(folder)
            epoch = entropy.random_bytes(4).hex()
            new_mark = Mark(settings.database, epoch, clock.now_ms())
            whole = connection.transaction()
            await whole.start()
            try:
                await lock_making(connection)
                await _check_empty(connection)
                move = _Move(connection, snapshot, catalog, resources, clock, progress)
                moved = await move.carry_out(epoch, key)
                leave_mark(folder, new_mark)
            except BaseException:
                await _undo(connection, whole)
                _restore_mark(folder, mark)
                raise
            await _commit(whole, folder, mark)
    return moved


async def _undo(connection: Any, whole: Any) -> None:
    """Leave the database empty, as the server does by itself for a connection that ends."""
    try:
        await whole.rollback()
    except Exception:  # noqa: BLE001 - whatever it is, the first error is the one to tell
        connection.terminate()


def _restore_mark(folder: Path, before: Mark | None) -> None:
    """Leave the folder as it was: one that was moved once stays so, whatever became of this run."""
    if before is None:
        remove_mark(folder)
    else:
        leave_mark(folder, before)


async def _commit(whole: Any, folder: Path, before: Mark | None) -> None:
    """Commit; the mark stays unless it is sure that nothing was committed."""
    try:
        await whole.commit()
    except Exception as error:
        if not is_unreachable(error):
            _restore_mark(folder, before)
            raise
        msg = (
            "the database was lost during the commit, so it is not known whether the hall was "
            "moved; run the same command again: it finds out"
        )
        raise ConfigurationError(msg) from error


async def _is_of(connection: Any, mark: Mark) -> bool:
    """Tell whether the database holds the rows that a mark tells of."""
    if await connection.fetchval("SELECT to_regclass('action_epoch') IS NULL"):
        return False
    found = await connection.fetchval("SELECT epoch FROM action_epoch WHERE id = 1")
    return bool(found == mark.epoch)


async def _check_empty(connection: Any) -> None:
    """Refuse a database in which there is anything.

    Raises:
        ConfigurationError: Something is named.
    """
    found = await find_relation(connection)
    if found is not None:
        msg = (
            f"settings: database: it is not empty (there is {found}), and nothing is overwritten; "
            "make a new one: createdb --encoding UTF8 NAME"
        )
        raise ConfigurationError(msg)


def _check_schema(snapshot: Snapshot, catalog: Catalog) -> None:
    """Refuse rows that are not those of this release and these rooms.

    Raises:
        ConfigurationError: With the remedy.
    """
    applied = steps_by_room(read_schema(snapshot))
    for name, migrations in [(FRAMEWORK_ROOM, FRAMEWORK_MIGRATIONS), *catalog.migrations]:
        known = applied.pop(name, [])
        steps = read_migrations(name, migrations, SqliteDatabase.engine)
        check_known(name, steps, known)
        if len(known) != len(steps):
            msg = (
                f"{name}: the rows are of another release ({len(known)} migrations, {len(steps)} "
                "here); take a backup and serve the hall once with this release on SQLite"
            )
            raise ConfigurationError(msg)
    if applied:
        msg = (
            f"there are rows of rooms that the settings do not serve: {', '.join(sorted(applied))};"
            " all rows move, or none: name these rooms too (rooms, functions)"
        )
        raise ConfigurationError(msg)


class _OneTransaction:
    """Implements what migrations need of a Database: all they do falls into one transaction."""

    engine = PostgresDatabase.engine

    def __init__(self, tx: PostgresTransaction) -> None:
        """Work within ``tx``."""
        self._tx = tx

    async def read(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run ``work`` in the transaction."""
        return await work(self._tx)

    async def write(
        self,
        work: Callable[[Transaction], Awaitable[T]],
        *,
        lane: str = "",  # noqa: ARG002 - nobody else writes
    ) -> T:
        """Run ``work`` in the transaction."""
        result = await work(self._tx)
        await self._tx.flush()
        return result

    async def close(self) -> None:
        """Leave the end of the transaction to whoever began it."""


class _Move:
    """One move, inside its transaction."""

    def __init__(
        self,
        connection: Any,
        snapshot: Snapshot,
        catalog: Catalog,
        resources: Resources,
        clock: Clock,
        progress: Progress,
    ) -> None:
        """Move from ``snapshot`` to ``connection``."""
        self._connection = connection
        self._snapshot = snapshot
        self._catalog = catalog
        self._resources = resources
        self._clock = clock
        self._progress = progress
        self._tx = PostgresTransaction(connection, UNBOUNDED_SECONDS, lambda: None)

    async def carry_out(self, epoch: str, key: bytes) -> Moved:
        """Make tables, fill and compare them, begin the epoch, and check the result."""
        counted = {
            name: rows for name, rows in count_rows(self._snapshot).items() if name not in LEFT_OUT
        }
        self._progress.expect(TIMES_TOLD * sum(counted.values()))
        before = await self._inspect(self._snapshot.tx)
        tables = await self._make_tables()
        check_alike(self._snapshot, tables)
        names = ", ".join(f'"{table.name}"' for table in tables)
        await self._connection.execute(f"TRUNCATE {names}")  # what migrations put into them
        references = await drop_references(self._connection)
        sent = {table.name: await self._fill(table) for table in tables}
        for statement in references:
            await self._connection.execute(statement)
        await self._connection.execute("ANALYZE")
        for table in tables:
            await self._compare(table, counted[table.name], sent[table.name])
        await self._number(tables)
        await self._settle(epoch, key)
        after = await self._inspect(self._tx)
        if new := after - before:
            msg = (
                "the hall is not on PostgreSQL what it was on SQLite: "
                f"{'; '.join(sorted(new))}; nothing was changed. Please report it"
            )
            raise ConfigurationError(msg)
        return Moved(epoch=epoch, tables=counted, faults=sorted(after))

    async def _make_tables(self) -> list[Table]:
        """Apply all migrations, as the first node would."""
        await make_sequence(self._connection)
        whole = _OneTransaction(self._tx)
        await migrate(whole, self._clock, self._catalog.migrations, whole.engine)
        return await read_tables(self._connection)

    async def _fill(self, table: Table) -> Content:
        """Copy one table."""
        try:
            return await fill(self._connection, self._snapshot, table, self._progress.advance)
        except apsw.Error as error:
            msg = f"table {table.name}: cannot be read: {error}; see: moothall doctor --thorough"
            raise ConfigurationError(msg) from error
        except ConfigurationError:
            raise
        except Exception as error:
            told = explain(error)
            if isinstance(told, ConfigurationError):
                raise ConfigurationError(f"table {table.name}: {told}") from error
            raise told from error

    async def _compare(self, table: Table, counted: int, sent: Content) -> None:
        """Read a table back, and compare it with what was counted and sent.

        Raises:
            ConfigurationError: It differs.
        """
        found = await read_back(self._connection, table, self._progress.advance, sent)
        if found != sent or found.rows != counted:
            msg = (
                f"table {table.name}: PostgreSQL has {found.rows} rows of {counted}, or holds them "
                "otherwise; nothing was changed. Please report it"
            )
            raise ConfigurationError(msg)
        self._progress.tell(f"{table.name}: {found.rows} rows")

    async def _number(self, tables: Iterable[Table]) -> None:
        """Let the sequence go on behind every number that was ever given out."""
        known = {table.name for table in tables}
        last = 1
        for table, column in await self._connection.fetch(_NUMBERED):
            if table not in known:
                continue
            sql = f'SELECT max("{column}") FROM "{table}"'
            last = max(last, await self._connection.fetchval(sql) or 0)
        if self._snapshot.fetch_all("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'"):
            # Rows with higher numbers may have been swept.
            (given,) = self._snapshot.fetch_all("SELECT max(seq) FROM sqlite_sequence")[0]
            last = max(last, given or 0)
        await self._connection.execute(f"SELECT setval('{SEQUENCE}', {int(last)})")

    async def _settle(self, epoch: str, key: bytes) -> None:
        """Begin a new epoch, say whose key it is, and leave a row in the audit trail."""
        before = await renew_epoch(self._tx, epoch)
        await update_epoch(self._tx, before, epoch)
        await bind_key(self._tx, key)
        row = AuditRow(
            at_ms=self._clock.now_ms(),
            actor=OPERATOR,
            action=ACTION,
            path=f"epoch/{epoch}",
            outcome="done",
            source=CONSOLE,
            request_id="",
        )
        await audit.insert_audit(self._tx, row)
        await self._tx.flush()

    async def _inspect(self, tx: Transaction) -> set[str]:
        """Return what the rooms' checks find broken.

        Raises:
            ConfigurationError: A check cannot be carried out.
        """
        rooms = (check for room in self._catalog.rooms.values() for check in room.checks)
        found: set[str] = set()
        now_ms = time.time_ns() // 1_000_000
        for check in (*FRAMEWORK_CHECKS, *rooms):
            given = Inspection(tx=tx, now_ms=now_ms, resources=self._resources)
            try:
                findings = await check.handler(given)
            except Exception as error:
                msg = f"{check.name} cannot be looked at: {type(error).__name__}: {error}"
                raise ConfigurationError(msg) from error
            found |= {
                f"{check.name}: {each.told}" for each in findings if each.level is Level.FAILED
            }
        return found
