"""Newcomers at halls that let them in openly, by invitation, by e-mail, or not at all."""

import asyncio
import json
import re
from pathlib import Path

import pytest

from tests.contract.post import PASSWORD as MAIL_PASSWORD
from tests.contract.post import USER, Post
from tests.plays.conftest import PASSWORD, NewPerson, Person, RunningHall, StartHall
from tests.plays.test_client_session import at_terminal


@pytest.mark.requirement("R10")
def test_open_hall_offers_an_account_to_whom_it_does_not_know(
    shared_hall: RunningHall, new_person: NewPerson
) -> None:
    eva = new_person()
    eva.meets(shared_hall)
    code, shown = at_terminal(eva, "login", "eva of the play", typed=["y", PASSWORD, PASSWORD])
    assert code == 0, shown
    assert "has no member eva of the play. Make an account?" in shown
    assert "signed in" in shown
    assert PASSWORD not in shown
    eva.does("logout")
    code, shown = at_terminal(eva, "login", "eva of the play", typed=[PASSWORD])
    assert code == 0, shown
    assert "Make an account" not in shown, "now it knows her"
    other = new_person()
    other.meets(shared_hall)
    code, shown = at_terminal(other, "login", "ewa of the play", typed=["n"])
    assert code != 0
    assert "nothing was done" in shown
    wrong = other.moothall("login", "ewa of the play", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert wrong.returncode == 11
    assert "if you are new here: moothall register NAME" in wrong.stderr


@pytest.mark.requirement("R10")
def test_with_an_invitation_a_friend_comes_in_once(
    start_hall: StartHall, new_person: NewPerson
) -> None:
    hall = start_hall("open")
    boss, friend = new_person(), new_person()
    boss.joins(hall, "boss")
    boss.does("administration", "claim", "--secret-stdin", stdin=f"{hall.secret}\n")
    hall.stop()
    # From now on the hall is for friends.
    hall = start_hall("open", "--set", "registration.mode=invite", port=hall.port)
    hidden = json.loads(boss.does("member", "invite", "--json"))
    assert "show-secrets" in hidden["code"], "a code is printed only where that is asked for"
    made = json.loads(boss.does("member", "invite", "--uses", "1", "--json", "--show-secrets"))
    friend.meets(hall)
    refused = friend.moothall("login", "friend", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert refused.returncode == 11
    assert "register NAME --invitation" in refused.stderr
    wrong = friend.moothall(
        "register", "friend", "--password-stdin", stdin=f"abcd-efgh\n{PASSWORD}\n"
    )
    assert "invitation_refused" in wrong.stderr
    typed = [made["code"], PASSWORD, PASSWORD]
    code, shown = at_terminal(friend, "register", "friend", "--invitation", typed=typed)
    assert code == 0, shown
    assert made["code"] not in shown
    assert "friend" in friend.does("whoami")
    again = new_person()
    again.meets(hall)
    late = again.moothall(
        "register", "late", "--password-stdin", stdin=f"{made['code']}\n{PASSWORD}\n"
    )
    assert "invitation_refused" in late.stderr
    shown = boss.does("invitation", "list")
    assert made["code"] not in shown
    assert made["invitation"]["invitation_id"] in shown


@pytest.mark.requirement("R10")
async def test_mail_brings_the_code_that_makes_the_account(
    start_hall: StartHall, new_person: NewPerson, tmp_path: Path
) -> None:
    post, file = Post(tmp_path), tmp_path / "mail-password"
    file.write_text(f"{MAIL_PASSWORD}\n")
    async with post.open("tls", with_password=True):
        options = {
            "registration.mode": "contact",
            "mail.host": "localhost",
            "mail.port": str(post.port),
            "mail.authority": str(post.authority),
            "mail.sender": "hall@example.org",
            "mail.username": USER,
            "mail.password_file": str(file),
        }
        words = [word for name, value in options.items() for word in ("--set", f"{name}={value}")]
        hall = await asyncio.to_thread(start_hall, "contact", *words)
        alice, eve = new_person(), new_person()
        for person in (alice, eve):
            await asyncio.to_thread(person.meets, hall)
        await asyncio.to_thread(alice.does, "contact", "request", "Alice@Example.org")
        code = newest_code(post)
        await asyncio.to_thread(registers, alice, "alice", "alice@example.org", code)
        assert "alice" in await asyncio.to_thread(alice.does, "whoami")
        shown = await asyncio.to_thread(alice.does, "contact", "list")
        assert "Alice@example.org" in shown
        # The same mailbox makes no second account, and whoever asks is not told of the first.
        asked = await asyncio.to_thread(eve.does, "contact", "request", "ALICE+2@example.org")
        assert "account" not in asked
        assert "belongs to an account already" in post.received()[-1].text
        assert (post.mailbox.was_encrypted, post.mailbox.was_signed_in) == (
            [True, True],
            [True, True],
        )
        await asyncio.to_thread(hall.stop)


@pytest.mark.requirement("R10")
def test_hall_refuses_to_ask_for_contacts_that_it_cannot_verify(new_person: NewPerson) -> None:
    person = new_person()
    done = person.moothall(
        "serve", "--data", str(person.folder / "hall"), "--set", "registration.mode=contact"
    )
    assert done.returncode == 78
    assert "set up [mail]" in done.stderr


@pytest.mark.requirement("R10")
def test_closed_hall_says_so_before_it_asks_for_a_password(
    start_hall: StartHall, new_person: NewPerson
) -> None:
    hall = start_hall("closed", "--set", "registration.mode=closed")
    person = new_person()
    person.meets(hall)
    refused = person.moothall("register", "ann")
    assert "registration_closed" in refused.stderr
    assert "ask an administrator" in refused.stderr
    told = person.moothall("login", "ann", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert "ask an administrator of the hall to add you" in told.stderr


@pytest.mark.requirement("R10")
def test_guest_comes_in_and_stays_as_a_member(start_hall: StartHall, new_person: NewPerson) -> None:
    hall = start_hall("guests", "--set", "registration.guests=true")
    guest = new_person()
    guest.meets(hall)
    guest.does("login", "--guest")
    before = json.loads(guest.does("whoami", "--json"))
    assert before["name"].startswith("guest-")
    guest.does("member", "become", "ann", "--new-password-stdin", stdin=f"{PASSWORD}\n")
    after = json.loads(guest.does("whoami", "--json"))
    assert (after["name"], after["member_id"]) == ("ann", before["member_id"])
    guest.does("logout")
    guest.does("login", "ann", "--password-stdin", stdin=f"{PASSWORD}\n")


def newest_code(post: Post) -> str:
    found = re.search(r"\b[0-9]{8}\b", post.received()[-1].text)
    assert found is not None
    return found[0]


def registers(person: Person, name: str, contact: str, code: str) -> None:
    words = ("register", name, "--contact", contact, "--password-stdin")
    person.does(*words, stdin=f"{code}\n{PASSWORD}\n")
