"""The label of a device: recognisable, and always one that halls take."""

import io
import platform
import socket
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moothall.client import Wallet, describe_device
from moothall.client.cli.main import run
from moothall.client.device import LABEL_LENGTH_MAX, is_device_label
from moothall.client.wallet import Server
from moothall.services.identity.rules.sessions import check_device
from tests.unit.client.stub_hall import URL, ManualTime, StubHall


@pytest.mark.requirement("R4")
@pytest.mark.parametrize(
    ("host", "system", "label"),
    [
        ("ada-laptop", "Linux", "ada-laptop (Linux)"),
        ("Adas-Mac.local", "Darwin", "Adas-Mac.local (macOS)"),
        ("DESKTOP-1", "Windows", "DESKTOP-1 (Windows)"),
        ("lange-bäume", "Linux", "lange-bäume (Linux)"),
        ("evil\x1b[2J\nname\u202e", "Linux", "evil[2Jname (Linux)"),
        ("h" * 300, "Linux", "h" * 56 + " (Linux)"),
        ("", "Linux", "Linux"),
        ("ada", "", "ada"),
        ("", "", ""),
    ],
)
def test_label_names_host_and_system(host: str, system: str, label: str) -> None:
    assert describe_device(host, system) == label


def test_label_is_of_this_machine_by_default() -> None:
    label = describe_device()
    assert label == describe_device(socket.gethostname(), platform.system())
    assert label


@given(st.text(max_size=100), st.text(max_size=100))
def test_every_label_is_one_that_halls_take(host: str, system: str) -> None:
    label = describe_device(host, system)
    assert is_device_label(label)
    assert len(label) <= LABEL_LENGTH_MAX
    assert check_device(label) == label


@pytest.mark.requirement("R4")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), {"device": describe_device("the-machine", "Linux")}),
        (("--device", "Ada's phone"), {"device": "Ada's phone"}),
        (("--device", ""), {}),
    ],
)
@pytest.mark.parametrize("who", [("ann", "--password-stdin"), ("--guest",)])
def test_login_says_on_which_device(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    who: tuple[str, ...],
    options: tuple[str, ...],
    expected: dict[str, str],
) -> None:
    hall = prepare(tmp_path, monkeypatch)
    assert run(["login", *who, *options], world=ManualTime().world(hall)) == 0
    (asked,) = hall.sign_ins
    assert {key: asked[key] for key in asked if key == "device"} == expected


@pytest.mark.parametrize("label", ["x" * 65, "two\nlines", "bell\x07"])
@pytest.mark.parametrize("command", ["login", "register"])
def test_label_that_no_hall_takes_is_refused_before_anything_is_sent(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    label: str,
) -> None:
    hall = prepare(tmp_path, monkeypatch)
    line = [command, "ann", "--password-stdin", "--device", label]
    assert run(line, world=ManualTime().world(hall)) == 2
    assert "at most 64 printable characters" in capsys.readouterr().err
    assert (hall.sign_ins, hall.requests) == ([], [])


def prepare(folder: Path, monkeypatch: pytest.MonkeyPatch) -> StubHall:
    """Return a hall in the wallet of somebody on a machine of a known name."""
    monkeypatch.setenv("MOOTHALL_CONFIG_DIR", str(folder / "wallet"))
    monkeypatch.setattr(socket, "gethostname", lambda: "the-machine")
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(sys, "stdin", io.StringIO("secret\n"))
    Wallet().add_server("home", Server(url=URL, trust="system"))
    return StubHall()
