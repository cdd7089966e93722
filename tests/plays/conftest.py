"""Plays run against a real hall: `moothall serve` in a process of its own."""

import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from tests.plays.program import PROGRAM, environment, run, start
from tests.servers.postgres import HALLS_VARIABLE, database_of

__all__ = ["PROGRAM", "environment"]  # plays take them from here

PASSWORD = "correct horse battery staple"

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # Whoever starts the tests in the background has Ctrl-C ignored, and so would every program
    # that the plays start.
    signal.signal(signal.SIGINT, signal.default_int_handler)

_START_TIMEOUT_S = 30
_STOP_TIMEOUT_S = 20


_PORTS = range(20_000, 32_000, 2)
"""Below those that systems give to outgoing connections, so that none is taken while a hall is
down whose address must stay. Each has the next one for NDJSON."""


def free_port() -> int:
    """Return a port that is free now, as is the one after it, and that no other worker takes."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    mine = _PORTS[number % _WORKERS_MAX :: _WORKERS_MAX]
    for _ in mine:
        port = mine[next(_turns) % len(mine)]
        if _is_free(port) and _is_free(port + 1):
            return port
    pytest.fail("no port is free")


_WORKERS_MAX = 32
_turns = count(os.getpid())
"""Begins anywhere, so that two runs on one machine seldom try the same one."""


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do, so that connections that have just been closed do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class RunningHall:
    """A hall and what its banner says."""

    def __init__(self, folder: Path, *options: str, port: int = 0) -> None:
        self.folder = folder
        self.administrator: Person | None = None
        log = folder.parent / f"{folder.name}.log"
        own: tuple[str, ...] = (
            "--data",
            str(folder),
            "--port",
            str(port or free_port()),
            "--metrics-port",
            "0",
        )
        if (server := os.environ.get(HALLS_VARIABLE)) and "--database" not in options:
            own = (*own, "--database", database_of(folder, server))
        reader, writer = os.pipe()
        with log.open("wb") as errors, Path(os.devnull).open() as nothing:
            streams = (nothing.fileno(), writer, errors.fileno())
            self._process = start(["serve", *own, *options], streams, environment())
        os.close(writer)
        self._output = os.fdopen(reader)
        self.banner = self._read_banner(log)
        self.url = self._find(r"(https?://\S+)")
        self.port = int(self.url.rpartition(":")[2])
        self.ndjson_port = int(self._find(r"ndjson(?:\+plain)?://\S+:(\d+)"))

    @property
    def metrics_port(self) -> int:
        return int(self._find(r"metrics +http://127\.0\.0\.1:(\d+)/metrics"))

    @property
    def fingerprint(self) -> str:
        return self._find(r"(sha256:[0-9a-f]{64})")

    @property
    def secret(self) -> str:
        """The one-time secret of the first administrator."""
        return self._find(r"one-time secret: (\S+)")

    def send_signal(self, number: int) -> None:
        """Send it a signal, and do not wait."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait until it stops by itself, and return its exit status."""
        status = self._process.wait(_STOP_TIMEOUT_S)
        self._output.close()
        return status

    def kill(self) -> None:
        """End it as a power cut would, without a word."""
        self._process.kill()
        self._process.wait()
        self._output.close()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self.wait()
        except subprocess.TimeoutExpired:
            self.kill()

    def _read_banner(self, log: Path) -> str:
        banner = ""
        for line in self._output:
            banner += line
            if "Ctrl-C" in line:
                return banner
        self._process.wait(_START_TIMEOUT_S)
        self._output.close()
        pytest.fail(f"the hall did not start: {banner}{log.read_text()}")

    def _find(self, pattern: str) -> str:
        found = re.search(pattern, self.banner)
        assert found is not None, self.banner
        return found[1]


@dataclass
class Person:
    """Somebody at a machine of their own, with a wallet of their own."""

    folder: Path

    def moothall(self, *words: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        return run(words, self.environment(), stdin=stdin, timeout=60)

    def does(self, *words: str, stdin: str = "") -> str:
        """Carry out a command that must succeed, and return what it printed."""
        done = self.moothall(*words, stdin=stdin)
        assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def environment(self) -> dict[str, str]:
        return environment(MOOTHALL_CONFIG_DIR=str(self.folder / "wallet"))

    def meets(self, hall: RunningHall) -> None:
        self.does("server", "add", "hall", hall.url, "--fingerprint", hall.fingerprint)

    def joins(self, hall: RunningHall, name: str) -> None:
        self.meets(hall)
        self.does("register", name, "--password-stdin", stdin=f"{PASSWORD}\n")


StartHall = Callable[..., RunningHall]
NewPerson = Callable[[], Person]


@pytest.fixture
def start_hall(tmp_path: Path) -> Iterator[StartHall]:
    """Start halls; each is stopped at the end."""
    running: list[RunningHall] = []

    def start(name: str = "hall", *options: str, port: int = 0) -> RunningHall:
        hall = RunningHall(tmp_path / name, *options, port=port)
        running.append(hall)
        return hall

    yield start
    for hall in running:
        hall.stop()


@pytest.fixture(scope="session")
def _shared_halls() -> Iterator[dict[str, RunningHall]]:
    """The halls of this process that plays share, by engine."""
    halls: dict[str, RunningHall] = {}
    yield halls
    for hall in halls.values():
        hall.stop()


@pytest.fixture
def shared_hall(
    _shared_halls: dict[str, RunningHall], engine: str, tmp_path_factory: pytest.TempPathFactory
) -> RunningHall:
    """One hall for all plays that do not mind each other."""
    if engine not in _shared_halls:
        _shared_halls[engine] = RunningHall(tmp_path_factory.mktemp("plays") / "hall")
    return _shared_halls[engine]


@pytest.fixture
def administrator(shared_hall: RunningHall, tmp_path_factory: pytest.TempPathFactory) -> Person:
    """The first administrator of the shared hall."""
    if shared_hall.administrator is None:
        person = Person(tmp_path_factory.mktemp("administrator"))
        person.joins(shared_hall, "boss")
        person.does("administration", "claim", "--secret-stdin", stdin=f"{shared_hall.secret}\n")
        shared_hall.administrator = person
    return shared_hall.administrator


@pytest.fixture
def new_person(tmp_path_factory: pytest.TempPathFactory) -> NewPerson:
    """Bring somebody in."""

    def bring() -> Person:
        return Person(tmp_path_factory.mktemp("person"))

    return bring
