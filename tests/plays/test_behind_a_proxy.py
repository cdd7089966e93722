"""A hall behind a proxy on its own machine: used by a web page, and by the client program."""

import asyncio
import http.client
import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from moothall.app.config import read_settings
from moothall.transports.proxies import is_trusted, read_networks
from tests.conformance.balancer import header_v1, header_v2, open_balancer
from tests.plays.conftest import PASSWORD, NewPerson, RunningHall, StartHall
from tests.unit.test_docs import DOCS, fences_of

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


@dataclass
class Balancer:
    """A balancer that passes TCP through; the header names whoever connects next."""

    header: bytes
    port: int = 0


@contextmanager
def balance(hall: RunningHall) -> Iterator[Balancer]:
    """Run a balancer before a hall, beside what the test does."""
    balancer = Balancer(b"")
    opened: queue.Queue[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = queue.Queue()

    async def run() -> None:
        stop = asyncio.Event()
        async with open_balancer(hall.port, lambda: balancer.header) as port:
            opened.put((asyncio.get_running_loop(), stop, port))
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    loop, stop, balancer.port = opened.get(timeout=20)
    try:
        yield balancer
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        assert not thread.is_alive()


@pytest.mark.requirement("R30")
def test_the_trail_knows_clients_behind_a_balancer_that_passes_tls_through(
    start_hall: StartHall, new_person: NewPerson
) -> None:
    set_all = ("--set", "trusted_proxies=127.0.0.1", "--set", "proxy_protocol=true")
    hall = start_hall("hall", *set_all)
    assert "through trusted proxies only" in hall.banner
    with balance(hall) as balancer:
        url = f"https://localhost:{balancer.port}"
        boss, other = new_person(), new_person()
        balancer.header = header_v2(CLIENT)
        # The certificate that they pin is the hall's own.
        boss.does("server", "add", "hall", url, "--fingerprint", hall.fingerprint)
        boss.does("register", "boss", "--password-stdin", stdin=f"{PASSWORD}\n")
        boss.does("administration", "claim", "--secret-stdin", stdin=f"{hall.secret}\n")
        balancer.header = header_v1("2001:db8::7")
        other.does("server", "add", "hall", url, "--fingerprint", hall.fingerprint)
        other.does("register", "other", "--password-stdin", stdin=f"{PASSWORD}\n")

        direct = other.moothall(
            "server", "add", "direct", hall.url, "--fingerprint", hall.fingerprint
        )
        assert direct.returncode != 0, "nobody comes without the balancer"

        balancer.header = header_v2(CLIENT)
        rows = [json.loads(line) for line in boss.does("audit", "export").splitlines()]
    sources = [row["source"] for row in rows if row["action"] == "identity.register"]
    assert sources == [CLIENT, "2001:db8::7"]


@pytest.mark.requirement("R30")
@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("proxy_protocol = true", "list your balancers in trusted_proxies"),
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


def test_the_settings_of_the_page_can_be_used(tmp_path: Path) -> None:
    page = DOCS / "how-to" / "behind-a-balancer.md"
    found = []
    for number, fence in enumerate(fences_of(page)):
        if fence.language == "toml":
            file = tmp_path / f"{number}.toml"
            file.write_text(fence.text)
            settings = read_settings({}, {}, file)
            found.append((settings.proxy_protocol, settings.insecure))
            assert is_trusted("10.0.0.5", read_networks(settings.trusted_proxies))
            assert not is_trusted(settings.host, read_networks(settings.trusted_proxies))
    assert found == [(False, False), (True, False), (False, True)]
