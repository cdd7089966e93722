"""Ranks: the ranked rows of a board in order, and counts that make a place cheap.

A ranking has an id of its own, because a board has one for each season, and another one
while it is built anew; "board" below means one of them. A board's rows are totally ordered
by :class:`Position`. They are cut into buckets, the
buckets into groups, and each carries the number of its rows: a counted B+ tree of fixed
height whose leaves are ranges of the ranked table. A place is then three short sums
(groups, buckets, rows), and a change touches one bucket and one group.

The position, not the score, decides where a bucket begins. So rows that share a score
are nothing special: a million ties are cut like a million different scores. Decision
0002 holds what was measured.

For whoever edits this:

- Everything is in rows; nothing is remembered between two calls.
- The buckets of a board cover every position without a gap: the first begins at
  :data:`START`. So do its groups. A group begins where its first bucket begins.
- A write is several statements that rely on each other. On PostgreSQL the caller holds
  the lock of the row of the board whose ranking it is (``tx.lock_rows``), as for every
  invariant over a set.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from moothall.ports.database import Row, Transaction

ROWS_PER_BUCKET_MAX = 256
BUCKETS_PER_GROUP_MAX = 64
CHUNK_ROWS_MAX = 500
"""Most rows that one call of :meth:`Ranks.delete_chunk` removes."""

_BUCKET, _GROUP = 0, 1
_EARLIEST_MS = -(2**53)


class Position(NamedTuple):
    """Where a ranked row stands; smaller is better.

    ``key`` is the finite score, negated on boards where the highest wins. Ties go to the
    earlier submission (UTC epoch milliseconds), then to the smaller id.
    """

    key: float
    submitted_at_ms: int
    entry_id: str


START = Position(-math.inf, 0, "")
"""Before every row: keys are finite."""


class _Bucket(NamedTuple):
    """The bucket that holds a position: where it begins, where its group does, its rows."""

    start: Row
    group_start: Row
    row_count: int


# --- Decisions, without I/O -----------------------------------------------------------------------


def is_overfull(count: int, count_max: int) -> bool:
    """Tell whether a bucket (or group) has to be cut."""
    return count > count_max


def is_sparse(row_count: int, rows_max: int) -> bool:
    """Tell whether a bucket that lost a row should look for a neighbour to join.

    An eighth, while a cut leaves a half: rows that come and go at a border neither cut
    nor join each time.
    """
    return row_count <= rows_max // 8


def may_join(left_count: int, row_count: int, rows_max: int) -> bool:
    """Tell whether a bucket fits into its left neighbour; an empty one always does."""
    return left_count + row_count <= rows_max


def count_kept(count: int) -> int:
    """Return how many rows (or buckets) stay when a bucket (or group) of ``count`` is cut."""
    return count // 2


def find_offset(row_counts: Sequence[int], offset: int) -> tuple[int, int]:
    """Return the index of the part that holds the row at ``offset``, and the offset inside it.

    An offset past the end lands past the end of the last part, where no row is.
    """
    last = len(row_counts) - 1
    for index, row_count in enumerate(row_counts):
        if offset < row_count or index == last:
            return index, offset
        offset -= row_count
    raise ValueError("a board without parts has no rows")


def assign_places(page: Sequence[Position], offset: int, better: int) -> list[int]:
    """Return the places of a page: 1, 1, 3 where the first two tie.

    Args:
        page: Neighbouring rows, best first.
        offset: Rows of the board before the page.
        better: Rows with a smaller key than the page's first, see :meth:`Ranks.count_better`.
    """
    places: list[int] = []
    for index, position in enumerate(page):
        if index == 0:
            places.append(better + 1)
        elif position.key == page[index - 1].key:
            places.append(places[-1])
        else:
            places.append(offset + index + 1)
    return places


# --- Statements -----------------------------------------------------------------------------------

_COLUMNS = "key, submitted_at_ms, entry_id"
_ASCENDING = f"ORDER BY {_COLUMNS}"
_DESCENDING = "ORDER BY key DESC, submitted_at_ms DESC, entry_id DESC"
_ROWS = f"SELECT {_COLUMNS} FROM leaderboards_rank WHERE ranking_id = $1"

_INSERT = f"INSERT INTO leaderboards_rank (ranking_id, {_COLUMNS}) VALUES ($1, $2, $3, $4)"
_DELETE = f"DELETE FROM leaderboards_rank WHERE ranking_id = $1 AND ({_COLUMNS}) = ($2, $3, $4)"
_AFTER = f"{_ROWS} AND ({_COLUMNS}) > ($2, $3, $4) {_ASCENDING} LIMIT $5"
_BEFORE = f"{_ROWS} AND ({_COLUMNS}) < ($2, $3, $4) {_DESCENDING} LIMIT $5"
_FROM = f"{_ROWS} AND ({_COLUMNS}) >= ($2, $3, $4) {_ASCENDING} LIMIT $5 OFFSET $6"
_DELETE_ROWS = f"""
    DELETE FROM leaderboards_rank WHERE ranking_id = $1
    AND ({_COLUMNS}) IN ({_ROWS} {_ASCENDING} LIMIT $2)
    """

_BUCKETS = f"""
    SELECT {_COLUMNS}, group_key, group_submitted_at_ms, group_entry_id, row_count
    FROM leaderboards_rank_bucket WHERE ranking_id = $1
    """
_THIS = f"ranking_id = $1 AND level = $2 AND ({_COLUMNS}) = ($3, $4, $5)"
_FIND_BUCKET = f"""
    {_BUCKETS} AND level = {_BUCKET} AND ({_COLUMNS}) <= ($2, $3, $4) {_DESCENDING} LIMIT 1
    """
_FIND_LEFT = f"""
    {_BUCKETS} AND level = {_BUCKET} AND ({_COLUMNS}) < ($2, $3, $4) {_DESCENDING} LIMIT 1
    """
_FIND_RIGHT = f"""
    {_BUCKETS} AND level = {_BUCKET} AND ({_COLUMNS}) > ($2, $3, $4)
    {_ASCENDING} LIMIT 1 OFFSET $5
    """
_COUNTS = f"SELECT {_COLUMNS}, row_count FROM leaderboards_rank_bucket WHERE ranking_id = $1"
_LIST_GROUPS = f"{_COUNTS} AND level = {_GROUP} {_ASCENDING}"
_LIST_BUCKETS = f"""
    {_COUNTS} AND level = {_BUCKET} AND ({_COLUMNS}) >= ($2, $3, $4) {_ASCENDING} LIMIT $5
    """
# Once for the bucket and once for its group: one statement for both takes SQLite longer.
_ADD = f"UPDATE leaderboards_rank_bucket SET row_count = row_count + $6 WHERE {_THIS}"
_INSERT_BUCKET = f"""
    INSERT INTO leaderboards_rank_bucket (ranking_id, level, {_COLUMNS},
    group_key, group_submitted_at_ms, group_entry_id, row_count)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    """
_DELETE_BUCKET = f"DELETE FROM leaderboards_rank_bucket WHERE {_THIS}"
_DELETE_BUCKETS = f"""
    DELETE FROM leaderboards_rank_bucket WHERE ranking_id = $1 AND (level, {_COLUMNS}) IN (
      SELECT level, {_COLUMNS} FROM leaderboards_rank_bucket WHERE ranking_id = $1
      ORDER BY level, {_COLUMNS} LIMIT $2
    )
    """
_MOVE_BUCKETS = f"""
    UPDATE leaderboards_rank_bucket
    SET group_key = $2, group_submitted_at_ms = $3, group_entry_id = $4
    WHERE ranking_id = $1 AND level = {_BUCKET}
    AND ({_COLUMNS}) >= ($2, $3, $4) AND ({_COLUMNS}) <= ($5, $6, $7)
    """
_COUNT = f"""
    SELECT coalesce(sum(row_count), 0) FROM leaderboards_rank_bucket
    WHERE ranking_id = $1 AND level = {_GROUP}
    """
_ALL_BUCKETS = f"{_COUNTS} AND level = {_BUCKET} {_ASCENDING}"
_COUNT_ROWS = "SELECT count(*) FROM leaderboards_rank WHERE ranking_id = $1"
_COUNT_BETWEEN = f"""
    {_COUNT_ROWS} AND ({_COLUMNS}) >= ($2, $3, $4) AND ({_COLUMNS}) < ($5, $6, $7)
    """
_MISCOUNTED_GROUP = f"""
    SELECT g.row_count, coalesce(sum(b.row_count), 0) FROM leaderboards_rank_bucket AS g
    LEFT JOIN leaderboards_rank_bucket AS b ON b.ranking_id = g.ranking_id AND b.level = {_BUCKET}
      AND b.group_key = g.key AND b.group_submitted_at_ms = g.submitted_at_ms
      AND b.group_entry_id = g.entry_id
    WHERE g.ranking_id = $1 AND g.level = {_GROUP}
    GROUP BY g.key, g.submitted_at_ms, g.entry_id, g.row_count
    HAVING g.row_count <> coalesce(sum(b.row_count), 0) LIMIT 1
    """


def _counts(ranking_id: str, start: str, group_start: str, position: str) -> str:
    """Return SQL for the rows before a position and for all, given where its bucket begins."""
    return f"""
    coalesce((
      SELECT sum(row_count) FROM leaderboards_rank_bucket
      WHERE ranking_id = {ranking_id} AND level = {_GROUP} AND ({_COLUMNS}) < {group_start}
    ), 0) + coalesce((
      SELECT sum(row_count) FROM leaderboards_rank_bucket
      WHERE ranking_id = {ranking_id} AND level = {_BUCKET}
      AND ({_COLUMNS}) >= {group_start} AND ({_COLUMNS}) < {start}
    ), 0) + (
      SELECT count(*) FROM leaderboards_rank
      WHERE ranking_id = {ranking_id} AND ({_COLUMNS}) >= {start} AND ({_COLUMNS}) < {position}
    ), (
      SELECT sum(row_count) FROM leaderboards_rank_bucket
      WHERE ranking_id = {ranking_id} AND level = {_GROUP}
    )
    """


# SQLite seeks by a whole position only if it is given as parameters. Given as columns of a
# join it seeks by the key alone and walks the ties, so the bucket is found before.
_COUNT_BEFORE = f"SELECT {_counts('$1', '($2, $3, $4)', '($5, $6, $7)', '($8, $9, $10)')}"


def count_better_at_once(found: str) -> str:
    """Return a statement for PostgreSQL, which asks in one round trip what SQLite asks in three.

    Args:
        found: A query of one row at most, with columns ``ranking_id`` and ``key``.

    Returns:
        SQL for that row, and after its columns how many rows have a smaller key and how many
        there are. They mean nothing where ``key`` is null; the last is null where nothing is
        ranked.
    """
    position = f"(found.key, {_EARLIEST_MS}, '')"
    start = "(bucket.key, bucket.submitted_at_ms, bucket.entry_id)"
    group_start = "(bucket.group_key, bucket.group_submitted_at_ms, bucket.group_entry_id)"
    return f"""
    WITH found AS ({found})
    SELECT found.*, {_counts("found.ranking_id", start, group_start, position)}
    FROM found LEFT JOIN LATERAL (
      SELECT {_COLUMNS}, group_key, group_submitted_at_ms, group_entry_id
      FROM leaderboards_rank_bucket
      WHERE ranking_id = found.ranking_id AND level = {_BUCKET} AND ({_COLUMNS}) <= {position}
      {_DESCENDING} LIMIT 1
    ) AS bucket ON true
    """


@dataclass(frozen=True, slots=True)
class Ranks:
    """The ranked rows of all boards, within bounds that a test may make small.

    Args:
        rows_per_bucket_max: Rows a place has to count one by one, at most.
        buckets_per_group_max: Buckets it has to sum, at most. A board of at most that
            many buckets has one group.
    """

    rows_per_bucket_max: int = ROWS_PER_BUCKET_MAX
    buckets_per_group_max: int = BUCKETS_PER_GROUP_MAX

    async def insert(self, tx: Transaction, ranking_id: str, position: Position) -> None:
        """Rank a row that is not ranked yet: four statements, rarely a cut.

        A repeated position breaks the primary key and is a bug of the caller.
        """
        await tx.execute(_INSERT, ranking_id, *position)
        bucket = await _find_bucket(tx, _FIND_BUCKET, ranking_id, position)
        if bucket is None:
            await _insert_bucket(tx, ranking_id, _GROUP, _Bucket(START, START, 1))
            await _insert_bucket(tx, ranking_id, _BUCKET, _Bucket(START, START, 1))
            return
        await tx.execute(_ADD, ranking_id, _BUCKET, *bucket.start, 1)
        await tx.execute(_ADD, ranking_id, _GROUP, *bucket.group_start, 1)
        bucket = bucket._replace(row_count=bucket.row_count + 1)
        if is_overfull(bucket.row_count, self.rows_per_bucket_max):
            await self._cut_bucket(tx, ranking_id, bucket)

    async def delete(self, tx: Transaction, ranking_id: str, position: Position) -> bool:
        """Take a row out of the ranking; False if it was not ranked."""
        if not await tx.execute(_DELETE, ranking_id, *position):
            return False
        bucket = await _find_bucket(tx, _FIND_BUCKET, ranking_id, position)
        assert bucket is not None, "a ranked row lies in a bucket"
        await tx.execute(_ADD, ranking_id, _BUCKET, *bucket.start, -1)
        await tx.execute(_ADD, ranking_id, _GROUP, *bucket.group_start, -1)
        bucket = bucket._replace(row_count=bucket.row_count - 1)
        if is_sparse(bucket.row_count, self.rows_per_bucket_max):
            await self._join_bucket(tx, ranking_id, bucket)
        return True

    async def count(self, tx: Transaction, ranking_id: str) -> int:
        """Return how many rows of a board are ranked."""
        row = await tx.fetch_one(_COUNT, ranking_id)
        assert row is not None, "a sum is always a row"
        return int(row[0])

    async def count_better(self, tx: Transaction, ranking_id: str, key: float) -> int:
        """Return how many rows have a smaller key: the place of ``key``, less one."""
        return (await self.count_better_and_all(tx, ranking_id, key))[0]

    async def count_better_and_all(
        self, tx: Transaction, ranking_id: str, key: float
    ) -> tuple[int, int]:
        """Return how many rows have a smaller key, and how many there are, for one price."""
        return await self._count(tx, ranking_id, Position(key, _EARLIEST_MS, ""))

    async def count_before(self, tx: Transaction, ranking_id: str, position: Position) -> int:
        """Return how many rows stand before a position, which need not be ranked.

        Unlike :meth:`count_better` it counts earlier ties too: the offset of a row. Two
        reads: on PostgreSQL within one snapshot, or under the board's lock.
        """
        return (await self._count(tx, ranking_id, position))[0]

    async def _count(self, tx: Transaction, ranking_id: str, position: Position) -> tuple[int, int]:
        """Return how many rows stand before a position, and how many there are."""
        bucket = await _find_bucket(tx, _FIND_BUCKET, ranking_id, position)
        if bucket is None:
            return 0, 0
        row = await tx.fetch_one(
            _COUNT_BEFORE, ranking_id, *bucket.start, *bucket.group_start, *position
        )
        assert row is not None, "a sum is always a row"
        return int(row[0]), int(row[1])

    async def list_after(
        self, tx: Transaction, ranking_id: str, position: Position, limit: int
    ) -> list[Position]:
        """Return the rows that follow a position, best first."""
        rows = await tx.fetch_all(_AFTER, ranking_id, *position, limit)
        return [Position(*row) for row in rows]

    async def list_before(
        self, tx: Transaction, ranking_id: str, position: Position, limit: int
    ) -> list[Position]:
        """Return the rows right before a position, best first."""
        rows = await tx.fetch_all(_BEFORE, ranking_id, *position, limit)
        return [Position(*row) for row in reversed(rows)]

    async def list_from(
        self, tx: Transaction, ranking_id: str, offset: int, limit: int
    ) -> list[Position]:
        """Return the rows from an offset on (0 is the best row), best first.

        Several reads: on PostgreSQL within one snapshot, or under the board's lock.
        """
        groups = await tx.fetch_all(_LIST_GROUPS, ranking_id)
        if not groups:
            return []
        index, offset = find_offset([row[-1] for row in groups], offset)
        buckets = await tx.fetch_all(
            _LIST_BUCKETS, ranking_id, *groups[index][:3], self.buckets_per_group_max
        )
        index, offset = find_offset([row[-1] for row in buckets], offset)
        rows = await tx.fetch_all(_FROM, ranking_id, *buckets[index][:3], limit, offset)
        return [Position(*row) for row in rows]

    async def find_miscount(self, tx: Transaction, ranking_id: str) -> str | None:
        """Return what is wrong with the counts of a ranking, as a sentence; None if nothing is.

        One read for each bucket, so it takes as long as reading all rows.
        """
        starts = await tx.fetch_all(_ALL_BUCKETS, ranking_id)
        total = await tx.fetch_one(_COUNT_ROWS, ranking_id)
        assert total is not None, "a count is always a row"
        if not starts and total[0] == 0:
            return None
        if not starts or starts[0][:3] != START:
            return f"{total[0]} rows are ranked, and no bucket begins before them"
        ends = [*(row[:3] for row in starts[1:]), (math.inf, 0, "")]
        for (*start, counted), end in zip(starts, ends, strict=True):
            row = await tx.fetch_one(_COUNT_BETWEEN, ranking_id, *start, *end)
            assert row is not None, "a count is always a row"
            if row[0] != counted:
                return f"a bucket counts {counted} rows and holds {row[0]}"
        row = await tx.fetch_one(_MISCOUNTED_GROUP, ranking_id)
        return None if row is None else f"a group counts {row[0]} rows and holds {row[1]}"

    async def delete_chunk(self, tx: Transaction, ranking_id: str) -> int:
        """Remove some of a board's rows and return how many; call again until it returns 0.

        At most :data:`CHUNK_ROWS_MAX`, so that neighbours need not wait long. The counts
        go first: meanwhile nothing else may touch the ranking of this board.
        """
        return await tx.execute(_DELETE_BUCKETS, ranking_id, CHUNK_ROWS_MAX) or await tx.execute(
            _DELETE_ROWS, ranking_id, CHUNK_ROWS_MAX
        )

    async def _cut_bucket(self, tx: Transaction, ranking_id: str, bucket: _Bucket) -> None:
        """Leave half of the rows, give the rest to a new bucket, then look at the group."""
        kept = count_kept(bucket.row_count)
        moved = bucket.row_count - kept
        middle = await tx.fetch_one(_FROM, ranking_id, *bucket.start, 1, kept)
        assert middle is not None, "the bucket's count is that of its rows"
        right = _Bucket(middle, bucket.group_start, moved)
        await tx.execute(_ADD, ranking_id, _BUCKET, *bucket.start, -moved)
        await _insert_bucket(tx, ranking_id, _BUCKET, right)
        last = await _find_bucket(
            tx, _FIND_RIGHT, ranking_id, bucket.group_start, self.buckets_per_group_max - 1
        )
        if last is not None and last.group_start == bucket.group_start:
            await self._cut_group(tx, ranking_id, bucket.group_start, last.start)

    async def _cut_group(self, tx: Transaction, ranking_id: str, start: Row, last: Row) -> None:
        """Give half of the buckets from ``start`` to ``last`` to a new group after this one."""
        buckets = await tx.fetch_all(
            _LIST_BUCKETS, ranking_id, *start, self.buckets_per_group_max + 1
        )
        right = buckets[count_kept(len(buckets)) :]
        middle, moved = right[0][:3], sum(row[-1] for row in right)
        await tx.execute(_ADD, ranking_id, _GROUP, *start, -moved)
        await _insert_bucket(tx, ranking_id, _GROUP, _Bucket(middle, middle, moved))
        await tx.execute(_MOVE_BUCKETS, ranking_id, *middle, *last)

    async def _join_bucket(self, tx: Transaction, ranking_id: str, bucket: _Bucket) -> None:
        """Give a sparse bucket's rows to its left neighbour in its group, if they fit.

        The first bucket of a group has none and stays, until it is empty and the only one:
        then the group goes too. So a group always begins where its first bucket does. The
        first group of a board stays, even empty.
        """
        if bucket.start != bucket.group_start:
            left = await _find_bucket(tx, _FIND_LEFT, ranking_id, bucket.start)
            assert left is not None, "a bucket that does not begin its group has a left neighbour"
            if may_join(left.row_count, bucket.row_count, self.rows_per_bucket_max):
                await tx.execute(_ADD, ranking_id, _BUCKET, *left.start, bucket.row_count)
                await tx.execute(_DELETE_BUCKET, ranking_id, _BUCKET, *bucket.start)
                joined = left._replace(row_count=left.row_count + bucket.row_count)
                if joined.row_count == 0:  # it begins the group, which may be empty now
                    await self._join_bucket(tx, ranking_id, joined)
        elif bucket.row_count == 0 and bucket.start != START:
            right = await _find_bucket(tx, _FIND_RIGHT, ranking_id, bucket.start, 0)
            if right is None or right.group_start != bucket.group_start:
                await tx.execute(_DELETE_BUCKET, ranking_id, _BUCKET, *bucket.start)
                await tx.execute(_DELETE_BUCKET, ranking_id, _GROUP, *bucket.start)


RANKS = Ranks()
"""As every board has them; tests cut smaller buckets."""


async def _find_bucket(
    tx: Transaction, sql: str, ranking_id: str, position: Row, *offset: int
) -> _Bucket | None:
    row = await tx.fetch_one(sql, ranking_id, *position, *offset)
    return None if row is None else _Bucket(row[:3], row[3:6], row[6])


async def _insert_bucket(tx: Transaction, ranking_id: str, level: int, bucket: _Bucket) -> None:
    start, group_start, row_count = bucket
    await tx.execute(_INSERT_BUCKET, ranking_id, level, *start, *group_start, row_count)
