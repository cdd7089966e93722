"""Import of entries: which rows become which entries, and what the hall is sent."""

import asyncio
import json
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from moothall.client import Hall
from moothall.client.cli.importer import IN_FLIGHT, Importer
from moothall.client.cli.plan import (
    CHUNK_BYTES,
    CHUNK_ROWS,
    Mapped,
    Outcome,
    Planner,
    make_board_id,
    read_time,
)
from moothall.client.cli.rows import Row, Table, read_rows, survey
from moothall.client.errors import CallError
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


class Planned:
    """What a planner makes of all rows of a text."""

    def __init__(self, rows: Iterator[Row], mapped: Mapped = KART) -> None:
        self.planner = Planner(mapped)
        self.refused: list[int] = []
        stripe = []
        for row in rows:
            try:
                stripe.append(self.planner.take(row))
            except ValueError:
                self.refused.append(row.line)
        self.chunks = list(self.planner.cut(stripe))

    def entries(self, at: int) -> list[dict[str, Any]]:
        return [json.loads(body) for body in self.chunks[at].bodies]


@pytest.fixture
def rows_of(tmp_path: Path) -> Any:
    """Return a function that gives the rows of a file with this content."""

    def make(content: bytes, name: str = "rows.csv") -> Iterator[Row]:
        file = tmp_path / name
        file.write_bytes(content)
        return read_rows(file)

    return make


def test_rows_become_entries_of_boards(rows_of: Any) -> None:
    planned = Planned(rows_of(CSV))
    assert [(chunk.board.name, chunk.lines) for chunk in planned.chunks] == [
        ("Luigi Lap", [2]),
        ("Wario\nStadium Lap", [4]),
    ]
    assert planned.entries(0) == [
        {"submitter": "Salam", "score": 132.99, "submitted_at_ms": 855964800000, "row": 2}
    ]
    assert planned.refused == [3, 6, 7, 8]


def test_file_is_surveyed_before_anything_is_done(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(CSV)
    assert survey(file) == Table(["track", "type", "player", "date", "time"], 6)


def test_json_lines(rows_of: Any, tmp_path: Path) -> None:
    text = b'{"player":"a","time":1,"date":5}\n\nnope\n[]\n{"player":"a","time":true,"date":5}\n'
    mapped = Mapped(submitter="player", score="time", time="date", board_id="7")
    planned = Planned(rows_of(text, "rows.jsonl"), mapped)
    assert survey(tmp_path / "rows.jsonl") == Table(["player", "time", "date"], 4)
    assert planned.entries(0)[0]["submitted_at_ms"] == 5
    assert planned.refused == [3, 4, 5]


@pytest.mark.parametrize("content", [b"", b"a,a\n1,2\n", b"a\n\xff\xfe\n", b'a,b\n"x,1\n'])
def test_what_is_no_table(rows_of: Any, content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        list(rows_of(content))


def test_semicolons(rows_of: Any) -> None:
    assert list(rows_of(b"a;b\n1;2\n")) == [Row(2, {"a": "1", "b": "2"})]


@pytest.mark.parametrize(
    ("column", "text", "reason"),
    [
        ("player", "x" * 65, "longer than 64"),
        ("remark", "x" * 4_001, "longer than 4,000"),
        ("number", "x" * 129, "longer than 128"),
        ("time", "inf", "no finite number"),
    ],
)
def test_what_the_hall_would_refuse_a_call_for_is_refused_here(
    column: str, text: str, reason: str
) -> None:
    mapped = Mapped(
        submitter="player",
        score="time",
        time="date",
        description="remark",
        ref="number",
        board_id="7",
    )
    values = {"player": "a", "time": "1", "date": "5", "remark": "hm", "number": "r1"}
    planner = Planner(mapped)
    entry = json.loads(planner.take(Row(9, values)).body)
    assert (entry["description"], entry["ref"], entry["row"]) == ("hm", "r1", 9)
    with pytest.raises(ValueError, match=reason):
        planner.take(Row(10, {**values, column: text}))


def test_rows_of_a_member_come_together_and_in_order() -> None:
    rows = [
        Row(line, {"track": track, "type": "1", "player": player, "time": "1", "date": "5"})
        for line, (track, player) in enumerate(
            [("a", "x"), ("b", "y"), ("a", "y"), ("b", "x"), ("a", "x")], start=2
        )
    ]
    planned = Planned(iter(rows))
    assert [(chunk.board.board_id, chunk.lines) for chunk in planned.chunks] == [
        ("a-1", [2, 6, 4]),
        ("b-1", [5, 3]),
    ]


def test_chunks_keep_the_bounds_of_a_call() -> None:
    mapped = Mapped(submitter="p", score="s", time="t", description="d", board_id="7")
    values = {"p": "a", "s": "1", "t": "5"}
    many = Planned((Row(at, values) for at in range(2 * CHUNK_ROWS + 1)), mapped)
    assert [len(chunk.lines) for chunk in many.chunks] == [CHUNK_ROWS, CHUNK_ROWS, 1]
    long = Planned((Row(at, {**values, "d": "x" * 4_000}) for at in range(300)), mapped)
    sizes = [sum(map(len, chunk.bodies)) + len(chunk.bodies) for chunk in long.chunks]
    assert len(sizes) == 2
    assert CHUNK_BYTES * 0.9 < max(sizes) <= CHUNK_BYTES + 4_200


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


async def send(
    hall: StubHall, rows: Iterator[Row], new_board: dict[str, str] | None = None
) -> Outcome:
    async with Hall(URL, world=ManualTime().world(hall)) as client:
        importer = importer_to(client, new_board)
        await importer.run(rows)
        return importer.outcome


def importer_to(
    client: Hall,
    new_board: dict[str, str] | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Importer:
    return Importer(client, Planner(KART), new_board=new_board, progress=progress)


def many(count: int) -> Iterator[Row]:
    for at in range(count):
        values = {"track": "Luigi", "type": "Lap", "player": f"p{at:07}", "date": "5"}
        yield Row(at + 2, {**values, "time": str(at)})


@pytest.mark.requirement("R61")
async def test_repeated_import_sends_the_same_rows() -> None:
    hall = StubHall()
    for _ in range(2):
        await send(hall, many(CHUNK_ROWS + 200))
    bodies = sorted((len(body["entries"]), json.dumps(body)) for body in hall.bodies())
    assert [count for count, _ in bodies] == [200, 200, CHUNK_ROWS, CHUNK_ROWS]
    assert bodies[0] == bodies[1]
    assert bodies[2] == bodies[3]


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


async def test_rows_that_the_hall_leaves_out_or_knows_are_counted() -> None:
    refused = [
        {"row": 2, "field": "submitter", "reason": "no", "remedy": ""},
        {"row": 99, "reason": "no such row"},
        "nonsense",
    ]
    hall = StubHall(httpx.Response(200, json={"imported": 4, "known": 3, "refused": refused}))
    outcome = await send(hall, many(8))
    assert (outcome.imported, outcome.known) == ({"luigi-lap": 4}, {"luigi-lap": 3})
    assert [(one.line, one.reason) for one in outcome.refused] == [(4, "submitter: no")]


async def test_missing_board_is_made_once_and_a_known_one_is_taken() -> None:
    exists = problem("already_exists", status=409, retryable=False)
    for replies, created in (([exists], []), ([], ["luigi-lap"])):
        hall = StubHall(*replies)
        outcome = await send(hall, many(3 * CHUNK_ROWS), {"direction": "ascending"})
        assert outcome.created == created
        assert outcome.imported == {"luigi-lap": 3 * CHUNK_ROWS}
        assert hall.bodies()[0]["name"] == "Luigi Lap"
        assert len(hall.requests) == 4


async def test_board_that_cannot_be_used_does_not_stop_the_others(rows_of: Any) -> None:
    hall = StubHall(problem("not_found", status=404, retryable=False))
    outcome = await send(hall, rows_of(CSV))
    assert sum(outcome.imported.values()) == 1
    assert len(outcome.refused) == 5


async def test_what_concerns_all_rows_stops_the_import() -> None:
    hall = StubHall(script=lambda _: problem("permission_denied", status=403, retryable=False))
    async with Hall(URL, world=ManualTime().world(hall)) as client:
        importer = importer_to(client)
        with pytest.raises(CallError, match="It is permission_denied"):
            await importer.run(many(20 * CHUNK_ROWS))
    assert len(hall.requests) <= IN_FLIGHT


@pytest.mark.requirement("R61")
async def test_preview_asks_which_boards_there_are_and_changes_nothing(rows_of: Any) -> None:
    hall = StubHall(httpx.Response(200, json={}), problem("not_found", status=404, retryable=False))
    async with Hall(URL, world=ManualTime().world(hall)) as client:
        importer = importer_to(client, {"direction": "ascending"})
        await importer.preview(rows_of(CSV))
    assert importer.outcome.created == ["wario-stadium-lap"]
    assert [one.line for one in importer.outcome.refused] == [3, 6, 7, 8]
    assert [request.url.path for request in hall.requests] == ["/v1/leaderboards.get_board"] * 2


class HangingHall(StubHall):
    """Answers the first import, and no other."""

    @property
    def transport(self) -> httpx.MockTransport:
        async def answer(request: httpx.Request) -> httpx.Response:
            if self.requests:
                await asyncio.Event().wait()
            return self.answer(request)

        return httpx.MockTransport(answer)


async def test_interrupted_import_tells_what_is_done() -> None:
    async with Hall(URL, world=ManualTime().world(HangingHall())) as client:
        answered = asyncio.Event()
        importer = importer_to(client, progress=lambda _: answered.set())
        importing = asyncio.create_task(importer.run(many(4 * CHUNK_ROWS)))
        await answered.wait()
        importing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await importing
    assert importer.outcome.imported == {"luigi-lap": CHUNK_ROWS}


@pytest.mark.requirement("R61")
async def test_long_file_is_read_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moothall.client.cli.importer.STRIPE_ROWS", 500)
    peaks = []
    for count in (5_000, 20_000):
        tracemalloc.start()
        outcome = await send(Forgetful(), many(count))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert outcome.imported == {"luigi-lap": count}
    assert peaks[1] < 1.3 * peaks[0], "memory does not grow with the file"


class Forgetful(StubHall):
    """Keeps no requests."""

    def answer(self, request: httpx.Request) -> httpx.Response:
        reply = super().answer(request)
        self.requests.clear()
        return reply


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
    planned = Planned(read_rows(file), mapped)
    assert (survey(file).rows, len(planned.planner.boards), planned.refused) == (2_504, 56, [])
    assert sum(len(chunk.lines) for chunk in planned.chunks) == 2_504
