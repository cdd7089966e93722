"""The history of the Mario Kart 64 world records on boards, each place counted anew beside it.

Source: mkwrs.com by way of the tidytuesday set (CC0). It lies beside the checkout, not in it.
"""

import csv
import datetime as dt
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from moothall.core.units import DAY_MS
from moothall.testing import OpenHall, Visitor, open_test_hall

FILE = Path(__file__).resolve().parents[3] / "shared" / "data" / "mk64_world_records.csv"

pytestmark = pytest.mark.skipif(not FILE.exists(), reason="the real data is not here")


class Record(NamedTuple):
    player: str
    at_ms: int
    seconds: float
    number: int
    """The line in the file; of the records of one day the earlier line came first."""


class Expected(NamedTuple):
    place: int
    player: str
    seconds: float
    at_ms: int


def read_boards() -> dict[str, list[Record]]:
    boards = defaultdict(list)
    with FILE.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file)):
            shortcut = "with shortcut" if row["shortcut"] == "Yes" else "no shortcut"
            day = dt.datetime.fromisoformat(row["date"]).replace(tzinfo=dt.UTC)
            boards[f"{row['track']}, {row['type']}, {shortcut}"].append(
                Record(row["player"], int(day.timestamp()) * 1_000, float(row["time"]), number)
            )
    return boards


def recount(records: list[Record], counting: str) -> list[Expected]:
    """Rank by sorting, and count places by looking at every other row."""

    def order(one: Record) -> tuple[float, int, int]:
        return (one.seconds, one.at_ms, one.number)

    counted = records
    if counting == "best":
        players = {one.player for one in records}
        counted = [min((r for r in records if r.player == player), key=order) for player in players]
    rows = sorted(counted, key=order)
    return [
        Expected(
            1 + sum(other.seconds < row.seconds for other in rows),
            row.player,
            row.seconds,
            row.at_ms,
        )
        for row in rows
    ]


async def bring_in(hall: OpenHall, boss: Visitor, counting: str) -> dict[str, list[Record]]:
    """Make a board for each kind of record and import its history."""
    boards = {}
    for name, records in read_boards().items():
        board = {"name": name, "direction": "ascending", "counting": counting}
        made = await hall.call("leaderboards.create_board", board, as_=boss)
        boards[made.board_id] = records
        assert await send(hall, boss, made.board_id, records) == (len(records), 0)
        hall.clock.advance(1)
    return boards


async def send(
    hall: OpenHall, boss: Visitor, board_id: str, records: list[Record]
) -> tuple[int, int]:
    """Import records, a hundred a call, and return how many were new and how many known."""
    imported = known = 0
    for at in range(0, len(records), 100):
        entries = [
            {
                "submitter": one.player,
                "score": one.seconds,
                "submitted_at_ms": one.at_ms,
                "row": one.number,
            }
            for one in records[at : at + 100]
        ]
        request = {"board_id": board_id, "entries": entries}
        report = await hall.call("leaderboards.import_entries", request, as_=boss)
        assert report.refused == []
        imported += report.imported
        known += report.known
    return imported, known


def shown(ranking: Any) -> list[Expected]:
    return [
        Expected(row.place, row.name, row.score, row.submitted_at_ms) for row in ranking.standings
    ]


@pytest.mark.requirement("R61")
async def test_history_that_broke_off_is_completed_months_later_and_nothing_is_twice(
    tmp_path: Path,
) -> None:
    async with open_test_hall(tmp_path) as hall:
        boss = await hall.administrator("boss")
        await hall.call(
            "leaderboards.create_board",
            {"name": "all", "direction": "ascending", "counting": "every"},
            as_=boss,
        )
        records = [one for each in read_boards().values() for one in each]
        assert len(records) == 2_504
        assert await send(hall, boss, "all", records[:1_000]) == (1_000, 0)
    async with open_test_hall(tmp_path) as hall:
        hall.clock.advance(200 * DAY_MS)
        boss = await hall.sign_in("boss")
        # In another order, so that no call is the same as before.
        for expected in ((1_504, 1_000), (0, 2_504)):
            assert await send(hall, boss, "all", records[::-1]) == expected
        request = {"board_id": "all"}
        page = await hall.call("leaderboards.list_entries", request, as_=boss)
        assert page.total == 2_504
        assert [row.score for row in page.standings] == sorted(one.seconds for one in records)[:50]


@pytest.fixture(params=["best", "every"])
async def records(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[OpenHall, Visitor, dict[str, list[Expected]]]]:
    """A hall with all 56 boards, and what each of them should show."""
    async with open_test_hall(tmp_path) as hall:
        boss = await hall.administrator("boss")
        boards = await bring_in(hall, boss, request.param)
        assert len(boards) == 56
        assert sum(map(len, boards.values())) == 2_504
        yield hall, boss, {key: recount(each, request.param) for key, each in boards.items()}


@pytest.mark.requirement("R54")
@pytest.mark.requirement("R61")
async def test_every_place_on_every_board_agrees_with_a_recount(
    records: tuple[OpenHall, Visitor, dict[str, list[Expected]]],
) -> None:
    hall, boss, boards = records
    ties = 0
    for board_id, expected in boards.items():
        found: list[Expected] = []
        for offset in range(0, len(expected) + 30, 30):
            page = await hall.call(
                "leaderboards.list_entries",
                {"board_id": board_id, "offset": offset, "limit": 30},
                as_=boss,
            )
            assert (page.total, page.offset) == (len(expected), offset)
            assert shown(page) == expected[offset : offset + 30]
            found += shown(page)
        assert found == expected
        ties += sum(row.place != at for at, row in enumerate(found, start=1))
        await around_agrees(hall, boss, board_id, expected)
    assert ties > 20, "the history has many ties"


async def around_agrees(
    hall: OpenHall, boss: Visitor, board_id: str, expected: list[Expected]
) -> None:
    """Ask for the first, the last and some between: their rank, and who stands around them."""
    for at in {0, len(expected) // 3, len(expected) // 2, len(expected) - 1}:
        player = expected[at].player
        best = next(row for row in expected if row.player == player)
        request = {"board_id": board_id, "member": player}
        rank = await hall.call("leaderboards.get_rank", request, as_=boss)
        assert (rank.place, rank.score, rank.submitted_at_ms, rank.total) == (
            best.place,
            best.seconds,
            best.at_ms,
            len(expected),
        )
        around = await hall.call("leaderboards.list_around", {**request, "count": 3}, as_=boss)
        first = expected.index(best)
        assert around.offset == max(0, first - 3)
        assert shown(around) == expected[around.offset : first + 4]
