"""The doctor: looks whether a hall is well, whether it runs or not, and changes nothing.

What must hold of the machine stands in ``machine.py``, what must hold of a room's rows in the
room's ``checks.py``. Each check reads a snapshot of its own, so that the log of a running hall
is never held for long, and what one check finds does not keep the others from looking.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import apsw

from moothall.action.catalog import Catalog
from moothall.action.checks import FRAMEWORK_CHECKS, Check, Finding, Inspection, Level
from moothall.action.migrations import (
    FRAMEWORK_MIGRATIONS,
    FRAMEWORK_ROOM,
    check_known,
    read_migrations,
)
from moothall.action.service import Resources
from moothall.app import machine
from moothall.app.backup import read_schema
from moothall.app.compose import (
    LOCK_FILE,
    find_catalog,
    make_resources,
)
from moothall.app.config import Settings, check_resource_server, read_hall_tables
from moothall.app.foundation import DATABASE_FILE, KEY_FILE
from moothall.app.keyfile import LENGTH_BYTES, read_sealing_key
from moothall.app.manifest import find_faults, steps_by_room
from moothall.app.moved import check_not_moved
from moothall.app.snapshot import check_is_there, open_snapshot
from moothall.app.world import SystemClock, SystemEntropy
from moothall.core.errors import ConfigurationError, DeclarationError
from moothall.storage.sqlite import SqliteDatabase


@dataclass(frozen=True, slots=True)
class Report:
    """What one check says; several where it found several things."""

    check: str
    level: Level
    told: str
    remedy: str = ""


def examine(settings: Settings, trouble: str | None, *, is_thorough: bool) -> list[Report]:
    """Look at everything, and return what each check says, in the order of looking.

    Args:
        settings: Of the hall.
        trouble: Why its settings could not be read whole, if so.
        is_thorough: Read everything, however long that takes.

    Raises:
        ConfigurationError: There is no hall in the data folder.
    """
    folder = settings.data_path
    if not settings.database:
        check_is_there(folder / DATABASE_FILE)
    reports: list[Report] = []
    resources: Resources | None = None
    catalog: Catalog | None = None
    key, has_key = _find_key(folder)
    try:
        check_resource_server(settings)
        catalog = find_catalog(settings)
        tables = read_hall_tables(settings.tables, catalog.settings)
        resources = make_resources(settings, catalog, tables, key, SystemClock(), SystemEntropy())
    except (ConfigurationError, DeclarationError) as error:
        trouble = trouble or str(error)
    wrong = [] if trouble is None else [Finding(trouble, "mend the setting that is named")]
    reports += report_on("settings", "The settings can be used", wrong)
    if settings.database:
        # Not above: a hall on SQLite needs no driver of PostgreSQL.
        from moothall.app.doctor_shared import look_at_server  # noqa: PLC0415

        reports += look_at_folder(settings)
        look_there = look_at_server(
            settings, catalog, resources, has_key=has_key, is_thorough=is_thorough
        )
        return [*reports, *asyncio.run(look_there)]
    reports += _look_at_machine(settings, is_thorough=is_thorough)
    behind: set[str] = set()
    if catalog is not None:
        found, behind = _look_at_schema(folder, catalog)
        reports += report_on("schema", "All migrations were applied, and none was edited", found)
    if catalog is not None and resources is not None:
        rooms = (check for room in catalog.rooms.values() for check in room.checks)
        checks = [each for each in (*FRAMEWORK_CHECKS, *rooms) if each.room not in behind]
        look = _look_at_rows(folder, checks, resources, has_key=has_key, is_thorough=is_thorough)
        reports += asyncio.run(look)
    return reports


def is_running(folder: Path) -> bool:
    """Tell whether a hall seems to serve from a folder: the process it names is there.

    The lock itself is not tried, because a hall that starts in that moment would not get it.
    """
    try:
        process = int((folder / LOCK_FILE).read_text("ascii"))
        os.kill(process, 0)
    except (OSError, ValueError) as error:
        return isinstance(error, PermissionError)
    return True


def report_on(name: str, promise: str, found: Iterable[Finding]) -> list[Report]:
    """Return what a check says: what was found, or that its promise holds."""
    reports = [Report(name, each.level, each.told, each.remedy) for each in found]
    return reports or [Report(name, Level.OK, promise)]


def _look_at_machine(settings: Settings, *, is_thorough: bool) -> list[Report]:
    """Look at the folder, the clock and the log, and at the database as a file."""
    folder = settings.data_path

    def check_clock() -> list[Finding]:
        with open_snapshot(folder / DATABASE_FILE) as snapshot:
            return machine.check_clock(folder, snapshot)

    def check_integrity() -> list[Finding]:
        remedy = "restore a backup; keep a copy of everything as it is now"
        with open_snapshot(folder / DATABASE_FILE) as snapshot:
            told = find_faults(snapshot, is_thorough=is_thorough)
        return [Finding(each, remedy) for each in told]

    whole = "The database is whole, and what rows refer to is there"
    looks: list[tuple[str, str, Callable[[], list[Finding]]]] = [
        ("moved", "The rows were not moved to PostgreSQL", lambda: _check_moved(folder)),
        ("clock", "The clock is not behind rows and files", check_clock),
        ("log", "The log is of its usual size", lambda: machine.check_log(folder)),
        ("database", whole, check_integrity),
    ]
    found = [report for name, promise, look in looks for report in _guard(name, promise, look)]
    return [*look_at_folder(settings), *found]


def look_at_folder(settings: Settings) -> list[Report]:
    """Look at what every hall has in its data folder, and at the disk under it."""
    folder = settings.data_path
    looks: list[tuple[str, str, Callable[[], list[Finding]]]] = [
        ("modes", "Nobody else may look into the folder", lambda: machine.check_modes(folder)),
        ("key", "The sealing key is there", lambda: machine.check_key(folder)),
        ("certificate", "The certificate is valid", lambda: machine.check_certificate(settings)),
        ("disk", "The disk has room and is a local one", lambda: machine.check_disk(folder)),
    ]
    return [report for name, promise, look in looks for report in _guard(name, promise, look)]


def _check_moved(folder: Path) -> list[Finding]:
    """The rows are still those that are served."""
    try:
        check_not_moved(folder)
    except ConfigurationError as error:
        return [Finding(str(error), "look at the hall where it is now: --database")]
    return []


def _guard(name: str, promise: str, look: Callable[[], list[Finding]]) -> list[Report]:
    """Tell of a check that cannot be carried out as of one that fails."""
    try:
        return report_on(name, promise, look())
    except (apsw.Error, OSError, ConfigurationError) as error:
        return [Report(name, Level.FAILED, f"cannot be looked at: {error}", _UNREADABLE)]


_UNREADABLE = "look at the disk; restore a backup if the file is damaged"


def _look_at_schema(folder: Path, catalog: Catalog) -> tuple[list[Finding], set[str]]:
    """Return what is wrong with the migrations, and the rooms whose checks would not fit."""
    found: list[Finding] = []
    behind: set[str] = set()
    everything = [(FRAMEWORK_ROOM, FRAMEWORK_MIGRATIONS), *catalog.migrations]
    try:
        with open_snapshot(folder / DATABASE_FILE) as snapshot:
            applied = steps_by_room(read_schema(snapshot))
    except (apsw.Error, ConfigurationError) as error:
        return [Finding(str(error), _UNREADABLE)], {name for name, _ in everything}
    for name, migrations in everything:
        known = applied.get(name, [])
        steps = read_migrations(name, migrations, SqliteDatabase.engine)
        try:
            check_known(name, steps, known)
        except ConfigurationError as error:
            found.append(Finding(str(error), "run the release that wrote this database"))
            behind.add(name)
            continue
        if len(known) < len(steps):
            told = f"{name}: {len(steps) - len(known)} migrations are to come; not looked at"
            remedy = "take a backup, then start the hall: it applies them"
            found.append(Finding(told, remedy, Level.WARNING))
            behind.add(name)
    return found, behind


def _find_key(folder: Path) -> tuple[bytes, bool]:
    """Return the sealing key and True; or zeros, which seal nothing, and False."""
    try:
        return read_sealing_key(folder / KEY_FILE, database=folder / DATABASE_FILE), True
    except ConfigurationError:
        return bytes(LENGTH_BYTES), False


async def _look_at_rows(
    folder: Path,
    checks: Iterable[Check],
    resources: Resources,
    *,
    has_key: bool,
    is_thorough: bool,
) -> list[Report]:
    """Carry out what the rooms declare, each on a snapshot of its own."""
    reports: list[Report] = []
    for check in checks:
        if check.needs_key and not has_key:
            told = "not looked at, because there is no sealing key"
            reports.append(Report(check.name, Level.WARNING, told))
            continue
        try:
            # The moment first: what is told of it can only be older than the snapshot.
            now_ms = time.time_ns() // 1_000_000
            with open_snapshot(folder / DATABASE_FILE) as snapshot:
                given = Inspection(
                    tx=snapshot.tx,
                    now_ms=now_ms,
                    resources=resources,
                    is_thorough=is_thorough,
                    is_running=is_running(folder),
                )
                found = await check.handler(given)
        except (apsw.Error, OSError, ConfigurationError) as error:
            told = f"cannot be looked at: {error}"
            reports.append(Report(check.name, Level.FAILED, told, _UNREADABLE))
        else:
            reports += report_on(check.name, check.promise, found)
    return reports
