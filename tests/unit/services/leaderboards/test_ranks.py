"""Ranks, against a sorted list that does the same slowly."""

import random
import re
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from itertools import pairwise
from typing import Any, TypeVar

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from moothall.ports.database import Row
from moothall.services.leaderboards.store import ranks
from moothall.services.leaderboards.store.ranks import (
    CHUNK_ROWS_MAX,
    START,
    Position,
    Ranks,
    assign_places,
    count_kept,
    find_offset,
    is_overfull,
    is_sparse,
    may_join,
)
from tests.unit.services.leaderboards.tables import open_tables

T = TypeVar("T")

SMALL = Ranks(rows_per_bucket_max=4, buckets_per_group_max=3)
BOARD = "board-7"


class MemoryTransaction:
    """The port over a connection of its own, in memory."""

    engine = "sqlite"

    def __init__(self) -> None:
        self.connection = open_tables()
        self.statements = 0

    def run(self, sql: str, params: tuple[Any, ...] = ()) -> list[Row]:
        self.statements += 1
        return self.connection.execute(sql.replace("$", "?"), params).fetchall()

    async def fetch_one(self, sql: str, *params: Any) -> Row | None:
        rows = self.run(sql, params)
        return rows[0] if rows else None

    async def fetch_all(self, sql: str, *params: Any) -> list[Row]:
        return self.run(sql, params)

    async def execute(self, sql: str, *params: Any) -> int:
        self.run(sql, params)
        return self.connection.changes()

    async def append(self, sql: str, *params: Any) -> None:
        raise NotImplementedError

    async def append_returning(self, sql: str, *params: Any) -> Row | None:
        raise NotImplementedError

    async def execute_script(self, sql: str) -> None:
        self.connection.execute(sql)

    async def lock_rows(self, sql: str, *params: Any) -> list[Row]:
        return self.run(sql, params)

    async def lock(self, name: str) -> None:
        raise NotImplementedError

    async def lift_limits(self) -> None:
        raise NotImplementedError

    async def find_horizon(self) -> None:
        raise NotImplementedError

    async def tell_nodes(self, topic: str, key: str) -> None:
        raise NotImplementedError

    async def nested(self, work: Callable[[], Awaitable[T]]) -> T:
        return await work()

    def on_commit(self, hook: Callable[[], None]) -> None:
        hook()


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run what never suspends on SQLite, also inside a rule that is not asynchronous."""
    try:
        work.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # an exception carries Any
    raise AssertionError("suspended")


@pytest.fixture
def tx() -> Iterator[MemoryTransaction]:
    transaction = MemoryTransaction()
    yield transaction
    transaction.connection.close()


def fill(tx: MemoryTransaction, ranks: Ranks, rows: list[Position], board_id: str = BOARD) -> None:
    for row in rows:
        finish(ranks.insert(tx, board_id, row))


def rows_of(keys: list[float]) -> list[Position]:
    return [Position(key, 1_000 + index, f"entry-{index:05}") for index, key in enumerate(keys)]


def shuffled(count: int, keys: int) -> list[float]:
    chance = random.Random(3)
    return [float(chance.randrange(keys)) for _ in range(count)]


def check_buckets(tx: MemoryTransaction, ranks: Ranks, board_id: str) -> None:
    """Assert that the counts are true and the bounds are kept."""
    columns = "key, submitted_at_ms, entry_id"
    group_columns = "group_key, group_submitted_at_ms, group_entry_id"
    select = f"SELECT {columns}, {group_columns}, row_count FROM leaderboards_rank_bucket"
    order = f"WHERE ranking_id = ? AND level = ? ORDER BY {columns}"
    buckets = tx.run(f"{select} {order}", (board_id, 0))
    groups = tx.run(f"{select} {order}", (board_id, 1))
    rows = tx.run(
        f"SELECT {columns} FROM leaderboards_rank WHERE ranking_id = ? ORDER BY {columns}",
        (board_id,),
    )
    if not buckets:
        assert not groups
        assert not rows
        return
    starts = [bucket[:3] for bucket in buckets]
    assert starts[0] == groups[0][:3] == tuple(START)
    cuts = [0, *(bisect_left(rows, start) for start in starts[1:]), len(rows)]
    assert [bucket[6] for bucket in buckets] == [high - low for low, high in pairwise(cuts)]
    assert all(count <= ranks.rows_per_bucket_max for *_, count in buckets)
    held: list[Row] = []
    for group, end in zip(groups, [*(group[:3] for group in groups[1:]), None], strict=True):
        own = [bucket for bucket in buckets if bucket[3:6] == group[:3]]
        assert 1 <= len(own) <= ranks.buckets_per_group_max
        assert own[0][:3] == group[:3]
        assert end is None or own[-1][:3] < end
        assert group[6] == sum(bucket[6] for bucket in own)
        held += own
    assert held == buckets


def check_answers(tx: MemoryTransaction, ranks: Ranks, model: list[Position]) -> None:
    """Assert that every answer is that of the sorted list."""
    assert finish(ranks.count(tx, BOARD)) == len(model)
    for key in {-1.5, 0.5, 99.0, *(row.key for row in model)}:
        better = finish(ranks.count_better(tx, BOARD, key))
        assert better == sum(row.key < key for row in model)
    for offset in {0, len(model) // 2, max(0, len(model) - 1), len(model), len(model) + 5}:
        assert finish(ranks.list_from(tx, BOARD, offset, 5)) == model[offset : offset + 5]
    for offset, row in list(enumerate(model))[:: max(1, len(model) // 7)]:
        assert finish(ranks.count_before(tx, BOARD, row)) == offset
        assert finish(ranks.list_after(tx, BOARD, row, 3)) == model[offset + 1 : offset + 4]
        before = finish(ranks.list_before(tx, BOARD, row, 3))
        assert before == model[max(0, offset - 3) : offset]


# --- Decisions ------------------------------------------------------------------------------------


def test_a_cut_leaves_parts_that_need_neither_cut_nor_join() -> None:
    for rows_max in range(2, 300):
        count = rows_max + 1
        assert is_overfull(count, rows_max)
        assert not is_overfull(rows_max, rows_max)
        kept = count_kept(count)
        for part in (kept, count - kept):
            assert 1 <= part <= rows_max
            assert not is_sparse(part, rows_max)


def test_an_empty_bucket_always_joins_and_a_joined_one_is_not_overfull() -> None:
    assert may_join(left_count=8, row_count=0, rows_max=8)
    assert may_join(left_count=7, row_count=1, rows_max=8)
    assert not may_join(left_count=8, row_count=1, rows_max=8)


def test_find_offset_skips_empty_parts_and_runs_out_at_the_end() -> None:
    assert find_offset([3, 0, 2], 2) == (0, 2)
    assert find_offset([3, 0, 2], 3) == (2, 0)
    assert find_offset([3, 0, 2], 9) == (2, 6)
    with pytest.raises(ValueError, match="no rows"):
        find_offset([], 0)


@pytest.mark.requirement("R54")
def test_places_are_shared_and_the_next_is_skipped() -> None:
    page = rows_of([1.0, 1.0, 2.0, 3.0, 3.0])
    assert assign_places(page, offset=0, better=0) == [1, 1, 3, 4, 4]
    assert assign_places(page[1:], offset=1, better=0) == [1, 3, 4, 4]
    assert assign_places([], offset=0, better=0) == []


@given(keys=st.lists(st.sampled_from([1.0, 2.0, 3.0]), min_size=1), data=st.data())
def test_places_of_any_page_are_those_of_the_whole_board(
    keys: list[float], data: st.DataObject
) -> None:
    board = sorted(rows_of(keys))
    offset = data.draw(st.integers(0, len(board) - 1))
    better = bisect_left(board, (board[offset].key,))
    whole = assign_places(board, offset=0, better=0)
    assert assign_places(board[offset:], offset=offset, better=better) == whole[offset:]
    assert whole == [1 + sum(other.key < row.key for other in board) for row in board]


# --- Rows -----------------------------------------------------------------------------------------

ORDERS = {
    "ascending": [float(index) for index in range(400)],
    "descending": [float(-index) for index in range(400)],
    "shuffled": shuffled(400, 10_000),
    "few values": shuffled(400, 3),
    "one value": [7.0] * 400,
    "two giants": [1.0] * 200 + [2.0] * 200,
    "a giant among others": [*shuffled(100, 50), *[25.0] * 200, *shuffled(100, 50)],
    "extremes": [-1.7e308, 1.7e308, 5e-324, -5e-324, 0.0, -0.0] * 20,
}


@pytest.mark.requirement("R54")
@pytest.mark.parametrize("keys", ORDERS.values(), ids=ORDERS)
def test_any_order_of_insertion_is_ranked_taken_apart_and_ranked_again(
    tx: MemoryTransaction, keys: list[float]
) -> None:
    rows = rows_of(keys)
    for removal in (rows, rows[::-1], random.Random(5).sample(rows, len(rows))):
        fill(tx, SMALL, rows)
        model = sorted(rows)
        check_buckets(tx, SMALL, BOARD)
        check_answers(tx, SMALL, model)
        for index, row in enumerate(removal):
            assert finish(SMALL.delete(tx, BOARD, row))
            model.remove(row)
            if index % 80 == 0:
                check_buckets(tx, SMALL, BOARD)
                check_answers(tx, SMALL, model)
        check_buckets(tx, SMALL, BOARD)
        # The first bucket and its group are all that remains of a board without rows.
        assert tx.run("SELECT count(*) FROM leaderboards_rank_bucket") == [(2,)]


def test_an_unknown_board_is_empty(tx: MemoryTransaction) -> None:
    check_answers(tx, SMALL, [])
    assert finish(SMALL.list_from(tx, BOARD, 0, 5)) == []
    assert not finish(SMALL.delete(tx, BOARD, Position(1.0, 1, "entry")))
    assert finish(SMALL.delete_chunk(tx, BOARD)) == 0


def test_deleting_what_is_not_ranked_changes_no_count(tx: MemoryTransaction) -> None:
    rows = rows_of([1.0, 2.0])
    fill(tx, SMALL, rows)
    assert not finish(SMALL.delete(tx, BOARD, Position(1.0, 1, "stranger")))
    check_answers(tx, SMALL, rows)


def test_ranking_a_row_twice_is_refused_and_changes_no_count(tx: MemoryTransaction) -> None:
    rows = rows_of([1.0, 2.0])
    fill(tx, SMALL, rows)
    with pytest.raises(apsw.ConstraintError):
        finish(SMALL.insert(tx, BOARD, rows[0]))
    check_buckets(tx, SMALL, BOARD)
    check_answers(tx, SMALL, rows)


def test_boards_do_not_see_each_other(tx: MemoryTransaction) -> None:
    rows = rows_of(shuffled(60, 20))
    for board_id in ("board-6", BOARD, "board-8"):
        fill(tx, SMALL, rows, board_id)
    for row in rows:
        finish(SMALL.delete(tx, "board-6", row))
    while finish(SMALL.delete_chunk(tx, "board-8")):
        pass
    check_answers(tx, SMALL, sorted(rows))
    for board_id in ("board-6", BOARD, "board-8"):
        check_buckets(tx, SMALL, board_id)


def test_a_board_is_removed_in_bounded_chunks_without_an_orphan(tx: MemoryTransaction) -> None:
    fill(tx, SMALL, rows_of(shuffled(1_200, 100)))
    chunks = []
    while chunk := finish(SMALL.delete_chunk(tx, BOARD)):
        chunks.append(chunk)
    assert max(chunks) <= CHUNK_ROWS_MAX
    assert tx.run("SELECT count(*) FROM leaderboards_rank") == [(0,)]
    assert tx.run("SELECT count(*) FROM leaderboards_rank_bucket") == [(0,)]


def test_the_best_rows_come_first(tx: MemoryTransaction) -> None:
    rows = rows_of(shuffled(50, 5))
    fill(tx, SMALL, rows)
    assert finish(SMALL.list_from(tx, BOARD, 0, 7)) == sorted(rows)[:7]


def test_a_change_takes_four_statements_and_a_place_two(tx: MemoryTransaction) -> None:
    ranks = Ranks()
    fill(tx, ranks, rows_of(shuffled(100, 5)))
    row = Position(2.0, 5, "entry")
    for work, statements in (
        (lambda: ranks.insert(tx, BOARD, row), 4),
        (lambda: ranks.count_better(tx, BOARD, 2.0), 2),
        (lambda: ranks.delete(tx, BOARD, row), 4),
    ):
        tx.statements = 0
        finish(work())
        assert tx.statements == statements


@pytest.mark.parametrize(
    "name", ["_FIND_BUCKET", "_COUNT_BEFORE", "_LIST_BUCKETS", "_FROM", "_AFTER", "_BEFORE"]
)
def test_every_search_seeks_by_the_whole_position(tx: MemoryTransaction, name: str) -> None:
    # By the key alone it would walk all ties: right, and a hundred times slower.
    sql = getattr(ranks, name)
    params = (1,) * max(int(number) for number in re.findall(r"\$(\d+)", sql))
    plans = [plan for *_, plan in tx.run(f"EXPLAIN QUERY PLAN {sql}", params) if "SEARCH" in plan]
    if name == "_COUNT_BEFORE":
        # The total alone is a sum over all groups, and they are few.
        [total] = [plan for plan in plans if plan.endswith("(ranking_id=? AND level=?)")]
        plans.remove(total)
    assert plans
    for plan in plans:
        assert "(key,submitted_at_ms,entry_id)" in plan


# --- Any history ----------------------------------------------------------------------------------

KEYS = st.sampled_from([-2.0, 0.0, 1.0, 1.0000000000000002, 3.5])


class Histories(RuleBasedStateMachine):
    """Insertions and removals with many ties, in buckets so small that they cut and join."""

    def __init__(self) -> None:
        super().__init__()
        self.tx = MemoryTransaction()
        self.model: list[Position] = []
        self.submitted = 0

    def teardown(self) -> None:
        self.tx.connection.close()

    def add(self, key: float, submitted_at_ms: int) -> None:
        self.submitted += 1
        row = Position(
            key, submitted_at_ms, f"entry-{self.submitted * 7919 % 1000:03}-{self.submitted}"
        )
        finish(SMALL.insert(self.tx, BOARD, row))
        self.model = sorted([*self.model, row])

    def remove(self, row: Position) -> None:
        assert finish(SMALL.delete(self.tx, BOARD, row))
        self.model.remove(row)

    @rule(key=KEYS, submitted_at_ms=st.integers(-3, 3))
    def insert(self, key: float, submitted_at_ms: int) -> None:
        self.add(key, submitted_at_ms)

    @rule(keys=st.lists(KEYS, min_size=5, max_size=40))
    def insert_many(self, keys: list[float]) -> None:
        for key in keys:
            self.add(key, 0)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        self.remove(data.draw(st.sampled_from(self.model)))

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def delete_range_and_return_one(self, data: st.DataObject) -> None:
        first = data.draw(st.integers(0, len(self.model) - 1))
        last = data.draw(st.integers(first, len(self.model) - 1))
        gone = self.model[first : last + 1]
        for row in data.draw(st.sampled_from([gone, gone[::-1]])):
            self.remove(row)
        finish(SMALL.insert(self.tx, BOARD, gone[0]))
        self.model = sorted([*self.model, gone[0]])

    @invariant()
    def counts_are_true(self) -> None:
        check_buckets(self.tx, SMALL, BOARD)

    @invariant()
    def answers_are_those_of_a_sorted_list(self) -> None:
        check_answers(self.tx, SMALL, self.model)


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=30, stateful_step_count=20)
