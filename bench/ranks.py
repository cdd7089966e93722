"""``python -m bench.ranks``: compare rank structures on SQLite, in one process, without a hall.

Fills a board with each structure, compares sampled answers with a sorted list, then lets
the structures take turns in rounds: 100 insertions in one transaction (as group commit
makes them), 100 deletions, 50 places of a key, and 10 pages of 50 at a random offset. Who
takes turns shares the disturbances of a shared machine, so compare within one table only.

Figures are processor microseconds per operation, its share of the commit included: the
tenth percentile of the rounds (the machine left alone), then the median.

Decision 0002 shows what came out.
"""

import argparse
import random
import re
import statistics
import struct
import tempfile
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from time import process_time_ns
from typing import Any, NamedTuple, Protocol, TypeVar

import apsw

import moothall.services
from moothall.action.migrations import read_migrations
from moothall.ports.database import Horizon, Row, Transaction
from moothall.services.leaderboards.store.ranks import Position, Ranks

T = TypeVar("T")

BOARD = "board-7"
PAGE_ROWS = 50
ROWS_PER_COMMIT = 100
FILL_ROWS_PER_COMMIT = 10_000
PLACES_PER_ROUND = 50
PAGES_PER_ROUND = 10
CHECKED_SAMPLES = 30
PAGE_SIZE_BYTES = 4096
ONE_LEVEL = 1 << 40
"""So many buckets in a group that there is only one group."""

MIGRATIONS = Path(moothall.services.__path__[0], "leaderboards", "migrations")


@cache
def numbered(sql: str) -> str:
    """Write parameters as SQLite numbers them: ``$1`` becomes ``?1``."""
    return re.sub(r"\$(\d+)", r"?\1", sql)


class PlainTransaction:
    """The port over one apsw connection, without savepoints or checks."""

    engine = "sqlite"

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    async def fetch_one(self, sql: str, *params: Any) -> Row | None:
        """Return the first row, or None."""
        rows = self._connection.execute(numbered(sql), params).fetchall()
        return rows[0] if rows else None

    async def fetch_all(self, sql: str, *params: Any) -> list[Row]:
        """Return all rows."""
        return self._connection.execute(numbered(sql), params).fetchall()

    async def execute(self, sql: str, *params: Any) -> int:
        """Run one statement and return the number of rows it changed."""
        self._connection.execute(numbered(sql), params)
        return self._connection.changes()

    async def append(self, sql: str, *params: Any) -> None:
        """Insert at once."""
        await self.execute(sql, *params)

    async def append_returning(self, sql: str, *params: Any) -> Row | None:
        """Insert at once, and return the first row."""
        return await self.fetch_one(sql, *params)

    async def execute_script(self, sql: str) -> None:
        """Run several statements."""
        self._connection.execute(sql)

    async def lock_rows(self, sql: str, *params: Any) -> list[Row]:
        """Read: there is one writer."""
        return await self.fetch_all(sql, *params)

    async def lock(self, name: str) -> None:
        """Go on: there is one writer."""

    async def find_horizon(self) -> Horizon | None:
        """Return None: there is one node."""
        return None

    async def lift_limits(self) -> None:
        """Do nothing: there are none."""

    async def tell_nodes(self, topic: str, key: str) -> None:
        """Tell nobody: there is one node."""

    async def nested(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run ``work`` without a savepoint: a bench does not undo."""
        return await work()

    def on_commit(self, hook: Callable[[], None]) -> None:
        """Run the hook at once."""
        hook()


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run what never suspends, as the writer does on SQLite."""
    try:
        work.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # an exception carries Any
    raise RuntimeError("a statement on SQLite never suspends")


# --- The structures -------------------------------------------------------------------------------


class Structure(Protocol):
    """What a rank structure must answer; ``name`` stands in the table."""

    name: str
    ddl: str

    async def insert(self, tx: Transaction, position: Position) -> None:
        """Rank a row."""

    async def delete(self, tx: Transaction, position: Position) -> None:
        """Take a row out."""

    async def count_better(self, tx: Transaction, key: float) -> int:
        """Return the number of rows with a smaller key."""

    async def list_from(self, tx: Transaction, offset: int) -> list[Position]:
        """Return a page of rows from an offset on."""


RANK_DDL = """
    CREATE TABLE bench_rank (
      key REAL NOT NULL, submitted_at_ms INTEGER NOT NULL, entry_id TEXT NOT NULL,
      board_id TEXT NOT NULL, PRIMARY KEY (board_id, key, submitted_at_ms, entry_id)
    ) WITHOUT ROWID, STRICT;
    """
COLUMNS = "key, submitted_at_ms, entry_id"


class Plain:
    """No structure: ``count(*)`` and ``OFFSET`` over the primary key."""

    name = "plain count"
    ddl = RANK_DDL

    async def insert(self, tx: Transaction, position: Position) -> None:
        """Rank a row."""
        await tx.execute(
            f"INSERT INTO bench_rank ({COLUMNS}, board_id) VALUES ($1, $2, $3, $4)",
            *position,
            BOARD,
        )

    async def delete(self, tx: Transaction, position: Position) -> None:
        """Take a row out."""
        await tx.execute(
            f"DELETE FROM bench_rank WHERE ({COLUMNS}) = ($1, $2, $3) AND board_id = $4",
            *position,
            BOARD,
        )

    async def count_better(self, tx: Transaction, key: float) -> int:
        """Return the number of rows with a smaller key."""
        return await self.count_between(tx, -float("inf"), key)

    async def count_between(self, tx: Transaction, low: float, high: float) -> int:
        """Return the number of rows with ``low <= key < high``."""
        row = await tx.fetch_one(
            "SELECT count(*) FROM bench_rank WHERE board_id = $1 AND key >= $2 AND key < $3",
            BOARD,
            low,
            high,
        )
        return int(row[0]) if row else 0

    async def list_from(self, tx: Transaction, offset: int) -> list[Position]:
        """Return a page of rows from an offset on."""
        return await self.list_within(tx, -float("inf"), offset)

    async def list_within(self, tx: Transaction, low: float, offset: int) -> list[Position]:
        """Return a page that begins ``offset`` rows after the first with ``key >= low``."""
        rows = await tx.fetch_all(
            f"SELECT {COLUMNS} FROM bench_rank WHERE board_id = $1 AND key >= $2 "
            f"ORDER BY {COLUMNS} LIMIT $3 OFFSET $4",
            BOARD,
            low,
            PAGE_ROWS,
            offset,
        )
        return [Position(*row) for row in rows]


class KeyBuckets(Plain):
    """Counted ranges of keys, cut between two keys: a tie group is never cut."""

    ddl = f"""{RANK_DDL}
        CREATE TABLE bench_bucket (
          board_id TEXT NOT NULL, low REAL NOT NULL, row_count INTEGER NOT NULL,
          PRIMARY KEY (board_id, low)
        ) WITHOUT ROWID, STRICT;
        """

    def __init__(self, rows_max: int) -> None:
        self.name = f"key buckets {rows_max}"
        self._rows_max = rows_max

    async def insert(self, tx: Transaction, position: Position) -> None:
        """Rank a row, and cut its bucket if it is full and holds another key."""
        await super().insert(tx, position)
        bucket = await self._add(tx, position.key, 1)
        if bucket is None:
            await tx.execute("INSERT INTO bench_bucket VALUES ($1, $2, 1)", BOARD, -float("inf"))
        elif bucket[1] > self._rows_max and bucket[1] % (self._rows_max // 4) == 0:
            await self._cut(tx, *bucket)

    async def delete(self, tx: Transaction, position: Position) -> None:
        """Take a row out."""
        await super().delete(tx, position)
        await self._add(tx, position.key, -1)

    async def count_better(self, tx: Transaction, key: float) -> int:
        """Return the number of rows with a smaller key."""
        low = await self._find(tx, key)
        row = await tx.fetch_one(
            "SELECT coalesce(sum(row_count), 0) FROM bench_bucket WHERE board_id = $1 AND low < $2",
            BOARD,
            low,
        )
        return (int(row[0]) if row else 0) + await self.count_between(tx, low, key)

    async def list_from(self, tx: Transaction, offset: int) -> list[Position]:
        """Return a page of rows from an offset on."""
        row = await tx.fetch_one(
            "SELECT low, before FROM (SELECT low, row_count, sum(row_count) OVER (ORDER BY low) "
            "- row_count AS before FROM bench_bucket WHERE board_id = $1) AS b "
            "WHERE before <= $2 AND before + row_count > $2",
            BOARD,
            offset,
        )
        return await self.list_within(tx, row[0], offset - row[1]) if row else []

    async def _add(self, tx: Transaction, key: float, change: int) -> tuple[float, int] | None:
        row = await tx.fetch_one(
            "UPDATE bench_bucket SET row_count = row_count + $1 WHERE board_id = $2 AND low = "
            "(SELECT max(low) FROM bench_bucket WHERE board_id = $2 AND low <= $3) "
            "RETURNING low, row_count",
            change,
            BOARD,
            key,
        )
        return (row[0], row[1]) if row else None

    async def _find(self, tx: Transaction, key: float) -> float:
        row = await tx.fetch_one(
            "SELECT max(low) FROM bench_bucket WHERE board_id = $1 AND low <= $2", BOARD, key
        )
        return float(row[0]) if row else 0.0

    async def _cut(self, tx: Transaction, low: float, row_count: int) -> None:
        page = await self.list_within(tx, low, 0)
        middle = (await self.list_within(tx, low, row_count // 2))[0].key
        if middle == page[0].key:
            row = await tx.fetch_one(
                "SELECT min(key) FROM bench_rank WHERE board_id = $1 AND key > $2", BOARD, middle
            )
            middle = row[0] if row and row[0] is not None else middle
            high = await tx.fetch_one(
                "SELECT min(low) FROM bench_bucket WHERE board_id = $1 AND low > $2", BOARD, low
            )
            if middle == page[0].key or (high and high[0] is not None and middle >= high[0]):
                return
        kept = await self.count_between(tx, low, middle)
        await tx.execute(
            "UPDATE bench_bucket SET row_count = $1 WHERE board_id = $2 AND low = $3",
            kept,
            BOARD,
            low,
        )
        await tx.execute(
            "INSERT INTO bench_bucket VALUES ($1, $2, $3)", BOARD, middle, row_count - kept
        )


def prefixes(key: float) -> list[int]:
    """Return the first 8, 16, ..., 64 bits of a key as integers that order as keys do."""
    bits = struct.unpack(">q", struct.pack(">d", key + 0.0))[0]
    ordered = bits if bits >= 0 else bits ^ (1 << 63) - 1
    return [ordered >> 64 - 8 * depth for depth in range(1, 9)]


def key_of(ordered: int) -> float:
    """Return the key whose 64 bits were ordered as ``ordered``."""
    bits = ordered if ordered >= 0 else ordered ^ (1 << 63) - 1
    return float(struct.unpack(">d", struct.pack(">q", bits))[0])


class Radix(Plain):
    """A fixed tree over the 64 bits of the key, eight at a time, each prefix with its count."""

    name = "radix 8 x 8 bits"
    ddl = f"""{RANK_DDL}
        CREATE TABLE bench_prefix (
          board_id TEXT NOT NULL, depth INTEGER NOT NULL, prefix INTEGER NOT NULL,
          row_count INTEGER NOT NULL, PRIMARY KEY (board_id, depth, prefix)
        ) WITHOUT ROWID, STRICT;
        """
    _UPSERT = (
        "INSERT INTO bench_prefix VALUES "
        + ", ".join(f"($1, {depth}, ${depth + 2}, $2)" for depth in range(1, 9))
        + " ON CONFLICT (board_id, depth, prefix)"
        " DO UPDATE SET row_count = bench_prefix.row_count + excluded.row_count"
    )
    _COUNT = "SELECT " + " + ".join(
        "coalesce((SELECT sum(row_count) FROM bench_prefix WHERE board_id = $1 AND depth = "
        f"{depth} AND prefix >= ${2 * depth} AND prefix < ${2 * depth + 1}), 0)"
        for depth in range(1, 9)
    )

    async def insert(self, tx: Transaction, position: Position) -> None:
        """Rank a row and count it in its eight prefixes."""
        await super().insert(tx, position)
        await tx.execute(self._UPSERT, BOARD, 1, *prefixes(position.key))

    async def delete(self, tx: Transaction, position: Position) -> None:
        """Take a row out."""
        await super().delete(tx, position)
        await tx.execute(self._UPSERT, BOARD, -1, *prefixes(position.key))

    async def count_better(self, tx: Transaction, key: float) -> int:
        """Return the number of rows with a smaller key."""
        bounds = [bound for prefix in prefixes(key) for bound in (prefix >> 8 << 8, prefix)]
        bounds[0] = -128
        row = await tx.fetch_one(self._COUNT, BOARD, *bounds)
        return int(row[0]) if row else 0

    async def list_from(self, tx: Transaction, offset: int) -> list[Position]:
        """Return a page of rows from an offset on."""
        low, high = -128, 128
        for depth in range(1, 9):
            for prefix, row_count in await tx.fetch_all(
                "SELECT prefix, row_count FROM bench_prefix WHERE board_id = $1 AND depth = $2 "
                "AND prefix >= $3 AND prefix < $4 ORDER BY prefix",
                BOARD,
                depth,
                low,
                high,
            ):
                low = prefix << 8
                if offset < row_count:
                    break
                offset -= row_count
            high = low + 256
        return await self.list_within(tx, key_of(low >> 8), offset)


class Counted:
    """The structure of the leaderboards, with one level (no groups) or two."""

    ddl = "".join(step.sql for step in read_migrations("leaderboards", MIGRATIONS, "sqlite"))

    def __init__(self, rows_max: int, buckets_max: int) -> None:
        one_level = buckets_max == ONE_LEVEL
        self.name = f"one level {rows_max}" if one_level else f"two levels {rows_max}/{buckets_max}"
        self._ranks = Ranks(rows_max, buckets_max)

    async def insert(self, tx: Transaction, position: Position) -> None:
        """Rank a row."""
        await self._ranks.insert(tx, BOARD, position)

    async def delete(self, tx: Transaction, position: Position) -> None:
        """Take a row out."""
        await self._ranks.delete(tx, BOARD, position)

    async def count_better(self, tx: Transaction, key: float) -> int:
        """Return the number of rows with a smaller key."""
        return await self._ranks.count_better(tx, BOARD, key)

    async def list_from(self, tx: Transaction, offset: int) -> list[Position]:
        """Return a page of rows from an offset on."""
        return await self._ranks.list_from(tx, BOARD, offset, PAGE_ROWS)


STRUCTURES: tuple[Callable[[], Structure], ...] = (
    Plain,
    *(partial(KeyBuckets, rows_max) for rows_max in (256, 512, 1024, 2048)),
    Radix,
    *(partial(Counted, rows_max, ONE_LEVEL) for rows_max in (256, 512, 1024, 2048)),
    *(partial(Counted, *bounds) for bounds in ((64, 64), (128, 128), (256, 64), (512, 64))),
)

SCORES: dict[str, Callable[[random.Random, int], float]] = {
    "uniform": lambda chance, _: chance.uniform(0, 1e6),
    "ties": lambda chance, _: float(chance.randrange(5)),
    "sorted": lambda _, index: float(index),
    "tied": lambda _chance, _index: 1.0,
}


# --- Measuring ------------------------------------------------------------------------------------


class Board(NamedTuple):
    """A filled board in a file of its own."""

    structure: Structure
    connection: apsw.Connection
    tx: PlainTransaction
    row_bytes: float


def make_rows(scores: str, count: int) -> list[Position]:
    """Return rows in the order of their submission, the same ones each time."""
    chance = random.Random(7)
    key = SCORES[scores]
    return [
        Position(key(chance, index), 1_700_000_000_000 + index, f"{chance.getrandbits(96):024x}")
        for index in range(count)
    ]


def change_rows(
    board: Board,
    change: Callable[[Transaction, Position], Coroutine[Any, Any, None]],
    rows: Sequence[Position],
) -> None:
    """Change rows in one transaction."""
    board.connection.execute("BEGIN IMMEDIATE")
    for row in rows:
        finish(change(board.tx, row))
    board.connection.execute("COMMIT")


def check(structure: Structure, tx: Transaction, rows: Sequence[Position]) -> None:
    """Compare sampled answers with a sorted list.

    Raises:
        SystemExit: An answer is wrong.
    """
    chance, ordered = random.Random(9), sorted(rows)
    for offset in (chance.randrange(len(ordered)) for _ in range(CHECKED_SAMPLES)):
        key = ordered[offset].key
        better = finish(structure.count_better(tx, key))
        page = finish(structure.list_from(tx, offset))
        expected = bisect_left(ordered, (key,))
        if better != expected or page != ordered[offset : offset + PAGE_ROWS]:
            raise SystemExit(f"{structure.name} answers wrongly at {offset} of {len(ordered)}")


def fill(structure: Structure, folder: Path, rows: Sequence[Position]) -> Board:
    """Make a board of these rows, and check it."""
    connection = apsw.Connection(str(folder / f"{structure.name.replace('/', '-')}.db"))
    connection.execute(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -262144"
    )
    connection.execute(structure.ddl)
    tx = PlainTransaction(connection)
    board = Board(structure, connection, tx, 0.0)
    for first in range(0, len(rows), FILL_ROWS_PER_COMMIT):
        change_rows(board, structure.insert, rows[first : first + FILL_ROWS_PER_COMMIT])
    check(structure, tx, rows)
    return board._replace(
        row_bytes=int(connection.pragma("page_count")) * PAGE_SIZE_BYTES / len(rows)
    )


def time_round(
    board: Board, rows: Sequence[Position], keys: Sequence[float], offsets: Sequence[int]
) -> list[float]:
    """Return what an insertion, a deletion, a place and a page cost on this board."""
    structure, tx = board.structure, board.tx
    marks_ns = [process_time_ns()]
    change_rows(board, structure.insert, rows)
    marks_ns.append(process_time_ns())
    change_rows(board, structure.delete, rows)
    marks_ns.append(process_time_ns())
    for key in keys:
        finish(structure.count_better(tx, key))
    marks_ns.append(process_time_ns())
    for offset in offsets:
        finish(structure.list_from(tx, offset))
    marks_ns.append(process_time_ns())
    sizes = (len(rows), len(rows), len(keys), len(offsets))
    return [
        (end - begin) / size / 1e3
        for (begin, end), size in zip(pairwise(marks_ns), sizes, strict=True)
    ]


def measure(structures: Sequence[Structure], scores: str, count: int, rounds: int) -> None:
    """Fill a board per structure, let them take turns, and print a line for each."""
    rows = make_rows(scores, count + rounds * ROWS_PER_COMMIT)
    chance = random.Random(8)
    with tempfile.TemporaryDirectory() as folder:
        boards = [fill(structure, Path(folder), rows[:count]) for structure in structures]
        costs: list[list[list[float]]] = [[] for _ in boards]
        for first in range(count, len(rows), ROWS_PER_COMMIT):
            keys = [rows[chance.randrange(count)].key for _ in range(PLACES_PER_ROUND)]
            offsets = [chance.randrange(count) for _ in range(PAGES_PER_ROUND)]
            for board, cost in zip(boards, costs, strict=True):
                cost.append(time_round(board, rows[first : first + ROWS_PER_COMMIT], keys, offsets))
        for board, cost in zip(boards, costs, strict=True):
            cells = " | ".join(
                f"{statistics.quantiles(each, n=10)[0]:,.0f}, {statistics.median(each):,.0f}"
                for each in zip(*cost, strict=True)
            )
            name = board.structure.name
            print(
                f"| {count:,} | {scores} | {name} | {cells} | {board.row_bytes:.0f} |", flush=True
            )
            board.connection.close()


def main() -> None:
    """Read the command line, measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.ranks", description=__doc__)
    add = parser.add_argument
    add("--rows", type=int, nargs="+", default=[1_000, 10_000, 100_000], help="sizes of the board")
    add("--scores", nargs="+", default=["uniform", "ties", "sorted"], choices=SCORES)
    add("--only", default="", metavar="TEXT", help="structures whose name matches (an expression)")
    add("--rounds", type=int, default=30, help="turns of each structure (30)")
    chosen = parser.parse_args()
    structures = [make() for make in STRUCTURES]
    structures = [each for each in structures if re.search(chosen.only, each.name)]
    print("| rows | scores | structure | insert | delete | place | page | bytes/row |")
    print("|---|---|---|---|---|---|---|---|")
    for count in chosen.rows:
        for scores in chosen.scores:
            measure(structures, scores, count, chosen.rounds)


if __name__ == "__main__":
    main()
