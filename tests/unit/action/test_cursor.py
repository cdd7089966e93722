"""Cursors: what a client is given, and what is made of what it sends back."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moothall.action.cursor import (
    BEYOND_MAX,
    CURSOR_LENGTH_MAX,
    Cursors,
    Extent,
    Place,
    make_place,
    read_cursor,
)
from moothall.action.hub import find_positions
from moothall.action.migrations import migrate
from moothall.action.push import Push
from moothall.ports.database import Database
from moothall.storage.sqlite import SqliteDatabase
from moothall.testing.clock import ManualClock

pytestmark = pytest.mark.requirement("R33")

NUMBERS = st.integers(0, 2**53 - 1)
EXTENT = Extent("0123abcd", swept=3, settled=50, last=100)


def cursors() -> Cursors:
    made = Cursors()
    made._epoch = EXTENT.epoch
    return made


def test_event_that_is_settled_has_its_number_alone() -> None:
    assert cursors().of(Push("s", 1, 41, "k", 0, "{}")) == "0123abcd.41"
    assert cursors().of(Push("s", 1, 41, "k", 0, "{}", Place(41))) == "0123abcd.41"


def test_event_that_is_not_settled_is_named_beside_what_is() -> None:
    assert cursors().of(Push("s", 1, 41, "k", 0, "{}", Place(7, (12, 41)))) == "0123abcd.7-12-41"


@given(NUMBERS, st.lists(NUMBERS, max_size=8))
def test_cursor_means_what_it_was_made_of_or_less(settled: int, numbers: list[int]) -> None:
    place = make_place(settled, numbers)
    text = cursors().text(place)
    assert len(text) <= CURSOR_LENGTH_MAX
    read = read_cursor(text, Extent(EXTENT.epoch, 0, 0, 2**53))
    assert read is not None
    assert read.settled == settled
    left_out = len(place.beyond) - len(read.beyond)
    assert read.beyond == place.beyond[left_out:]
    if left_out:
        assert len(f"{text}-{place.beyond[left_out - 1]}") > CURSOR_LENGTH_MAX


@given(NUMBERS, st.sets(NUMBERS, max_size=8))
def test_place_has_the_highest_numbers_above_what_is_settled(
    settled: int, numbers: set[int]
) -> None:
    above = sorted(number for number in numbers if number > settled)
    assert make_place(settled, numbers) == Place(settled, tuple(above[-BEYOND_MAX:]))


@given(st.text("0123456789.-+ abcd_\u0661", max_size=70))
def test_what_no_hall_has_written_is_refused_or_lies_within_its_bounds(rest: str) -> None:
    place = read_cursor(f"{EXTENT.epoch}.{rest}", EXTENT)
    if place is not None:
        numbers = [place.settled, *place.beyond]
        assert numbers == sorted(set(numbers))
        assert len(place.beyond) <= BEYOND_MAX
        assert EXTENT.swept <= numbers[0]
        assert numbers[-1] <= EXTENT.last
        assert numbers == [int(each) for each in rest.split("-")]


@pytest.mark.parametrize(
    ("later", "earlier"),
    [
        (Place(8), Place(7)),
        (Place(7, (9,)), Place(7)),
        (Place(7, (10,)), Place(7, (9,))),
        (Place(10), Place(7, (9,))),
        (Place(5, (13,)), Place(7, (12,))),  # at a node that knows of less that is settled
        (Place(7, (9,)), Place(8)),
        (Place(7, (8, 9)), Place(7, (9,))),
        (Place(8, (9,)), Place(7, (9,))),
    ],
)
def test_of_two_places_one_is_newer(later: Place, earlier: Place) -> None:
    assert later.is_newer(earlier)
    assert not earlier.is_newer(later)
    assert not later.is_newer(later)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = SqliteDatabase.open(tmp_path / "hall.sqlite", on_sync_failure=lambda _error: None)
    await migrate(opened, ManualClock(), [], opened.engine)
    yield opened
    await opened.close()


@pytest.mark.parametrize(
    ("place", "positions"),
    [
        (Place(0), {"a": 0, "b": 0, "c": 0}),
        (Place(3), {"a": 2, "b": 1, "c": 0}),
        (Place(3, (5,)), {"a": 3, "b": 1, "c": 0}),
        (Place(3, (5, 8)), {"a": 3, "b": 3, "c": 0}),
        (Place(3, (6, 8)), {"a": 2, "b": 3, "c": 0}),
        (Place(3, (7,)), {"a": 2, "b": 1, "c": 0}),  # of a stream that is not followed
        (Place(3, (9,)), {"a": 2, "b": 1, "c": 0}),  # of no event
    ],
)
async def test_reader_begins_after_what_its_place_names(
    database: Database, place: Place, positions: dict[str, int]
) -> None:
    rows = [(1, "a", 1), (2, "b", 1), (3, "a", 2), (5, "a", 3), (6, "b", 2), (7, "d", 1)]
    rows += [(8, "b", 3), (10, "a", 4)]
    sql = (
        "INSERT INTO action_event (cursor, stream, seq, kind, at_ms, data) "
        "VALUES ($1, $2, $3, 'k', 0, '{}')"
    )
    for row in rows:
        await database.write(lambda tx, row=row: tx.execute(sql, *row))  # type: ignore[misc]
    found, _ = await database.read(lambda tx: find_positions(tx, ("a", "b", "c"), place))
    assert found == positions


async def test_numbers_of_a_cursor_are_looked_up_by_their_index(database: Database) -> None:
    """A strange cursor must not make the hall read a stream to its beginning."""
    asked: list[str] = []

    class Asking:
        async def fetch_all(self, sql: str, *_values: object) -> list[object]:
            asked.append(sql)
            return []

        async def fetch_one(self, sql: str, *_values: object) -> None:
            assert sql

    await find_positions(Asking(), ("a",), Place(3, (5,)))  # type: ignore[arg-type]
    [sql] = asked
    plan = await database.read(lambda tx: tx.fetch_all(f"EXPLAIN QUERY PLAN {sql}", 5, 0, 0, 0))
    assert [row[3] for row in plan] == ["SEARCH action_event USING INTEGER PRIMARY KEY (rowid=?)"]
