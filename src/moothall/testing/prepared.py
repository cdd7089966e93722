"""A data folder as the first start of a hall leaves it, before anybody came.

Applying every migration to an empty file is most of what it takes to open a hall, and
thousands of tests open one. So a process applies them once for each set of rooms, by the
program's own `migrate`, and each new folder begins with a copy of the file that came of it.

Whoever edits it: what differs from hall to hall must not come out of the copy. That is the
epoch of the cursors, and the sealing key, which is made here as the hall itself makes it.
"""

import tempfile
from pathlib import Path

import apsw

from moothall.action.migrations import Migration, migrate, read_migrations
from moothall.app.compose import find_catalog
from moothall.app.config import Settings
from moothall.app.foundation import DATABASE_FILE, KEY_FILE
from moothall.app.keyfile import load_sealing_key
from moothall.ports.entropy import Entropy
from moothall.storage.sqlite import SqliteDatabase
from moothall.testing.clock import ManualClock

FILES_MAX = 16
"""How many sets of rooms are remembered; a file has about 500 KB."""

Steps = tuple[list[tuple[str, Path | None]], tuple[Migration, ...]]
"""The rooms with the folders of their migrations, and what stands there."""

_files: dict[tuple[Migration, ...], bytes] = {}
_steps: dict[tuple[tuple[str, ...], bool, str], Steps] = {}
_ANOTHER_EPOCH = "UPDATE action_epoch SET epoch = lower(hex(randomblob(4)))"


async def prepare_folder(settings: Settings, entropy: Entropy) -> None:
    """Make the data folder of ``settings``; one that is there already stays as it is.

    Raises:
        ConfigurationError: A room is declared wrongly, or one of its migrations is.
    """
    folder = settings.data_path
    if folder.exists():
        return
    content = await _migrated(settings)
    folder.mkdir(mode=0o700, parents=True)
    database = folder / DATABASE_FILE
    load_sealing_key(folder / KEY_FILE, entropy, database=database)
    database.touch(0o600)
    database.write_bytes(content)
    connection = apsw.Connection(str(database))
    connection.execute(f"PRAGMA synchronous = OFF; {_ANOTHER_EPOCH}")
    connection.close()


def find_steps(settings: Settings, engine: str) -> Steps:
    """Return the migrations of the rooms that the settings choose.

    Those of rooms that are installed are read once, of which there are few choices; a test may
    rewrite its own.

    Raises:
        ConfigurationError: A room is declared wrongly, or one of its migrations is.
    """
    key = (tuple(settings.rooms), settings.is_resource_server, engine)
    known = None if settings.functions else _steps.get(key)
    if known is None:
        rooms = find_catalog(settings).migrations
        known = rooms, tuple(step for room in rooms for step in read_migrations(*room, engine))
        if not settings.functions:
            _steps[key] = known
    return known


async def _migrated(settings: Settings) -> bytes:
    """Return the database file of a hall with these rooms and nothing in it."""
    rooms, key = find_steps(settings, SqliteDatabase.engine)
    if key not in _files:
        if len(_files) == FILES_MAX:
            del _files[next(iter(_files))]
        _files[key] = await _migrate_new_file(rooms)
    return _files[key]


async def _migrate_new_file(rooms: list[tuple[str, Path | None]]) -> bytes:
    """Apply all migrations to an empty file, and return what is in it then."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / DATABASE_FILE
        database = SqliteDatabase.open(path, on_sync_failure=_raise)
        try:
            await migrate(database, ManualClock(), rooms, database.engine)
        finally:
            await database.close()
        return path.read_bytes()


def _raise(error: BaseException) -> None:
    """End the test: the disk under it failed."""
    raise error
