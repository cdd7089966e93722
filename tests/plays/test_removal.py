"""A member takes their data along and leaves; an organiser removes another; the board goes on."""

import json
from typing import Any

import pytest

from tests.plays.conftest import PASSWORD, NewPerson, Person, StartHall


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def ranking(person: Person) -> list[tuple[int, str, float]]:
    page = json.loads(person.does("entry", "list", "darts", "--json"))
    return [(row["place"], row["name"], row["score"]) for row in page["standings"]]


@pytest.mark.requirement("R16")
def test_taking_everything_along_and_leaving(start_hall: StartHall, new_person: NewPerson) -> None:
    hall = start_hall()
    boss, ann, bob = new_person(), new_person(), new_person()
    boss.joins(hall, "boss")
    boss.does("administration", "claim", "--secret-stdin", stdin=f"{hall.secret}\n")
    board = ("board", "create", "Darts", "--direction", "descending", "--default-level", "write")
    boss.does(*board, "--removed-members", "remove")
    for person, name, score in ((ann, "ann", "180"), (bob, "bob", "60")):
        person.joins(hall, name)
        entry = json.loads(person.does("score", "submit", "darts", score, "--json"))
        boss.does("entry", "verify", entry["entry_id"])
    assert ranking(bob) == [(1, "ann", 180.0), (2, "bob", 60.0)]

    # Ann takes along what the hall holds of her. It is hers, it is all of it, and no secret.
    taken = ann.moothall("account", "export")
    assert taken.returncode == 0, taken.stderr
    rows = lines(taken.stdout)
    assert f"{len(rows)} rows" in taken.stderr
    kinds = {(row["room"], row["kind"]) for row in rows}
    assert {("identity", "account"), ("identity", "session"), ("leaderboards", "entry")} <= kinds
    assert [row["data"]["score"] for row in rows if row["kind"] == "entry"] == [180.0]
    assert "bob" not in taken.stdout
    assert "argon2" not in taken.stdout
    only = lines(ann.does("account", "export", "--room", "leaderboards"))
    assert {row["room"] for row in only} == {"leaderboards"}
    # Others' data is for those who may; the organiser sees the same of her.
    assert bob.moothall("member", "export", "ann").returncode == 12
    of_ann = lines(boss.does("member", "export", "ann"))
    assert [row["data"]["score"] for row in of_ann if row["kind"] == "entry"] == [180.0]

    # She leaves. It takes the password, and there is no way back.
    wrong = ann.moothall("account", "remove", "--yes", "--password-stdin", stdin="a guess\n")
    assert wrong.returncode == 11
    assert ann.moothall("account", "remove", "--password-stdin", stdin=PASSWORD).returncode == 2
    ann.does("account", "remove", "--yes", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert ann.moothall("whoami").returncode == 11
    gone = ann.moothall("login", "ann", "--password-stdin", stdin=f"{PASSWORD}\n")
    never = ann.moothall("login", "never", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert (gone.returncode, gone.stderr.splitlines()[0]) == (
        never.returncode,
        never.stderr.splitlines()[0],
    )
    assert ranking(bob) == [(1, "bob", 60.0)]

    # The organiser keeps the entries from now on, and removes Bob.
    boss.does("board", "update", "darts", "--removed-members", "keep")
    stays = boss.moothall("account", "remove", "--yes", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert (stays.returncode, "no administrator" in stays.stderr) == (16, True)
    boss.does("member", "remove", "bob", "--yes")
    assert bob.moothall("whoami").returncode == 11
    assert ranking(boss) == [(1, "", 60.0)]
    names = json.loads(boss.does("member", "list", "--json"))["members"]
    assert [one["name"] for one in names] == ["boss"]
