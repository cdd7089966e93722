"""`account export`: pages become lines, and what is not understood is told."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from moothall.client import Wallet
from moothall.client.cli.main import run
from moothall.client.wallet import Server
from tests.unit.client.stub_hall import URL, ManualTime, StubHall, problem

Run = Callable[..., int]


@pytest.fixture
def hall() -> StubHall:
    return StubHall()


@pytest.fixture
def moothall(tmp_path: Path, hall: StubHall, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("MOOTHALL_CONFIG_DIR", str(tmp_path / "wallet"))
    Wallet().add_server("home", Server(url=URL, trust="system"))
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    return lambda *words: run(words, world=ManualTime().world(hall))


def page(*numbers: int, following: str | None) -> httpx.Response:
    rows = [{"room": "shop", "kind": "order", "data": {"number": one}} for one in numbers]
    return httpx.Response(200, json={"rows": rows, "next": following})


def numbers_in(text: str) -> list[int]:
    return [json.loads(line)["data"]["number"] for line in text.splitlines()]


@pytest.mark.requirement("R16")
@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (("account", "export"), {}),
        (("account", "export", "--room", "shop"), {"room": "shop"}),
        (("member", "export", "ann"), {"member": "ann"}),
    ],
)
def test_pages_become_lines(
    moothall: Run,
    hall: StubHall,
    words: tuple[str, ...],
    asked: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    # A page may be empty though there are more.
    hall.replies = [page(1, 2, following="a"), page(following="b"), page(3, following=None)]
    assert moothall(*words) == 0
    shown = capsys.readouterr()
    assert numbers_in(shown.out) == [1, 2, 3]
    assert shown.err == "3 rows\n"
    assert hall.bodies() == [{**asked, "limit": 500, "after": after} for after in ("", "a", "b")]


@pytest.mark.parametrize(
    "reply",
    [
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"rows": 7}),
        page(2, following="a"),
        problem("internal", status=500, retryable=False),
    ],
)
def test_what_ends_an_export_early_is_told(
    moothall: Run, hall: StubHall, reply: httpx.Response, capsys: pytest.CaptureFixture[str]
) -> None:
    hall.replies = [page(1, following="a"), reply]
    assert moothall("account", "export") in {3, 21}
    shown = capsys.readouterr()
    assert numbers_in(shown.out)[0] == 1
    assert " rows" not in shown.err
