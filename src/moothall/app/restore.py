"""Restoring a backup into a new folder, and what must not come back with it (decision 0014).

Everything is refused that can be before a byte is written. Then the hall is made beside its
place and renamed, so that no hall ever starts from half of one.
"""

import asyncio
import os
import shutil
from contextlib import ExitStack
from pathlib import Path

import apsw
import msgspec

from moothall.action.catalog import Catalog
from moothall.action.checks import Inspection
from moothall.action.migrations import (
    FRAMEWORK_MIGRATIONS,
    FRAMEWORK_ROOM,
    check_known,
    read_migrations,
)
from moothall.app.backup import check_is_new, copy_keys_into, copy_private, new_folder
from moothall.app.compose import (
    LOCK_FILE,
    find_catalog,
    find_heads,
    make_resources,
)
from moothall.app.config import Settings, read_hall_tables
from moothall.app.foundation import DATABASE_FILE, KEY_FILE
from moothall.app.heads import HEADS_FILE
from moothall.app.keyfile import read_sealing_key
from moothall.app.manifest import (
    Advance,
    BackupDamagedError,
    Manifest,
    digest_file,
    steps_by_room,
    verify_backup,
)
from moothall.app.settle import make_epoch, settle
from moothall.app.snapshot import open_copy
from moothall.app.world import SystemClock, SystemEntropy
from moothall.core.disk import describe_failure, sync_path
from moothall.core.errors import ConfigurationError
from moothall.storage.sqlite import SqliteDatabase

TIMES_READ = 4
"""How often the bytes of the rows are dealt with: hashed, checked, copied and hashed."""


class Restoration(msgspec.Struct, frozen=True):
    """A hall that was restored."""

    manifest: Manifest
    epoch: str
    rooms_left_out: list[str]
    """Rooms of which there are rows, and which the settings do not serve."""


def restore_backup(
    settings: Settings, backup: Path, keys: Path, advance: Advance, *, keeps_sessions: bool
) -> Restoration:
    """Make a hall of a backup, in the new folder that the settings name.

    Args:
        settings: Of the hall, as ``serve`` takes them.
        backup: Its folder.
        keys: The folder with its ``sealing.key``, and ``tls`` if there is one.
        advance: Told of bytes: :data:`TIMES_READ` times those of the rows.
        keeps_sessions: Leave members signed in as they were.

    Raises:
        ConfigurationError: Something is in the way, or does not fit together.
        BackupDamagedError: The backup is not what it was.
        StorageUnavailableError: The disk cannot be written.
    """
    if settings.database:
        msg = (
            "settings: database: rows of a hall on PostgreSQL are brought back by pg_restore, and "
            "then moothall adopt. To restore a backup of a hall on SQLite, leave the database out "
            "(and move the hall after that: moothall migrate)"
        )
        raise ConfigurationError(msg)
    catalog = find_catalog(settings)
    tables = read_hall_tables(settings.tables, catalog.settings)
    folder = settings.data_path.absolute()
    _check_place(folder)
    # Resolved: a path with ".." or a link in it may lie elsewhere than its words say.
    folder, heads = folder.resolve(), find_heads(folder, tables).resolve()
    _check_heads(folder, heads)
    manifest = verify_backup(backup, DATABASE_FILE, advance)
    left_out = _check_schema(manifest, catalog)
    _check_key(settings, catalog, backup / DATABASE_FILE, keys)
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as undo:
        with new_folder(folder) as draft:
            _copy(backup, manifest, draft, advance)
            copy_keys_into(draft, keys)
            epoch = make_epoch()
            settled = settle(
                _with_data(settings, draft),
                epoch,
                backup_id=manifest.backup_id,
                taken_at_ms=manifest.created_at_ms,
                path=f"backup/{manifest.backup_id}",
                keeps_sessions=keeps_sessions,
            )
            asyncio.run(settled)
            (draft / LOCK_FILE).unlink(missing_ok=True)
            _place_heads(draft, folder, heads, undo)
        undo.pop_all()
    return Restoration(manifest, epoch, left_out)


def _check_place(folder: Path) -> None:
    """Refuse to write over anything.

    Raises:
        ConfigurationError: Something is there.
    """
    if (folder / DATABASE_FILE).exists():
        msg = (
            f"data: there is a hall in {folder}, and nothing is restored over it; stop it and "
            f"move it aside: mv {folder} {folder}.before-restore"
        )
        raise ConfigurationError(msg)
    check_is_new(folder)


def _check_heads(folder: Path, heads: Path) -> None:
    """Refuse a file of heads that is there, or cannot be made; both paths are resolved.

    Raises:
        ConfigurationError: Says what helps.
    """
    if heads.exists():
        msg = (
            f"audit.heads: {heads} holds heads already; move it aside and keep it: it tells what "
            "there was after the backup"
        )
        raise ConfigurationError(msg)
    if heads.is_relative_to(folder) or folder.is_relative_to(heads.parent):
        return  # the restore itself makes that folder
    if not heads.parent.is_dir():
        msg = f"audit.heads: there is no folder {heads.parent}; make it, or name another one"
        raise ConfigurationError(msg)


def _check_schema(manifest: Manifest, catalog: Catalog) -> list[str]:
    """Refuse rows of a later release; return rooms that have rows and are not served.

    Raises:
        ConfigurationError: A migration is not known here, or was edited since.
    """
    applied = steps_by_room(manifest.migrations)
    for name, migrations in [(FRAMEWORK_ROOM, FRAMEWORK_MIGRATIONS), *catalog.migrations]:
        known = applied.pop(name, [])
        steps = read_migrations(name, migrations, SqliteDatabase.engine)
        if len(known) > len(steps):
            msg = (
                f"{name}: the backup has {len(known)} migrations, this release knows "
                f"{len(steps)}; restore it with Moothall {manifest.release} or later"
            )
            raise ConfigurationError(msg)
        check_known(name, steps, known)
    return sorted(applied)


def _check_key(
    settings: Settings,
    catalog: Catalog,
    database: Path,
    keys: Path,
) -> None:
    """Refuse a sealing key that is not the one of these rows.

    Raises:
        ConfigurationError: It is missing, or another one.
    """
    clock, entropy = SystemClock(), SystemEntropy()
    key = read_sealing_key(keys / KEY_FILE, database=database)
    # No head is read or written here; the folder of the hall is not there yet.
    here = _with_data(settings, keys)
    tables = read_hall_tables(here.tables, catalog.settings)
    resources = make_resources(here, catalog, tables, key, clock, entropy)
    with open_copy(database) as copy:
        for check in (each for room in catalog.rooms.values() for each in room.checks):
            if not check.proves_key:
                continue
            given = Inspection(tx=copy.tx, now_ms=clock.now_ms(), resources=resources)
            try:
                found = copy.read(lambda _tx, check=check, given=given: check.handler(given))  # type: ignore[misc]
            except apsw.SQLError:
                continue  # an older release had no such table yet
            if found:
                msg = f"{keys / KEY_FILE}: this is the key of another hall: {found[0].told}"
                raise ConfigurationError(msg)


def _copy(backup: Path, manifest: Manifest, draft: Path, advance: Advance) -> None:
    """Copy the files of a backup, and look once more whether they are what they must be."""
    for entry in manifest.files:
        copy_private(backup / entry.name, draft / entry.name, advance)
        if digest_file(draft / entry.name, advance) != entry.sha256:
            msg = f"{backup / entry.name}: it changed while it was copied"
            raise BackupDamagedError(msg)


def _with_data(settings: Settings, folder: Path) -> Settings:
    """Return settings for another data folder, with the file of heads at its usual place in it."""
    audit = {**settings.tables.get("audit", {}), "heads": HEADS_FILE}
    tables = {**settings.tables, "audit": audit}
    return msgspec.structs.replace(settings, data=str(folder), tables=tables)


def _place_heads(draft: Path, folder: Path, heads: Path, undo: ExitStack) -> None:
    """Put the file of heads where the settings want it, and never over another file.

    Args:
        draft: Folder of the hall that is made; the heads are at their usual place in it.
        folder: What the draft will be called; resolved, as ``heads`` is.
        heads: Where they shall be.
        undo: Takes them away again if the hall does not come to be.

    Raises:
        ConfigurationError: A file is there, or it cannot be written.
    """
    is_inside = heads.is_relative_to(folder)
    place = draft / heads.relative_to(folder) if is_inside else heads
    if place == draft / HEADS_FILE:
        return
    try:
        if is_inside:
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        undo.callback(_take_back_heads, place, folder)
        shutil.copyfile(draft / HEADS_FILE, place)
        with place.open("rb") as file:
            os.fsync(file.fileno())
        sync_path(place.parent)
    except OSError as error:
        msg = f"audit.heads: {heads}: cannot be written: {describe_failure(error, heads)}"
        raise ConfigurationError(msg) from None
    (draft / HEADS_FILE).unlink()


def _take_back_heads(place: Path, folder: Path) -> None:
    """Remove the heads of a hall that did not come to be, so that the next attempt can place them.

    A hall that has its name keeps them, whatever failed after that.
    """
    if not (folder / DATABASE_FILE).exists():
        place.unlink(missing_ok=True)
