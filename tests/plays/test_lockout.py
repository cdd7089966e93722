"""Wrong passwords, forgotten ones and imported ones, from the command line."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.plays.conftest import PASSWORD, NewPerson, Person, RunningHall, StartHall

SIGNS = r"""~!@#$%^&*_-+=`|\(){}[]:;"'<>,.?/"""
NEW = "another password, and longer"


def login(person: Person, name: str, password: str, *words: str) -> tuple[int, str]:
    done = person.moothall("login", name, "--password-stdin", *words, stdin=f"{password}\n")
    return done.returncode, done.stderr


@pytest.mark.requirement("R7")
@pytest.mark.requirement("R8")
def test_client_says_that_an_account_is_locked_and_exits(
    administrator: Person, shared_hall: RunningHall, new_person: NewPerson
) -> None:
    eve, mallory = new_person(), new_person()
    eve.joins(shared_hall, "eva")
    mallory.meets(shared_hall)
    told = [login(mallory, "eva", "a wrong password") for _ in range(4)]
    assert [code for code, _ in told] == [11, 11, 11, 16]
    assert "locked" not in told[1][1]
    assert "the account is locked now" in told[2][1]
    assert "try again in" in told[2][1]
    code, said = login(eve, "eva", PASSWORD)
    assert code == 16
    assert "Too many wrong passwords" in said
    assert re.search(r"try again in [\d.]+ s", said)
    code, said = login(eve, "eva", PASSWORD, "--json")
    problem = json.loads(said)
    assert (code, problem["name"], problem["retryable"]) == (16, "account_locked", False)
    assert 0 < problem["details"]["retry_after_ms"] <= 60_000
    assert json.loads(eve.does("whoami", "--json"))["name"] == "eva", "her session goes on"
    administrator.does("member", "unlock", "eva")
    assert login(eve, "eva", PASSWORD)[0] == 0
    for _ in range(3):
        assert login(mallory, "nobody-at-all", "a wrong password")[0] == 11
    assert login(mallory, "nobody-at-all", "a wrong password")[0] == 16


@pytest.mark.requirement("R7")
def test_burst_of_programs_has_three_guesses_looked_at(
    start_hall: StartHall, new_person: NewPerson
) -> None:
    hall = start_hall()
    ann = new_person()
    ann.joins(hall, "ann")
    with ThreadPoolExecutor(4) as threads:
        told = list(threads.map(lambda at: login(ann, "ann", f"wrong {at}")[0], range(8)))
    assert sorted(told) == [11] * 3 + [16] * 5
    hall.stop()
    start_hall(port=hall.port)
    assert login(ann, "ann", PASSWORD)[0] == 16, "a restart forgives nothing"


@pytest.mark.requirement("R16")
@pytest.mark.requirement("R17")
def test_password_is_changed_and_a_forgotten_one_recovered(
    administrator: Person, shared_hall: RunningHall, new_person: NewPerson
) -> None:
    ann = new_person()
    ann.joins(shared_hall, "anna")
    secrets = ("--password-stdin", "--new-password-stdin")
    ann.does("password", "change", *secrets, stdin=f"{PASSWORD}\n{NEW}\n")
    assert login(ann, "anna", PASSWORD)[0] == 11
    issued = json.loads(administrator.does("member", "recover", "anna", "--json", "--show-secrets"))
    secrets = ("--code-stdin", "--new-password-stdin")
    typed = f"{issued['code']}\na third, longer one\n"
    ann.does("recovery", "complete", "anna", *secrets, stdin=typed)
    assert login(ann, "anna", NEW)[0] == 11
    assert login(ann, "anna", "a third, longer one")[0] == 0


@pytest.mark.requirement("R6")
def test_credentials_of_another_system_are_imported(
    administrator: Person, shared_hall: RunningHall, new_person: NewPerson, tmp_path: Path
) -> None:
    file = tmp_path / "credentials.txt"
    known = {f"old{at}": f"{sign}{at}{SIGNS}{sign}" for at, sign in enumerate(SIGNS[::4])}
    lines = [f"{name} {password}" for name, password in known.items()]
    file.write_text("\n".join([*lines, "no-password-here", "old0 again", "tiny a"]) + "\n")
    done = administrator.moothall("credentials", "import", str(file))
    assert done.returncode == 6
    count = len(known)
    said = done.stdout + done.stderr
    assert f"{count + 1} of {count + 3} lines imported, 2 refused" in said
    assert f"line {count + 1}:" in said
    assert f"line {count + 2}: name:" in said
    assert f"line {count + 3}" in said
    assert "destroy" in said
    assert "no-password-here" not in said
    person = new_person()
    person.meets(shared_hall)
    for name, password in known.items():
        assert password not in said
        assert login(person, name, password)[0] == 0, name
    again = administrator.moothall("credentials", "import", str(file), "--json")
    report = json.loads(again.stdout)
    assert (again.returncode, report["imported"], report["lines"]) == (6, 0, count + 3)
    stranger = person.moothall("credentials", "import", str(file))
    assert stranger.returncode == 12
    for kept in Path(shared_hall.folder).rglob("*"):
        if kept.is_file():
            content = kept.read_bytes()
            assert all(password.encode() not in content for password in known.values()), kept
