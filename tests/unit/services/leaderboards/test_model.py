"""Any history of a board with seasons, by calls, held against boards that are counted anew.

Steps of jobs are so small that a few entries need several of them. After each step every
season is asked whole, around and member by member; at the end nothing may be left over.
"""

import asyncio
import random
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from moothall.core.units import MINUTE_MS
from moothall.services.leaderboards.actions import erasing, rebuilding
from moothall.services.leaderboards.model import Counting, Direction
from moothall.testing import ManualClock, OpenHall, ProblemError, Visitor, open_test_hall
from tests.unit.services.leaderboards.naive_board import NaiveBoard, NaiveEntry, Row

NAMES = ["ann", "bob", "cid"]
SCORES = st.sampled_from([-1.0, 0.0, 1.0, 2.0, 0.1, 0.2])
REBUILD = "leaderboards.rebuild_rankings"
ERASE = "leaderboards.erase_removed_boards"
ERASE_RANKINGS = "leaderboards.erase_unused_rankings"
ORPHANS = {
    "entries of no season": """
      SELECT count(*) FROM leaderboards_entry AS e WHERE NOT EXISTS (
        SELECT 1 FROM leaderboards_season AS s
        WHERE s.board_id = e.board_id AND s.number = e.season)
    """,
    "comments on no entry": """
      SELECT count(*) FROM leaderboards_comment AS c WHERE NOT EXISTS (
        SELECT 1 FROM leaderboards_entry AS e WHERE e.entry_id = c.entry_id)
    """,
    "ranked rows of no entry": """
      SELECT count(*) FROM leaderboards_rank AS r WHERE NOT EXISTS (
        SELECT 1 FROM leaderboards_entry AS e
        JOIN leaderboards_season AS s ON s.board_id = e.board_id AND s.number = e.season
        WHERE e.entry_id = r.entry_id AND s.ranking_id = r.ranking_id)
    """,
    "buckets of no season": """
      SELECT count(*) FROM leaderboards_rank_bucket AS b WHERE NOT EXISTS (
        SELECT 1 FROM leaderboards_season AS s WHERE s.ranking_id = b.ranking_id)
    """,
    "standings that are not ranked": """
      SELECT count(*) FROM leaderboards_standing AS t WHERE NOT EXISTS (
        SELECT 1 FROM leaderboards_rank AS r WHERE r.ranking_id = t.ranking_id
        AND r.key = t.key AND r.submitted_at_ms = t.submitted_at_ms AND r.entry_id = t.entry_id)
    """,
    "rankings built for nobody": "SELECT count(*) FROM leaderboards_rebuild",
    "unused rankings": "SELECT count(*) FROM leaderboards_unused_ranking",
}


class Seasons(RuleBasedStateMachine):
    """One board of a hall that is opened again and again, with seasons of both kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.chance = random.Random(61)
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(rebuilding, "ROWS_AT_ONCE", 2)
        self.patch.setattr(erasing, "ROWS_AT_ONCE", 3)
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.clock = ManualClock()
        self.people: dict[str, Visitor] = {}
        self.seasons: list[NaiveBoard] = []
        self.pending: tuple[Direction, Counting] | None = None
        self.stack = AsyncExitStack()
        self.members = list(NAMES)

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    async def open(self) -> None:
        context = open_test_hall(Path(self.folder.name), clock=self.clock)
        self.hall: OpenHall = await self.stack.enter_async_context(context)
        self.people = {name: self.hall.renew(who) for name, who in self.people.items()}

    def call(self, action: str, who: str = "boss", **fields: Any) -> Any:
        of = {} if "entry_id" in fields else {"board_id": "seven"}
        request = {**of, **fields}
        return self.run(self.hall.call(f"leaderboards.{action}", request, as_=self.people[who]))

    def is_refused_as_busy(self, action: str, **fields: Any) -> bool:
        """Call what must wait while the ranking is built anew; True if it was refused."""
        if self.pending is None:
            self.call(action, **fields)
            return False
        with pytest.raises(ProblemError, match="board_busy"):
            self.call(action, **fields)
        return True

    @property
    def entries(self) -> dict[str, tuple[NaiveBoard, NaiveEntry]]:
        return {key: (one, e) for one in self.seasons for key, e in one.entries.items()}

    @initialize(direction=st.sampled_from(Direction), counting=st.sampled_from(Counting))
    def begin(self, direction: Direction, counting: Counting) -> None:
        self.run(self.open())
        self.people["boss"] = self.run(self.hall.administrator("boss"))
        for name in NAMES:
            self.people[name] = self.run(self.hall.member(name))
        for name in ("seven", "eight"):
            self.call(
                "create_board",
                board_id=name,
                name=name,
                direction=direction,
                counting=counting,
                default_level="write",
                removed_members="remove",
            )
        self.seasons = [NaiveBoard(direction, counting)]
        rows = [{"submitter": "dan", "score": score, "submitted_at_ms": 5} for score in range(3)]
        self.call("import_entries", board_id="eight", entries=rows)
        self.neighbour = self.call("list_entries", board_id="eight")

    @rule(data=st.data(), score=SCORES, ms=st.sampled_from([0, 1, 1_000]))
    def submit(self, data: st.DataObject, score: float, ms: int) -> None:
        self.clock.advance(ms)
        name = data.draw(st.sampled_from(self.members))
        entry = self.call("submit_score", name, score=score, description="look")
        assert entry.season == len(self.seasons)
        now_ms = self.clock.now_ms()
        self.seasons[-1].add(NaiveEntry(entry.entry_id, name, score, now_ms, is_verified=False))

    @rule(data=st.data(), scores=st.lists(SCORES, min_size=2, max_size=7))
    def bring_in(self, data: st.DataObject, scores: list[float]) -> None:
        season = data.draw(st.integers(1, len(self.seasons)))
        rows = [
            {
                "submitter": data.draw(st.sampled_from(self.members)),
                "score": score,
                "submitted_at_ms": data.draw(st.sampled_from([1_000, 2_000])),
                "verified": data.draw(st.sampled_from([True, True, False])),
                "ref": f"{len(self.entries)} {number} {self.chance.random()}",
            }
            for number, score in enumerate(scores)
        ]
        if self.is_refused_as_busy("import_entries", entries=rows, season=season):
            return
        found = self.run(
            self.hall.rows(
                """
                SELECT e.entry_id, m.name, e.score, e.submitted_at_ms, e.verified_at_ms, e.season
                FROM leaderboards_entry AS e JOIN identity_member AS m USING (member_id)
                WHERE e.board_id = 'seven'
                """
            )
        )
        fresh = [row for row in found if row[0] not in self.entries]
        assert sorted((*row[1:4], row[4] is not None) for row in fresh) == sorted(
            (row["submitter"], row["score"], row["submitted_at_ms"], row["verified"])
            for row in rows
        )
        for entry_id, name, score, at_ms, verified_at_ms, number in fresh:
            assert number == season
            is_verified = verified_at_ms is not None
            entry = NaiveEntry(entry_id, name, score, at_ms, is_verified=is_verified)
            self.seasons[season - 1].add(entry)

    @precondition(lambda self: self.entries)
    @rule(data=st.data())
    def turn(self, data: st.DataObject) -> None:
        """Verify an entry that is not, or unverify one that is."""
        entry_id = data.draw(st.sampled_from(sorted(self.entries)))
        season, entry = self.entries[entry_id]
        verb = "unverify_entry" if entry.is_verified else "verify_entry"
        if not self.is_refused_as_busy(verb, entry_id=entry_id):
            season.set_verified(entry_id, is_verified=not entry.is_verified)

    @precondition(lambda self: self.entries)
    @rule(data=st.data())
    def remove_entry(self, data: st.DataObject) -> None:
        entry_id = data.draw(st.sampled_from(sorted(self.entries)))
        season, entry = self.entries[entry_id]
        if entry.is_verified and self.is_refused_as_busy("remove_entry", entry_id=entry_id):
            return
        if not entry.is_verified:
            self.call("remove_entry", entry_id=entry_id)
        season.remove(entry_id)

    @rule()
    def start_season(self) -> None:
        self.clock.advance(1_000)
        if not self.is_refused_as_busy("start_season"):
            now = self.seasons[-1]
            self.seasons.append(NaiveBoard(now.direction, now.counting))

    @rule(direction=st.sampled_from(Direction), counting=st.sampled_from(Counting))
    def change(self, direction: Direction, counting: Counting) -> None:
        if self.is_refused_as_busy("update_board", direction=direction, counting=counting):
            return
        now = self.seasons[-1]
        if (direction, counting) == (now.direction, now.counting):
            return
        self.pending = direction, counting
        if not self.call("get_board").is_rebuilding:
            assert sum(one.is_verified for one in now.entries.values()) < rebuilding.ROWS_AT_ONCE
            self.change_over()

    def change_over(self) -> None:
        assert self.pending is not None
        self.seasons[-1].direction, self.seasons[-1].counting = self.pending
        self.pending = None

    @precondition(lambda self: self.pending is not None)
    @rule()
    def build_some(self) -> None:
        runner = self.hall.hall.jobs
        job = runner._context(runner._jobs[REBUILD])
        if self.run(job.write(lambda step: rebuilding.rebuild_some(step, "seven"))):
            self.change_over()

    @precondition(lambda self: self.pending is not None)
    @rule()
    def build_all(self) -> None:
        self.run(self.hall.run_job(REBUILD))
        self.change_over()

    @rule()
    def keep_house(self) -> None:
        self.run(self.hall.run_job(ERASE_RANKINGS))

    @precondition(lambda self: len(self.members) > 1)
    @rule(data=st.data())
    def remove_member(self, data: st.DataObject) -> None:
        """Remove a member; where their entries cannot go now, they go when the board is free."""
        name = data.draw(st.sampled_from(self.members))
        who = self.people["boss"]
        self.run(self.hall.call("identity.remove_member", {"member": name}, as_=who))
        if self.pending is not None:
            self.build_all()
        self.clock.advance(MINUTE_MS)
        self.people["boss"] = self.hall.renew(who)
        self.run(self.hall.run_job("identity.finish_removals"))
        self.members.remove(name)
        for season in self.seasons:
            own = [one.entry_id for one in season.entries.values() if one.member == name]
            for entry_id in own:
                season.remove(entry_id)

    @rule()
    def restart(self) -> None:
        self.run(self.stack.aclose())
        self.run(self.open())

    @invariant()
    def agrees(self) -> None:
        if not self.seasons:
            return
        self.people = {name: self.hall.renew(who) for name, who in self.people.items()}
        board = self.call("get_board")
        now = self.seasons[-1]
        assert (board.season, board.direction, board.counting, board.is_rebuilding) == (
            len(self.seasons),
            now.direction,
            now.counting,
            self.pending is not None,
        )
        for number, season in enumerate(self.seasons, 1):
            self._season_agrees(number, season.ranking())
        waiting = self.call("list_waiting", limit=200)
        expected = sorted(key for season in self.seasons for key in season.waiting())
        assert [entry.entry_id for entry in waiting.entries] == expected

    def _season_agrees(self, number: int, expected: list[Row]) -> None:
        assert self._rows("list_entries", season=number, limit=200) == expected
        offset = self.chance.randint(0, len(expected) + 1)
        page = self._rows("list_entries", season=number, offset=offset, limit=2)
        assert page == expected[offset : offset + 2]
        for name in self.members:
            own = [at for at, row in enumerate(expected) if row.member == name]
            if not own:
                for verb in ("get_rank", "list_around"):
                    with pytest.raises(ProblemError, match="not_ranked"):
                        self.call(verb, name, season=number)
                continue
            best = expected[own[0]]
            rank = self.call("get_rank", name, season=number)
            assert (rank.place, rank.score, rank.submitted_at_ms, rank.entry_id, rank.total) == (
                best.place,
                *best[2:],
                len(expected),
            )
            around = self._rows("list_around", name, season=number, count=1)
            assert around == expected[max(0, own[0] - 1) : own[0] + 2]

    def _rows(self, verb: str, who: str = "boss", **fields: int) -> list[Row]:
        found = self.call(verb, who, **fields)
        return [
            Row(row.place, row.name, row.score, row.submitted_at_ms, row.entry_id)
            for row in found.standings
        ]

    def teardown(self) -> None:
        try:
            if self.seasons:
                self._nothing_is_left_over()
        finally:
            self.run(self.stack.aclose())
            self.runner.close()
            self.folder.cleanup()
            self.patch.undo()

    def _nothing_is_left_over(self) -> None:
        for job in (REBUILD, ERASE_RANKINGS):
            self.run(self.hall.run_job(job))
        for what, sql in ORPHANS.items():
            assert self.run(self.hall.rows(sql)) == [(0,)], what
        self.call("remove_board")
        self.run(self.hall.run_job(ERASE))
        assert self.call("list_entries", board_id="eight") == self.neighbour
        self.call("remove_board", board_id="eight")
        self.run(self.hall.run_job(ERASE))
        sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE $1"
        for (table,) in self.run(self.hall.rows(sql, "leaderboards_%")):
            assert self.run(self.hall.rows(f"SELECT count(*) FROM {table}")) == [(0,)], table
        sql = "SELECT count(*) FROM access_binding WHERE path LIKE 'board/%'"
        assert self.run(self.hall.rows(sql)) == [(0,)]


TestSeasons = pytest.mark.requirement("R54")(
    pytest.mark.requirement("R59")(pytest.mark.requirement("R61")(Seasons.TestCase))
)
TestSeasons.settings = settings(max_examples=20, stateful_step_count=25)
