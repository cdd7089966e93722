"""Import of entries: which rows become which entries, and what the hall is sent."""

import json
from pathlib import Path

import httpx
import pytest

from moothall.client import Hall
from moothall.client.cli.plan import Mapped, Plan, make_board_id, make_plan, read_time
from moothall.client.cli.rows import Row, read_rows
from moothall.client.cli.upload import Outcome, upload
from moothall.core.ids import make_slug
from tests.unit.client.stub_hall import URL, ManualTime, StubHall, problem

KART = Mapped(submitter="player", score="time", time="date", board="{track} {type}")
CSV = b"""\xef\xbb\xbftrack,type,player,date,time
Luigi,Lap,Salam,1997-02-15,132.99
Luigi,Lap,"O'Neil, Jr",1997-02-16,fast
"Wario
Stadium",Lap,Booth,1997-02-16,20
,,Booth,1997-02-16,20
Luigi,Lap,Booth,16.2.97,20
Luigi,Lap,Booth,1997-02-16
"""


def plan_of(content: bytes, mapped: Mapped = KART) -> Plan:
    return make_plan(read_rows(content, is_jsonl=False)[1], mapped)


def test_rows_become_entries_of_boards() -> None:
    plan = plan_of(CSV)
    assert [(board.name, board.lines) for board in plan.boards] == [
        ("Luigi Lap", [2]),
        ("Wario\nStadium Lap", [4]),
    ]
    assert plan.boards[0].entries == [
        {
            "submitter": "Salam",
            "score": 132.99,
            "submitted_at_ms": 855964800000,
            "verified": True,
        }
    ]
    assert [one.line for one in plan.refused] == [3, 6, 7, 8]
    assert plan.rows == 6


def test_json_lines() -> None:
    text = b'{"player":"a","time":1,"date":5}\n\nnope\n[]\n{"player":"a","time":true,"date":5}\n'
    columns, rows = read_rows(text, is_jsonl=True)
    assert columns == ["player", "time", "date"]
    plan = make_plan(rows, Mapped(submitter="player", score="time", time="date", board_id="7"))
    assert plan.boards[0].entries[0]["submitted_at_ms"] == 5
    assert [one.line for one in plan.refused] == [3, 4, 5]


@pytest.mark.parametrize("content", [b"", b"a,a\n1,2\n", b"\xff\xfe", b'a,b\n"x,1\n'])
def test_what_is_no_table(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_rows(content, is_jsonl=False)


def test_semicolons() -> None:
    assert read_rows(b"a;b\n1;2\n", is_jsonl=False)[1] == [Row(2, {"a": "1", "b": "2"})]


@pytest.mark.parametrize(
    ("text", "epoch_ms"),
    [
        ("0", 0),
        ("855964800000", 855964800000),
        ("1997-02-15", 855964800000),
        ("1997-02-15T01:00:00+01:00", 855964800000),
        ("1997-02-15 00:00:00.5", 855964800500),
    ],
)
def test_times(text: str, epoch_ms: int) -> None:
    assert read_time(text) == epoch_ms


@pytest.mark.parametrize("text", ["", "x", "1997", "-5", "1960-01-01", "1" * 20, "1997-02-30"])
def test_no_times(text: str) -> None:
    if text == "1997":  # Four digits are milliseconds, not a year.
        assert read_time(text) == 1997
        return
    with pytest.raises(ValueError, match="time"):
        read_time(text)


def test_board_ids_are_readable_and_differ() -> None:
    assert make_board_id("Luigi Raceway Lap", []) == make_slug("Luigi Raceway Lap")
    assert make_board_id("A B", ["a-b"]).startswith("a-b-")
    assert make_board_id("日本", []) != make_board_id("日本語", [])
    assert len(make_board_id("x" * 200, ["x" * 64])) <= 64


async def send(hall: StubHall, plan: Plan, new_board: dict[str, str] | None = None) -> Outcome:
    async with Hall(URL, world=ManualTime().world(hall)) as client:
        return await upload(
            client, plan, file_hash="f", new_board=new_board, progress=lambda _: None
        )


def many(count: int) -> Plan:
    lines = "".join(f"Luigi,Lap,p{at},1997-02-15,{at}\n" for at in range(count))
    return plan_of(f"track,type,player,date,time\n{lines}".encode())


@pytest.mark.requirement("R34")
async def test_repeated_import_sends_the_same_keys() -> None:
    hall = StubHall()
    for _ in range(2):
        await send(hall, many(1_200))
    keys = hall.headers("idempotency-key")
    assert keys[:3] == keys[3:]
    assert len(set(keys)) == 3
    assert [len(body["entries"]) for body in hall.bodies()[:3]] == [500, 500, 200]


async def test_refused_row_is_set_aside_and_the_rest_goes_on() -> None:
    def script(request: httpx.Request) -> httpx.Response:
        entries = json.loads(request.content)["entries"]
        for at, entry in enumerate(entries):
            if entry["score"] in {3, 5}:
                return problem(
                    "invalid_argument",
                    status=400,
                    retryable=False,
                    field=f"entries[{at}].score",
                    reason="no",
                )
        return httpx.Response(200, json={})

    outcome = await send(StubHall(script=script), many(8))
    assert outcome.imported == {"luigi-lap": 6}
    assert [(one.line, one.reason) for one in outcome.refused] == [
        (5, "score: no"),
        (7, "score: no"),
    ]


async def test_rows_that_the_hall_leaves_out_are_reported_by_line() -> None:
    refused = [
        {"row": 2, "field": "submitter", "reason": "no", "remedy": ""},
        {"row": 99, "reason": "no such row"},
        "nonsense",
    ]
    hall = StubHall(httpx.Response(200, json={"imported": 7, "refused": refused}))
    outcome = await send(hall, many(8))
    assert outcome.imported == {"luigi-lap": 7}
    assert [(one.line, one.reason) for one in outcome.refused] == [(4, "submitter: no")]


async def test_missing_board_is_made_and_a_known_one_is_taken() -> None:
    exists = problem("already_exists", status=409, retryable=False)
    for replies, created in (([exists], []), ([], ["luigi-lap"])):
        hall = StubHall(*replies)
        outcome = await send(hall, many(1), {"direction": "ascending"})
        assert outcome.created == created
        assert outcome.imported == {"luigi-lap": 1}
        assert hall.bodies()[0]["name"] == "Luigi Lap"


async def test_board_that_cannot_be_used_does_not_stop_the_others() -> None:
    plan = plan_of(CSV)
    hall = StubHall(problem("not_found", status=404, retryable=False))
    outcome = await send(hall, plan)
    assert outcome.imported == {"wario-stadium-lap": 1}
    assert 2 in [one.line for one in outcome.refused]
    assert outcome.stopped_by is None


async def test_what_concerns_all_rows_stops_the_import() -> None:
    hall = StubHall(problem("permission_denied", status=403, retryable=False))
    outcome = await send(hall, plan_of(CSV))
    assert outcome.stopped_by is not None
    assert len(hall.requests) == 1


def test_real_records(request: pytest.FixtureRequest) -> None:
    file = request.config.rootpath.parent / "shared" / "data" / "mk64_world_records.csv"
    if not file.exists():
        pytest.skip("the data is not here")
    mapped = Mapped(
        submitter="player",
        score="time",
        time="date",
        board="{track} {type} (shortcut {shortcut})",
    )
    plan = plan_of(Path(file).read_bytes(), mapped)
    assert (plan.rows, len(plan.boards), plan.refused) == (2_504, 56, [])
