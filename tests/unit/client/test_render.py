"""Tables at narrow terminals: what the next command needs is whole, and nothing goes silently."""

import json
import re
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from rich.cells import cell_len

from moothall.client.cli.render import format_time, print_result
from moothall.client.cli.settings import Settings, scan
from moothall.client.errors import NothingToPickError

NOON_MS = 1_767_268_800_000
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class Shown(NamedTuple):
    """What stands on the screen, and what was said beside it."""

    lines: list[str]
    told: str

    @property
    def words(self) -> set[str]:
        return set(" ".join(self.lines).split())


Show = Callable[..., Shown]


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Show:
    """Print something as on a terminal of some columns; 0 is a pipe."""

    def carry_out(result: Any, *, columns: int) -> Shown:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: columns > 0)
        monkeypatch.setenv("COLUMNS", str(columns or 80))
        print_result(result, Settings())
        captured = capsys.readouterr()
        return Shown(_ANSI.sub("", captured.out).splitlines(), captured.err)

    return carry_out


def make_id(number: int) -> str:
    return f"{number:04}" + "0123456789abcdefghjk"


def standings() -> dict[str, Any]:
    rows = [
        {
            "place": at,
            "member_id": make_id(at),
            "name": f"Member{at}",
            "score": 100.25 + at,
            "submitted_at_ms": NOON_MS + at * 1_000,
            "entry_id": make_id(100 + at),
        }
        for at in range(1, 4)
    ]
    return {"standings": rows}


def waiting() -> dict[str, Any]:
    rows = [
        {
            "entry_id": make_id(at),
            "board_id": make_id(0),
            "member_id": make_id(200 + at),
            "score": at,
            "submitted_at_ms": NOON_MS + at * 1_000,
            "verified_by": None,
        }
        for at in range(1, 4)
    ]
    return {"entries": rows, "next": None}


def boards() -> dict[str, Any]:
    rows = [
        {
            "board_id": f"luigi-raceway-{kind}-shortcut-no",
            "name": f"Luigi Raceway {kind} (shortcut No)",
            "direction": direction,
            "counting": "best",
            "created_at_ms": NOON_MS,
            "level": "read",
        }
        for kind, direction in (("three-lap", "ascending"), ("single-lap", "descending"))
    ]
    return {"boards": rows, "next": None}


def bindings() -> dict[str, Any]:
    rows = [
        {
            "subject": make_id(at),
            "role": "board_moderator",
            "at": f"board/{at}",
            "granted_by": make_id(300 + at),
            "granted_at_ms": NOON_MS + at,
        }
        for at in range(1, 4)
    ]
    return {"bindings": rows, "next": None}


KEYS = ("entry_id", "board_id", "subject", "role", "at", "name")
LISTINGS = [standings(), waiting(), boards(), bindings()]
each_listing = pytest.mark.parametrize("listing", LISTINGS, ids=["places", "wait", "board", "bind"])


@each_listing
@pytest.mark.parametrize("columns", [80, 60, 40])
def test_ids_are_whole_at_every_width(show: Show, listing: dict[str, Any], columns: int) -> None:
    shown = show(listing, columns=columns)
    # A block is no table; the terminal may break its lines.
    table = [line for line in shown.lines if not re.match(r"in every row|\w+:", line)]
    assert all(cell_len(line) <= columns for line in table)
    assert "…" not in " ".join(shown.lines)
    [rows] = [value for value in listing.values() if value is not None]
    for row in rows:
        for name in KEYS:
            assert set(str(row.get(name, "")).split()) <= {word.strip(",") for word in shown.words}


@each_listing
@pytest.mark.parametrize("columns", [80, 60, 40])
def test_what_is_left_out_is_said(show: Show, listing: dict[str, Any], columns: int) -> None:
    shown = show(listing, columns=columns)
    [rows] = [value for value in listing.values() if value is not None]
    names = {name for row in rows for name, value in row.items() if value is not None}
    told = {word.strip("(:;,)") for word in (*shown.words, *shown.told.split())}
    assert names <= told
    assert ("--json" in shown.told) == ("left out" in shown.told)


def test_places_at_80_and_60_columns(show: Show) -> None:
    assert show(standings(), columns=80) == (
        [
            "place  member_id                 name      score  entry_id",
            "    1  00010123456789abcdefghjk  Member1  101.25  01010123456789abcdefghjk",
            "    2  00020123456789abcdefghjk  Member2  102.25  01020123456789abcdefghjk",
            "    3  00030123456789abcdefghjk  Member3  103.25  01030123456789abcdefghjk",
        ],
        "(left out: submitted_at_ms; --json shows all)\n",
    )
    shown = show(standings(), columns=60)
    assert shown.lines[1] == "    1  Member1  101.25  01010123456789abcdefghjk"
    assert shown.told == "(left out: member_id, submitted_at_ms; --json shows all)\n"


def test_what_all_rows_share_is_said_once(show: Show) -> None:
    shown = show(waiting(), columns=80)
    assert shown.lines[-1] == f"in every row: board_id {make_id(0)}"
    assert shown.told == ""
    assert show(waiting(), columns=200).lines[0].split()[1] == "board_id"


def test_names_fold_between_words_when_nothing_else_is_left(show: Show) -> None:
    shown = show(boards(), columns=60)
    assert shown.lines[1:3] == [
        "luigi-raceway-three-lap-shortcut-no   Luigi Raceway",
        "                                      three-lap (shortcut",
    ]


def test_rows_become_blocks_where_not_even_ids_fit(show: Show) -> None:
    shown = show(waiting(), columns=40)
    assert shown.lines[:3] == [
        f"entry_id:        {make_id(1)}",
        f"board_id:        {make_id(0)}",
        f"member_id:       {make_id(201)}",
    ]
    assert shown.lines.count("") == 2
    assert shown.told == ""


def test_object_within_an_object_stands_below_its_name(show: Show) -> None:
    invitation = {"invitation_id": make_id(1), "expires_at_ms": NOON_MS, "revoked_at_ms": None}
    shown = show({"invitation": invitation, "code": "gp37-nvpg", "more": {}}, columns=80)
    assert shown.lines == [
        "invitation:",
        f"  invitation_id: {make_id(1)}",
        f"  expires_at_ms: {format_time(NOON_MS)}",
        "code:       gp37-nvpg",
        "more:       {}",
    ]


def test_the_empty_place_is_the_whole_hall(show: Show) -> None:
    shown = show({"role": "administrator", "at": "", "path": "", "note": ""}, columns=80)
    assert [line.split(maxsplit=1)[1:] for line in shown.lines] == [
        ["administrator"],
        ["the whole hall"],
        ["the whole hall"],
        [],
    ]


def test_moment_that_has_not_been_is_no_year_1970(show: Show) -> None:
    shown = show({"head_count": 0, "head_at_ms": 0}, columns=80)
    assert shown.lines == ["head_count: 0", "head_at_ms: never"]


@pytest.mark.parametrize("name", ["at_ms", "used_at_ms", "until_ms", "locked_until_ms", "now_ms"])
def test_moments_are_told_as_such_in_tables_too(show: Show, name: str) -> None:
    rows = [{"id": "a", name: NOON_MS}, {"id": "b", name: NOON_MS + 1_000}]
    assert show(rows, columns=0).lines[1] == f"a   {format_time(NOON_MS)}"


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [
        (0, "0 ms"),
        (900_000, "15 min"),
        (59_499, "59 s 499 ms"),
        (90_061_000, "1 d 1 h 1 min 1 s"),
        (-1_000, "-1 s"),
    ],
)
def test_durations_are_told_exactly(show: Show, duration_ms: int, text: str) -> None:
    assert show({"life_ms": duration_ms}, columns=80).lines == [f"life_ms: {text}"]
    assert show({"lap_ms": duration_ms}, columns=80).lines == [f"lap_ms: {duration_ms}"]


def test_long_texts_fold(show: Show) -> None:
    rows = [{"name": "a", "summary": "word " * 100 + "日本語 end"}]
    shown = show(rows, columns=60)
    assert max(map(cell_len, shown.lines)) <= 60
    assert " ".join(shown.lines).split().count("word") == 100
    assert shown.told == ""


@each_listing
def test_pipe_gets_each_row_whole_in_one_line(show: Show, listing: dict[str, Any]) -> None:
    shown = show(listing, columns=0)
    [rows] = [value for value in listing.values() if value is not None]
    assert len(shown.lines) == 1 + len(rows)
    assert shown.told == ""
    for row, line in zip(rows, shown.lines[1:], strict=True):
        for value in row.values():
            assert not isinstance(value, str) or value in line


def test_pipe_gets_texts_of_any_length(show: Show) -> None:
    long = "x" * 12_000
    for result in ([{"name": "a", "text": long}], {"name": "a", "text": long}, [long]):
        assert long in show(result, columns=0).lines[-1]
        assert json.dumps([long]) in show([{"id": "a", "texts": [[long]]}], columns=0).lines[-1]


PAGE = {"entries": [{"entry_id": "e1", "score": 1.5}, {"entry_id": "e\x1b[2J2"}], "next": None}


@pytest.mark.requirement("R112")
@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("entries.0.entry_id", "e1"),
        ("entries.0.score", "1.5"),
        ("entries.0", '{"entry_id":"e1","score":1.5}'),
        ("next", "null"),
    ],
)
def test_one_value_of_an_answer_is_printed_alone(
    capsys: pytest.CaptureFixture[str], path: str, shown: str
) -> None:
    settings = scan(["entry", "list", "kart", "--pick", path])
    assert settings.prints_data
    print_result(PAGE, settings)
    assert capsys.readouterr().out == f"{shown}\n"


def test_what_is_picked_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_result(PAGE, Settings(pick="entries.1.entry_id"))
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize("path", ["", "entries.2", "entries.-1", "entries.x", "next.x", "nothing"])
def test_nothing_to_pick_says_what_there_is(path: str) -> None:
    with pytest.raises(NothingToPickError) as caught:
        print_result(PAGE, Settings(pick=path))
    assert "it is done" in str(caught.value)
    assert caught.value.remedy.startswith("there is ")
