"""What must hold of rankings: they are counted right, and they rank what was verified."""

from moothall.action import Finding, Inspection, check, list_unequal
from moothall.action.checks import FINDINGS_MAX
from moothall.ports.database import Transaction
from moothall.services.leaderboards.model import Counting, SeasonRanking
from moothall.services.leaderboards.store import seasons
from moothall.services.leaderboards.store.ranks import RANKS
from moothall.services.leaderboards.store.standings import list_misplaced, list_unranked

MEMBERS_AT_ONCE = 500

_REBUILD = "give the board another order and its own again (board update); that ranks it anew"

_TABLES = """
SELECT s.board_id, s.number,
  (SELECT count(*) FROM leaderboards_rank AS r WHERE r.ranking_id = s.ranking_id) AS ranked,
  (SELECT count(*) FROM leaderboards_standing AS t WHERE t.ranking_id = s.ranking_id) AS standing,
  (SELECT {what} FROM leaderboards_entry AS e
    WHERE e.board_id = s.board_id AND e.season = s.number AND e.verified_at_ms IS NOT NULL) AS due
FROM leaderboards_season AS s
JOIN leaderboards_board AS b ON b.board_id = s.board_id AND b.state <> 'removed'
"""
_EVERY = f"""
SELECT board_id, number, ranked, due FROM (
  {_TABLES.format(what="count(*)")} WHERE s.counting = 'every') AS counted WHERE ranked <> due
"""
_ONE_EACH = f"""
SELECT board_id, number, ranked, standing, due FROM (
  {_TABLES.format(what="count(DISTINCT e.member_id)")} WHERE s.counting <> 'every') AS counted
WHERE ranked <> due OR standing <> due
"""
_STANDING_UNRANKED = """
SELECT t.ranking_id, t.member_id FROM leaderboards_standing AS t
JOIN leaderboards_season AS s ON s.ranking_id = t.ranking_id
WHERE NOT EXISTS (SELECT 1 FROM leaderboards_rank AS r
  WHERE r.ranking_id = t.ranking_id AND r.key = t.key
    AND r.submitted_at_ms = t.submitted_at_ms AND r.entry_id = t.entry_id)
"""


@check()
async def rank_counts(given: Inspection) -> list[Finding]:
    """The buckets and groups of each ranking count the rows that they hold."""
    found: list[Finding] = []
    for ranking in await seasons.list_rankings(given.tx):
        if fault := await RANKS.find_miscount(given.tx, ranking.ranking_id):
            told = f"board {ranking.board_id}, season {ranking.season}: {fault}"
            found.append(Finding(told, _REBUILD))
        if len(found) == FINDINGS_MAX:
            break
    return found


@check()
async def ranked(given: Inspection) -> list[Finding]:
    """As many rows are ranked as were verified, or members have verified ones."""
    tx = given.tx
    every = "board {0}, season {1}: {2} rows are ranked, and {3} entries are verified"
    each = "board {0}, season {1}: {2} rows are ranked for {3} members, and {4} have verified ones"
    lost = "ranking {0}: what counts of member {1} is not ranked"
    return [
        *await list_unequal(tx, _EVERY, every, _REBUILD),
        *await list_unequal(tx, _ONE_EACH, each, _REBUILD),
        *await list_unequal(tx, _STANDING_UNRANKED, lost, _REBUILD),
    ]


@check()
async def scores(given: Inspection) -> list[Finding]:
    """What is ranked is what counts of the entries; looked at by a thorough examination."""
    found: list[Finding] = []
    if not given.is_thorough:
        return found
    for ranking in await seasons.list_rankings(given.tx):
        found += await _compare(given.tx, ranking)
        if len(found) >= FINDINGS_MAX:
            break
    return found[:FINDINGS_MAX]


async def _compare(tx: Transaction, ranking: SeasonRanking) -> list[Finding]:
    """Compare a ranking with the entries of its season."""
    where = f"board {ranking.board_id}, season {ranking.season}"
    if ranking.counting is Counting.EVERY:
        return [
            Finding(f"{where}: entry {entry_id} is not ranked by its score", _REBUILD)
            for entry_id in await list_unranked(tx, ranking, FINDINGS_MAX)
        ]
    after = ""
    while True:
        members, wrong = await list_misplaced(tx, ranking, after, MEMBERS_AT_ONCE)
        if wrong or not members:
            told = "what is ranked for member {} is not what counts"
            return [Finding(f"{where}: {told.format(one)}", _REBUILD) for one in wrong]
        after = members[-1]
