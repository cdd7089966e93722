"""Many rows in few statements, for a room that brings in or looks up hundreds at once.

A statement has as many parameters as it was written with, and SQLite and PostgreSQL prepare each
text anew. So rows go in blocks of a few fixed sizes: the texts are always the same, few, and
prepared once.

Whoever edits this: on SQLite a statement of several rows that is one of many in a large
transaction costs 0.1 ms and more before it does anything, because its own savepoint ends with a
walk over all pages that the call has changed. So blocks are large.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import TypeVar

from moothall.ports.database import Row, Transaction

T = TypeVar("T")

PARAMETERS_MAX = 2_000
"""Parameters of one insertion. Far below what an engine takes (SQLite 32,766), and the text is
short enough to be kept prepared: apsw keeps none of more than 16 KiB."""

_SMALLER = 8
"""How many times smaller each next size of blocks is."""

LOOKED_UP = (16, 128)
"""Values that one statement looks up; a shorter list repeats its last one."""


def cut_blocks(rows: Sequence[T], columns: int) -> Iterator[Sequence[T]]:
    """Yield all rows in order, in blocks of a few sizes, the largest first."""
    at, size = 0, max(1, PARAMETERS_MAX // columns)
    while at < len(rows):
        while len(rows) - at >= size:
            yield rows[at : at + size]
            at += size
        size = max(1, size // _SMALLER)


async def insert_rows(
    tx: Transaction, sql: str, rows: Sequence[tuple[object, ...]], tail: str = ""
) -> int:
    """Insert rows of equal width and return how many rows were changed.

    Args:
        tx: The transaction.
        sql: ``INSERT INTO room_table (a, b) VALUES``.
        rows: Their values, in the order of the columns.
        tail: What follows the values, such as ``ON CONFLICT DO NOTHING``.
    """
    changed = 0
    for text, values in _insertions(sql, rows, tail):
        changed += await tx.execute(text, *values)
    return changed


async def insert_returning(
    tx: Transaction, sql: str, rows: Sequence[tuple[object, ...]], tail: str
) -> list[Row]:
    """Insert rows like :func:`insert_rows`; return what ``RETURNING`` gives, in any order."""
    returned: list[Row] = []
    for text, values in _insertions(sql, rows, tail):
        returned += await tx.fetch_all(text, *values)
    return returned


def _insertions(
    sql: str, rows: Sequence[tuple[object, ...]], tail: str
) -> Iterator[tuple[str, Iterable[object]]]:
    """Yield statements and their parameters."""
    columns = len(rows[0]) if rows else 1
    for block in cut_blocks(rows, columns):
        yield _insert_text(sql, len(block), columns, tail), chain.from_iterable(block)


async def fetch_among(
    tx: Transaction, sql: str, values: Sequence[object], *scope: object
) -> list[Row]:
    """Return the rows of all blocks of ``values``.

    Args:
        tx: The transaction.
        sql: ``SELECT ... WHERE a = $1 AND b IN ({values})``; no other braces.
        values: What ``{values}`` stands for, each once.
        scope: The parameters ``$1`` and following.
    """
    small, large = LOOKED_UP
    rows: list[Row] = []
    for at in range(0, len(values), large):
        block = list(values[at : at + large])
        size = small if len(block) <= small else large
        block += block[-1:] * (size - len(block))
        rows += await tx.fetch_all(_among_text(sql, size, len(scope)), *scope, *block)
    return rows


@lru_cache(maxsize=256)
def _insert_text(sql: str, rows: int, columns: int, tail: str) -> str:
    """Return the statement for a number of rows."""
    marks = (
        ", ".join(f"${row * columns + column + 1}" for column in range(columns))
        for row in range(rows)
    )
    return f"{sql} {', '.join(f'({each})' for each in marks)} {tail}"


@lru_cache(maxsize=256)
def _among_text(sql: str, count: int, scope: int) -> str:
    """Return the statement for a number of values."""
    return sql.format(values=", ".join(f"${scope + at + 1}" for at in range(count)))
