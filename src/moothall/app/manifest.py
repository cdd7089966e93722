"""The manifest of a backup, and how a backup is verified by reading it back.

A backup is a folder of three files: the rows, the signed heads of the audit trail, and this
manifest, which says what the other two must be. Decision 0014 tells what it protects from.
"""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import apsw
import msgspec
from msgspec import Meta

from moothall.app.heads import HEADS_FILE
from moothall.app.snapshot import Snapshot, open_copy
from moothall.core.errors import ConfigurationError, MoothallError
from moothall.core.units import MEBIBYTE

FORMAT = 1
"""Of the folder and its manifest; a later one is refused."""

MANIFEST_FILE = "manifest.json"
MANIFEST_BYTES_MAX = 16 * MEBIBYTE
FINDINGS_MAX = 20
"""What SQLite finds wrong, told at most."""

Advance = Callable[[int], None]
"""Told of bytes that are dealt with."""


class BackupDamagedError(MoothallError):
    """A backup is not what its manifest says; the message names the file."""


class FileEntry(msgspec.Struct, frozen=True):
    """A file of the backup. ``name`` is no path: nothing outside of the folder is ever read."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}\Z")]
    size_bytes: int
    sha256: str


class Step(msgspec.Struct, frozen=True):
    """A migration that was applied to the rows."""

    room: str
    number: int
    digest: str


def steps_by_room(steps: Iterable[Step]) -> dict[str, list[tuple[int, str]]]:
    """Return number and digest of the migrations of each room, in their order."""
    found: dict[str, list[tuple[int, str]]] = {}
    for step in steps:
        found.setdefault(step.room, []).append((step.number, step.digest))
    return found


class AuditMark(msgspec.Struct, frozen=True):
    """How far the audit trail was sealed; ``chain`` is its value there, in hexadecimal digits."""

    sealed_number: int
    chain: str
    head_count: int
    """Signed heads that the rows count; as many lines at most are in the file of heads."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds."""

    format: int
    backup_id: str
    release: str
    """Of Moothall, by which it was taken."""
    created_at_ms: int
    """When the snapshot was taken: what was acknowledged before is in it."""
    hall: str
    """The name under which the hall signs; empty where nothing tells it."""
    epoch: str
    cursor: int
    """Of the newest event."""
    migrations: list[Step]
    tables: dict[str, int]
    """Rows by table."""
    audit: AuditMark | None
    """None while nothing is sealed."""
    files: list[FileEntry]


class _Format(msgspec.Struct):
    """What every format must say, whatever else is in it."""

    format: int


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of the backup in ``folder``.

    Raises:
        ConfigurationError: There is no backup, or a later release has made it.
        BackupDamagedError: It is no manifest.
    """
    path = folder / MANIFEST_FILE
    try:
        with path.open("rb") as file:
            text = file.read(MANIFEST_BYTES_MAX + 1)
    except OSError as error:
        msg = f"{folder} is no backup: {MANIFEST_FILE} cannot be read: {error.strerror}"
        raise ConfigurationError(msg) from None
    try:
        known = msgspec.json.decode(text, type=_Format)
        if known.format > FORMAT:
            msg = (
                f"{folder}: the backup has format {known.format}, this release knows up to "
                f"{FORMAT}; use the release that made it, or a later one"
            )
            raise ConfigurationError(msg)
        return msgspec.json.decode(text, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        msg = f"{path}: this is no manifest of a backup: {error}"
        raise BackupDamagedError(msg) from None


def verify_backup(folder: Path, database: str, advance: Advance) -> Manifest:
    """Read a backup back and compare all of it with its manifest.

    Args:
        folder: Of the backup.
        database: Name of the file of rows.
        advance: Told of bytes as they are read: each file once, and the rows once more.

    Raises:
        ConfigurationError: There is no backup, or a later release has made it.
        BackupDamagedError: Something differs; the message names the file.
    """
    manifest = read_manifest(folder)
    # Exactly these: a restore copies what is named here, and must bring in nothing else.
    names = sorted(entry.name for entry in manifest.files)
    if names != sorted((database, HEADS_FILE)):
        msg = (
            f"{folder / MANIFEST_FILE}: it names the files {', '.join(names)}; a backup holds "
            f"{database} and {HEADS_FILE}"
        )
        raise BackupDamagedError(msg)
    for entry in manifest.files:
        _verify_file(folder / entry.name, entry, advance)
    try:
        with open_copy(folder / database) as copy:
            _verify_rows(folder / database, copy, manifest)
    except (apsw.Error, ConfigurationError) as error:
        msg = f"{folder / database}: cannot be read as a database: {error}"
        raise BackupDamagedError(msg) from None
    advance((folder / database).stat().st_size)
    return manifest


def digest_file(path: Path, advance: Advance = lambda _bytes: None) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(MEBIBYTE):
            digest.update(block)
            advance(len(block))
    return digest.hexdigest()


def count_rows(copy: Snapshot) -> dict[str, int]:
    """Return how many rows each table has."""
    names = copy.fetch_all(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' "
        "ESCAPE '\\' ORDER BY name"
    )
    found = {}
    for (name,) in names:
        quoted = '"' + str(name).replace('"', '""') + '"'
        found[str(name)] = int(copy.fetch_all(f"SELECT count(*) FROM {quoted}")[0][0])
    return found


def find_faults(copy: Snapshot, *, is_thorough: bool = True) -> list[str]:
    """Return what SQLite itself finds wrong with a database, as whole sentences' middles.

    Args:
        copy: The database.
        is_thorough: Compare each index with its table too.
    """
    pragma = "integrity_check" if is_thorough else "quick_check"
    told = [str(row[0]) for row in copy.connection.execute(f"PRAGMA {pragma}({FINDINGS_MAX})")]
    found = [] if told == ["ok"] else told
    for table, rowid, parent, _ in copy.connection.execute("PRAGMA foreign_key_check"):
        if len(found) >= FINDINGS_MAX:
            break
        found.append(f"row {rowid} of {table} refers to a row of {parent} that is not there")
    return found


def _verify_file(path: Path, entry: FileEntry, advance: Advance) -> None:
    try:
        size_bytes = path.stat().st_size
        if size_bytes != entry.size_bytes:
            msg = f"{path}: it has {size_bytes} bytes, the manifest says {entry.size_bytes}"
            raise BackupDamagedError(msg)
        sha256 = digest_file(path, advance)
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror}"
        raise BackupDamagedError(msg) from None
    if sha256 != entry.sha256:
        msg = f"{path}: it was altered: its SHA-256 is {sha256}, the manifest says {entry.sha256}"
        raise BackupDamagedError(msg)


def _verify_rows(path: Path, copy: Snapshot, manifest: Manifest) -> None:
    if faults := find_faults(copy):
        msg = f"{path}: the database is damaged: {'; '.join(faults)}"
        raise BackupDamagedError(msg)
    counted = count_rows(copy)
    for table in sorted({*counted, *manifest.tables}):
        if counted.get(table) != manifest.tables.get(table):
            msg = (
                f"{path}: table {table} has {counted.get(table, 'no')} rows, the manifest says "
                f"{manifest.tables.get(table, 'none')}"
            )
            raise BackupDamagedError(msg)
