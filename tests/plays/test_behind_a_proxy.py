"""A hall behind a proxy on its own machine, used by a web page."""

import http.client
import json
from pathlib import Path

import pytest

from tests.plays.conftest import PASSWORD, NewPerson, RunningHall, StartHall

APP = "https://app.example"
CLIENT = "198.51.100.7"


def ask(hall: RunningHall, method: str, path: str, **headers: str) -> http.client.HTTPResponse:
    """Ask as the proxy does, in plain text from this machine."""
    connection = http.client.HTTPConnection("127.0.0.1", hall.port, timeout=30)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=named)
        answer = connection.getresponse()
        answer.read()
        return answer
    finally:
        connection.close()


@pytest.mark.requirement("R30")
def test_the_trail_knows_clients_behind_the_proxy_and_listed_pages_call(
    start_hall: StartHall, new_person: NewPerson, tmp_path: Path
) -> None:
    config = tmp_path / "moothall.toml"
    config.write_text(
        'insecure = true\ntrusted_proxies = ["127.0.0.1"]\n'
        f'[web]\norigins = ["{APP}"]\n[registration]\nguests = true\n'
    )
    hall = start_hall("hall", "--config", str(config))
    assert "for trusted proxies only" in hall.banner
    boss = new_person()
    boss.does("server", "add", "hall", hall.url, "--insecure")
    boss.does("register", "boss", "--password-stdin", stdin=f"{PASSWORD}\n")
    boss.does("administration", "claim", "--secret-stdin", stdin=f"{hall.secret}\n")

    asked = ask(
        hall,
        "OPTIONS",
        "/v1/identity.register_guest",
        Origin=APP,
        Access_Control_Request_Method="POST",
    )
    assert (asked.status, asked.headers["access-control-allow-origin"]) == (204, APP)
    path = "/v1/identity.register_guest"
    strange = ask(hall, "POST", path, Origin="https://evil.example", X_Forwarded_For=CLIENT)
    assert strange.status == 403
    listed = ask(hall, "POST", path, Origin=APP, X_Forwarded_For=f"203.0.113.9, {CLIENT}")
    assert (listed.status, listed.headers["access-control-allow-origin"]) == (200, APP)

    rows = [json.loads(line) for line in boss.does("audit", "export").splitlines()]
    sources = [row["source"] for row in rows if row["action"] == "identity.register_guest"]
    assert sources == [CLIENT], "one guest, and the page that is not listed made none"


@pytest.mark.requirement("R30")
@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('trusted_proxies = ["0.0.0.0/0"]', "is everybody"),
        ('web.origins = ["*"]', "list each origin"),
    ],
)
def test_settings_that_would_let_everybody_in_stop_the_start(
    new_person: NewPerson, tmp_path: Path, line: str, told: str
) -> None:
    config = tmp_path / "moothall.toml"
    config.write_text(f"{line}\n")
    words = ("serve", "--data", str(tmp_path / "hall"), "--port", "0", "--config", str(config))
    done = new_person().moothall(*words)
    assert (done.returncode, done.stdout) == (78, "")
    assert told in done.stderr
