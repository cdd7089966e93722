"""Two kinds of server in one wallet: how they are tied, and where each command goes."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from moothall.client import Session, Wallet, World
from moothall.client.address import parse_address
from moothall.client.cli.main import run
from moothall.client.marks import override
from tests.unit.client.stub_hall import (
    LIFETIME_MS,
    RANK,
    ManualTime,
    StubHall,
    operation,
    problem,
)

HOME, WORK, BOARDS = (f"http://localhost:{port}" for port in (9001, 9002, 9003))
MEMBER = {"type": "object", "properties": {"member": {"type": "string"}}, "required": ["member"]}

Run = Callable[..., int]
Capture = pytest.CaptureFixture[str]


def document(*actions: tuple[str, str, list[str], dict[str, Any] | None]) -> dict[str, Any]:
    paths = {
        f"/v1/{name}": operation(name, effect, command, request=request)
        for name, effect, command, request in actions
    }
    return {"openapi": "3.1.0", "paths": paths, "components": {"schemas": {}}}


MEMBERS = ("identity.list_members", "read", ["member", "list"], None)
AT_HOME = document(
    MEMBERS,
    ("identity.remove_member", "flow", ["member", "remove"], MEMBER),
    ("identity.list_sessions", "read", ["session", "list"], None),
    ("identity.export_self", "read", ["account", "export"], None),
)
AT_BOARDS = document(MEMBERS, ("leaderboards.get_rank", "read", ["rank", "get"], RANK))


def describe(issuer: str, audience: str = "", issuer_url: str | None = None) -> dict[str, Any]:
    return {
        "issuer": issuer,
        "audience": audience or issuer,
        "is_issuer": not audience,
        "issuer_url": issuer_url,
        "rooms": [],
        "version": "1",
    }


class WebPage(StubHall):
    """Answers everything with the same text."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self.body = body

    @override
    def answer(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=self.body)


class Network:
    """Stub halls by address, and a person with a wallet."""

    def __init__(self, folder: Path) -> None:
        self.time = ManualTime()
        self.wallet = Wallet(folder, secrets="file")
        self.halls = {HOME: StubHall(), WORK: StubHall(), BOARDS: StubHall()}
        home, work, boards = self.halls.values()
        home.document = work.document = AT_HOME
        boards.document = AT_BOARDS
        home.description = describe("urn:home")
        work.description = describe("urn:work")
        boards.description = describe("urn:home", BOARDS, HOME)
        home.script = work.script = self._issue

    @property
    def world(self) -> World:
        transport = httpx.MockTransport(
            lambda request: self.halls[f"http://localhost:{request.url.port}"].answer(request)
        )
        return World(
            monotonic=self.time.monotonic,
            now_ms=self.time.now_ms,
            sleep=self.time.sleep,
            transport=transport,
        )

    def asked(self, url: str) -> list[str]:
        paths = [request.url.path.removeprefix("/v1/") for request in self.halls[url].requests]
        return [path for path in paths if path != "identity.issue_token"]

    def _issue(self, request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("issue_token"):
            return httpx.Response(200, json={"rows": [], "next": None})
        expires_at_ms = self.time.now_ms() + LIFETIME_MS
        token = {"access_token": "t", "access_expires_at_ms": expires_at_ms}
        return httpx.Response(200, json={**json.loads(request.content), **token})


@pytest.fixture
def network(tmp_path: Path) -> Network:
    return Network(tmp_path / "wallet")


@pytest.fixture
def moothall(network: Network, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("MOOTHALL_CONFIG_DIR", str(network.wallet.folder))

    def carry_out(*words: str) -> int:
        monkeypatch.setattr(sys, "stdin", io.StringIO("secret\n"))
        return run(words, world=network.world)

    return carry_out


@pytest.fixture
def town(moothall: Run, capsys: Capture) -> Run:
    """Know home and boards, be signed in, and use boards."""
    assert moothall("server", "add", "home", HOME, "--insecure") == 0
    assert moothall("server", "add", "boards", BOARDS, "--insecure") == 0
    assert moothall("server", "use", "boards") == 0
    assert moothall("login", "ann", "--password-stdin") == 0
    capsys.readouterr()
    return moothall


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Boards.example", "https://boards.example"),
        ("https://boards.example:443", "https://boards.example"),
        ("boards.example", "https://boards.example:8443"),
        ("wss://boards.example", "https://boards.example"),
        ("ndjson://boards.example:8444", "https://boards.example:8443"),
        ("https://[::1]:8443", "https://[::1]:8443"),
        ("http://localhost:80", "http://localhost"),
    ],
)
def test_audience_is_the_origin_of_the_address(url: str, origin: str) -> None:
    assert parse_address(url, insecure=True).origin == origin


@pytest.mark.requirement("R110")
def test_server_tells_of_which_kind_it_is(town: Run, capsys: Capture) -> None:
    assert town("server", "list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(one["name"], one["kind"], one["identity"]) for one in listed] == [
        ("home", "identity", None),
        ("boards", "resource", "home"),
    ]
    assert town("server", "show", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["issuer"], shown["signed_in_as"]) == ("urn:home", "ann")


@pytest.mark.requirement("R110")
def test_identity_server_comes_first(moothall: Run, network: Network, capsys: Capture) -> None:
    assert moothall("server", "add", "boards", BOARDS, "--insecure") == 5
    assert f"server add NAME {HOME}" in capsys.readouterr().err
    assert network.wallet.read().servers == {}


@pytest.mark.requirement("R110")
def test_name_of_an_entry_of_an_older_wallet_is_learned(
    moothall: Run, network: Network, capsys: Capture
) -> None:
    assert moothall("server", "add", "home", HOME, "--insecure") == 0
    path = network.wallet.folder / "servers.json"
    old = {"url": HOME, "trust": "insecure", "certificate_pem": None}
    path.write_text(json.dumps({"format": 1, "current": "home", "servers": {"home": old}}))
    kept = session("one")
    network.wallet.save_session("home", kept)
    assert moothall("server", "add", "boards", BOARDS, "--insecure") == 0
    assert network.wallet.read().servers["home"].issuer == "urn:home"
    assert network.wallet.load_session("home") == kept


@pytest.mark.requirement("R110")
def test_hall_too_old_to_tell_is_an_identity_server(moothall: Run, network: Network) -> None:
    network.halls[HOME].description = None
    assert moothall("server", "add", "home", HOME, "--insecure") == 0
    assert network.wallet.read().servers["home"].kind == "identity"


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"is_issuer": 1}'])
def test_what_is_no_hall_is_not_added(moothall: Run, network: Network, body: bytes) -> None:
    network.halls[HOME] = WebPage(body)
    assert moothall("server", "add", "home", HOME, "--insecure") == 3
    assert network.wallet.read().servers == {}


@pytest.mark.requirement("R15")
def test_server_with_the_name_of_another_one_is_refused(
    town: Run, network: Network, capsys: Capture
) -> None:
    network.halls[WORK].description = describe("urn:home", BOARDS, HOME)
    assert town("server", "add", "false", WORK, "--insecure", "--json") == 4
    told = json.loads(capsys.readouterr().err)
    assert (told["name"], told["details"]["audience"]) == ("server_untrusted", BOARDS)
    assert "false" not in network.wallet.read().servers
    assert not network.halls[WORK].requests


@pytest.mark.requirement("R110")
def test_session_that_is_meant_is_told_where_several_would_do(
    moothall: Run, network: Network, capsys: Capture
) -> None:
    network.halls[BOARDS].description = describe("urn:work", BOARDS)
    for name, url in (("home", HOME), ("ann", WORK), ("bob", WORK)):
        assert moothall("server", "add", name, url, "--insecure") == 0
    capsys.readouterr()
    assert moothall("server", "add", "boards", BOARDS, "--insecure") == 5
    assert "ann, bob" in capsys.readouterr().err
    assert moothall("server", "add", "boards", BOARDS, "--insecure", "--identity", "home") == 5
    assert "--identity ann" in capsys.readouterr().err
    assert moothall("server", "add", "boards", BOARDS, "--insecure", "--identity", "bob") == 0
    assert network.wallet.read().servers["boards"].identity == "bob"
    # The account that is used now is meant, if nothing else is said.
    assert moothall("server", "use", "ann") == 0
    assert moothall("server", "add", "again", BOARDS, "--insecure") == 0
    assert network.wallet.read().servers["again"].identity == "ann"
    assert moothall("server", "add", "x", HOME, "--insecure", "--identity", "ann") == 2


@pytest.mark.requirement("R110")
def test_server_that_became_another_one_keeps_no_users(
    town: Run, network: Network, capsys: Capture
) -> None:
    network.halls[HOME].description = describe("urn:other")
    assert town("server", "edit", "home", "--url", HOME, "--insecure") == 5
    assert "boards" in capsys.readouterr().err
    assert network.wallet.load_session("home") is not None


@pytest.mark.requirement("R110")
@pytest.mark.parametrize(
    ("line", "place", "action"),
    [
        ("member list", BOARDS, "identity.list_members"),
        ("member list --server home", HOME, "identity.list_members"),
        ("rank get 7", BOARDS, "leaderboards.get_rank"),
        ("session list", HOME, "identity.list_sessions"),
        ("call identity.list_sessions", HOME, "identity.list_sessions"),
        ("call identity.list_members", BOARDS, "identity.list_members"),
        ("account export", HOME, "identity.export_self"),
        ("whoami", HOME, "identity.get_self"),
        ("logout", HOME, "identity.close_session"),
        ("member remove bob --yes", HOME, "identity.remove_member"),
    ],
)
def test_command_goes_where_it_is_offered(
    town: Run, network: Network, line: str, place: str, action: str
) -> None:
    before = {url: len(network.asked(url)) for url in network.halls}
    assert town(*line.split()) == 0
    asked = {url: network.asked(url)[before[url] :] for url in network.halls}
    assert {url: found for url, found in asked.items() if found} == {place: [action]}


@pytest.mark.requirement("R112")
def test_question_says_at_which_server(town: Run, network: Network, capsys: Capture) -> None:
    assert town("member", "remove", "bob") == 2
    assert "Remove member at home: member bob?" in capsys.readouterr().err
    assert "identity.remove_member" not in network.asked(HOME)


@pytest.mark.requirement("R110")
def test_help_shows_both_servers_and_needs_neither(
    town: Run, network: Network, capsys: Capture
) -> None:
    assert town("member", "list") == town("session", "list") == 0
    capsys.readouterr()
    for hall in network.halls.values():
        hall.are_there = False
    assert town("--help") == 0
    shown = capsys.readouterr().out
    assert "rank" in shown
    assert "session" in shown
    assert town("member", "--help") == 0
    shown = capsys.readouterr().out
    assert "remove" in shown
    assert "list" in shown


def test_no_session_is_told_with_the_way_to_one(
    town: Run, network: Network, capsys: Capture
) -> None:
    assert town("logout") == 0
    network.halls[BOARDS].script = lambda _: problem("unauthenticated", status=401, retryable=False)
    assert town("member", "list") == 11
    assert "moothall login NAME" in capsys.readouterr().err


def session(refresh_token: str) -> Session:
    return Session(
        name="ann",
        member_id="m1",
        session_id="s1",
        refresh_token=refresh_token,
        refresh_expires_at_ms=10**9,
        access_token="access",
        access_lifetime_ms=LIFETIME_MS,
        received_at_ms=0,
    )
