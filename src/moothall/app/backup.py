"""Backups: a copy of one moment, taken while the hall serves (decision 0014).

The rows are copied page by page from one read transaction, so neither do writers wait nor
does the copy begin anew. Until they are copied the hall cannot start its log anew: the log
grows by what is written meanwhile, and by nothing more.
"""

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import apsw
import msgspec

from moothall import __version__
from moothall.app.foundation import DATABASE_FILE, KEY_FILE
from moothall.app.heads import HEADS_FILE
from moothall.app.manifest import (
    FORMAT,
    MANIFEST_FILE,
    Advance,
    AuditMark,
    FileEntry,
    Manifest,
    Step,
    count_rows,
    digest_file,
    verify_backup,
)
from moothall.app.moved import check_not_moved
from moothall.app.snapshot import Snapshot, check_is_there, open_copy, open_snapshot
from moothall.core.disk import describe_failure, sync_path
from moothall.core.errors import ConfigurationError, MoothallError, StorageUnavailableError
from moothall.ports.database import Transaction
from moothall.services.access.model import Seal
from moothall.services.access.rules.heads import read_head
from moothall.services.access.store import audit

TIMES_READ = 5
"""How often the bytes of the rows are dealt with: copied, counted, hashed, hashed and checked."""

TLS_FOLDER = "tls"
PAGES_AT_ONCE = 256
"""About 1 MiB between two looks at the progress."""

ROOM_BYTES = 64 * 1_048_576
"""Free room that is left on the disk of a backup, for whatever else lies there."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A backup that was taken and verified.

    Attributes:
        manifest: What it holds.
        size_bytes: Of its files.
        held_ms: How long the hall could not start its log anew.
        log_grew_bytes: By how much the log grew meanwhile.
        has_new_keys: Whether the keys were written; False if they were there already.
    """

    manifest: Manifest
    size_bytes: int
    held_ms: int
    log_grew_bytes: int
    has_new_keys: bool


def take_backup(
    data: Path, heads: Path, destination: Path, keys: Path | None, advance: Advance
) -> Taken:
    """Copy the rows and heads of a hall into a new folder, and verify them.

    The folder appears whole or not at all.

    Args:
        data: Folder of the hall, which may be running.
        heads: Its file of signed heads.
        destination: The new folder; an empty one is taken too.
        keys: Another new folder for what must not lie beside the rows; None for none.
        advance: Told of bytes: :data:`TIMES_READ` times those of the rows.

    Raises:
        ConfigurationError: Something is in the way; says what helps.
        StorageUnavailableError: The disk of the backup cannot be written.
        BackupDamagedError: What was written is not what was read.
    """
    destination = destination.absolute()
    has_new_keys = _check_places(data, destination, keys)
    database = data / DATABASE_FILE
    try:
        manifest, held_ms, grew = _copy_hall(database, heads, destination, advance)
    except apsw.Error as error:
        msg = (
            f"{database}: cannot be read: {error}; see what is damaged: "
            "moothall doctor --thorough; restore the last backup if it is"
        )
        raise ConfigurationError(msg) from None
    if keys is not None and has_new_keys:
        _copy_keys(data, keys)
    size_bytes = sum(entry.size_bytes for entry in manifest.files)
    return Taken(manifest, size_bytes, held_ms, grew, has_new_keys)


def _copy_hall(
    database: Path, heads: Path, destination: Path, advance: Advance
) -> tuple[Manifest, int, int]:
    """Make the folder; return its manifest, how long the log was held, and by how much it grew."""
    # Before the snapshot: what was acknowledged until then is in the copy.
    created_at_ms = time.time_ns() // 1_000_000
    with open_snapshot(database) as snapshot:
        _check_room(database, destination)
        began = time.monotonic()
        log_bytes = _log_bytes(database)
        with new_folder(destination) as draft:
            _, head_count = _read_audit(snapshot)
            copy_pages(snapshot, draft / DATABASE_FILE, advance)
            _copy_heads(heads, draft / HEADS_FILE, head_count)
            held_ms = int((time.monotonic() - began) * 1_000)
            grew = max(0, _log_bytes(database) - log_bytes)
            # What follows reads the copy alone: the hall may start its log anew.
            snapshot.connection.close()
            manifest = _write_manifest(draft, created_at_ms, advance)
            verify_backup(draft, DATABASE_FILE, advance)
    return manifest, held_ms, grew


@contextlib.contextmanager
def new_folder(destination: Path) -> Iterator[Path]:
    """Yield a folder that becomes ``destination`` when the body has ended well.

    It lies beside it, under a name that nobody takes for it, and is removed if the body
    fails; after a kill it may be removed by hand.

    Raises:
        ConfigurationError: ``destination`` is there and not empty, or cannot be made; or the
            body could not read a file.
        StorageUnavailableError: The disk cannot be written.
    """
    destination = destination.absolute()
    try:
        check_is_new(destination)
        draft = destination.with_name(f".{destination.name}.{secrets.token_hex(4)}.unfinished")
        draft.mkdir(mode=0o700)
    except OSError as error:
        msg = f"{destination}: cannot be made: {describe_failure(error, destination)}"
        raise ConfigurationError(msg) from None
    try:
        yield draft
        for path in draft.rglob("*"):
            sync_path(path)
        sync_path(draft)
        draft.rename(destination)
        sync_path(destination.parent)
    except OSError as error:
        raise _explain(error, draft, destination) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _explain(error: OSError, draft: Path, destination: Path) -> MoothallError:
    """Return what to raise, naming the file with which it went wrong."""
    named = draft if error.filename is None else Path(os.fsdecode(error.filename))
    if named.is_relative_to(draft) or named == destination.parent:
        msg = f"{destination}: cannot be written: {describe_failure(error, destination)}"
        return StorageUnavailableError(msg)
    msg = f"{named}: cannot be read: {error.strerror}; let this user read it"
    return ConfigurationError(msg)


def copy_pages(source: Snapshot, path: Path, advance: Advance) -> None:
    """Copy a database from an open read transaction into one new file without a log.

    Raises:
        StorageUnavailableError: The copy cannot be written, or the source cannot be read.
    """
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    page_bytes = int(source.fetch_all("PRAGMA page_size")[0][0])
    try:
        copy = apsw.Connection(str(path))
        try:
            # Nobody ever sees an unfinished copy, and it is synced as a whole.
            copy.execute("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF").fetchall()
            with copy.backup("main", source.connection, "main") as copying:
                left = None
                while not copying.done:
                    copying.step(PAGES_AT_ONCE)
                    before = copying.page_count if left is None else left
                    left = copying.remaining
                    advance((before - left) * page_bytes)
            # The log's mark was copied with the pages; a copy has no log.
            copy.execute("PRAGMA journal_mode = DELETE").fetchall()
        finally:
            copy.close()
    except apsw.Error as error:
        msg = f"{path.name} cannot be copied: {error}"
        raise StorageUnavailableError(msg) from error


def read_schema(snapshot: Snapshot) -> list[Step]:
    """Return the migrations that were applied.

    Raises:
        ConfigurationError: No hall was ever opened on these rows.
    """
    sql = "SELECT room, number, digest FROM action_migration ORDER BY room, number"
    try:
        return [Step(*row) for row in snapshot.fetch_all(sql)]
    except apsw.SQLError:
        msg = "there are no tables of a hall yet; serve it once"
        raise ConfigurationError(msg) from None


def check_apart(folder: Path, other: Path, remedy: str) -> None:
    """Refuse a folder that is another one, or lies in it.

    Raises:
        ConfigurationError: With the remedy.
    """
    if folder.resolve().is_relative_to(other.resolve()):
        msg = f"{folder} lies in {other}; {remedy}"
        raise ConfigurationError(msg)


def _check_places(data: Path, destination: Path, keys: Path | None) -> bool:
    """Refuse places that would undo what they are for; tell whether keys are to be written."""
    check_is_there(data / DATABASE_FILE)
    check_not_moved(data)
    check_apart(destination, data, "name a folder outside of the hall's own")
    check_is_new(destination)
    if keys is None:
        return False
    check_apart(keys, data, "name a folder outside of the hall's own")
    apart = "keys and rows must not lie together: whoever has both can sign as every member"
    check_apart(keys, destination, apart)
    check_apart(destination, keys, apart)
    return _needs_keys(data, keys.absolute())


def check_is_new(folder: Path) -> None:
    """Refuse a folder in which there is anything, or in whose place no other one can be put.

    Raises:
        ConfigurationError: It is not new; says what helps.
    """
    if os.path.ismount(folder):
        msg = f"{folder} is a mount point, which nothing can replace; name a new folder inside it"
        raise ConfigurationError(msg)
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        msg = f"{folder}: something else is in its place; name a folder that does not exist yet"
        raise ConfigurationError(msg)
    if folder.is_dir() and any(folder.iterdir()):
        msg = f"{folder} is not empty, and nothing is overwritten; name a new folder"
        raise ConfigurationError(msg)


def _check_room(database: Path, destination: Path) -> None:
    """Refuse a disk that is too full, before it is filled."""
    needed = database.stat().st_size + _log_bytes(database)
    with contextlib.suppress(OSError):  # what is wrong with the folder is told when it is made
        free = shutil.disk_usage(destination.parent).free
        if free < needed + ROOM_BYTES:
            msg = (
                f"{destination}: {needed} bytes are to be written and {free} are free, of which "
                f"{ROOM_BYTES} are left alone; free some space there, or name another disk"
            )
            raise ConfigurationError(msg)


def _log_bytes(database: Path) -> int:
    """Return the size of the log beside the database; 0 if there is none."""
    try:
        return database.with_name(database.name + "-wal").stat().st_size
    except FileNotFoundError:
        return 0


def _read_audit(snapshot: Snapshot) -> tuple[Seal | None, int]:
    """Return the last seal, and how many heads the rows count."""

    async def read(tx: Transaction) -> tuple[Seal | None, int]:
        return await audit.find_last_seal(tx), (await audit.get_head_state(tx))[0]

    try:
        return snapshot.read(read)
    except apsw.SQLError:
        msg = "there are no tables of a hall yet; serve it once"
        raise ConfigurationError(msg) from None


def _copy_heads(source: Path, path: Path, head_count: int) -> None:
    """Copy the heads that the rows of the snapshot have counted; torn lines come along."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as copy:
        try:
            file = source.open("rb")
        except FileNotFoundError:
            return  # none was written yet, or it is lost: `audit verify` tells
        with file:
            for line in file:
                head = read_head(line.decode(errors="replace"))
                if head is not None and head.head > head_count:
                    return
                copy.write(line)


def _write_manifest(draft: Path, created_at_ms: int, advance: Advance) -> Manifest:
    """Say what the folder holds, from the copy itself."""
    with open_copy(draft / DATABASE_FILE) as copy:
        seal, head_count = _read_audit(copy)
        rows = copy.fetch_all(
            "SELECT epoch, max(swept_cursor, coalesce((SELECT max(cursor) FROM action_event), 0)) "
            "FROM action_epoch WHERE id = 1"
        )
        epoch, cursor = rows[0] if rows else ("", 0)
        migrations, tables = read_schema(copy), count_rows(copy)
    mark = AuditMark(seal.last_number, seal.chain.hex(), head_count) if seal else None
    advance((draft / DATABASE_FILE).stat().st_size)
    moment = time.strftime("%Y%m%dt%H%M%Sz", time.gmtime(created_at_ms / 1_000))
    manifest = Manifest(
        format=FORMAT,
        backup_id=f"{moment}-{secrets.token_hex(4)}",
        release=__version__,
        created_at_ms=created_at_ms,
        hall=_read_name(draft / HEADS_FILE),
        epoch=epoch,
        cursor=cursor,
        migrations=migrations,
        tables=tables,
        audit=mark,
        files=[
            FileEntry(name, (draft / name).stat().st_size, digest_file(draft / name, advance))
            for name in (DATABASE_FILE, HEADS_FILE)
        ],
    )
    text = msgspec.json.format(msgspec.json.encode(manifest)) + b"\n"
    descriptor = os.open(draft / MANIFEST_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)
    return manifest


def _read_name(heads: Path) -> str:
    """Return the name of the hall as its last head tells it; empty if there is none."""
    name = ""
    with heads.open("rb") as file:
        for line in file:
            head = read_head(line.decode(errors="replace"))
            name = name if head is None else head.hall
    return name


def _needs_keys(data: Path, keys: Path) -> bool:
    """Tell whether the keys must still be copied; False if they are there already.

    Raises:
        ConfigurationError: Something else is there, or there is no key to copy.
    """
    try:
        key = (data / KEY_FILE).read_bytes()
        if (keys / KEY_FILE).exists() and (keys / KEY_FILE).read_bytes() == key:
            return False
    except OSError as error:
        msg = (
            f"{error.filename}: the sealing key cannot be read: {error.strerror}; put it in place, "
            "or let this user read it"
        )
        raise ConfigurationError(msg) from None
    check_is_new(keys)
    if not keys.parent.is_dir():
        msg = f"{keys}: there is no folder {keys.parent}; make it, or name another one"
        raise ConfigurationError(msg)
    return True


def take_keys(data: Path, keys: Path) -> bool:
    """Copy sealing key and self-made certificate alone, which never change; no row is read.

    Args:
        data: Folder of the hall, or of one of its nodes.
        keys: The new folder; an empty one is taken too.

    Returns:
        Whether they were written; False if this key is there already.

    Raises:
        ConfigurationError: Something is in the way; says what helps.
        StorageUnavailableError: The disk cannot be written.
    """
    check_apart(keys, data, "name a folder outside of the hall's own")
    if not _needs_keys(data, keys.absolute()):
        return False
    _copy_keys(data, keys)
    return True


def _copy_keys(data: Path, keys: Path) -> None:
    """Copy sealing key and self-made certificate into a new folder."""
    with new_folder(keys) as draft:
        copy_keys_into(draft, data)


def copy_keys_into(draft: Path, source: Path) -> None:
    """Copy sealing key and self-made certificate, if there is one, from a folder into another."""
    copy_private(source / KEY_FILE, draft / KEY_FILE)
    if (source / TLS_FOLDER).is_dir():
        (draft / TLS_FOLDER).mkdir(mode=0o700)
        for path in sorted((source / TLS_FOLDER).iterdir()):
            copy_private(path, draft / TLS_FOLDER / path.name)


def copy_private(source: Path, path: Path, advance: Advance = lambda _bytes: None) -> None:
    """Copy a file into a new one that only its owner can read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as copy, source.open("rb") as file:
        while block := file.read(1_048_576):
            copy.write(block)
            advance(len(block))
