"""History that is brought in more than once: what is known, what is new, what is refused."""

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from moothall.core.ids import is_id
from moothall.core.units import DAY_MS
from moothall.services.leaderboards.actions.imports import ENTRIES_MAX
from moothall.services.leaderboards.rules import make_imported_id
from moothall.testing import OpenHall, ProblemError, Visitor, open_test_hall


@pytest.fixture
async def hall(tmp_path: Path) -> AsyncIterator[OpenHall]:
    async with open_test_hall(tmp_path) as opened:
        yield opened


async def make_board(hall: OpenHall, boss: Visitor, board_id: str, counting: str) -> None:
    fields = {"name": board_id, "board_id": board_id, "counting": counting}
    await hall.call("leaderboards.create_board", {**fields, "direction": "ascending"}, as_=boss)


async def bring_in(
    hall: OpenHall, boss: Visitor, rows: list[dict[str, Any]], board: str = "seven", **more: Any
) -> Any:
    request = {"board_id": board, "entries": rows, **more}
    return await hall.call("leaderboards.import_entries", request, as_=hall.renew(boss))


async def everything(hall: OpenHall) -> list[list[Any]]:
    """Return all that an import may change."""
    tables = ("entry", "rank", "rank_bucket", "standing", "comment")
    found = [await hall.rows(f"SELECT * FROM leaderboards_{table}") for table in tables]
    found.append(await hall.rows("SELECT member_id, name FROM identity_member"))
    found.append(await hall.rows("SELECT stream, last_seq FROM action_stream"))
    return found


def history(count: int) -> list[dict[str, Any]]:
    """Return rows of few members, scores and moments, all different by their lines only."""
    chance = random.Random(61)
    return [
        {
            "submitter": f"player {chance.randrange(9)}",
            "score": float(chance.randrange(12)),
            "submitted_at_ms": chance.choice([1_000, 2_000, 3_000]),
            "row": line,
            "verified": chance.random() < 0.9,
            "description": chance.choice(["", "", "a duel"]),
        }
        for line in range(2, count + 2)
    ]


@pytest.mark.requirement("R34")
@pytest.mark.requirement("R61")
@pytest.mark.parametrize("counting", ["best", "last", "sum", "every"])
async def test_what_is_there_already_changes_nothing_for_ever(
    hall: OpenHall, boss: Visitor, counting: str
) -> None:
    await make_board(hall, boss, "seven", counting)
    rows = history(200)
    first = await bring_in(hall, boss, rows[:120])
    assert (first.imported, first.known, first.refused) == (120, 0, [])
    # It broke off there. Months later it is made again, in other parts and another order.
    hall.clock.advance(100 * DAY_MS)
    random.Random(7).shuffle(rows)
    again = [await bring_in(hall, boss, rows[at : at + 77]) for at in range(0, 200, 77)]
    assert sum(report.imported for report in again) == 80
    assert sum(report.known for report in again) == 120
    before = await everything(hall)
    hall.clock.advance(100 * DAY_MS)
    last = await bring_in(hall, boss, rows)
    assert (last.imported, last.known, last.refused) == (0, 200, [])
    assert await everything(hall) == before


@pytest.mark.requirement("R61")
@pytest.mark.parametrize("counting", ["best", "last", "sum", "every"])
async def test_parts_and_their_order_do_not_matter(
    hall: OpenHall, boss: Visitor, counting: str
) -> None:
    rows = history(150)
    for board in ("whole", "parts"):
        await make_board(hall, boss, board, counting)
    await bring_in(hall, boss, rows, "whole")
    shuffled = random.Random(3).sample(rows, len(rows))
    for at in range(0, 150, 20):
        await bring_in(hall, boss, shuffled[at : at + 20], "parts")
    shown = []
    for board in ("whole", "parts"):
        request = {"board_id": board, "limit": 200}
        page = await hall.call("leaderboards.list_entries", request, as_=hall.renew(boss))
        shown.append(
            [(row.place, row.name, row.score, row.submitted_at_ms) for row in page.standings]
        )
    assert shown[0] == shown[1] != []


@pytest.mark.requirement("R61")
async def test_members_who_were_renamed_since_are_known_all_the_same(
    hall: OpenHall, boss: Visitor
) -> None:
    await make_board(hall, boss, "seven", "every")
    rows = [{"submitter": "ann", "score": 1.0, "submitted_at_ms": 5}]
    await bring_in(hall, boss, rows)
    await hall.call("identity.rename_member", {"member": "ann", "name": "zoe"}, as_=boss)
    before = await everything(hall)
    assert (await bring_in(hall, boss, rows)).known == 1
    assert await everything(hall) == before, "nobody was made anew"


@pytest.mark.requirement("R61")
async def test_ref_is_known_wherever_it_stands_and_refused_with_another_score(
    hall: OpenHall, boss: Visitor
) -> None:
    await make_board(hall, boss, "seven", "every")
    row = {"submitter": "ann", "score": 1.5, "submitted_at_ms": 5, "ref": "r 1", "row": 2}
    assert (await bring_in(hall, boss, [row])).imported == 1
    assert (await bring_in(hall, boss, [{**row, "row": 900}])).known == 1
    before = await everything(hall)
    report = await bring_in(hall, boss, [{**row, "score": 2.5, "submitter": "new"}])
    assert (report.imported, report.known) == (0, 0)
    [refusal] = report.refused
    assert (refusal.row, refusal.field) == (0, "ref")
    assert "with the score 1.5" in refusal.reason
    assert refusal.remedy
    assert await everything(hall) == before, "a refused row makes no account"


@pytest.mark.requirement("R61")
async def test_twins_in_one_call(hall: OpenHall, boss: Visitor) -> None:
    await make_board(hall, boss, "seven", "every")
    row = {"submitter": "ann", "score": 1.0, "submitted_at_ms": 5}
    rows = [{**row, "ref": "a"}, {**row, "ref": "a"}, {**row, "ref": "a", "score": 2.0}, row, row]
    report = await bring_in(hall, boss, rows)
    assert (report.imported, report.known) == (3, 1), "equal rows without a ref may both be true"
    assert [(one.row, one.field) for one in report.refused] == [(2, "ref")]


@pytest.mark.requirement("R61")
async def test_one_row_on_two_boards_is_two_entries(hall: OpenHall, boss: Visitor) -> None:
    row = {"submitter": "ann", "score": 1.0, "submitted_at_ms": 5, "row": 2}
    for board in ("seven", "eight"):
        await make_board(hall, boss, board, "every")
        report = await bring_in(hall, boss, [row, {**row, "ref": "a"}], board)
        assert (report.imported, report.known) == (2, 0)


@pytest.mark.requirement("R61")
async def test_of_one_moment_the_earlier_line_is_the_earlier_submission(
    hall: OpenHall, boss: Visitor
) -> None:
    await make_board(hall, boss, "seven", "every")
    lines = [2, 3, 255, 256, 70_000, 1_000_000]
    rows = [
        {"submitter": f"m{line}", "score": 1.0, "submitted_at_ms": 5, "row": line}
        for line in reversed(lines)
    ]
    await bring_in(hall, boss, rows)
    page = await hall.call("leaderboards.list_entries", {"board_id": "seven"}, as_=boss)
    assert [row.name for row in page.standings] == [f"m{line}" for line in lines]
    assert {row.place for row in page.standings} == {1}


@pytest.mark.requirement("R61")
async def test_history_goes_to_the_season_that_is_named(hall: OpenHall, boss: Visitor) -> None:
    await make_board(hall, boss, "seven", "every")
    await hall.call("leaderboards.start_season", {"board_id": "seven"}, as_=boss)
    row = {"submitter": "ann", "score": 1.0, "submitted_at_ms": 5}
    assert (await bring_in(hall, boss, [row])).imported == 1
    assert (await bring_in(hall, boss, [{**row, "score": 9.0}], season=1)).imported == 1
    assert (await bring_in(hall, boss, [row], season=1)).known == 1
    for season, score in ((1, 9.0), (2, 1.0)):
        request = {"board_id": "seven", "season": season}
        page = await hall.call("leaderboards.list_entries", request, as_=boss)
        assert [standing.score for standing in page.standings] == [score]
    before = await everything(hall)
    with pytest.raises(ProblemError) as refusal:
        await bring_in(hall, boss, [{**row, "submitter": "new"}], season=3)
    assert refusal.value.name == "season_not_found"
    assert await everything(hall) == before


@pytest.mark.requirement("R61")
async def test_report_that_refuses_all_of_a_call_can_be_remembered(
    hall: OpenHall, boss: Visitor
) -> None:
    await make_board(hall, boss, "seven", "every")
    rows = [
        {"submitter": f"x/{number}", "score": 1.0, "submitted_at_ms": 2**53 - 1}
        for number in range(ENTRIES_MAX)
    ]
    for submitted_at_ms in (2**53 - 1, 5):
        rows = [{**row, "submitted_at_ms": submitted_at_ms} for row in rows]
        request = {"board_id": "seven", "entries": rows}
        reports = [
            await hall.call(
                "leaderboards.import_entries", request, as_=boss, key=f"key-{submitted_at_ms}"
            )
            for _ in range(2)
        ]
        assert len(reports[0].refused) == ENTRIES_MAX
        assert reports[0] == reports[1]


def test_ids_of_imported_rows_are_ids() -> None:
    moment = 1_700_000_000_000
    ids = [make_imported_id(moment, line, "b", "ann", "1.0") for line in (0, 9, 2**24, 2**53 - 1)]
    ids += [make_imported_id(moment, None, "b", "ref"), make_imported_id(0, 0, "b")]
    assert len(set(ids)) == len(ids)
    assert all(is_id(one) for one in ids)
    assert ids[0] < ids[1] < ids[2]
    assert ids[0] == make_imported_id(moment, 0, "b", "ann", "1.0")
    assert make_imported_id(moment, 0, "b", "ann", "1.0") > make_imported_id(moment - 1, 9, "b")
