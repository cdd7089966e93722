"""Tables on their way from SQLite to PostgreSQL: row by row, in the order of their keys.

Rows travel in PostgreSQL's binary format for COPY, made here. The server gives them back in the
same format and the same order, so one digest over all bytes compares a whole table; nothing is
held in memory but a block.
"""

import struct
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from moothall.app.manifest import Advance
from moothall.app.snapshot import Snapshot
from moothall.core.errors import ConfigurationError
from moothall.core.units import MEBIBYTE

BLOCK_BYTES = MEBIBYTE
"""About how much is sent at once: a block, and one row more."""

LEFT_OUT = frozenset({"action_migration"})
"""Each engine keeps its own: which of its files were applied, by their digests."""

# https://www.postgresql.org/docs/current/sql-copy.html: signature, flags, length of an extension.
_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_TRAILER = struct.pack(">h", -1)
_NULL = struct.pack(">i", -1)

_COLUMNS = """
SELECT c.relname, a.attname, t.typname
FROM pg_class AS c
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type AS t ON t.oid = a.atttypid
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'
ORDER BY c.relname, a.attnum
"""
_KEYS = """
SELECT c.relname, a.attname
FROM pg_index AS i
JOIN pg_class AS c ON c.oid = i.indrelid AND c.relnamespace = current_schema()::regnamespace
CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.attnum
WHERE i.indisprimary ORDER BY c.relname, k.place
"""
_REFERENCES = """
SELECT conrelid::regclass::text, quote_ident(conname), pg_get_constraintdef(oid)
FROM pg_constraint
WHERE contype = 'f' AND connamespace = current_schema()::regnamespace ORDER BY 1, 2
"""
_TABLES_OF_SQLITE = """
SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
"""

_Field = Callable[[Any], bytes]


@dataclass(frozen=True, slots=True)
class Table:
    """A table that is on both sides.

    Attributes:
        name: Its name.
        columns: Names, and types as PostgreSQL calls them, in its order.
        order: Columns that put its rows in one order on both sides: the primary key, or all.
    """

    name: str
    columns: Mapping[str, str]
    order: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Content:
    """What is in a table."""

    rows: int
    digest: bytes


async def read_tables(connection: Any) -> list[Table]:
    """Return the tables that the migrations made on PostgreSQL, but for their ledger."""
    columns: dict[str, dict[str, str]] = {}
    for table, column, kind in await connection.fetch(_COLUMNS):
        columns.setdefault(table, {})[column] = kind
    keys: dict[str, list[str]] = {}
    for table, column in await connection.fetch(_KEYS):
        keys.setdefault(table, []).append(column)
    return [
        Table(name, found, tuple(keys.get(name, found)))
        for name, found in columns.items()
        if name not in LEFT_OUT
    ]


def check_alike(snapshot: Snapshot, tables: Iterable[Table]) -> None:
    """Refuse rows for which there is no place.

    Raises:
        ConfigurationError: A table or a column is on one side only, or of a type that cannot be
            filled; it is named.
    """
    there = {table.name: table for table in tables}
    here = {str(name) for (name,) in snapshot.fetch_all(_TABLES_OF_SQLITE)} - LEFT_OUT
    for name in sorted(here ^ there.keys()):
        side, other = ("SQLite", "PostgreSQL") if name in here else ("PostgreSQL", "SQLite")
        msg = (
            f"table {name}: migrations make it on {side} and not on {other}; serve the rooms that "
            "the hall has rows of (rooms, functions), or mend the migration of the room"
        )
        raise ConfigurationError(msg)
    for table in there.values():
        sql = f"SELECT name FROM pragma_table_info('{table.name}')"
        columns = {str(name) for (name,) in snapshot.fetch_all(sql)}
        if strange := columns ^ table.columns.keys():
            msg = (
                f"table {table.name}: the columns {', '.join(sorted(strange))} are on one engine "
                "only; mend the migration of the room"
            )
            raise ConfigurationError(msg)
        for column, kind in table.columns.items():
            if kind not in _FIELDS:
                msg = (
                    f"table {table.name}: column {column} has the type {kind} on PostgreSQL, which "
                    f"cannot be filled from SQLite; types are {', '.join(sorted(_FIELDS))}"
                )
                raise ConfigurationError(msg)


async def drop_references(connection: Any) -> list[str]:
    """Take all foreign keys away, so that tables can be filled in any order.

    Returns:
        Statements that bring them back, each of which compares all rows at once.
    """
    found = await connection.fetch(_REFERENCES)
    for table, name, _ in found:
        await connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    return [f"ALTER TABLE {table} ADD CONSTRAINT {name} {what}" for table, name, what in found]


async def fill(connection: Any, snapshot: Snapshot, table: Table, advance: Advance) -> Content:
    """Copy the rows of a table; ``advance`` is told of rows.

    Raises:
        ConfigurationError: A value has no place in its column; the column is named.
    """
    sending = _Sending(snapshot, table, advance)
    await connection.copy_to_table(
        table.name, source=sending.blocks(), columns=[*table.columns], format="binary"
    )
    return Content(sending.rows, sending.digest.digest())


async def read_back(connection: Any, table: Table, advance: Advance, sent: Content) -> Content:
    """Read all rows of a table on PostgreSQL; ``advance`` is told of rows.

    Args:
        connection: To PostgreSQL.
        table: The table.
        advance: Told of rows.
        sent: What was copied, by which progress is told.
    """
    digest = blake2b(digest_size=32)

    async def take(block: bytes) -> None:
        digest.update(block)

    order = ", ".join(
        f'"{name}"{_collate(table.columns[name])} NULLS FIRST' for name in table.order
    )
    names = ", ".join(f'"{name}"' for name in table.columns)
    sql = f'SELECT {names} FROM "{table.name}" ORDER BY {order}'
    status = await connection.copy_from_query(sql, output=take, format="binary")
    advance(sent.rows)
    return Content(int(status.rpartition(" ")[2]), digest.digest())


def _collate(kind: str) -> str:
    """Return how texts are put in order: byte by byte, as SQLite does."""
    return ' COLLATE "C"' if kind in {"text", "varchar"} else ""


class _Sending:
    """The rows of a table as one stream of blocks.

    Attributes:
        rows: How many were sent.
        digest: Of all bytes that were sent.
    """

    def __init__(self, snapshot: Snapshot, table: Table, advance: Advance) -> None:
        """Read from ``snapshot``."""
        self._snapshot = snapshot
        self._table = table
        self._advance = advance
        self._fields = [_FIELDS[kind] for kind in table.columns.values()]
        self._count = struct.pack(">h", len(self._fields))
        self.rows = 0
        self.digest = blake2b(digest_size=32)

    async def blocks(self) -> AsyncIterator[bytes]:
        """Yield header, rows and trailer."""
        table = self._table
        names = ", ".join(f'"{name}"' for name in table.columns)
        order = ", ".join(f'"{name}" COLLATE BINARY NULLS FIRST' for name in table.order)
        sql = f'SELECT {names} FROM "{table.name}" ORDER BY {order}'
        block, told = bytearray(_HEADER), 0
        for row in self._snapshot.connection.execute(sql):
            block += self._encode(row)
            self.rows += 1
            if len(block) >= BLOCK_BYTES:
                yield self._finish(block)
                self._advance(self.rows - told)
                block, told = bytearray(), self.rows
        block += _TRAILER
        yield self._finish(block)
        self._advance(self.rows - told)

    def _finish(self, block: bytearray) -> bytes:
        self.digest.update(block)
        return bytes(block)

    def _encode(self, row: tuple[Any, ...]) -> bytes:
        try:
            return self._count + b"".join(
                [
                    _NULL if value is None else field(value)
                    for field, value in zip(self._fields, row, strict=True)
                ]
            )
        except (struct.error, TypeError, AttributeError, UnicodeError):
            raise self._explain(row) from None

    def _explain(self, row: tuple[Any, ...]) -> ConfigurationError:
        """Return the error of a row with a value that its column cannot hold."""
        for (name, kind), field, value in zip(
            self._table.columns.items(), self._fields, row, strict=True
        ):
            try:
                if value is not None:
                    field(value)
            except (struct.error, TypeError, AttributeError, UnicodeError):
                msg = (
                    f"table {self._table.name}: row {self.rows + 1} in the order of its key has a "
                    f"{type(value).__name__} in column {name}, which is of type {kind}; mend that "
                    "row, or restore a backup"
                )
                return ConfigurationError(msg)
        raise AssertionError


def _pack(form: str) -> _Field:
    """Return how a value of a fixed length is written: its length and itself."""
    whole = struct.Struct(f">i{form}")
    length = struct.calcsize(f">{form}")
    return lambda value: whole.pack(length, value)


def _write_text(value: str) -> bytes:
    content = value.encode()
    return struct.pack(">i", len(content)) + content


def _write_bytes(value: bytes) -> bytes:
    return struct.pack(">i", len(value)) + value  # adding a text raises TypeError


_FIELDS: Mapping[str, _Field] = {
    "int2": _pack("h"),
    "int4": _pack("i"),
    "int8": _pack("q"),
    "float8": _pack("d"),
    "bool": _pack("?"),
    "text": _write_text,
    "varchar": _write_text,
    "bytea": _write_bytes,
}
"""How values of each type are written; https://www.postgresql.org/docs/current/sql-copy.html."""
