"""Both engines have the same tables: what a migration's twin says cannot drift from the other."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest

from moothall.action.migrations import migrate
from moothall.app.compose import find_catalog
from moothall.app.config import Settings
from moothall.testing import ManualClock
from tests.contract.databases import open_postgres, open_sqlite

TYPES = {"INTEGER": "int8", "BIGINT": "int8", "REAL": "float8", "BLOB": "bytea", "TEXT": "text"}


class Table(NamedTuple):
    """What can be compared of a table.

    Attributes:
        columns: Name, type, and whether it may be NULL.
        key: Columns of the primary key, in order.
        indexes: Columns of each other index, whether it is unique, and whether it is partial.
        references: Columns that name rows of another table, and that table.
    """

    columns: list[tuple[str, str, bool]]
    key: list[str]
    indexes: list[tuple[tuple[str, ...], bool, bool]]
    references: list[tuple[str, str]]


async def migrated(place: Path, open_database: Any) -> Any:
    database = await open_database(place)
    rooms = find_catalog(Settings(data=str(place))).migrations
    await migrate(database, ManualClock(), rooms, database.engine)
    return database


def read_sqlite(path: Path) -> dict[str, Table]:
    tables = {}
    with closing(sqlite3.connect(path)) as connection:

        def ask(sql: str, *params: object) -> list[Any]:
            return connection.execute(sql, params).fetchall()

        names = ask(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        )
        for (name,) in names:
            columns = ask('SELECT name, type, "notnull", pk FROM pragma_table_info(?)', name)
            indexes = [
                (
                    tuple(c for (c,) in ask("SELECT name FROM pragma_index_info(?)", index)),
                    bool(unique),
                    bool(partial),
                )
                for index, unique, origin, partial in ask(
                    'SELECT name, "unique", origin, partial FROM pragma_index_list(?)', name
                )
                if origin != "pk"
            ]
            tables[name] = Table(
                sorted((c, TYPES[kind], not (notnull or pk)) for c, kind, notnull, pk in columns),
                [c for c, _, _, pk in sorted(columns, key=lambda each: each[3]) if pk],
                sorted(indexes, key=str),
                sorted(ask('SELECT "from", "table" FROM pragma_foreign_key_list(?)', name)),
            )
    return tables


async def read_postgres(url: str) -> dict[str, Table]:
    connection = await asyncpg.connect(url)
    try:
        names = await connection.fetch(
            "SELECT relname, oid FROM pg_class WHERE relkind = 'r' "
            "AND relnamespace = 'public'::regnamespace"
        )
        return {name: await _read_table(connection, oid) for name, oid in names}
    finally:
        await connection.close()


async def _read_table(connection: Any, oid: int) -> Table:
    columns = await connection.fetch(
        "SELECT attname, typname, NOT attnotnull "
        "FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid "
        "WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped",
        oid,
    )
    indexes = await connection.fetch(
        "SELECT ARRAY(SELECT pg_get_indexdef(indexrelid, n, true) "
        "FROM generate_series(1, indnkeyatts) AS n), "
        "indisunique, indpred IS NOT NULL, indisprimary FROM pg_index WHERE indrelid = $1",
        oid,
    )
    references = await connection.fetch(
        "SELECT attname, confrelid::regclass::text FROM pg_constraint "
        "JOIN pg_attribute ON attrelid = conrelid AND attnum = ANY (conkey) "
        "WHERE conrelid = $1 AND contype = 'f'",
        oid,
    )
    return Table(
        sorted(map(tuple, columns)),
        next((list(names) for names, _, _, is_key in indexes if is_key), []),
        sorted(((tuple(n), u, p) for n, u, p, is_key in indexes if not is_key), key=str),
        sorted(map(tuple, references)),
    )


@pytest.mark.requirement("R36")
async def test_both_engines_have_the_same_tables(tmp_path: Path) -> None:
    database = await migrated(tmp_path, open_sqlite)
    await database.close()
    on_sqlite = read_sqlite(tmp_path / "hall.sqlite")
    database = await migrated(tmp_path, open_postgres)
    on_postgres = await read_postgres(database._writers._address.url)
    await database.close()
    assert on_sqlite.keys() == on_postgres.keys()
    assert len(on_sqlite) > 30
    for name, table in on_sqlite.items():
        assert on_postgres[name] == table, name
