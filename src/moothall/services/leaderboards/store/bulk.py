"""Many entries at once: looked up, added, and ranked, in a few statements.

What comes of it is what :mod:`store.entries` does for one entry after the other.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from moothall.action.blocks import fetch_among, insert_rows
from moothall.ports.database import Transaction
from moothall.services.leaderboards.model import Counting, Entry, SeasonRanking
from moothall.services.leaderboards.rules import key_of, sum_keys
from moothall.services.leaderboards.store.entries import INSERT_ENTRIES, row_of
from moothall.services.leaderboards.store.rank_bulk import insert_ranks
from moothall.services.leaderboards.store.ranks import RANKS, Position, Ranks

_FIND = """
SELECT entry_id, board_id, score FROM leaderboards_entry
WHERE entry_id IN ({values})
"""
_LIST_STANDINGS = """
SELECT member_id, key, submitted_at_ms, entry_id FROM leaderboards_standing
WHERE ranking_id = $1 AND member_id IN ({values})
"""
_PUT_STANDINGS = """
INSERT INTO leaderboards_standing (ranking_id, member_id, key, submitted_at_ms, entry_id) VALUES
"""
_PUT_STANDINGS_TAIL = """
ON CONFLICT (ranking_id, member_id) DO UPDATE SET key = excluded.key,
  submitted_at_ms = excluded.submitted_at_ms, entry_id = excluded.entry_id
"""
_LIST_VERIFIED = """
SELECT member_id, submitted_at_ms, entry_id, score FROM leaderboards_entry
WHERE board_id = $1 AND season = $2 AND verified_at_ms IS NOT NULL AND member_id IN ({values})
"""


class Stored(NamedTuple):
    """What tells whether an entry is the one that is meant."""

    board_id: str
    score: float


async def find_entries(tx: Transaction, entry_ids: Sequence[str]) -> dict[str, Stored]:
    """Return those of the entries that are there, by id."""
    rows = await fetch_among(tx, _FIND, entry_ids)
    return {row[0]: Stored(*row[1:]) for row in rows}


async def insert_entries(tx: Transaction, entries: Iterable[Entry]) -> None:
    """Add entries; see :func:`insert_ranking` for their places."""
    await insert_rows(tx, INSERT_ENTRIES, [row_of(entry) for entry in entries])


async def insert_ranking(
    tx: Transaction, ranking: SeasonRanking, added: Iterable[Entry], ranks: Ranks = RANKS
) -> None:
    """Bring a ranking in step after verified entries of its season were added."""
    positions: dict[str, list[Position]] = {}
    for entry in added:
        key = key_of(entry.score, ranking.direction)
        position = Position(key, entry.submitted_at_ms, entry.entry_id)
        positions.setdefault(entry.member_id, []).append(position)
    if ranking.counting is Counting.EVERY:
        rows = [position for own in positions.values() for position in own]
        await insert_ranks(tx, ranks, ranking.ranking_id, rows)
        return
    before = await _list_standings(tx, ranking, list(positions))
    counting = await _list_counting(tx, ranking, positions, before)
    changed = {
        member_id: after for member_id, after in counting.items() if after != before.get(member_id)
    }
    for member_id in changed:
        if member_id in before:
            await ranks.delete(tx, ranking.ranking_id, before[member_id])
    await insert_ranks(tx, ranks, ranking.ranking_id, changed.values())
    put = [(ranking.ranking_id, member_id, *after) for member_id, after in sorted(changed.items())]
    await insert_rows(tx, _PUT_STANDINGS, put, _PUT_STANDINGS_TAIL)


async def _list_standings(
    tx: Transaction, ranking: SeasonRanking, member_ids: Sequence[str]
) -> dict[str, Position]:
    """Return which rows stand in the ranking for members."""
    rows = await fetch_among(tx, _LIST_STANDINGS, member_ids, ranking.ranking_id)
    return {row[0]: Position(*row[1:]) for row in rows}


async def _list_counting(
    tx: Transaction,
    ranking: SeasonRanking,
    added: Mapping[str, Sequence[Position]],
    before: Mapping[str, Position],
) -> dict[str, Position]:
    """Return what counts of members' entries, those that were added among them."""
    if ranking.counting is Counting.SUM:
        return await _list_sums(tx, ranking, list(added))
    if ranking.counting is Counting.LAST:
        return {
            member_id: max(_candidates(before.get(member_id), own), key=lambda one: one[1:])
            for member_id, own in added.items()
        }
    return {
        member_id: min(_candidates(before.get(member_id), own)) for member_id, own in added.items()
    }


def _candidates(before: Position | None, added: Sequence[Position]) -> Sequence[Position]:
    """Return what may count now: what did, and what came."""
    return added if before is None else [before, *added]


async def _list_sums(
    tx: Transaction, ranking: SeasonRanking, member_ids: Sequence[str]
) -> dict[str, Position]:
    """Return members' totals. Of all their entries, because a sum of rounded sums is not exact."""
    scope = (ranking.board_id, ranking.season)
    terms: dict[str, list[float]] = {}
    latest: dict[str, tuple[int, str]] = {}
    for row in await fetch_among(tx, _LIST_VERIFIED, member_ids, *scope):
        member_id, submitted_at_ms, entry_id, score = row
        terms.setdefault(member_id, []).append(key_of(score, ranking.direction))
        moment = (submitted_at_ms, entry_id)
        latest[member_id] = max(latest.get(member_id, moment), moment)
    return {
        member_id: Position(sum_keys(keys), *latest[member_id]) for member_id, keys in terms.items()
    }
