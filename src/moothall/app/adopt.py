"""Making a hall of rows that ``pg_restore`` or a base backup left in a database (decision 0014).

PostgreSQL's tools bring the rows back as they were, and know nothing of what must not come back
with them. So before the first node serves them, they are adopted once: a new epoch, new signing
keys, and each room's part, as after ``moothall restore``.
"""

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec

from moothall.action.catalog import Catalog
from moothall.action.checks import Inspection
from moothall.action.service import Resources
from moothall.app.compose import find_catalog, find_heads, lock_folder, make_resources
from moothall.app.config import Settings, check_resource_server, read_hall_tables
from moothall.app.foundation import KEY_FILE
from moothall.app.keyfile import read_sealing_key
from moothall.app.machine import NEWEST
from moothall.app.session import (
    check_is_hall,
    check_no_nodes,
    open_session,
    open_state,
    read_schema_of,
)
from moothall.app.settle import make_epoch, settle
from moothall.app.world import SystemClock, SystemEntropy
from moothall.core.disk import describe_failure, sync_path
from moothall.core.errors import ConfigurationError
from moothall.services.access.rules.heads import read_head
from moothall.services.access.store import audit


class Adopted(msgspec.Struct, frozen=True):
    """Rows that became a hall."""

    epoch: str
    newest_at_ms: int
    """When the newest of them was written: what came later is lost."""
    heads_aside: str
    """File of the signed heads that tell of lost rows; empty if there are none."""


def adopt_rows(settings: Settings, *, keeps_sessions: bool) -> Adopted:
    """Make a hall of the rows in the database that the settings name.

    It may be run again, also where it was killed before.

    Args:
        settings: Of the hall, as ``serve`` takes them; its data folder holds the ``sealing.key``.
        keeps_sessions: Leave members signed in as they were.

    Raises:
        ConfigurationError: Something is in the way, or does not fit together.
        StorageUnavailableError: The server cannot be reached.
    """
    if not settings.database:
        msg = (
            "settings: database: it says which rows; give --database postgresql://USER@HOST/NAME. "
            "A backup of a hall on SQLite becomes a hall by moothall restore"
        )
        raise ConfigurationError(msg)
    check_resource_server(settings)
    return asyncio.run(_adopt(settings, keeps_sessions=keeps_sessions))


async def _adopt(settings: Settings, *, keeps_sessions: bool) -> Adopted:
    folder = settings.data_path
    catalog = find_catalog(settings)
    tables = read_hall_tables(settings.tables, catalog.settings)
    key = read_sealing_key(folder / KEY_FILE, database=Path("the database"))
    resources = make_resources(settings, catalog, tables, key, SystemClock(), SystemEntropy())
    with lock_folder(folder):
        async with open_session(settings) as connection:
            await check_is_hall(connection)
            await check_no_nodes(connection)
            await read_schema_of(connection, catalog.migrations)
            async with open_state(connection) as tx:
                await _check_key(catalog, resources, tx, folder)
                seal = await audit.find_last_seal(tx)
                newest_at_ms = await connection.fetchval(NEWEST) or 0
        sealed = 0 if seal is None else seal.last_number
        aside = _set_heads_aside(find_heads(folder, tables), sealed)
    epoch = make_epoch()
    await settle(
        _alone(settings),
        epoch,
        backup_id=f"adopt-{epoch}",
        taken_at_ms=newest_at_ms,
        path=f"database/{epoch}",
        keeps_sessions=keeps_sessions,
        adopts=True,
    )
    return Adopted(epoch, newest_at_ms, aside)


async def _check_key(catalog: Catalog, resources: Resources, tx: Any, folder: Path) -> None:
    """Refuse a sealing key that is not the one of these rows.

    Raises:
        ConfigurationError: It is another one.
    """
    now_ms = resources.clock.now_ms()
    for check in (each for room in catalog.rooms.values() for each in room.checks):
        if not check.proves_key:
            continue
        found = await check.handler(Inspection(tx=tx, now_ms=now_ms, resources=resources))
        if found:
            msg = f"{folder / KEY_FILE}: this is the key of another hall: {found[0].told}"
            raise ConfigurationError(msg)


def _set_heads_aside(heads: Path, sealed: int) -> str:
    """Leave only heads of rows that are there; return where the others are kept.

    Args:
        heads: The file of signed heads of this folder.
        sealed: Up to which number the rows are sealed.

    Raises:
        ConfigurationError: The file cannot be read, or another one cannot be written.
    """
    try:
        with heads.open("rb") as file:
            lines = file.readlines()
    except FileNotFoundError:
        return ""
    except OSError as error:
        msg = f"audit.heads: {heads}: cannot be read: {error.strerror}"
        raise ConfigurationError(msg) from None
    known = [read_head(line.decode(errors="replace")) for line in lines]
    lost = next((n for n, head in enumerate(known) if head and head.number > sealed), None)
    if lost is None:
        return ""
    number = 1
    while (aside := heads.with_name(f"{heads.name}.before-adopt-{number}")).exists():
        number += 1
    draft = heads.with_name(f"{heads.name}.new")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.writelines(lines[:lost])
            file.flush()
            os.fsync(file.fileno())
        os.link(heads, aside)
        draft.replace(heads)
        sync_path(heads.parent)
    except OSError as error:
        msg = f"audit.heads: {heads}: cannot be replaced: {describe_failure(error, heads)}"
        raise ConfigurationError(msg) from None
    return str(aside)


def _alone(settings: Settings) -> Settings:
    """Return the settings of a node that tells no other of what it does."""
    return msgspec.structs.replace(
        settings,
        bus="", bus_user="", bus_password_file="", bus_token_file="", bus_credentials_file="",
        bus_authority="",
    )  # fmt: skip
