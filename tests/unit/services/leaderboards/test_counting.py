"""What counts of repeated scores, held against a board that is counted anew each time."""

import random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from moothall.core.ids import make_id
from moothall.services.leaderboards.model import Board, Counting, Direction, Entry, Level
from moothall.services.leaderboards.store import boards, entries, standings
from moothall.services.leaderboards.store.ranks import RANKS, Position, assign_places
from moothall.storage.sqlite.transaction import SqliteTransaction, drive
from moothall.testing import OpenHall, ProblemError, Visitor
from tests.unit.services.leaderboards.naive_board import NaiveBoard, NaiveEntry, Row
from tests.unit.services.leaderboards.tables import open_tables

# Few members and scores, so that ties are the rule; and the edges of what a number can be.
MEMBERS = ["ann", "bob", "cid"]
SCORES = [0.0, -0.0, 1.0, 2.0, -1.0, 0.1, 0.2, 0.3, 1e16, -1e16, 5e-324, 1.7e308, -1.7e308]
TIMES = [1_000, 2_000, 3_000]


class Histories(RuleBasedStateMachine):
    """Any history of one board of any kind, straight at the tables."""

    def __init__(self) -> None:
        super().__init__()
        connection = open_tables()
        self.tx = SqliteTransaction(connection, connection.cursor())
        self.count = 0

    @initialize(direction=st.sampled_from(Direction), counting=st.sampled_from(Counting))
    def create(self, direction: Direction, counting: Counting) -> None:
        self.naive = NaiveBoard(direction, counting)
        self.board = Board(
            board_id="board-7",
            name="Seven",
            direction=direction,
            counting=counting,
            default_level=Level.READ,
            created_at_ms=0,
        )
        drive(boards.insert_board(self.tx, self.board, "boss"))

    @rule(
        member=st.sampled_from(MEMBERS),
        score=st.sampled_from(SCORES),
        at_ms=st.sampled_from(TIMES),
        is_verified=st.booleans(),
    )
    def submit(self, member: str, score: float, at_ms: int, *, is_verified: bool) -> None:
        self.count += 1
        entry_id = make_id(self.count, bytes(7))
        entry = Entry(
            entry_id=entry_id,
            board_id=self.board.board_id,
            member_id=member,
            score=score,
            submitted_at_ms=at_ms,
            verified_at_ms=9_000 if is_verified else None,
            verified_by="boss" if is_verified else None,
        )
        drive(entries.insert_entry(self.tx, entry))
        if is_verified:
            drive(standings.update_ranking(self.tx, self.board, entry))
        self.naive.add(NaiveEntry(entry_id, member, score, at_ms, is_verified))

    @precondition(lambda self: self.count)
    @rule(data=st.data())
    def turn(self, data: st.DataObject) -> None:
        """Verify an entry that is not, or unverify one that is."""
        entry_id = data.draw(st.sampled_from(sorted(self.naive.entries)))
        is_verified = not self.naive.entries[entry_id].is_verified
        self.naive.set_verified(entry_id, is_verified=is_verified)
        now_ms, by = (9_000, "boss") if is_verified else (None, None)
        drive(entries.update_verified(self.tx, entry_id, now_ms, by))
        entry = drive(entries.lock_entry(self.tx, entry_id))
        drive(standings.update_ranking(self.tx, self.board, entry))

    @invariant()
    def agrees(self) -> None:
        if not self.count:
            return
        rows = drive(RANKS.list_from(self.tx, "board-7", 0, 200))
        known = drive(entries.list_by_id(self.tx, [row.entry_id for row in rows]))
        places = assign_places(rows, 0, 0)
        sign = 1 if self.board.direction is Direction.ASCENDING else -1
        shown = [
            Row(
                place,
                known[row.entry_id].member_id,
                sign * row.key,
                row.submitted_at_ms,
                row.entry_id,
            )
            for place, row in zip(places, rows, strict=True)
        ]
        assert shown == self.naive.ranking()
        assert drive(RANKS.count(self.tx, "board-7")) == len(shown)
        self._places_agree(rows)

    def _places_agree(self, rows: list[Position]) -> None:
        for member in MEMBERS:
            _, ranked = drive(standings.get_ranked(self.tx, "board-7", None, member))
            own = [row for row in self.naive.ranking() if row.member == member]
            assert (ranked is None) is (not own)
            if ranked is not None:
                better = drive(RANKS.count_better(self.tx, "board-7", ranked.key))
                assert (better + 1, ranked.entry_id) == (own[0].place, own[0].entry_id)
                position = Position(ranked.key, ranked.submitted_at_ms, ranked.entry_id)
                assert drive(RANKS.count_before(self.tx, "board-7", position)) == rows.index(
                    position
                )


TestHistories = pytest.mark.requirement("R54")(pytest.mark.requirement("R61")(Histories.TestCase))
TestHistories.settings = settings(max_examples=60, stateful_step_count=25)


class Story:
    """One board of a hall, and what has happened on it, by calls."""

    def __init__(self, hall: OpenHall, naive: NaiveBoard, people: list[Visitor]) -> None:
        self.hall = hall
        self.naive = naive
        self.boss, *self.players = people
        self.chance = random.Random(54)
        self.board_id = f"{naive.direction}-{naive.counting}"
        self.lines = 0

    async def open(self) -> None:
        board = {
            "name": self.board_id,
            "direction": self.naive.direction,
            "counting": self.naive.counting,
            "default_level": "write",
        }
        await self.hall.call("leaderboards.create_board", board, as_=self.boss)

    async def step(self) -> None:
        self.hall.clock.advance(self.chance.choice([1, 1, 2_000]))
        kinds = [self.submit, self.submit, self.verify, self.verify, self.unverify, self.bring_in]
        await self.chance.choice(kinds)()

    async def submit(self) -> None:
        player, score = self.chance.choice(self.players), float(self.chance.randint(-2, 3))
        entry = await self.hall.call(
            "leaderboards.submit_score",
            {"board_id": self.board_id, "score": score},
            as_=player,
        )
        self.naive.add(
            NaiveEntry(
                entry.entry_id, player.name, score, self.hall.clock.now_ms(), is_verified=False
            )
        )

    async def verify(self) -> None:
        await self._turn("verify_entry", is_verified=True)

    async def unverify(self) -> None:
        await self._turn("unverify_entry", is_verified=False)

    async def _turn(self, verb: str, *, is_verified: bool) -> None:
        """Set the state of any entry; setting the one it has must be refused."""
        if not self.naive.entries:
            return
        entry = self.chance.choice(list(self.naive.entries.values()))
        call = self.hall.call(f"leaderboards.{verb}", {"entry_id": entry.entry_id}, as_=self.boss)
        if entry.is_verified is is_verified:
            with pytest.raises(ProblemError) as refusal:
                await call
            assert refusal.value.code == "failed_precondition"
            return
        await call
        self.naive.set_verified(entry.entry_id, is_verified=is_verified)

    async def bring_in(self) -> None:
        rows = [
            {
                "submitter": self.chance.choice(self.players).name,
                "score": float(self.chance.randint(-2, 3)),
                "submitted_at_ms": self.chance.choice(TIMES),
                "verified": self.chance.random() < 0.7,
            }
            for _ in range(self.chance.randint(1, 4))
        ]
        before = set(self.naive.entries)
        # What tells equal rows apart is their line.
        lines = [{**row, "row": self.lines + at} for at, row in enumerate(rows)]
        self.lines += len(rows)
        report = await self.hall.call(
            "leaderboards.import_entries",
            {"board_id": self.board_id, "entries": lines},
            as_=self.boss,
        )
        assert report.imported == len(rows)
        found = await self.hall.rows(
            """
            SELECT e.entry_id, m.name, e.score, e.submitted_at_ms, e.verified_at_ms IS NOT NULL
            FROM leaderboards_entry AS e JOIN identity_member AS m ON m.member_id = e.member_id
            WHERE e.board_id = $1 ORDER BY e.entry_id
            """,
            self.board_id,
        )
        made = [row for row in found if row[0] not in before]
        # Among those of one moment, the earlier row has the smaller id.
        rows.sort(key=lambda row: int(str(row["submitted_at_ms"])))
        assert [tuple(row[1:]) for row in made] == [tuple(row.values()) for row in rows]
        for entry_id, name, score, at_ms, is_verified in made:
            self.naive.add(NaiveEntry(entry_id, name, score, at_ms, bool(is_verified)))

    async def agrees(self) -> None:
        expected = self.naive.ranking()
        assert await self._ranking(0, 200) == expected
        offset = self.chance.randint(0, len(expected) + 1)
        assert await self._ranking(offset, 3) == expected[offset : offset + 3]
        for player in self.players:
            await self._player_agrees(player, expected)
        waiting = await self._call("list_waiting", self.boss, limit=200)
        assert [entry.entry_id for entry in waiting.entries] == self.naive.waiting()

    async def _player_agrees(self, player: Visitor, expected: list[Row]) -> None:
        own = [at for at, row in enumerate(expected) if row.member == player.name]
        if not own:
            for verb in ("get_rank", "list_around"):
                with pytest.raises(ProblemError, match="not_ranked"):
                    await self._call(verb, player)
            return
        rank = await self._call("get_rank", player)
        assert (rank.place, rank.score, rank.total) == (
            expected[own[0]].place,
            expected[own[0]].score,
            len(expected),
        )
        around = await self._call("list_around", player, count=2)
        first = max(0, own[0] - 2)
        assert around.offset == first
        assert rows_of(around) == expected[first : own[0] + 3]

    async def _ranking(self, offset: int, limit: int) -> list[Row]:
        ranking = await self._call("list_entries", self.boss, offset=offset, limit=limit)
        assert ranking.total == len(self.naive.ranking())
        return rows_of(ranking)

    async def _call(self, verb: str, who: Visitor, **fields: int) -> Any:
        request = {"board_id": self.board_id, **fields}
        return await self.hall.call(f"leaderboards.{verb}", request, as_=who)


def rows_of(ranking: Any) -> list[Row]:
    return [
        Row(row.place, row.name, row.score, row.submitted_at_ms, row.entry_id)
        for row in ranking.standings
    ]


@pytest.mark.requirement("R54")
@pytest.mark.requirement("R55")
@pytest.mark.requirement("R61")
@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("counting", Counting)
async def test_places_agree_after_every_step_of_a_long_story(
    hall: OpenHall, direction: Direction, counting: Counting
) -> None:
    people = [await hall.administrator("boss")]
    people += [await hall.member(name) for name in MEMBERS]
    story = Story(hall, NaiveBoard(direction, counting), people)
    await story.open()
    for _ in range(60):
        await story.step()
        await story.agrees()
    assert len(story.naive.ranking()) >= len(MEMBERS)


@pytest.mark.requirement("R54")
@pytest.mark.parametrize("direction", Direction)
def test_the_best_of_a_member_is_sought_and_not_sorted_in_both_directions(
    direction: Direction,
) -> None:
    connection = open_tables()
    sql = "EXPLAIN QUERY PLAN " + standings._BESTS[direction].replace("$", "?")
    plans = [str(plan) for *_, plan in connection.execute(sql, ("board", 1, "member"))]
    connection.close()
    searches = [plan for plan in plans if "SEARCH" in plan]
    assert len(searches) == 2
    assert all("leaderboards_entry_verified" in plan for plan in searches)
    assert any("score=?" in plan for plan in searches)
    assert not [plan for plan in plans if "SCAN leaderboards_entry" in plan or "TEMP" in plan]
