"""Migrations: each room's tables, forward only, all that is missing in one transaction.

So a start that fails leaves the tables as they were, and the release before can go on with them.

Files are ``NNNN_name.sql``, or ``NNNN_name.sqlite.sql`` and ``NNNN_name.postgres.sql``
where the engines differ. A step that was applied is never edited: its digest is kept
and compared. Release N runs on the schema of N+1 and refuses later ones.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import structlog

from moothall.core.errors import ConfigurationError, MoothallError
from moothall.ports.clock import Clock
from moothall.ports.database import Database, Transaction

ENGINES = frozenset({"sqlite", "postgres"})
FRAMEWORK_ROOM = "action"
FRAMEWORK_MIGRATIONS = Path(__file__).parent / "schema"

_log = structlog.get_logger("moothall.migrations")

_FILE = re.compile(r"(?P<number>\d{4})_(?P<name>[a-z0-9_]+?)(\.(?P<engine>[a-z]+))?\.sql\Z")
_LEDGER = """
CREATE TABLE IF NOT EXISTS action_migration (
  room TEXT NOT NULL, number BIGINT NOT NULL, name TEXT NOT NULL,
  digest TEXT NOT NULL, applied_at_ms BIGINT NOT NULL, PRIMARY KEY (room, number))
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of one room."""

    room: str
    number: int
    name: str
    sql: str
    file: str = field(default="", compare=False)
    """Where it stands, for whoever must mend it."""

    @property
    def digest(self) -> str:
        """Digest of the text, to notice that an applied step was edited."""
        return blake2b(self.sql.encode(), digest_size=16).hexdigest()


def read_migrations(room: str, folder: Path | None, engine: str) -> list[Migration]:
    """Return the steps of a room for one engine, in order.

    Raises:
        ConfigurationError: A file name is strange, or a number is missing or doubled.
    """
    steps: dict[int, Migration] = {}
    for file in sorted(folder.iterdir()) if folder and folder.is_dir() else []:
        match = _FILE.match(file.name)
        if match is None or (match["engine"] or engine) not in ENGINES:
            msg = (
                f"{room}: {file.name} is not NNNN_name[.sqlite|.postgres].sql, "
                "such as 0001_init.sql"
            )
            raise ConfigurationError(msg)
        if match["engine"] not in {None, engine}:
            continue
        number = int(match["number"])
        if number in steps:
            msg = f"{room}: two migrations have the number {number:04}"
            raise ConfigurationError(msg)
        steps[number] = Migration(room, number, match["name"], file.read_text("utf-8"), str(file))
    if list(steps) != list(range(1, len(steps) + 1)):
        msg = f"{room}: migrations must be numbered 0001, 0002, ... without a gap"
        raise ConfigurationError(msg)
    return list(steps.values())


async def migrate(
    database: Database, clock: Clock, rooms: Iterable[tuple[str, Path | None]], engine: str
) -> list[Migration]:
    """Apply what is missing, the framework's tables first, and return it.

    Raises:
        ConfigurationError: The database was made by a later release, an applied step was
            edited, or a step cannot be applied.
        StorageUnavailableError: The disk fails.
    """
    whole = [
        (room, read_migrations(room, folder, engine))
        for room, folder in ((FRAMEWORK_ROOM, FRAMEWORK_MIGRATIONS), *rooms)
    ]
    applied: list[Migration] = []
    try:
        await database.write(lambda tx: _apply_missing(tx, whole, applied, clock.now_ms()))
    except MoothallError:
        raise
    except Exception as error:  # the engine's own; its class is not known on this floor
        # The last one that began: one that breaks a reference fails when all are committed.
        where = f"{applied[-1].room}: {applied[-1].file}: " if applied else ""
        msg = f"{where}the migration cannot be applied: {error}; mend it and start again"
        raise ConfigurationError(msg) from error
    return applied


async def _apply_missing(
    tx: Transaction,
    rooms: Iterable[tuple[str, list[Migration]]],
    applied: list[Migration],
    now_ms: int,
) -> None:
    """Apply the steps that the database does not have, and note each in ``applied``."""
    applied.clear()  # what is there is from a run that was rolled back
    await tx.lift_limits()
    await tx.lock("migrations")  # nodes that start at once apply them once
    await tx.execute(_LEDGER)
    for room, steps in rooms:
        known = await _applied_of(tx, room)
        check_known(room, steps, known)
        for step in steps[len(known) :]:
            applied.append(step)
            await _apply(tx, step, now_ms)


async def _applied_of(tx: Transaction, room: str) -> list[tuple[int, str]]:
    """Return number and digest of the steps that were applied."""
    sql = "SELECT number, digest FROM action_migration WHERE room = $1 ORDER BY number"
    return [(number, digest) for number, digest in await tx.fetch_all(sql, room)]


async def _apply(tx: Transaction, step: Migration, now_ms: int) -> None:
    """Apply one step and write it down."""
    await tx.execute_script(step.sql)
    await tx.execute(
        "INSERT INTO action_migration (room, number, name, digest, applied_at_ms) "
        "VALUES ($1, $2, $3, $4, $5)",
        step.room,
        step.number,
        step.name,
        step.digest,
        now_ms,
    )


def check_known(room: str, steps: list[Migration], known: list[tuple[int, str]]) -> None:
    """Compare what was applied, as (number, digest), with what this release knows.

    Raises:
        ConfigurationError: A later release was here, or an applied step was edited.
    """
    if len(known) > len(steps) + 1:
        msg = (
            f"{room}: the database has {len(known)} migrations, this release knows {len(steps)}; "
            "run the newer release"
        )
        raise ConfigurationError(msg)
    if len(known) > len(steps):
        _log.warning(
            "the database has a migration more than this release",
            room=room,
            remedy="that is right while a newer release takes over; otherwise run the newer one",
        )
    for step, (number, digest) in zip(steps, known, strict=False):
        if (step.number, step.digest) != (number, digest):
            msg = (
                f"{room}: migration {step.number:04}_{step.name} was edited after it was applied; "
                f"undo the edit and write {len(steps) + 1:04}_..., or, while you try things out, "
                "begin with a fresh folder: --data DIR"
            )
            raise ConfigurationError(msg)
