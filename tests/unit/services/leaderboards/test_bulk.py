"""Many entries at once, held against the same entries one by one, and against plain sorting."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moothall.core.ids import make_id
from moothall.ports.database import Row
from moothall.services.leaderboards.model import Board, Counting, Direction, Entry, Level
from moothall.services.leaderboards.store import boards, bulk, entries, standings
from moothall.services.leaderboards.store.rank_bulk import AHEAD, cut_evenly, insert_ranks
from moothall.services.leaderboards.store.ranks import Position, Ranks, assign_places
from moothall.services.leaderboards.store.seasons import get_ranking
from moothall.storage.sqlite.transaction import SqliteTransaction, drive
from tests.unit.services.leaderboards.naive_board import NaiveBoard, NaiveEntry
from tests.unit.services.leaderboards.naive_board import Row as Shown
from tests.unit.services.leaderboards.tables import open_tables
from tests.unit.services.leaderboards.test_counting import MEMBERS, SCORES, TIMES
from tests.unit.services.leaderboards.test_ranks import check_buckets


class Tables(SqliteTransaction):
    """The tables of the room in memory, with one board."""

    def __init__(self, direction: Direction, counting: Counting) -> None:
        self.connection = open_tables()
        super().__init__(self.connection, self.connection.cursor())
        self.board = Board(
            board_id="board-7",
            name="Seven",
            direction=direction,
            counting=counting,
            default_level=Level.READ,
            created_at_ms=0,
        )
        drive(boards.insert_board(self, self.board, "boss"))
        self.ranking = drive(get_ranking(self, "board-7"))

    def run(self, sql: str, params: tuple[Any, ...] = ()) -> list[Row]:
        return self.connection.execute(sql, params).fetchall()

    def add_all(self, chunk: list[Entry], ranks: Ranks) -> None:
        drive(bulk.insert_entries(self, chunk))
        verified = [entry for entry in chunk if entry.verified_at_ms is not None]
        drive(bulk.insert_ranking(self, self.ranking, verified, ranks))

    def add_each(self, chunk: list[Entry]) -> None:
        for entry in chunk:
            drive(entries.insert_entry(self, entry))
            if entry.verified_at_ms is not None:
                drive(standings.update_ranking(self, self.board, entry))

    def contents(self) -> list[list[Row]]:
        tables = ("leaderboards_rank", "leaderboards_standing", "leaderboards_entry")
        return [sorted(self.run(f"SELECT * FROM {table}"), key=repr) for table in tables]


rows = st.tuples(
    st.sampled_from([*MEMBERS, "dan", "eve", "fay", "gus"]),
    st.one_of(st.sampled_from(SCORES), st.integers(-3, 40).map(float)),
    st.sampled_from(TIMES),
    st.sampled_from([True, True, True, False]),
)


@pytest.mark.requirement("R54")
@pytest.mark.requirement("R61")
@settings(max_examples=150)
@given(
    chunks=st.lists(st.lists(rows, max_size=60), min_size=1, max_size=4),
    direction=st.sampled_from(Direction),
    counting=st.sampled_from(Counting),
    ranks=st.builds(Ranks, st.sampled_from([1, 2, 5, 256]), st.sampled_from([2, 3, 64])),
)
def test_many_at_once_are_what_each_by_itself_is(
    chunks: list[list[tuple[str, float, int, bool]]],
    direction: Direction,
    counting: Counting,
    ranks: Ranks,
) -> None:
    at_once, one_by_one = Tables(direction, counting), Tables(direction, counting)
    naive = NaiveBoard(direction, counting)
    count = 0
    for chunk in chunks:
        made = []
        for member, score, at_ms, is_verified in chunk:
            count += 1
            made.append(
                Entry(
                    entry_id=make_id(count * 7919 % 1_009, bytes(7)),
                    board_id="board-7",
                    member_id=member,
                    score=score,
                    submitted_at_ms=at_ms,
                    verified_at_ms=9_000 if is_verified else None,
                    verified_by="boss" if is_verified else None,
                )
            )
            naive.add(NaiveEntry(made[-1].entry_id, member, score, at_ms, is_verified))
        at_once.add_all(made, ranks)
        one_by_one.add_each(made)
        check_buckets(at_once, ranks, "board-7")  # type: ignore[arg-type]  # it only runs SQL
        assert at_once.contents() == one_by_one.contents()
    assert shown(at_once, ranks) == naive.ranking()


def shown(tables: Tables, ranks: Ranks) -> list[Shown]:
    """Return the whole ranking, by pages of seven."""
    sign = 1 if tables.ranking.direction is Direction.ASCENDING else -1
    total = drive(ranks.count(tables, "board-7"))
    found: list[Shown] = []
    for offset in range(0, total, 7):
        page = drive(ranks.list_from(tables, "board-7", offset, 7))
        known = drive(entries.list_by_id(tables, [row.entry_id for row in page]))
        better = drive(ranks.count_better(tables, "board-7", page[0].key))
        for place, row in zip(assign_places(page, offset, better), page, strict=True):
            member, score = known[row.entry_id].member_id, sign * row.key
            found.append(Shown(place, member, score, row.submitted_at_ms, row.entry_id))
    assert len(found) == total
    return found


@pytest.mark.requirement("R54")
@pytest.mark.parametrize("count", [1, 256, 257, 1_500])
def test_rows_scattered_over_many_buckets_find_theirs(count: int) -> None:
    """More buckets than are read ahead, whether the rows fall in few or in all of them."""
    ranks = Ranks(rows_per_bucket_max=4, buckets_per_group_max=5)
    tables = Tables(Direction.ASCENDING, Counting.EVERY)
    held = [Position(float(key), 5, f"a{key:05}") for key in range(20 * AHEAD)]
    drive(insert_ranks(tables, ranks, "board-7", held))
    step = max(1, len(held) // count)
    added = [Position(at * step + 0.5, 5, f"b{at:05}") for at in reversed(range(count))]
    drive(insert_ranks(tables, ranks, "board-7", added))
    check_buckets(tables, ranks, "board-7")  # type: ignore[arg-type]  # it only runs SQL
    assert drive(ranks.list_from(tables, "board-7", 0, 9_999)) == sorted([*held, *added])


def test_parts_of_what_is_overfull_are_even_and_have_room() -> None:
    for count in range(2, 600):
        for count_max in (1, 2, 3, 4, 64, 256):
            sizes = cut_evenly(count, count_max)
            assert sum(sizes) == count
            assert max(sizes) - min(sizes) <= 1
            assert max(sizes) <= max(1, count_max * 3 // 4)
            assert min(sizes) >= 1


@pytest.mark.requirement("R54")
def test_near_rows_take_few_statements(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = Tables(Direction.ASCENDING, Counting.EVERY)
    rows_before = [Position(float(key), 5, f"a{key:05}") for key in range(10_000)]
    drive(insert_ranks(tables, Ranks(), "board-7", rows_before))
    added = [Position(5_000 + at / 2_000, 5, f"b{at:05}") for at in range(1_500)]
    asked: list[str] = []
    for name in ("fetch_one", "fetch_all", "execute"):
        real = getattr(SqliteTransaction, name)

        async def counted(self: Any, sql: str, *params: Any, real: Any = real) -> Any:
            asked.append(sql)
            return await real(self, sql, *params)

        monkeypatch.setattr(SqliteTransaction, name, counted)
    drive(insert_ranks(tables, Ranks(), "board-7", added))
    assert len(asked) < 45, "one by one it would be 6,000"
