"""`moothall feed follow`, and which commands a hall's feeds become."""

import io
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from moothall.client import Wallet
from moothall.client.catalog import read_catalog
from moothall.client.cli.derive import offered
from moothall.client.cli.main import run
from moothall.client.wallet import Server
from tests.unit.client.line_hall import PIN, URLS, LineHall, Talk, elsewhere, event, session
from tests.unit.client.stub_hall import operation, problem
from tests.unit.client.test_feed import feed_script, subscribed, upto

Message = dict[str, Any]
Run = Callable[..., int]


@pytest.fixture(params=list(URLS.values()), ids=list(URLS))
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def hall() -> Iterator[LineHall]:
    with elsewhere(LineHall(upto(3))) as hall:
        yield hall


@pytest.fixture
def moothall(tmp_path: Path, hall: LineHall, url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("MOOTHALL_CONFIG_DIR", str(tmp_path / "wallet"))
    Wallet().add_server("home", Server(url=url, trust="pinned", certificate_pem=PIN))
    Wallet().save_session("home", session(hall.time.now_ms()))
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    return lambda *words: run(words, world=hall.world())


def test_events_are_lines(moothall: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert moothall("feed", "follow", "board/kart", "--count", "2") == 0
    shown = capsys.readouterr()
    first, second = shown.out.splitlines()
    assert "leaderboards.entry_verified" in first
    assert first.endswith('stream-0 1  {"number":1}')
    assert second.endswith('stream-0 2  {"number":2}')
    assert shown.err == "following board/kart (Ctrl-C ends)\n", "before the first event comes"


def test_json_lines_hold_the_cursor_to_go_on_from(
    moothall: Run, hall: LineHall, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ("feed", "follow", "board/kart", "--json", "--count", "1")
    assert moothall(*line) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["data"] == {"number": 1}
    assert moothall(*line, "--after", first["cursor"]) == 0
    assert json.loads(capsys.readouterr().out)["seq"] == 2
    asked = [one["params"]["after"] for one in hall.named("feeds.subscribe")]
    assert asked == ["now", "e.1"]


def test_break_is_told_beside_the_events(
    moothall: Run, hall: LineHall, capsys: pytest.CaptureFixture[str]
) -> None:
    def serve(talk: Talk, message: Message, after: int) -> None:
        talk.answer(message, subscribed(after))
        talk.send(event(after + 1))
        talk.notify("closing", reason="shutdown", message="the hall stops")

    hall.script = feed_script(serve)
    assert moothall("feed", "follow", "board/kart", "--count", "2", "--after", "e.0") == 0
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 2
    assert shown.err.splitlines()[1:] == ["the hall stops; trying again in 0.0 s"]


def test_control_characters_of_others_are_not_carried_out(
    moothall: Run, hall: LineHall, capsys: pytest.CaptureFixture[str]
) -> None:
    def serve(talk: Talk, message: Message, after: int) -> None:
        talk.answer(message, subscribed(after))
        told = event(1)
        told["params"]["kind"] = "\x1b[2Jgone"
        talk.send(told)

    hall.script = feed_script(serve)
    assert moothall("feed", "follow", "board/kart", "--count", "1", "--after", "e.0") == 0
    assert "\x1b" not in capsys.readouterr().out


def test_interrupting_is_how_one_ends_it(
    moothall: Run, hall: LineHall, capsys: pytest.CaptureFixture[str]
) -> None:
    person = threading.main_thread().ident
    assert person is not None

    def serve(talk: Talk, message: Message, after: int) -> None:
        talk.answer(message, subscribed(after))
        signal.pthread_kill(person, signal.SIGINT)

    hall.script = feed_script(serve)
    assert moothall("feed", "follow", "board/kart", "--after", "e.0") == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    # Whether the feed was open already when it was interrupted is chance.
    assert shown.err in {"", "following board/kart (Ctrl-C ends)\n"}


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("closing", {"reason": "idle", "message": "nothing was done"}, 11),
        ("feed_ended", {"feed": "board/kart", "reason": "permission_denied"}, 12),
    ],
)
def test_end_of_the_feed_is_the_exit_code(
    moothall: Run, hall: LineHall, method: str, params: Message, code: int
) -> None:
    def serve(talk: Talk, message: Message, after: int) -> None:
        talk.answer(message, subscribed(after))
        talk.notify(method, **params)

    hall.script = feed_script(serve)
    assert moothall("feed", "follow", "board/kart", "--after", "e.0") == code


def test_unknown_feed_is_refused(moothall: Run, hall: LineHall) -> None:
    refusal = problem("not_found", status=404, retryable=False).json()
    hall.script = lambda talk, message: talk.refuse(message, refusal)
    assert moothall("feed", "follow", "board/none") == 13


def test_what_needs_a_connection_is_no_command_of_its_own() -> None:
    names = {
        "feeds.subscribe": ["feed", "subscribe"],
        "feeds.unsubscribe": ["feed", "unsubscribe"],
        "feeds.acknowledge": ["feed", "acknowledge"],
        "identity.authenticate": ["connection", "authenticate"],
        "feeds.list_positions": ["feed", "list"],
    }
    paths = {f"/v1/{name}": operation(name, "flow", words) for name, words in names.items()}
    catalog = read_catalog(json.dumps({"paths": paths}).encode())
    assert [one.name for one in offered(catalog)] == ["feeds.list_positions"]
