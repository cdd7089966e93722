"""Whoever watches over a hall: what they read while it serves, and while it stops."""

import signal
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.plays.conftest import PROGRAM, RunningHall, StartHall, environment, free_port
from tests.servers.postgres import PostgresServer

EXIT_CONFIGURATION = 78
RECOVERY_SECONDS_MAX = 10
DRAIN_SECONDS = 300
"""Longer than a test may take: what ends it is the second signal."""


def watch(hall: RunningHall, path: str) -> httpx.Response:
    url = f"http://127.0.0.1:{hall.metrics_port}{path}"
    return httpx.get(url, trust_env=False, timeout=10)


def call(hall: RunningHall, action: str) -> httpx.Response:
    trust = ssl.create_default_context(cafile=hall.folder / "tls" / "certificate.pem")
    with httpx.Client(base_url=hall.url, verify=trust, trust_env=False) as door:
        return door.post(f"/v1/{action}", json={})


def numbers(text: str) -> dict[str, float]:
    """Return the samples of a page of metrics, each with its labels."""
    return {
        f"{sample.name}{dict(sorted(sample.labels.items()))}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_hall_is_ready_and_counts(start_hall: StartHall) -> None:
    hall = start_hall()
    assert watch(hall, "/livez").json() == {"status": "alive"}
    ready = watch(hall, "/readyz")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "reasons": []})
    assert call(hall, "hall.ping").status_code == 200
    assert call(hall, "made.up").status_code == 501
    told = numbers(watch(hall, "/metrics").text)
    assert told["moothall_calls_total{'action': 'hall.ping', 'code': 'ok'}"] == 1
    assert told["moothall_calls_total{'action': 'unknown', 'code': 'unimplemented'}"] == 1
    assert told["moothall_connections{'door': 'https'}"] >= 0
    assert told["moothall_connections{'door': 'ndjson'}"] == 0
    assert told["process_resident_memory_bytes{}"] > 0
    for path in ("/", "/healthz", "/v1/hall.ping"):
        assert watch(hall, path).status_code == 404


@pytest.mark.requirement("R42")
def test_a_hall_that_drains_answers_calls_and_says_that_none_should_come(
    start_hall: StartHall, tmp_path: Path
) -> None:
    settings = tmp_path / "moothall.toml"
    settings.write_text(f"drain_seconds = {DRAIN_SECONDS}\n")
    hall = start_hall("hall", "--config", str(settings))
    begun = time.monotonic()
    hall.send_signal(signal.SIGTERM)
    while (ready := watch(hall, "/readyz")).status_code == 200:
        pass
    assert ready.status_code == 503
    assert ready.json() == {"status": "not ready", "reasons": ["the hall is stopping"]}
    assert watch(hall, "/livez").status_code == 200
    assert call(hall, "hall.ping").status_code == 200
    assert numbers(watch(hall, "/metrics").text)["moothall_open{}"] == 0
    hall.send_signal(signal.SIGTERM)
    assert hall.wait() == 0
    assert time.monotonic() - begun < DRAIN_SECONDS
    with pytest.raises(httpx.ConnectError):
        watch(hall, "/livez")


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    made = PostgresServer()
    yield made
    made.remove()


def await_status(hall: RunningHall, status: int) -> httpx.Response:
    """Return the first answer of ``/readyz`` with a status."""
    until = time.monotonic() + RECOVERY_SECONDS_MAX
    while (ready := watch(hall, "/readyz")).status_code != status:
        assert time.monotonic() < until, ready.text
    return ready


@pytest.mark.sqlite  # it brings its own server; once is enough
def test_a_node_whose_database_is_away_is_not_ready_until_it_is_back(
    start_hall: StartHall, server: PostgresServer
) -> None:
    hall = start_hall("hall", "--set", f"database={server.url()}")
    assert await_status(hall, 200).json()["reasons"] == []
    server.stop()
    reasons = await_status(hall, 503).json()["reasons"]
    assert "the database cannot be read (storage_unavailable)" in reasons
    told = numbers(watch(hall, "/metrics").text)
    assert told["moothall_tail_age_seconds{}"] > 0
    assert sum("moothall_commit_duration_seconds_bucket" in name for name in told) > 0
    assert watch(hall, "/livez").status_code == 200
    server.start()
    await_status(hall, 200)


@pytest.mark.sqlite  # it is about ports; once is enough
def test_a_port_that_is_taken_ends_the_start_only_if_it_was_named(
    start_hall: StartHall, tmp_path: Path
) -> None:
    first = start_hall("first")
    taken = str(first.metrics_port)
    own = ("--data", str(tmp_path / "second"), "--port", str(free_port()))
    done = subprocess.run(
        [*PROGRAM, "serve", *own, "--metrics-port", taken],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment(),
    )
    assert done.returncode == EXIT_CONFIGURATION
    assert f"metrics_port: cannot listen at '127.0.0.1' port {taken}" in done.stderr
    assert not (tmp_path / "second").exists(), "nothing was begun"
    follows = ("--ndjson-port", "0", "--metrics-port", "-1")
    assert "metrics " not in start_hall("third", *follows).banner
