"""A person meets a hall, joins it, comes back, and leaves."""

import asyncio
import contextlib
import json
import os
import pty
import select
import time

import msgspec
import pytest

from moothall.client import CertificateChangedError, Hall, SyncHall, Wallet
from tests.plays.conftest import PASSWORD, PROGRAM, NewPerson, Person, RunningHall, StartHall
from tests.plays.listener import Listener, find_pair


@pytest.mark.requirement("R4")
@pytest.mark.requirement("R110")
def test_ann_joins_leaves_and_comes_back(shared_hall: RunningHall, new_person: NewPerson) -> None:
    ann = new_person()
    assert ann.moothall("whoami").returncode == 5
    ann.meets(shared_hall)
    assert ann.moothall("whoami").returncode == 11
    ann.does("register", "ann", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert json.loads(ann.does("whoami", "--json"))["name"] == "ann"
    ann.does("logout")
    assert ann.moothall("whoami").returncode == 11
    wrong = ann.moothall("login", "ann", "--password-stdin", stdin="wrong password\n")
    assert wrong.returncode == 11
    assert wrong.stdout == ""
    ann.does("login", "ann", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert "name:" in ann.does("whoami")
    assert ann.moothall("register", "ann", "--password-stdin", stdin=PASSWORD).returncode == 14


@pytest.mark.requirement("R15")
def test_first_contact_shows_the_fingerprint(
    shared_hall: RunningHall, new_person: NewPerson
) -> None:
    ann = new_person()
    asked = ann.moothall("server", "add", "hall", shared_hall.url)
    assert asked.returncode == 2
    assert shared_hall.fingerprint in asked.stderr
    wrong = ann.moothall("server", "add", "hall", shared_hall.url, "--fingerprint", "sha256:00")
    assert wrong.returncode == 4
    assert json.loads(ann.does("server", "list", "--json")) == []
    ann.does("server", "add", "hall", shared_hall.url, "--yes")
    shown = json.loads(ann.does("server", "show", "--json"))
    assert (shown["trust"], shown["fingerprint"]) == ("pinned", shared_hall.fingerprint)


@pytest.mark.requirement("R15")
async def test_changed_certificate_is_refused_before_a_credential_is_sent(
    start_hall: StartHall, new_person: NewPerson
) -> None:
    hall = start_hall()
    ann = new_person()
    ann.joins(hall, "ann")
    hall.stop()
    other = start_hall("other")
    other.stop()
    certificate, key = find_pair(other.folder)
    thief = Listener(hall.port, certificate, key)
    try:
        refused = ann.moothall("whoami", "--json")
        told = json.loads(refused.stderr)
        login = ann.moothall("login", "ann", "--password-stdin", stdin=f"{PASSWORD}\n")
        wallet = Wallet(ann.folder / "wallet")
        pinned = wallet.read().servers["hall"].certificate_pem
        async with Hall(hall.url, certificate_pem=pinned) as client:
            with pytest.raises(CertificateChangedError):
                await client.sign_in("ann", PASSWORD)
    finally:
        said = thief.end()
    assert (refused.returncode, login.returncode) == (4, 4)
    assert told["name"] == "certificate_changed"
    assert told["details"]["pinned"] == hall.fingerprint
    assert told["details"]["shown"] == other.fingerprint
    # Whatever reached it (nothing, or the empty connection that looks at it) holds no call.
    assert not [line for line in said.splitlines() if line]


def at_terminal(person: Person, *words: str, typed: list[str]) -> tuple[int, str]:
    """Carry out a command at a terminal, answering each question, and return what it shows."""
    pid, master = pty.fork()
    if pid == 0:  # pragma: no cover - the child becomes the program
        with contextlib.suppress(OSError):
            os.execvpe(PROGRAM[0], [*PROGRAM, *words], person.environment())  # noqa: S606
        os._exit(127)
    shown = b""
    ends_s = time.monotonic() + 30
    answers = list(typed)
    asked = 0
    while time.monotonic() < ends_s:
        ready, _, _ = select.select([master], [], [], 0.2)
        if ready:
            try:
                piece = os.read(master, 4_096)
            except OSError:
                break
            if not piece:
                break
            shown += piece
        elif answers and shown.count(b": ") > asked:
            asked = shown.count(b": ")
            os.write(master, answers.pop(0).encode() + b"\n")
    _, status = os.waitpid(pid, 0)
    os.close(master)
    return os.waitstatus_to_exitcode(status), shown.decode()


@pytest.mark.requirement("R110")
def test_password_typed_at_a_terminal_is_not_echoed(
    shared_hall: RunningHall, new_person: NewPerson
) -> None:
    eve = new_person()
    eve.meets(shared_hall)
    code, shown = at_terminal(eve, "register", "eve", typed=[PASSWORD, PASSWORD])
    assert code == 0, shown
    assert "Password" in shown
    assert PASSWORD not in shown
    code, shown = at_terminal(eve, "register", "eve2", typed=[PASSWORD, "another one"])
    assert code == 2
    assert "differ" in shown


@pytest.mark.requirement("R112")
def test_question_at_a_terminal(shared_hall: RunningHall, new_person: NewPerson) -> None:
    person = new_person()
    person.meets(shared_hall)
    code, _ = at_terminal(person, "server", "remove", "hall", typed=["n"])
    assert code == 130
    assert len(json.loads(person.does("server", "list", "--json"))) == 1
    person.does("server", "remove", "hall", "--yes")
    assert json.loads(person.does("server", "list", "--json")) == []


@pytest.mark.requirement("R4")
async def test_two_programs_share_one_session(
    shared_hall: RunningHall, new_person: NewPerson
) -> None:
    bob = new_person()
    bob.joins(shared_hall, "bob")
    wallet = Wallet(bob.folder / "wallet")
    _, server = wallet.get_server()
    session = wallet.load_session("hall")
    assert session is not None
    # Both find the access token too old and want to renew it at the same moment.
    stale = msgspec.structs.replace(session, access_lifetime_ms=1, received_at_ms=0)
    wallet.save_session("hall", stale)

    def program() -> str:
        with SyncHall(
            server.url, certificate_pem=server.certificate_pem, store=wallet.store("hall")
        ) as hall:
            return str(hall.identity.get_self()["name"])

    names = await asyncio.gather(*(asyncio.to_thread(program) for _ in range(4)))
    assert names == ["bob"] * 4
    assert json.loads(bob.does("whoami", "--json"))["name"] == "bob"


@pytest.mark.requirement("R113")
def test_hall_that_is_away(start_hall: StartHall, new_person: NewPerson) -> None:
    hall = start_hall()
    ann = new_person()
    ann.joins(hall, "ann")
    ann.does("hall", "ping")
    hall.stop()
    began_s = time.monotonic()
    away = ann.moothall("hall", "ping", "--duration", "1")
    assert away.returncode == 3
    assert time.monotonic() - began_s < 10
    assert "hall" in ann.does("--help")
    # Signing out works here even if the hall cannot be told.
    assert ann.moothall("logout", "--retries", "0").returncode == 3
    assert Wallet(ann.folder / "wallet").load_session("hall") is None


def test_unknown_action_and_command(shared_hall: RunningHall, new_person: NewPerson) -> None:
    person = new_person()
    person.meets(shared_hall)
    unknown = person.moothall("call", "hall.pong")
    assert unknown.returncode == 20
    assert "hall.ping" in unknown.stderr
    near = person.moothall("hal", "ping")
    assert near.returncode == 2
    assert "hall" in near.stderr
    assert json.loads(person.does("call", "hall.ping", "{}", "--json"))["answer"] == "pong"
