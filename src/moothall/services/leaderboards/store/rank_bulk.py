"""Ranking many rows at once: what :meth:`Ranks.insert` does for one, in a few statements.

Rows that lie near each other share buckets, so the work is done by buckets: find the one of the
first row, take all rows that fall in it, go on with the next. Then all rows are inserted, the
counts added, and what is overfull is cut into parts, all at once. A row alone in its bucket costs
about as much as by :meth:`Ranks.insert`; a hundred in one a hundredth.

Where the buckets begin depends on the order of the insertions, here as there; what they promise
(`store/ranks.py`) does not.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from moothall.action.blocks import insert_rows
from moothall.ports.database import Row, Transaction
from moothall.services.leaderboards.store.ranks import START, Position, Ranks, is_overfull

AHEAD = 32
"""Buckets that are read after the one that was found, in case the next rows fall in them."""

_BUCKET, _GROUP = 0, 1
_COLUMNS = "key, submitted_at_ms, entry_id"
_GROUP_COLUMNS = "group_key, group_submitted_at_ms, group_entry_id"

_INSERT = f"INSERT INTO leaderboards_rank (ranking_id, {_COLUMNS}) VALUES"
_LIST_ROWS = f"""
SELECT {_COLUMNS} FROM leaderboards_rank
WHERE ranking_id = $1 AND ({_COLUMNS}) >= ($2, $3, $4) ORDER BY {_COLUMNS} LIMIT $5
"""
_BUCKETS = f"""
SELECT {_COLUMNS}, {_GROUP_COLUMNS}, row_count FROM leaderboards_rank_bucket
WHERE ranking_id = $1 AND level = {_BUCKET}
"""
_FIND_BUCKET = f"""
{_BUCKETS} AND ({_COLUMNS}) <= ($2, $3, $4)
ORDER BY key DESC, submitted_at_ms DESC, entry_id DESC LIMIT 1
"""
_LIST_AFTER = f"{_BUCKETS} AND ({_COLUMNS}) > ($2, $3, $4) ORDER BY {_COLUMNS} LIMIT $5"
_LIST_FROM = f"{_BUCKETS} AND ({_COLUMNS}) >= ($2, $3, $4) ORDER BY {_COLUMNS} LIMIT $5"
_ADD = f"""
INSERT INTO leaderboards_rank_bucket
  (ranking_id, level, {_COLUMNS}, {_GROUP_COLUMNS}, row_count) VALUES
"""
_ADD_TAIL = f"""
ON CONFLICT (ranking_id, level, {_COLUMNS})
DO UPDATE SET row_count = leaderboards_rank_bucket.row_count + excluded.row_count
"""
_MOVE_BUCKETS = f"""
UPDATE leaderboards_rank_bucket
SET group_key = $2, group_submitted_at_ms = $3, group_entry_id = $4
WHERE ranking_id = $1 AND level = {_BUCKET}
  AND ({_COLUMNS}) >= ($2, $3, $4) AND ({_COLUMNS}) <= ($5, $6, $7)
"""


class _Bucket(NamedTuple):
    """A bucket, where its group begins, how many rows it had, and how many came."""

    start: Row
    group_start: Row
    row_count: int
    added: int = 0


def cut_evenly(count: int, count_max: int) -> list[int]:
    """Return the sizes of the parts that something overfull is cut into.

    Three quarters full: history in order fills each part once, and what comes later between
    its rows finds room.
    """
    parts = -(-count // max(1, count_max * 3 // 4))
    size, rest = divmod(count, parts)
    return [size + 1] * rest + [size] * (parts - rest)


async def insert_ranks(
    tx: Transaction, ranks: Ranks, ranking_id: str, positions: Iterable[Position]
) -> None:
    """Rank rows that are not ranked yet, in any order.

    A repeated position breaks the primary key and is a bug of the caller.
    """
    rows = sorted(positions)
    if not rows:
        return
    await insert_rows(tx, _INSERT, [(ranking_id, *row) for row in rows])
    counts: list[tuple[object, ...]] = []
    made: Counter[Row] = Counter()
    groups: Counter[Row] = Counter()
    for bucket in await _list_filled(tx, ranking_id, rows):
        groups[bucket.group_start] += bucket.added
        for start, added in await _cut_bucket(tx, ranks, ranking_id, bucket):
            made[bucket.group_start] += start != bucket.start
            counts.append((ranking_id, _BUCKET, *start, *bucket.group_start, added))
    counts += [(ranking_id, _GROUP, *start, *start, added) for start, added in groups.items()]
    await insert_rows(tx, _ADD, counts, _ADD_TAIL)
    for group_start, count in made.items():
        if count:
            await _cut_group(tx, ranks, ranking_id, group_start, count)


async def _list_filled(tx: Transaction, ranking_id: str, rows: Sequence[Position]) -> list[_Bucket]:
    """Return the buckets that the sorted rows fall in, and how many in each."""
    filled: list[_Bucket] = []
    at = 0
    while at < len(rows):
        first = await tx.fetch_one(_FIND_BUCKET, ranking_id, *rows[at])
        if first is None:  # nothing was ever ranked here
            return [_Bucket(tuple(START), tuple(START), 0, len(rows))]
        ahead = await tx.fetch_all(_LIST_AFTER, ranking_id, *first[:3], AHEAD)
        for bucket, end in _with_ends(first, ahead):
            stop = len(rows) if end is None else bisect_left(rows, end, at)
            if stop > at:
                filled.append(_Bucket(bucket[:3], bucket[3:6], bucket[6], stop - at))
                at = stop
    return filled


def _with_ends(first: Row, ahead: list[Row]) -> Iterator[tuple[Row, Row | None]]:
    """Yield buckets, each with where the next begins; None where there is none.

    Where more may follow than were read, the end of the last one is not known: it is left out.
    """
    buckets = [first, *ahead]
    for bucket, after in zip(buckets, ahead, strict=False):
        yield bucket, after[:3]
    if len(ahead) < AHEAD:
        yield buckets[-1], None


async def _cut_bucket(
    tx: Transaction, ranks: Ranks, ranking_id: str, bucket: _Bucket
) -> list[tuple[Row, int]]:
    """Return what is added to a bucket, and to those that are cut from it: start and rows."""
    count = bucket.row_count + bucket.added
    if not is_overfull(count, ranks.rows_per_bucket_max):
        return [(bucket.start, bucket.added)]
    sizes = cut_evenly(count, ranks.rows_per_bucket_max)
    held = await tx.fetch_all(_LIST_ROWS, ranking_id, *bucket.start, count)
    offsets = accumulate(sizes[:-1])
    rest = [(held[offset], size) for offset, size in zip(offsets, sizes[1:], strict=True)]
    return [(bucket.start, sizes[0] - bucket.row_count), *rest]


async def _cut_group(tx: Transaction, ranks: Ranks, ranking_id: str, start: Row, made: int) -> None:
    """Cut a group that ``made`` more buckets lie in, if it is overfull."""
    buckets_max = ranks.buckets_per_group_max
    found = await tx.fetch_all(_LIST_FROM, ranking_id, *start, buckets_max + made)
    own = [bucket for bucket in found if bucket[3:6] == start]
    if not is_overfull(len(own), buckets_max):
        return
    sizes = cut_evenly(len(own), buckets_max)
    counts: list[tuple[object, ...]] = []
    for end, size in zip(accumulate(sizes), sizes, strict=True):
        part = own[end - size : end]
        first, rows = part[0][:3], sum(bucket[6] for bucket in part)
        if first == start:
            rows -= sum(bucket[6] for bucket in own)
        else:
            await tx.execute(_MOVE_BUCKETS, ranking_id, *first, *part[-1][:3])
        counts.append((ranking_id, _GROUP, *first, *first, rows))
    await insert_rows(tx, _ADD, counts, _ADD_TAIL)
