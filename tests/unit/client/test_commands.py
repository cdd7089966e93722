"""Commands derived from declarations: what a line becomes, and what it prints."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from moothall.client import Wallet
from moothall.client.cli.main import run
from moothall.client.cli.render import format_time
from moothall.client.wallet import Server
from tests.unit.client.stub_hall import URL, ManualTime, Reply, StubHall, problem

Run = Callable[..., int]


@pytest.fixture
def hall() -> StubHall:
    return StubHall()


@pytest.fixture
def moothall(tmp_path: Path, hall: StubHall, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("MOOTHALL_CONFIG_DIR", str(tmp_path / "wallet"))
    Wallet().add_server("home", Server(url=URL, trust="system"))

    def carry_out(*words: str, stdin: str = "") -> int:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        return run(words, world=ManualTime().world(hall))

    return carry_out


@pytest.mark.requirement("R40")
@pytest.mark.parametrize(
    ("line", "body"),
    [
        ("score submit 7 128.99", {"board_id": "7", "score": 128.99}),
        ("score submit 7 -5", {"board_id": "7", "score": -5}),
        (
            "score submit 7 -.5 --description -5",
            {"board_id": "7", "score": -0.5, "description": "-5"},
        ),
        (
            "score submit 007 1 --description --json",
            {"board_id": "007", "score": 1, "description": "--json"},
        ),
        ("board create kart --direction ascending", {"name": "kart", "direction": "ascending"}),
        (
            "board create kart --direction descending --tags a --tags b --no-is-open",
            {"name": "kart", "direction": "descending", "tags": ["a", "b"], "is_open": False},
        ),
        (
            'board create kart --direction ascending --limits {"a":[1]} --field-server x',
            {"name": "kart", "direction": "ascending", "limits": {"a": [1]}, "server": "x"},
        ),
        ("rank get 7", {"board_id": "7"}),
        ("rank get 7 --member ann", {"board_id": "7", "member": "ann"}),
        ("entry list 7", {"board_id": "7"}),
        ('call leaderboards.get_rank {"board_id":"7"}', {"board_id": "7"}),
        ("call hall.ping", {}),
    ],
)
def test_line_becomes_a_request(
    moothall: Run, hall: StubHall, line: str, body: dict[str, object]
) -> None:
    assert moothall(*line.split(" ")) == 0
    assert hall.bodies() == [body]


@pytest.mark.parametrize(
    "line",
    [
        "score submit 7",
        "score submit 7 many",
        "score submit 7 nan",
        "score submit 7 1 2",
        "score submit 7 1 --descripton x",
        "board create kart",
        "board create kart --direction up",
        "board create kart --direction ascending --limits {",
        "board create kart --direction ascending --limits @no-such-file",
        "scor submit",
        "score submt",
        "call hall.ping []",
        "rank get 7 --timeout 0",
        "rank get 7 --retries x",
    ],
)
def test_line_that_is_not_understood(
    moothall: Run, hall: StubHall, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert moothall(*line.split(" ")) == 2
    assert hall.requests == []
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("line", "near"), [("scor submit", "score"), ("score submt", "submit")])
def test_near_matches(
    moothall: Run, line: str, near: str, capsys: pytest.CaptureFixture[str]
) -> None:
    moothall(*line.split())
    assert near in capsys.readouterr().err


@pytest.mark.requirement("R112")
@pytest.mark.parametrize("words", ["--json rank get 7", "rank --json get 7", "rank get 7 --json"])
def test_global_options_stand_anywhere(
    moothall: Run, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert moothall(*words.split()) == 0
    assert json.loads(capsys.readouterr().out) == {"ok": True}


@pytest.mark.requirement("R112")
def test_dangerous_verb_asks(
    moothall: Run, hall: StubHall, capsys: pytest.CaptureFixture[str]
) -> None:
    assert moothall("entry", "remove", "7") == 2
    assert "--yes" in capsys.readouterr().err
    assert hall.requests == []
    assert moothall("entry", "remove", "7", "--yes") == 0
    assert hall.bodies() == [{"board_id": "7"}]


@pytest.mark.requirement("R110")
def test_secret_is_read_and_never_shown(
    moothall: Run, hall: StubHall, capsys: pytest.CaptureFixture[str]
) -> None:
    hall.replies = [httpx.Response(200, json={"key_id": "k", "api_key": "hidden-reply"})]
    assert moothall("key", "add", "laptop", "--secret-stdin", stdin="hush hush\nmore\n") == 0
    assert hall.bodies() == [{"label": "laptop", "secret": "hush hush"}]
    shown = capsys.readouterr()
    assert "hush" not in shown.out + shown.err
    assert "hidden-reply" not in shown.out


def test_secret_needs_a_terminal_or_standard_input(
    moothall: Run, hall: StubHall, capsys: pytest.CaptureFixture[str]
) -> None:
    assert moothall("key", "add", "laptop") == 2
    assert "--secret-stdin" in capsys.readouterr().err
    assert moothall("key", "add", "laptop", "--secret", "hush") == 2
    assert hall.requests == []


CODES = [
    ("invalid_argument", 10),
    ("unauthenticated", 11),
    ("permission_denied", 12),
    ("not_found", 13),
    ("already_exists", 14),
    ("aborted", 15),
    ("failed_precondition", 16),
    ("resource_exhausted", 17),
    ("deadline_exceeded", 18),
    ("unavailable", 19),
    ("unimplemented", 20),
    ("internal", 21),
    ("of_a_later_hall", 1),
]


@pytest.mark.parametrize(("code", "expected"), CODES)
def test_exit_code_of_a_refusal(moothall: Run, hall: StubHall, code: str, expected: int) -> None:
    hall.script = lambda _: problem(code, status=400, retryable=False)
    assert moothall("rank", "get", "7") == expected


def test_exit_codes_are_documented() -> None:
    page = Path(__file__).parents[3] / "docs" / "reference" / "exit-codes.md"
    text = page.read_text(encoding="utf-8")
    for code, number in CODES[:-1]:
        assert f"| {number} | `{code}`" in text


def test_facts_of_a_refusal_are_told_as_people_read_them(
    moothall: Run, hall: StubHall, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = {"begins_at_ms": 1_795_253_929_379, "servers": ["a", "b"], "count_max": 3}
    hall.replies = [problem("failed_precondition", status=409, retryable=False, **facts)]
    assert moothall("rank", "get", "7") == 16
    lines = [line.strip() for line in capsys.readouterr().err.splitlines()]
    assert f"begins_at_ms: {format_time(1_795_253_929_379)}" in lines
    assert {"servers: a, b", "count_max: 3"} <= set(lines)


@pytest.mark.parametrize(
    ("wait_ms", "told"),
    [(1, "0.1 s"), (59_499, "59.5 s"), (60_000, "60 s"), (60_001, "2 min"), (1_660_000, "28 min")],
)
def test_wait_is_told_as_people_reckon_it(
    moothall: Run, hall: StubHall, capsys: pytest.CaptureFixture[str], wait_ms: int, told: str
) -> None:
    said = problem("failed_precondition", status=409, retryable=False, retry_after_ms=wait_ms)
    hall.replies = [said]
    assert moothall("rank", "get", "7") == 16
    assert f"try again in {told}\n" in capsys.readouterr().err


def test_unreachable_hall(moothall: Run, hall: StubHall) -> None:
    hall.script = lambda _: httpx.ConnectError("refused")
    assert moothall("rank", "get", "7", "--retries", "0") == 3


def test_error_for_programs(
    moothall: Run, hall: StubHall, capsys: pytest.CaptureFixture[str]
) -> None:
    hall.replies = [problem("not_found", status=404, retryable=False, near=["kart"])]
    assert moothall("rank", "get", "7", "--json") == 13
    shown = capsys.readouterr()
    assert shown.out == ""
    told = json.loads(shown.err)
    assert (told["code"], told["details"], told["request_id"]) == (
        "not_found",
        {"near": ["kart"]},
        "r1",
    )


def test_error_for_people(
    moothall: Run, hall: StubHall, capsys: pytest.CaptureFixture[str]
) -> None:
    hall.replies = [
        problem(
            "invalid_argument",
            status=400,
            retryable=False,
            field="score",
            reason="is too large",
            remedy="give less",
        )
    ]
    moothall("rank", "get", "7")
    first, second, third = capsys.readouterr().err.splitlines()
    assert first == "moothall: score: is too large"
    assert second == "  give less"
    assert "r1" in third


EVIL = "\x1b]0;owned\x07\u202ename\x9b31m\r\n"


@pytest.mark.parametrize("is_list", [False, True])
@pytest.mark.parametrize("words", [("rank", "get", "7"), ("rank", "get", "7", "--json")])
def test_control_characters_of_others_never_reach_the_terminal(
    moothall: Run,
    hall: StubHall,
    words: tuple[str, ...],
    is_list: bool,  # noqa: FBT001 - a parameter of the test
    capsys: pytest.CaptureFixture[str],
) -> None:
    one = {"name": EVIL, EVIL: "[red]x[/red]"}
    reply: Reply = httpx.Response(200, json={"rows": [one]} if is_list else one)
    hall.replies = [reply, problem("internal", status=500, retryable=False, reason=EVIL)]
    moothall(*words)
    moothall(*words)
    shown = capsys.readouterr()
    text = (shown.out + shown.err).replace("\n", "")
    assert not {one for one in text if ord(one) < 0x20 or 0x7F <= ord(one) < 0xA0}
    assert "\u202e" not in text
    assert "[red]x[/red]" in text
    if words[-1] == "--json":
        assert EVIL in str([*json.loads(shown.out).items()]) or json.loads(shown.out)


def test_help_needs_no_hall_once_it_was_seen(
    moothall: Run, hall: StubHall, capsys: pytest.CaptureFixture[str]
) -> None:
    assert moothall("--help") == 0
    assert "server add NAME URL" in " ".join(capsys.readouterr().out.split())
    assert hall.documents == 0
    moothall("hall", "ping")
    assert moothall("--help") == 0
    assert "score" in capsys.readouterr().out
    assert hall.documents == 1


def test_help_of_a_command(moothall: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert moothall("score", "submit", "--help") == 0
    text = capsys.readouterr().out
    for word in ("BOARD_ID", "SCORE", "Which board.", "--description", "submit_score"):
        assert word in text
    assert "Raises" not in text


@pytest.mark.requirement("R110")
def test_no_server_yet(tmp_path: Path, moothall: Run, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "empty")
    assert moothall("whoami", "--config-dir", folder) == 5
    assert "server add" in capsys.readouterr().err
    assert moothall("--config-dir", folder, "rank", "get", "7") == 2


def test_interruption(moothall: Run, hall: StubHall) -> None:
    def interrupt(_: httpx.Request) -> Reply:
        raise KeyboardInterrupt

    hall.script = interrupt
    assert moothall("rank", "get", "7") == 130
