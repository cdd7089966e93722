"""Seasons: begun by hand and by the schedule, readable afterwards, each with its own places."""

from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

import moothall.services
from moothall.action.migrations import read_migrations
from moothall.core.errors import InvalidArgumentError
from moothall.core.units import DAY_MS, HOUR_MS, MINUTE_MS
from moothall.services.leaderboards.actions.seasons import SEASON_MAX
from moothall.services.leaderboards.model import Counting, Direction, SeasonRanking
from moothall.services.leaderboards.rules import (
    Timetable,
    choose_timetable,
    next_ranking_id,
    next_reset_ms,
    ranking_id_of,
)
from moothall.testing import OpenHall, ProblemError, Visitor, open_test_hall

JOB = "leaderboards.start_due_seasons"
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
async def ann(hall: OpenHall) -> Visitor:
    return await hall.member("ann")


async def create(hall: OpenHall, boss: Visitor, **fields: str) -> Any:
    board = {"name": "Seven", "direction": "descending", "default_level": "write", **fields}
    return await hall.call("leaderboards.create_board", board, as_=boss)


async def do(hall: OpenHall, who: Visitor, action: str, **fields: Any) -> Any:
    return await hall.call(f"leaderboards.{action}", {"board_id": "seven", **fields}, as_=who)


async def submit(hall: OpenHall, who: Visitor, score: float) -> str:
    hall.clock.advance(1)
    return str((await do(hall, who, "submit_score", score=score)).entry_id)


async def turn(hall: OpenHall, boss: Visitor, verb: str, entry_id: str) -> None:
    await hall.call(f"leaderboards.{verb}_entry", {"entry_id": entry_id}, as_=boss)


async def scores(hall: OpenHall, who: Visitor, season: int | None = None) -> list[float]:
    fields = {} if season is None else {"season": season}
    ranking = await do(hall, who, "list_entries", **fields)
    assert ranking.total == len(ranking.standings)
    assert season in {None, ranking.season}
    return [row.score for row in ranking.standings]


async def refused(hall: OpenHall, who: Visitor, action: str, **fields: Any) -> ProblemError:
    with pytest.raises(ProblemError) as refusal:
        await do(hall, who, action, **fields)
    return refusal.value


# --- By hand --------------------------------------------------------------------------------------


@pytest.mark.requirement("R61")
async def test_a_new_season_begins_empty_and_the_old_one_stays_readable(
    hall: OpenHall, boss: Visitor, ann: Visitor
) -> None:
    created = await create(hall, boss)
    assert (created.season, created.season_began_at_ms) == (1, hall.clock.now_ms())
    await turn(hall, boss, "verify", await submit(hall, ann, 7.0))
    hall.clock.advance(1_000)
    begun = await do(hall, boss, "start_season")
    assert (begun.season, begun.began_at_ms, begun.ended_at_ms) == (2, hall.clock.now_ms(), None)

    assert await scores(hall, ann) == []
    assert await scores(hall, ann, 2) == []
    assert await scores(hall, ann, 1) == [7.0]
    assert (await refused(hall, ann, "get_rank")).name == "not_ranked"
    rank = await do(hall, ann, "get_rank", season=1)
    assert (rank.place, rank.total, rank.season, rank.score) == (1, 1, 1, 7.0)
    around = await do(hall, ann, "list_around", season=1)
    assert [row.score for row in around.standings] == [7.0]

    await turn(hall, boss, "verify", await submit(hall, ann, 3.0))
    assert await scores(hall, ann) == [3.0]
    assert await scores(hall, ann, 1) == [7.0]
    board = await do(hall, ann, "get_board")
    assert (board.season, board.season_began_at_ms) == (2, begun.began_at_ms)
    [started] = [e for e in await hall.events("board/seven") if e.kind.endswith("season_started")]
    assert started.data == {"board_id": "seven", "season": 2, "began_at_ms": begun.began_at_ms}


@pytest.mark.requirement("R61")
@pytest.mark.parametrize(("counting", "left"), [("best", 5.0), ("last", 2.0), ("sum", 7.0)])
async def test_verifying_late_counts_in_the_season_of_submission_and_so_does_unverifying(
    hall: OpenHall, boss: Visitor, ann: Visitor, counting: str, left: float
) -> None:
    await create(hall, boss, counting=counting)
    first = [await submit(hall, ann, score) for score in (5.0, 2.0, 9.0)]
    await do(hall, boss, "start_season")
    second = await submit(hall, ann, 100.0)
    for entry_id in [*first, second]:
        await turn(hall, boss, "verify", entry_id)
    assert await scores(hall, ann) == [100.0]
    await turn(hall, boss, "unverify", first[2])
    assert await scores(hall, ann, 1) == [left]
    assert await scores(hall, ann, 2) == [100.0]
    await turn(hall, boss, "unverify", second)
    assert await scores(hall, ann, 2) == []
    assert await scores(hall, ann, 1) == [left]


@pytest.mark.requirement("R61")
async def test_a_season_that_is_not_there_is_not_found(hall: OpenHall, boss: Visitor) -> None:
    await create(hall, boss)
    for action in ("list_entries", "get_rank", "list_around"):
        refusal = await refused(hall, boss, action, season=2)
        assert (refusal.code, refusal.name) == ("not_found", "season_not_found")
        assert refusal.details["season_max"] == 1
        refusal = await refused(hall, boss, action, season=0)
        assert refusal.name == "invalid_argument"


@pytest.mark.requirement("R61")
async def test_seasons_are_listed_by_pages_the_latest_first(
    hall: OpenHall, boss: Visitor, ann: Visitor
) -> None:
    await create(hall, boss)
    began = [hall.clock.now_ms()]
    for _ in range(4):
        hall.clock.advance(1_000)
        began.append((await do(hall, boss, "start_season")).began_at_ms)
    seen: list[Any] = []
    after: int | None = SEASON_MAX
    while after is not None:
        page = await do(hall, ann, "list_seasons", after=after, limit=2)
        seen += page.seasons
        after = page.next
    assert [season.season for season in seen] == [5, 4, 3, 2, 1]
    assert [season.began_at_ms for season in seen] == began[::-1]
    assert [season.ended_at_ms for season in seen] == [None, *began[:0:-1]]


@pytest.mark.requirement("R61")
async def test_only_who_may_change_the_board_begins_a_season(
    hall: OpenHall, boss: Visitor, ann: Visitor
) -> None:
    await create(hall, boss)
    assert (await refused(hall, ann, "start_season")).code == "permission_denied"
    assert (await do(hall, boss, "get_board")).season == 1


@pytest.mark.requirement("R61")
async def test_history_belongs_to_the_season_it_is_brought_into(
    hall: OpenHall, boss: Visitor, ann: Visitor
) -> None:
    await create(hall, boss, counting="sum")
    await do(hall, boss, "start_season")
    await do(hall, boss, "update_board", counting="every")
    for at_ms, fields in ((5, {"season": 1}), (6, {})):
        rows = [
            {"submitter": "ann", "score": score, "submitted_at_ms": at_ms} for score in (1.0, 2.0)
        ]
        assert (await do(hall, boss, "import_entries", entries=rows, **fields)).imported == 2
    assert await scores(hall, ann, 1) == [3.0]
    assert await scores(hall, ann) == [2.0, 1.0]


# --- By the schedule ------------------------------------------------------------------------------


@pytest.mark.requirement("R61")
async def test_a_season_begins_when_it_is_due_and_not_before(hall: OpenHall, boss: Visitor) -> None:
    board = await create(hall, boss, schedule="0 0 * * *")  # the clock begins at midnight
    due_ms = hall.clock.now_ms() + DAY_MS
    assert (board.schedule, board.time_zone, board.next_reset_at_ms) == ("0 0 * * *", "UTC", due_ms)
    hall.clock.advance(DAY_MS - 1)
    await hall.run_job(JOB)
    boss = hall.renew(boss)
    assert (await do(hall, boss, "get_board")).season == 1
    hall.clock.advance(1)
    await hall.run_job(JOB)
    await hall.run_job(JOB)
    board = await do(hall, boss, "get_board")
    assert (board.season, board.season_began_at_ms) == (2, due_ms)
    assert board.next_reset_at_ms == due_ms + DAY_MS


@pytest.mark.requirement("R61")
async def test_what_was_missed_begins_once_at_start(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path) as hall:
        boss = await hall.administrator("boss")
        began = (await create(hall, boss, schedule="0 * * * *")).created_at_ms
        clock = hall.clock
    clock.advance(3 * DAY_MS + 5 * MINUTE_MS)
    async with open_test_hall(tmp_path, clock=clock) as hall:
        await hall.run_job(JOB)
        await hall.run_job(JOB)
        boss = hall.renew(boss)
        board = await do(hall, boss, "get_board")
        assert (board.season, board.season_began_at_ms) == (2, clock.now_ms())
        assert board.next_reset_at_ms == began + 3 * DAY_MS + HOUR_MS
        [row] = await hall.rows("SELECT path, outcome FROM access_audit WHERE action = $1", JOB)
        assert row == ("board/seven", "done")


@pytest.mark.requirement("R61")
async def test_a_schedule_is_changed_kept_and_taken_away(hall: OpenHall, boss: Visitor) -> None:
    await create(hall, boss)
    now_ms = hall.clock.now_ms()
    board = await do(hall, boss, "update_board", schedule=" 30 0 * * * ")
    assert (board.schedule, board.time_zone) == ("30 0 * * *", "UTC")
    assert board.next_reset_at_ms == now_ms + 30 * MINUTE_MS
    board = await do(hall, boss, "update_board", time_zone="Asia/Kolkata")  # 5:30 ahead
    assert board.next_reset_at_ms == now_ms + 19 * HOUR_MS
    board = await do(hall, boss, "update_board", name="Eight")
    assert (board.schedule, board.time_zone) == ("30 0 * * *", "Asia/Kolkata")
    board = await do(hall, boss, "update_board", schedule="")
    assert (board.schedule, board.time_zone, board.next_reset_at_ms) == (None, None, None)
    hall.clock.advance(DAY_MS)
    await hall.run_job(JOB)
    assert (await do(hall, hall.renew(boss), "get_board")).season == 1


@pytest.mark.requirement("R61")
@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"schedule": "0 0 * *"}, "schedule"),
        ({"schedule": "0 0 0 * * *"}, "schedule"),  # seasons of seconds
        ({"schedule": "61 0 * * *"}, "schedule"),
        ({"schedule": "0 0 30 2 *"}, "schedule"),
        ({"schedule": "0 0 */20 * FRI#5"}, "schedule"),  # on the 1st and 21st
        ({"schedule": "tomorrow at the latest please"}, "schedule"),
        ({"schedule": "0 0 * * *", "time_zone": "Middle/Earth"}, "time_zone"),
        ({"schedule": "0 0 * * *", "time_zone": "../../etc/passwd"}, "time_zone"),
        ({"schedule": "0 0 * * *", "time_zone": "Europe"}, "time_zone"),
        ({"time_zone": "Europe/Berlin"}, "time_zone"),
        ({"schedule": "", "time_zone": "Europe/Berlin"}, "time_zone"),
    ],
)
async def test_a_schedule_that_cannot_be_is_refused_and_changes_nothing(
    hall: OpenHall, boss: Visitor, fields: dict[str, str], field: str
) -> None:
    with pytest.raises(ProblemError) as refusal:
        await create(hall, boss, **fields)
    assert (refusal.value.name, refusal.value.details["field"]) == ("invalid_argument", field)
    assert refusal.value.details["remedy"]
    await create(hall, boss)
    refusal_of_change = await refused(hall, boss, "update_board", **fields)
    assert refusal_of_change.details["field"] == field
    assert (await do(hall, boss, "get_board")).schedule is None


@pytest.mark.requirement("R61")
async def test_a_zone_that_is_gone_keeps_no_other_board_waiting(
    hall: OpenHall, boss: Visitor
) -> None:
    await create(hall, boss, schedule="0 * * * *", board_id="lost")
    await create(hall, boss, schedule="1 * * * *")
    await hall.hall.database.write(
        lambda tx: tx.execute(
            "UPDATE leaderboards_board SET time_zone = 'Gone/Away' WHERE board_id = 'lost'"
        )
    )
    hall.clock.advance(2 * HOUR_MS)
    with pytest.raises(ExceptionGroup, match="seasons could not begin"):
        await hall.run_job(JOB)
    assert (await do(hall, hall.renew(boss), "get_board")).season == 2


# --- Time -----------------------------------------------------------------------------------------


def berlin_ms(*parts: int, fold: int = 0) -> int:
    return int(datetime(*parts, tzinfo=BERLIN, fold=fold).timestamp() * 1_000)  # type: ignore[arg-type,misc]  # the parts are a date and a time


def ticks(schedule: str, after_ms: int, count: int) -> list[int]:
    found = []
    for _ in range(count):
        after_ms = next_reset_ms(schedule, "Europe/Berlin", after_ms)
        found.append(after_ms)
    return found


@pytest.mark.requirement("R61")
def test_a_time_that_the_clock_skips_is_due_right_after_the_gap_and_once() -> None:
    # On 29 March 2026 it is 3:00 right after 1:59:59.
    assert ticks("30 2 * * *", berlin_ms(2026, 3, 28, 12, 0), 3) == [
        berlin_ms(2026, 3, 29, 3, 0),
        berlin_ms(2026, 3, 30, 2, 30),
        berlin_ms(2026, 3, 31, 2, 30),
    ]


@pytest.mark.requirement("R61")
def test_a_time_that_the_clock_shows_twice_is_due_once() -> None:
    # On 25 October 2026 it is 2:00 again right after 2:59:59.
    first, second = berlin_ms(2026, 10, 25, 2, 30), berlin_ms(2026, 10, 25, 2, 30, fold=1)
    assert second - first == HOUR_MS
    following = berlin_ms(2026, 10, 26, 2, 30)
    assert ticks("30 2 * * *", berlin_ms(2026, 10, 24, 12, 0), 2) == [first, following]
    # Asked within the second hour, between the two and after both.
    for after_ms in (first + 1, second - 10 * MINUTE_MS, second, second + MINUTE_MS):
        assert ticks("30 2 * * *", after_ms, 1) == [following]


@pytest.mark.requirement("R61")
def test_midnight_is_midnight_there_all_year() -> None:
    days = ticks("0 0 * * *", berlin_ms(2026, 3, 27, 12, 0), 4)
    assert days == [berlin_ms(2026, 3, day, 0, 0) for day in (28, 29, 30, 31)]
    assert days[2] - days[1] == 23 * HOUR_MS
    days = ticks("0 0 * * *", berlin_ms(2026, 10, 24, 12, 0), 2)
    assert days[1] - days[0] == 25 * HOUR_MS


@pytest.mark.requirement("R61")
def test_an_interval_follows_real_time_through_both_changes() -> None:
    for after_ms in (berlin_ms(2026, 3, 29, 0, 0), berlin_ms(2026, 10, 25, 0, 0)):
        found = ticks("*/30 * * * *", after_ms, 12)
        assert found == [after_ms + 30 * MINUTE_MS * step for step in range(1, 13)]


@given(
    schedule=st.one_of(
        st.text(max_size=20),
        st.lists(
            st.text("0123456789*/-,#LWMONFEB", min_size=1, max_size=5), min_size=5, max_size=5
        ).map(" ".join),
    ),
    time_zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Pacific/Apia"]),
    after_ms=st.integers(0, 4_000_000_000_000),
)
def test_any_text_is_due_later_or_refused(schedule: str, time_zone: str, after_ms: int) -> None:
    try:
        due_ms = next_reset_ms(schedule, time_zone, after_ms)
    except InvalidArgumentError:
        return
    assert due_ms > after_ms
    assert due_ms % MINUTE_MS == 0


def test_a_timetable_that_nobody_changes_stays_as_it_is_even_overdue() -> None:
    overdue = Timetable("0 0 * * *", "UTC", 5)
    assert choose_timetable(overdue, None, None, DAY_MS) is overdue


def test_each_ranking_has_an_id_of_its_own() -> None:
    def after(ranking_id: str, season: int) -> str:
        ranking = SeasonRanking("a", season, ranking_id, Direction.ASCENDING, Counting.BEST)
        return next_ranking_id(ranking)

    assert [ranking_id_of("a", season) for season in (1, 2, 11)] == ["a", "a@2", "a@11"]
    assert [after("a", 1), after("a@1.1", 1), after("a@1.9", 1)] == ["a@1.1", "a@1.2", "a@1.10"]
    assert [after("a@2", 2), after("a@2.1", 2), after("a@11", 11)] == ["a@2.1", "a@2.2", "a@11.1"]


@pytest.mark.requirement("R61")
def test_boards_of_earlier_versions_begin_with_their_first_season() -> None:
    folder = Path(moothall.services.__path__[0], "leaderboards", "migrations")
    steps = read_migrations("leaderboards", folder, "sqlite")
    connection = apsw.Connection(":memory:")
    for step in steps[:3]:
        connection.execute(step.sql)
    for board_id, direction in (("up", "ascending"), ("down", "descending")):
        board = (board_id, "A", direction, "best", "read", "boss", 7, "keep")
        connection.execute("INSERT INTO leaderboards_board VALUES (?, ?, ?, ?, ?, ?, ?, ?)", board)
        for number, key in enumerate((5.0, 0.0)):
            row = (f"{board_id}-{number}", board_id, "ann", key, 1, 2, "boss")
            connection.execute("INSERT INTO leaderboards_entry VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    for step in steps[3:]:
        connection.execute(step.sql)
    found = list(connection.execute("SELECT entry_id, score, season FROM leaderboards_entry"))
    assert {(key, repr(score), season) for key, score, season in found} == {
        ("up-0", "5.0", 1),
        ("up-1", "0.0", 1),
        ("down-0", "-5.0", 1),
        ("down-1", "0.0", 1),
    }
    assert list(connection.execute("SELECT * FROM leaderboards_season ORDER BY board_id")) == [
        ("down", 1, "down", "descending", "best", 7, None),
        ("up", 1, "up", "ascending", "best", 7, None),
    ]
    connection.close()
