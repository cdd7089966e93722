"""The doctor of a hall on PostgreSQL: the server, and the rooms' checks by reads of it.

Each check reads one state of its own, within a minute unless the examination is a thorough one;
what one check finds does not keep the others from looking.
"""

import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from moothall.action.catalog import Catalog
from moothall.action.checks import FRAMEWORK_CHECKS, Check, Finding, Inspection, Level
from moothall.action.service import Resources
from moothall.app import server
from moothall.app.config import Settings
from moothall.app.doctor import Report, report_on
from moothall.app.machine import NEWEST, check_newest
from moothall.app.session import (
    UNBOUNDED_SECONDS,
    check_is_hall,
    explain,
    has_nodes,
    open_session,
    open_state,
    read_schema_of,
)
from moothall.core.errors import ConfigurationError, DeadlineExceededError, StorageUnavailableError

STATEMENT_SECONDS_MAX = 60.0
"""Unless the examination is thorough: a statement that takes longer is given up, and told."""

_LOOK_AT_SERVER = "look at the server, its log and its disk"
_TOO_LONG = "give --thorough, at an hour when few are there; or look at the server"


async def look_at_server(
    settings: Settings,
    catalog: Catalog | None,
    resources: Resources | None,
    *,
    has_key: bool,
    is_thorough: bool,
) -> list[Report]:
    """Return what each check of the server and of the rows on it says.

    Args:
        settings: Of the hall.
        catalog: Its rooms; None where the settings cannot be used.
        resources: As adapters get them; None where the settings cannot be used.
        has_key: Whether they were made with the hall's key.
        is_thorough: Read everything, however long that takes.
    """
    seconds = UNBOUNDED_SECONDS if is_thorough else STATEMENT_SECONDS_MAX
    reports: list[Report] = []
    try:
        async with open_session(settings, seconds) as connection:
            version = await connection.fetchval("SHOW server_version")
            reports.append(Report("server", Level.OK, f"PostgreSQL {version} answers, in UTF8"))
            await check_is_hall(connection)
            reports += await _look_at_machine(connection, settings)
            if catalog is not None and resources is not None:
                found, behind = await _look_at_schema(connection, catalog)
                reports += report_on(
                    "schema", "All migrations were applied, and none was edited", found
                )
                rooms = (check for room in catalog.rooms.values() for check in room.checks)
                checks = [each for each in (*FRAMEWORK_CHECKS, *rooms) if each.room not in behind]
                examination = _Examination(
                    connection, resources, has_key=has_key, is_thorough=is_thorough
                )
                reports += await examination.carry_out(checks)
    except (ConfigurationError, StorageUnavailableError, DeadlineExceededError) as error:
        cause = f" ({error.__cause__})" if error.__cause__ else ""
        reports.append(Report("server", Level.FAILED, f"{error}{cause}", _LOOK_AT_SERVER))
    return reports


async def _look_at_machine(connection: Any, settings: Settings) -> list[Report]:
    """Look at the server as at a machine."""

    async def check_rows() -> list[Finding]:
        return check_newest(await connection.fetchval(NEWEST) or 0)

    kept = "What was acknowledged is on the server's disk"
    looks: list[tuple[str, str, Callable[[], Awaitable[list[Finding]]]]] = [
        ("promises", kept, lambda: server.check_promises(connection)),
        ("role", "The server takes writes and tidies up", lambda: server.check_role(connection)),
        (
            "connections",
            "There are connections for two nodes and more",
            lambda: server.check_connections(connection, settings),
        ),
        (
            "transactions",
            "No transaction has been open for minutes",
            lambda: server.check_transactions(connection),
        ),
        ("clocks", "This clock and the server's agree", lambda: server.check_clocks(connection)),
        ("clock", "The clock is not behind the rows", check_rows),
    ]
    reports = [each for name, promise, look in looks for each in await _guard(name, promise, look)]
    try:
        size = Report("size", Level.OK, await server.describe_size(connection))
    except Exception as error:  # noqa: BLE001 - as of any other check
        size = _unreadable("size", error)
    return [*reports, size]


async def _guard(
    name: str, promise: str, look: Callable[[], Awaitable[list[Finding]]]
) -> list[Report]:
    """Tell of a check that cannot be carried out as of one that fails."""
    try:
        return report_on(name, promise, await look())
    except Exception as error:  # noqa: BLE001 - whatever it is, the others must look too
        return [_unreadable(name, error)]


def _unreadable(name: str, error: Exception) -> Report:
    told = explain(error)
    is_slow = isinstance(told, DeadlineExceededError)
    remedy = _TOO_LONG if is_slow else _LOOK_AT_SERVER
    level = Level.WARNING if is_slow else Level.FAILED
    return Report(name, level, f"cannot be looked at: {str(told) or type(told).__name__}", remedy)


async def _look_at_schema(connection: Any, catalog: Catalog) -> tuple[list[Finding], set[str]]:
    """Return what is wrong with the migrations, and the rooms whose checks would not fit."""
    try:
        missing = await read_schema_of(connection, catalog.migrations)
    except ConfigurationError as error:
        remedy = "run the release that wrote this database"
        return [Finding(str(error), remedy)], {"action", *catalog.rooms}
    remedy = "take a backup, then start a node: it applies them"
    found = [
        Finding(f"{name}: {steps} migrations are to come; not looked at", remedy, Level.WARNING)
        for name, steps in missing.items()
    ]
    return found, set(missing)


class _Examination:
    """The rooms' checks, on one connection."""

    def __init__(
        self,
        connection: Any,
        resources: Resources,
        *,
        has_key: bool,
        is_thorough: bool,
    ) -> None:
        """Look by ``connection``."""
        self._connection = connection
        self._resources = resources
        self._has_key = has_key
        self._is_thorough = is_thorough

    async def carry_out(self, checks: Iterable[Check]) -> list[Report]:
        """Return what each says."""
        is_running = await has_nodes(self._connection)
        reports: list[Report] = []
        for check in checks:
            if check.needs_key and not self._has_key:
                told = "not looked at, because there is no sealing key"
                reports.append(Report(check.name, Level.WARNING, told))
                continue
            look = self._look(check, is_running=is_running)
            reports += await _guard(check.name, check.promise, look)
        return reports

    def _look(self, check: Check, *, is_running: bool) -> Callable[[], Awaitable[list[Finding]]]:
        async def look() -> list[Finding]:
            # The moment first: what is told of it can only be older than the state that is read.
            now_ms = time.time_ns() // 1_000_000
            async with open_state(self._connection) as tx:
                given = Inspection(
                    tx=tx,
                    now_ms=now_ms,
                    resources=self._resources,
                    is_thorough=self._is_thorough,
                    is_running=is_running,
                )
                return await check.handler(given)

        return look
