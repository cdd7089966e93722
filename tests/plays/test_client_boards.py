"""Boards from the command line: made, filled from files, read."""

import csv
import json
from pathlib import Path

import pytest

from moothall.client import SyncHall, Wallet
from tests.plays.conftest import NewPerson, Person, RunningHall, StartHall

RECORDS = """player,track,date,time
Salam,Luigi Raceway,1997-02-15,132.99
Booth,Luigi Raceway,1997-02-16,129.99
Salam,Luigi Raceway,1997-02-16,128.99
Booth,Wario Stadium,1997-02-17,254.5
,Wario Stadium,1997-02-18,250
Salam,Wario Stadium,1997-02-18,fast
"""
OPTIONS = ("--submitter", "player", "--score", "time", "--time", "date")


def import_file(
    person: Person, file: Path, template: str, *more: str
) -> tuple[int, dict[str, object]]:
    done = person.moothall(
        "entry", "import", str(file), "--board", template, *OPTIONS,
        "--direction", "ascending", "--counting", "every", "--json", *more,
    )  # fmt: skip
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def rows_of(report: dict[str, object], name: str) -> list[dict[str, object]]:
    rows = report[name]
    assert isinstance(rows, list)
    return rows


@pytest.mark.requirement("R40")
@pytest.mark.requirement("R61")
def test_small_history_imported_twice(administrator: Person, tmp_path: Path) -> None:
    file, refused = tmp_path / "records.csv", tmp_path / "refused.csv"
    file.write_text(RECORDS)
    code, report = import_file(administrator, file, "Small {track}", "--dry-run")
    assert (code, report["imported"], report["rows"]) == (6, 0, 6)
    told = [(one["board_id"], one["rows"], one["created"]) for one in rows_of(report, "boards")]
    assert told == [("small-luigi-raceway", 3, True), ("small-wario-stadium", 1, True)]
    assert "small-" not in administrator.does("board", "list")
    code, first = import_file(administrator, file, "Small {track}", "--refused", str(refused))
    assert (code, first["imported"], first["known"]) == (6, 4, 0)
    code, second = import_file(administrator, file, "Small {track}")
    assert (code, second["imported"], second["known"]) == (6, 0, 4)
    with refused.open(newline="") as rows:
        assert [row["import_line"] for row in csv.DictReader(rows)] == ["6", "7"]
    # What was refused is mended and imported again, from the file of the refused.
    refused.write_text(refused.read_text().replace(",Wario", "Booth,Wario").replace("fast", "249"))
    code, mended = import_file(administrator, refused, "Small {track}")
    assert (code, mended["imported"], mended["known"]) == (0, 2, 0)
    entries = json.loads(administrator.does("entry", "list", "small-luigi-raceway", "--json"))
    shown = [(one["place"], one["name"], one["score"]) for one in entries["standings"]]
    assert shown == [(1, "Salam", 128.99), (2, "Booth", 129.99), (3, "Salam", 132.99)]
    text = administrator.does("entry", "list", "small-luigi-raceway")
    assert "Salam" in text
    assert "128.99" in text


@pytest.mark.requirement("R54")
@pytest.mark.requirement("R61")
def test_ranking_is_taken_out_and_brought_in_elsewhere(
    administrator: Person, tmp_path: Path
) -> None:
    file, taken = tmp_path / "many.csv", tmp_path / "ranking.jsonl"
    # More than one page of 200, with ties.
    rows = [f"runner{number % 70},Out,1997-02-15,{number // 2}" for number in range(450)]
    file.write_text("\n".join(["player,track,date,time", *rows]) + "\n")
    code, _ = import_file(administrator, file, "Taken {track}")
    assert code == 0
    taken.write_text(administrator.does("entry", "export", "taken-out"))
    lines = [json.loads(line) for line in taken.read_text().splitlines()]
    assert [line["score"] for line in lines] == [number // 2 for number in range(450)]
    assert [line["place"] for line in lines[:4]] == [1, 1, 3, 3]
    administrator.does("board", "create", "Elsewhere", "--direction", "ascending",
                       "--counting", "every")  # fmt: skip
    administrator.does(
        "entry", "import", str(taken), "--board-id", "elsewhere", "--submitter", "name",
        "--time", "submitted_at_ms",
    )  # fmt: skip
    again = administrator.does("entry", "export", "elsewhere", "--season", "1").splitlines()
    facts = ("place", "name", "score", "submitted_at_ms")
    assert [[json.loads(line)[fact] for fact in facts] for line in again] == [
        [line[fact] for fact in facts] for line in lines
    ]


@pytest.mark.requirement("R40")
def test_board_made_and_score_submitted(
    administrator: Person, shared_hall: RunningHall, new_person: NewPerson
) -> None:
    administrator.does(
        "board", "create", "Long Jump", "--direction", "descending", "--default-level", "write"
    )
    carl = new_person()
    carl.joins(shared_hall, "carl")
    carl.does("score", "submit", "long-jump", "7.25", "--description", "--windy--")
    listed = json.loads(carl.does("entry", "list", "long-jump", "--json"))
    assert isinstance(listed, dict)
    assert carl.moothall("score", "submit", "no-such-board", "1").returncode in {12, 13}
    assert carl.moothall("score", "submit", "long-jump", "far").returncode == 2
    refused = carl.moothall("board", "create", "Mine", "--direction", "ascending", "--json")
    assert refused.returncode == 12
    assert json.loads(refused.stderr)["code"] == "permission_denied"


@pytest.mark.requirement("R34")
def test_write_repeated_with_its_key_has_one_effect(administrator: Person) -> None:
    request = json.dumps({"name": "Keyed", "board_id": "keyed", "direction": "ascending"})
    words = ("call", "leaderboards.create_board", request, "--idempotency-key", "k1", "--json")
    assert administrator.does(*words) == administrator.does(*words)
    other = request.replace("ascending", "descending")
    again = administrator.moothall(*words[:2], other, *words[3:])
    assert again.returncode == 16
    assert json.loads(again.stderr)["name"] == "key_reused"


@pytest.mark.requirement("R40")
def test_function_of_ones_own_is_a_command(
    start_hall: StartHall, new_person: NewPerson, tmp_path: Path
) -> None:
    room = tmp_path / "functions" / "greeting"
    room.mkdir(parents=True)
    (room / "__init__.py").write_text('"""Greetings."""\n')
    (room / "actions.py").write_text(
        '"""Public verbs of the greeting room."""\n'
        "from moothall.action import PUBLIC, READ, Context, Name, PerSource, Request, Result\n"
        "from moothall.action import action\n\n\n"
        "class GreetGuest(Request):\n"
        '    """Whom."""\n\n'
        "    guest: Name\n"
        "    is_loud: bool = False\n\n\n"
        "class Greeting(Result):\n"
        '    """What is said."""\n\n'
        "    text: str\n\n\n"
        "@action(access=PUBLIC, effect=READ, "
        "limit=PerSource(calls=9, window_ms=1_000), raises=())\n"
        "async def greet_guest(ctx: Context, request: GreetGuest) -> Greeting:\n"
        '    """Greet a guest."""\n'
        '    return Greeting(text=f"Hello {request.guest}" + "!" * request.is_loud)\n'
    )
    hall = start_hall("own", "--functions", str(room.parent))
    ann = new_person()
    ann.meets(hall)
    assert ann.does("guest", "greet", "Zoë", "--is-loud").strip() == "text: Hello Zoë!"
    assert "Greet a guest." in ann.does("guest", "--help")
    server = Wallet(ann.folder / "wallet").get_server()[1]
    with SyncHall(server.url, fingerprint=hall.fingerprint) as client:
        assert client.greeting.greet_guest(guest="Bo") == {"text": "Hello Bo"}


@pytest.mark.requirement("R61")
@pytest.mark.timeout(300)
def test_real_records(
    start_hall: StartHall, new_person: NewPerson, request: pytest.FixtureRequest
) -> None:
    file = request.config.rootpath.parent / "shared" / "data" / "mk64_world_records.csv"
    if not file.exists():
        pytest.skip("the data is not here")
    hall = start_hall()
    boss = new_person()
    boss.joins(hall, "boss")
    boss.does("administration", "claim", "--secret-stdin", stdin=f"{hall.secret}\n")
    template = "{track} {type} (shortcut {shortcut})"
    code, report = import_file(boss, file, template)
    assert (code, report["imported"], report["known"]) == (0, 2_504, 0)
    assert len(rows_of(report, "boards")) == 56
    code, again = import_file(boss, file, template)
    assert (code, again["imported"], again["known"]) == (0, 0, 2_504)
    board_id = "luigi-raceway-three-lap-shortcut-no"
    fields = json.dumps({"board_id": board_id, "limit": 200})
    listed = json.loads(boss.does("call", "leaderboards.list_entries", fields, "--json"))
    with file.open(newline="") as lines:
        expected = [
            float(row["time"])
            for row in csv.DictReader(lines)
            if (row["track"], row["type"], row["shortcut"]) == ("Luigi Raceway", "Three Lap", "No")
        ]
    assert listed["total"] == len(expected)
    assert [one["score"] for one in listed["standings"]] == sorted(expected)[:200]
