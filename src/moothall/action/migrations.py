"""Migrations: each room's tables, forward only, each step in its own transaction.

Files are ``NNNN_name.sql``, or ``NNNN_name.sqlite.sql`` and ``NNNN_name.postgres.sql``
where the engines differ. A step that was applied is never edited: its digest is kept
and compared. Release N runs on the schema of N+1 and refuses later ones.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from moothall.core.errors import ConfigurationError
from moothall.ports.clock import Clock
from moothall.ports.database import Database, Transaction

ENGINES = frozenset({"sqlite", "postgres"})
FRAMEWORK_ROOM = "action"
FRAMEWORK_MIGRATIONS = Path(__file__).parent / "schema"

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
            msg = f"{room}: {file.name} is not NNNN_name[.sqlite|.postgres].sql"
            raise ConfigurationError(msg)
        if match["engine"] not in {None, engine}:
            continue
        number = int(match["number"])
        if number in steps:
            msg = f"{room}: two migrations have the number {number:04}"
            raise ConfigurationError(msg)
        steps[number] = Migration(room, number, match["name"], file.read_text("utf-8"))
    if list(steps) != list(range(1, len(steps) + 1)):
        msg = f"{room}: migrations must be numbered 0001, 0002, ... without a gap"
        raise ConfigurationError(msg)
    return list(steps.values())


async def migrate(
    database: Database, clock: Clock, rooms: Iterable[tuple[str, Path | None]], engine: str
) -> list[Migration]:
    """Apply what is missing, the framework's tables first, and return it.

    Raises:
        ConfigurationError: The database was made by a later release, or an applied step
            was edited.
    """

    async def prepare(tx: Transaction) -> None:
        await tx.execute(_LEDGER)

    await database.write(prepare)
    applied: list[Migration] = []
    for room, folder in ((FRAMEWORK_ROOM, FRAMEWORK_MIGRATIONS), *rooms):
        steps = read_migrations(room, folder, engine)
        known = await database.read(lambda tx, room=room: _applied_of(tx, room))  # type: ignore[misc]
        _check_known(room, steps, known)
        for step in steps[len(known) :]:
            await database.write(lambda tx, step=step: _apply(tx, step, clock.now_ms()))  # type: ignore[misc]
            applied.append(step)
    return applied


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


def _check_known(room: str, steps: list[Migration], known: list[tuple[int, str]]) -> None:
    """Compare what was applied with what this release knows."""
    if len(known) > len(steps) + 1:
        msg = (
            f"{room}: the database has {len(known)} migrations, this release knows {len(steps)}; "
            "run the newer release"
        )
        raise ConfigurationError(msg)
    for step, (number, digest) in zip(steps, known, strict=False):
        if (step.number, step.digest) != (number, digest):
            msg = f"{room}: migration {step.number:04}_{step.name} was edited after it was applied"
            raise ConfigurationError(msg)
