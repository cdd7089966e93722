"""One login, several servers: the wallet of somebody who uses an identity server and two others."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from moothall.client import Session, Wallet
from tests.plays.conftest import PASSWORD, NewPerson, Person, RunningHall, StartHall, free_port
from tests.plays.listener import Listener, find_pair


class Town:
    """An identity server, two resource servers that it knows, and its administrator."""

    def __init__(self, start_hall: StartHall, boss: Person) -> None:
        self.start_hall = start_hall
        self.boss = boss
        self.home = start_hall("home", "--rooms", "identity")
        boss.joins(self.home, "boss")
        boss.does("administration", "claim", "--secret-stdin", stdin=f"{self.home.secret}\n")
        self.kart = self.start_server("kart")
        self.chess = self.start_server("chess")

    def start_server(self, name: str, *options: str) -> RunningHall:
        """Start a resource server and have it registered."""
        server = self.start_stranger(name, *options)
        self.boss.does("audience", "add", server.url)
        return server

    def start_stranger(self, name: str, *options: str) -> RunningHall:
        """Start a resource server that nobody registered."""
        issuer = ("--issuer", self.home.url, "--issuer-fingerprint", self.home.fingerprint)
        rooms = ("--rooms", "leaderboards", "--ndjson-port", "0")
        return self.start_hall(name, *rooms, *issuer, *options, port=free_port())


@pytest.fixture
def town(start_hall: StartHall, new_person: NewPerson) -> Town:
    return Town(start_hall, new_person())


def adds(person: Person, name: str, server: RunningHall, *options: str) -> None:
    person.does("server", "add", name, server.url, "--fingerprint", server.fingerprint, *options)


def comes(person: Person, town: Town) -> None:
    """Fill an empty wallet, and sign in once."""
    adds(person, "home", town.home)
    adds(person, "kart", town.kart)
    adds(person, "chess", town.chess)
    person.does("register", "ann", "--password-stdin", stdin=f"{PASSWORD}\n")


def names_at(person: Person, server: str) -> list[str]:
    """Return who is known at a server; to ask is to be known."""
    page = json.loads(person.does("member", "list", "--server", server, "--json"))
    return [member["name"] for member in page["members"]]


@pytest.mark.requirement("R4")
@pytest.mark.requirement("R110")
def test_one_login_serves_two_resource_servers(town: Town, new_person: NewPerson) -> None:
    ann = new_person()
    early = ann.moothall("server", "add", "kart", town.kart.url, "--yes")
    assert (early.returncode, ann.does("server", "list", "--json")) == (5, "[]\n")
    assert f"server add NAME {town.home.url}" in early.stderr

    adds(ann, "home", town.home)
    first = ann.moothall("server", "add", "kart", town.kart.url)
    assert first.returncode == 2
    assert town.kart.fingerprint in first.stderr
    adds(ann, "kart", town.kart)
    adds(ann, "chess", town.chess)
    ann.does("server", "use", "kart")
    assert ann.does("server", "current") == "kart\n"

    joined = ann.moothall("register", "ann", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert joined.returncode == 0
    assert "signed in to home, the identity server of kart as ann" in joined.stderr
    assert names_at(ann, "kart") == ["ann"]
    assert names_at(ann, "chess") == ["ann"]
    assert names_at(ann, "home") == ["ann", "boss"]
    assert json.loads(ann.does("board", "list", "--json"))["boards"] == []

    # What only the identity server offers is found there, and said so.
    listed = ann.moothall("session", "list")
    assert (listed.returncode, listed.stderr) == (0, "at home:\n")
    assert ann.moothall("whoami").stderr == "at home, the identity server of kart:\n"
    helped = ann.does("session", "list", "--help")
    assert "at home, the identity server of kart" in " ".join(helped.split())
    shared = " ".join(ann.does("member", "list", "--help").split())
    assert "at kart; for the same at another server say --server NAME" in shared

    said = ann.moothall("logout").stderr
    assert said == "signed out from home, the identity server of kart\n"
    assert ann.moothall("member", "list", "--server", "chess").returncode == 11
    assert "#" not in (ann.folder / "wallet" / "sessions.json").read_text()
    assert json.loads((ann.folder / "wallet" / "sessions.json").read_text())["tokens"] == {}


@pytest.mark.requirement("R110")
def test_entries_are_edited_and_removed(town: Town, new_person: NewPerson) -> None:
    ann = new_person()
    comes(ann, town)
    refused = ann.moothall("server", "remove", "home", "--yes")
    assert refused.returncode == 5
    assert "chess, kart" in refused.stderr
    ann.does("server", "edit", "home", "--rename", "house")
    assert names_at(ann, "kart") == ["ann"]

    # Another account is another entry for the same address, and another one for each server.
    adds(ann, "work", town.home)
    ann.does("register", "eve", "--password-stdin", "--server", "work", stdin=f"{PASSWORD}\n")
    adds(ann, "kart-at-work", town.kart, "--identity", "work")
    assert names_at(ann, "kart-at-work") == ["ann", "eve"]
    shown = json.loads(ann.does("server", "show", "kart-at-work", "--json"))
    assert (shown["kind"], shown["identity"], shown["signed_in_as"]) == ("resource", "work", "eve")
    ann.does("server", "edit", "kart-at-work", "--identity", "house")
    shown = json.loads(ann.does("server", "show", "kart-at-work", "--json"))
    assert (shown["identity"], shown["signed_in_as"]) == ("house", "ann")

    for name in ("kart", "chess", "kart-at-work", "house"):
        ann.does("server", "remove", name, "--yes")
    assert [one["name"] for one in json.loads(ann.does("server", "list", "--json"))] == ["work"]
    assert [one.name for one in sessions(ann).values()] == ["eve"]


@pytest.mark.requirement("R4")
def test_socket_of_a_resource_server_takes_the_same_tokens(
    town: Town, new_person: NewPerson
) -> None:
    ann = new_person()
    comes(ann, town)
    url = town.kart.url.replace("https", "wss")
    ann.does("server", "add", "socket", url, "--fingerprint", town.kart.fingerprint)
    assert names_at(ann, "socket") == ["ann"]


@pytest.mark.requirement("R3")
@pytest.mark.requirement("R4")
def test_identity_server_is_away(town: Town, new_person: NewPerson) -> None:
    ann = new_person()
    comes(ann, town)
    assert names_at(ann, "kart") == ["ann"]
    town.home.stop()
    # The token that another process got is valid, so nobody need be asked.
    assert names_at(ann, "kart") == ["ann"]

    never = ann.moothall("member", "list", "--server", "chess", "--retries", "0")
    assert never.returncode == 3
    assert town.home.url in never.stderr
    ages(ann, minutes=10)
    run_out = ann.moothall("member", "list", "--server", "kart", "--json", "--retries", "0")
    told = json.loads(run_out.stderr)
    assert (run_out.returncode, told["name"]) == (3, "hall_unreachable")
    assert town.home.url in told["title"]
    assert town.home.url in told["details"]["remedy"]

    town.start_hall("home", "--rooms", "identity", port=town.home.port)
    assert names_at(ann, "kart") == ["ann"]
    assert names_at(ann, "chess") == ["ann"]


@pytest.mark.requirement("R15")
@pytest.mark.parametrize("place", ["kart", "home"])
def test_false_server_is_refused_before_anything_is_sent(
    town: Town, new_person: NewPerson, place: str
) -> None:
    ann = new_person()
    comes(ann, town)
    assert names_at(ann, "kart") == ["ann"]
    real = town.kart if place == "kart" else town.home
    other = town.start_hall("other")
    other.stop()
    real.stop()
    thief = Listener(real.port, *find_pair(other.folder))
    try:
        if place == "home":
            # The token that is kept would still do.
            assert names_at(ann, "kart") == ["ann"]
            ages(ann, minutes=10)
        refused = ann.moothall("member", "list", "--server", "kart", "--json")
        login = ann.moothall("login", "ann", "--password-stdin", stdin=f"{PASSWORD}\n")
    finally:
        said = thief.end()
    told = json.loads(refused.stderr)
    assert (refused.returncode, told["name"]) == (4, "certificate_changed")
    assert (told["details"]["pinned"], told["details"]["shown"]) == (
        real.fingerprint,
        other.fingerprint,
    )
    assert login.returncode == (4 if place == "home" else 0)
    assert not [line for line in said.splitlines() if line]


@pytest.mark.requirement("R15")
def test_server_that_takes_itself_for_another_one_gets_no_token(
    town: Town, new_person: NewPerson
) -> None:
    ann = new_person()
    comes(ann, town)
    false = town.start_stranger("false", "--public-url", town.kart.url)
    url = f"https://127.0.0.1:{false.port}"
    refused = ann.moothall("server", "add", "mine", url, "--yes", "--json")
    told = json.loads(refused.stderr.splitlines()[-1])
    assert (refused.returncode, told["name"]) == (4, "server_untrusted")
    assert told["details"]["audience"] == town.kart.url
    assert "public_url" in told["details"]["remedy"]
    assert "mine" not in Wallet(ann.folder / "wallet").read().servers


def test_server_that_nobody_registered_is_told_with_the_remedy(
    town: Town, new_person: NewPerson
) -> None:
    ann = new_person()
    comes(ann, town)
    adds(ann, "stranger", town.start_stranger("stranger"))
    refused = ann.moothall("member", "list", "--server", "stranger")
    assert refused.returncode == 13
    assert "ask an administrator to register it" in refused.stderr
    assert town.home.url in refused.stderr


@pytest.mark.requirement("R110")
@pytest.mark.parametrize("name", ["servers.json", "sessions.json"])
@pytest.mark.parametrize("damage", [lambda whole: whole[:-20], lambda _whole: b"\0" * 64])
def test_damaged_file_is_never_overwritten(
    shared_hall: RunningHall, new_person: NewPerson, name: str, damage: Callable[[bytes], bytes]
) -> None:
    ann = new_person()
    ann.meets(shared_hall)
    path = ann.folder / "wallet" / name
    if not path.exists():
        path.write_bytes(b'{"format": 2, "sessions": {}, "keyring": {}, "tokens": {}}')
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)
    for words in (
        ("whoami",),
        ("login", "ann", "--password-stdin"),
        ("server", "remove", "hall", "--yes"),
        ("server", "edit", "hall", "--rename", "house"),
    ):
        done = ann.moothall(*words, stdin=f"{PASSWORD}\n")
        assert (done.returncode, path.read_bytes()) == (5, damaged), words
        assert str(path) in done.stderr


@pytest.mark.requirement("R110")
def test_secret_goes_to_the_keyring_that_is_set_up(
    shared_hall: RunningHall, new_person: NewPerson
) -> None:
    ann = Guarded(new_person().folder)
    ann.meets(shared_hall)
    ring = ann.folder / "keyring.json"
    ann.does("register", "guarded", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert sessions(ann)["hall"].refresh_token == ""
    (entry,) = json.loads(ring.read_text())
    assert entry.startswith("moothall/hall ")
    assert "guarded" in ann.does("whoami")
    ages(ann, minutes=10)
    assert "guarded" in ann.does("whoami")
    ages(ann, minutes=10)
    ring.write_text("{")
    broken = ann.moothall("whoami")
    assert broken.returncode == 5
    assert "keyring" in broken.stderr
    assert ring.read_text() == "{"


class Guarded(Person):
    """Somebody whose machine has a keyring."""

    def environment(self) -> dict[str, str]:
        return {
            **super().environment(),
            "MOOTHALL_SECRETS": "auto",
            "PYTHON_KEYRING_BACKEND": "tests.unit.client.file_keyring.FileKeyring",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "FILE_KEYRING": str(self.folder / "keyring.json"),
        }


class Careless(Person):
    """Somebody whose machine has none."""

    def environment(self) -> dict[str, str]:
        backend = "keyring.backends.fail.Keyring"
        return {
            **super().environment(),
            "MOOTHALL_SECRETS": "auto",
            "PYTHON_KEYRING_BACKEND": backend,
        }


@pytest.mark.requirement("R110")
def test_without_a_keyring_a_word_says_so_once(
    shared_hall: RunningHall, new_person: NewPerson
) -> None:
    ann = Careless(new_person().folder)
    ann.meets(shared_hall)
    first = ann.moothall("register", "careless", "--password-stdin", stdin=f"{PASSWORD}\n")
    again = ann.moothall("login", "careless", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert (first.returncode, again.returncode) == (0, 0)
    assert "no keyring works here" in first.stderr
    assert "MOOTHALL_SECRETS=file" in first.stderr
    assert "keyring" not in again.stderr


def sessions(person: Person) -> dict[str, Session]:
    return Wallet(person.folder / "wallet").sessions.read().sessions


def ages(person: Person, *, minutes: int) -> None:
    """Let all tokens in a wallet be older than they are, as if time had passed."""
    path = person.folder / "wallet" / "sessions.json"
    kept = json.loads(path.read_bytes())
    for one in (*kept["sessions"].values(), *kept["tokens"].values()):
        one["received_at_ms"] -= minutes * 60_000
    path.write_text(json.dumps(kept))
