"""Migrations: forward only, each step whole, and none edited behind the database's back."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from moothall.action.migrations import ENGINES, Migration, migrate, read_migrations
from moothall.core.errors import ConfigurationError
from moothall.storage.sqlite import SqliteDatabase
from moothall.testing.clock import ManualClock
from tests.contract.databases import never

NOTES = "CREATE TABLE notes_note (id INTEGER PRIMARY KEY, text TEXT NOT NULL)"
TITLE = "ALTER TABLE notes_note ADD COLUMN title TEXT NOT NULL DEFAULT ''"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    database = SqliteDatabase.open(tmp_path / "hall.sqlite", on_sync_failure=never)
    yield database
    await database.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The migrations of a room called notes."""
    folder = tmp_path / "notes" / "migrations"
    folder.mkdir(parents=True)
    return folder


def write(folder: Path, **files: str) -> None:
    """Write files; a double underscore in a name stands for a dot."""
    for name, sql in files.items():
        (folder / f"{name.removeprefix('n').replace('__', '.')}.sql").write_text(sql)


async def apply(database: SqliteDatabase, folder: Path) -> list[str]:
    """Migrate the room; return which of its steps were applied."""
    applied = await migrate(database, ManualClock(), [("notes", folder)], database.engine)
    return [f"{step.number:04}_{step.name}" for step in applied if step.room == "notes"]


async def tables(database: SqliteDatabase) -> set[str]:
    sql = "SELECT name FROM sqlite_schema WHERE type = 'table'"
    return {row[0] for row in await database.read(lambda tx: tx.fetch_all(sql))}


async def columns(database: SqliteDatabase) -> list[str]:
    sql = "SELECT name FROM pragma_table_info('notes_note')"
    return [row[0] for row in await database.read(lambda tx: tx.fetch_all(sql))]


# --- Reading the files ----------------------------------------------------------------------------


def test_steps_come_in_order(folder: Path) -> None:
    write(folder, n0002_title=TITLE, n0001_notes=NOTES)
    assert read_migrations("notes", folder, "sqlite") == [
        Migration("notes", 1, "notes", NOTES),
        Migration("notes", 2, "title", TITLE),
    ]


@pytest.mark.parametrize("folder_name", [None, "nowhere"])
def test_a_room_may_have_no_steps(tmp_path: Path, folder_name: str | None) -> None:
    folder = tmp_path / folder_name if folder_name else None
    assert read_migrations("notes", folder, "sqlite") == []


@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_each_engine_reads_its_own(folder: Path, engine: str) -> None:
    write(folder, n0001_notes=NOTES, n0002_x__sqlite="for sqlite", n0002_x__postgres="for postgres")
    steps = read_migrations("notes", folder, engine)
    assert [step.sql for step in steps] == [NOTES, f"for {engine}"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["n0002_notes"], "without a gap"),
        (["n0001_notes", "n0003_title"], "without a gap"),
        (["n0000_notes"], "without a gap"),
        (["n0001_notes", "n0001_title"], "two migrations have the number 0001"),
        (["n0001_notes", "n0001_notes__sqlite"], "two migrations have the number 0001"),
        (["n0001_notes__postgres", "n0002_title"], "without a gap"),
        (["n1_notes"], "is not NNNN_name"),
        (["n0001_Notes"], "is not NNNN_name"),
        (["n0001"], "is not NNNN_name"),
        (["n0001_notes__oracle"], "is not NNNN_name"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else "",
)
def test_strange_files_are_refused(folder: Path, files: list[str], message: str) -> None:
    write(folder, **dict.fromkeys(files, NOTES))
    with pytest.raises(ConfigurationError, match=f"notes: .*{message}"):
        read_migrations("notes", folder, "sqlite")


def test_a_file_that_is_no_migration_is_refused(folder: Path) -> None:
    (folder / "0001_notes.sql.orig").write_text(NOTES)
    with pytest.raises(ConfigurationError, match=r"0001_notes\.sql\.orig"):
        read_migrations("notes", folder, "sqlite")


# --- Applying them --------------------------------------------------------------------------------


async def test_each_step_is_applied_once(database: SqliteDatabase, folder: Path) -> None:
    write(folder, n0001_notes=NOTES)
    assert await apply(database, folder) == ["0001_notes"]
    assert await apply(database, folder) == []
    write(folder, n0002_title=TITLE)
    assert await apply(database, folder) == ["0002_title"]
    assert await apply(database, folder) == []
    assert await columns(database) == ["id", "text", "title"]


async def test_the_frameworks_tables_come_first(database: SqliteDatabase, folder: Path) -> None:
    write(folder, n0001_notes="INSERT INTO action_stream (stream, last_seq) VALUES ('notes', 0)")
    assert await apply(database, folder) == ["0001_notes"]


async def test_what_was_applied_is_written_down(database: SqliteDatabase, folder: Path) -> None:
    write(folder, n0001_notes=NOTES)
    await apply(database, folder)
    sql = "SELECT number, name, digest FROM action_migration WHERE room = $1"
    (step,) = read_migrations("notes", folder, "sqlite")
    rows = await database.read(lambda tx: tx.fetch_all(sql, "notes"))
    assert rows == [(1, "notes", step.digest)]


async def test_a_step_that_fails_leaves_nothing(database: SqliteDatabase, folder: Path) -> None:
    broken = f"{NOTES}; INSERT INTO notes_note (id, text) VALUES (1, 'a'); SELECT nonsense;"
    write(folder, n0001_notes=broken)
    with pytest.raises(Exception, match="nonsense"):
        await apply(database, folder)
    assert "notes_note" not in await tables(database)
    # Once mended, it is applied whole.
    write(folder, n0001_notes=NOTES)
    assert await apply(database, folder) == ["0001_notes"]


async def test_a_step_that_cannot_be_applied_is_named(
    database: SqliteDatabase, folder: Path
) -> None:
    write(folder, n0001_notes=NOTES, n0002_title="CREATE TABL x", n0003_last="SELECT 1")
    with pytest.raises(ConfigurationError) as refused:
        await apply(database, folder)
    told = str(refused.value)
    assert told.startswith(f"notes: {folder / '0002_title.sql'}: the migration cannot be applied: ")
    assert "TABL" in told
    assert "\n" not in told


async def test_a_failure_leaves_the_tables_as_they_were(
    database: SqliteDatabase, folder: Path
) -> None:
    write(folder, n0001_notes=NOTES)
    await apply(database, folder)
    write(folder, n0002_title=TITLE, n0003_last="ALTER TABLE no_such_table ADD COLUMN x")
    with pytest.raises(Exception, match="no_such_table"):
        await apply(database, folder)
    assert await columns(database) == ["id", "text"]
    write(folder, n0003_last="SELECT 1")
    assert await apply(database, folder) == ["0002_title", "0003_last"]


@pytest.mark.parametrize("ending", ["COMMIT", "ROLLBACK", "COMMIT; BEGIN", "ROLLBACK; BEGIN"])
async def test_a_step_cannot_end_its_transaction(
    database: SqliteDatabase, folder: Path, ending: str
) -> None:
    write(folder, n0001_notes=f"{NOTES}; {ending};")
    with pytest.raises(Exception, match=r".+"):  # the driver's own
        await apply(database, folder)
    assert "notes_note" not in await tables(database)


async def test_a_step_that_breaks_a_reference_leaves_nothing(
    database: SqliteDatabase, folder: Path
) -> None:
    write(
        folder,
        n0001_notes=f"""
        {NOTES};
        CREATE TABLE notes_mark (
          note_id INTEGER REFERENCES notes_note (id) DEFERRABLE INITIALLY DEFERRED);
        INSERT INTO notes_mark VALUES (999);
        """,
    )
    with pytest.raises(Exception, match="FOREIGN KEY"):
        await apply(database, folder)
    assert not {"notes_note", "notes_mark"} & await tables(database)


async def test_an_edited_step_is_noticed(database: SqliteDatabase, folder: Path) -> None:
    write(folder, n0001_notes=NOTES)
    await apply(database, folder)
    write(folder, n0001_notes=f"{NOTES} ", n0002_title=TITLE)
    with pytest.raises(ConfigurationError, match=r"0001_notes was edited.*write 0003_.*--data DIR"):
        await apply(database, folder)
    assert await columns(database) == ["id", "text"]


async def test_the_schema_may_be_one_release_ahead(database: SqliteDatabase, folder: Path) -> None:
    write(folder, n0001_notes=NOTES, n0002_title=TITLE)
    await apply(database, folder)
    with capture_logs() as logs:
        assert await apply(database, folder) == []
        assert logs == []
        (folder / "0002_title.sql").unlink()
        assert await apply(database, folder) == []
    [said] = logs
    assert said["event"] == "the database has a migration more than this release"
    assert said["room"] == "notes"


async def test_a_newer_schema_is_refused(database: SqliteDatabase, folder: Path) -> None:
    write(folder, n0001_notes=NOTES, n0002_title=TITLE, n0003_last="SELECT 1")
    await apply(database, folder)
    (folder / "0002_title.sql").unlink()
    (folder / "0003_last.sql").unlink()
    with pytest.raises(ConfigurationError, match="has 3 migrations, this release knows 1"):
        await apply(database, folder)


async def test_rooms_count_by_themselves(
    database: SqliteDatabase, folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "marks" / "migrations"
    other.mkdir(parents=True)
    write(folder, n0001_notes=NOTES)
    write(other, n0001_marks="CREATE TABLE marks_mark (id INTEGER PRIMARY KEY)")
    rooms = [("notes", folder), ("marks", other)]
    applied = await migrate(database, ManualClock(), rooms, database.engine)
    assert [(s.room, s.number) for s in applied if s.room != "action"] == [
        ("notes", 1),
        ("marks", 1),
    ]
    assert {"notes_note", "marks_mark"} <= await tables(database)
