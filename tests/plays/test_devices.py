"""Ann is signed in on several machines, loses one, and recognises which session to end."""

import json
import platform
import socket

import pytest

from tests.plays.conftest import PASSWORD, NewPerson, RunningHall

UNAUTHENTICATED = 11


@pytest.mark.requirement("R4")
def test_ann_finds_the_session_of_the_phone_she_lost(
    shared_hall: RunningHall, new_person: NewPerson
) -> None:
    at_home, on_phone = new_person(), new_person()
    at_home.joins(shared_hall, "device-ann")
    on_phone.meets(shared_hall)
    password = f"{PASSWORD}\n"
    on_phone.does(
        "login", "device-ann", "--device", "Ann's phone", "--password-stdin", stdin=password
    )

    shown = at_home.does("session", "list")
    assert "Ann's phone" in shown
    assert f"({platform.system()})" in shown
    listed = json.loads(at_home.does("session", "list", "--json"))["sessions"]
    by_device = {one["device"]: one for one in listed}
    assert len(by_device) == 2
    (home,) = by_device.keys() - {"Ann's phone"}
    assert home.startswith(socket.gethostname()[:30])
    assert by_device[home]["is_current"]

    at_home.does("session", "revoke", by_device["Ann's phone"]["session_id"], "--yes")
    assert on_phone.moothall("whoami").returncode == UNAUTHENTICATED
    assert at_home.does("whoami")
