"""What this machine can do without the hall, measured with the same generator.

How often the disk confirms a write, how often SQLite commits durably, and how often a server
in Python answers when the answer costs nothing, at each door. They are taken before and
after the cases, and a case's own one also right beside it; where the takes differ much,
somebody else used the machine.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import msgspec

from bench import load, wires, worker
from bench.hall import free_port, wait_until_healthy

BLOCK = b"\0" * 4_096
ROWS_TOGETHER = 100
CONNECTIONS = 64
TAKE_S_MAX = 2.0
ANSWER = msgspec.json.encode(
    {
        "board_id": "01J9ZQ6X7D3M8K2V",
        "member": "bencher01",
        "entry_id": "01J9ZQ6X7D3M8K2W",
        "score": 1_234_567.0,
        "submitted_at_ms": 1_700_000_000_000,
        "place": 4_711,
        "ranked": 20_000,
    }
)
"""About as long as a standing."""
HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", str(len(ANSWER)).encode()),
]


class Take(msgspec.Struct, frozen=True):
    """One measurement: operations a second, and the processor time of each."""

    per_s: float
    cpu_us: float


class Yardstick(msgspec.Struct, frozen=True):
    """One limit of the machine, measured several times in a run."""

    name: str
    meaning: str
    takes: list[Take]

    @property
    def per_s(self) -> float:
        """The mean rate of all takes."""
        return statistics.fmean(take.per_s for take in self.takes)

    @property
    def cpu_us(self) -> float:
        """The mean processor time of an operation, in µs."""
        return statistics.fmean(take.cpu_us for take in self.takes)

    @property
    def drift(self) -> float:
        """How far apart the slowest and the fastest take are, as a part of their mean."""
        rates = [take.per_s for take in self.takes]
        return (max(rates) - min(rates)) / self.per_s


class Deed(msgspec.Struct, frozen=True):
    """A yardstick of somebody else: what it is, and how it is taken for so many seconds."""

    meaning: str
    take: Callable[[float], Take]


class Yard:
    """Takes yardsticks with files under ``folder``, each for ``seconds``, and keeps them.

    Those of ``names``; bare servers with ``in_flight`` calls on a connection. ``others`` are
    such that this module does not know, by name.
    """

    def __init__(
        self,
        folder: Path,
        seconds: float,
        names: Iterable[str] = (),
        in_flight: int = 1,
        others: Mapping[str, Deed] | None = None,
    ) -> None:
        self._folder = folder
        self._seconds = seconds
        self._in_flight = in_flight
        self._others = others or {}
        meanings = MEANINGS | {name: deed.meaning for name, deed in self._others.items()}
        self.yardsticks = {name: Yardstick(name, meanings[name], []) for name in names}

    def take(self, name: str) -> Take:
        """Measure one yardstick."""
        with tempfile.TemporaryDirectory(prefix="yardstick-", dir=self._folder) as folder:
            if name in self._others:
                take = self._others[name].take(self._seconds)
            elif name in DEEDS:
                take = DEEDS[name](Path(folder), self._seconds)
            else:
                door, connections = BARE[name]
                take = bare_calls(door, connections, self._seconds, self._in_flight)
        self.yardsticks[name].takes.append(take)
        return take

    def take_all(self) -> None:
        """Measure each yardstick once."""
        for name in self.yardsticks:
            self.take(name)

    def last(self, name: str) -> Take:
        """Return the latest measurement of a yardstick."""
        return self.yardsticks[name].takes[-1]


def repeat(deed: Callable[[], None], seconds: float, operations: int = 1) -> Take:
    """Do ``deed``, which counts as several operations, over and over."""
    began_at = now = time.perf_counter()
    cpu_before = time.process_time()
    done = 0
    while now < began_at + seconds:
        deed()
        done += operations
        now = time.perf_counter()
    return Take(done / (now - began_at), (time.process_time() - cpu_before) * 1e6 / done)


def sync_blocks(folder: Path, seconds: float) -> Take:
    """Append blocks to a file and wait for the disk after each."""
    # macOS has no fdatasync, and its fsync does not reach the platter.
    sync = getattr(os, "fdatasync", os.fsync)
    with (folder / "blocks").open("wb", buffering=0) as file:

        def append() -> None:
            file.write(BLOCK)
            sync(file.fileno())

        return repeat(append, seconds)


def commit_rows(folder: Path, seconds: float, rows_together: int) -> Take:
    """Insert rows with SQLite, so many per durable commit."""
    database = apsw.Connection(str(folder / "rows.db"))
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute(
        "CREATE TABLE entry (entry_id INTEGER PRIMARY KEY, board_id INTEGER NOT NULL,"
        " member_id INTEGER NOT NULL, score REAL NOT NULL, submitted_at_ms INTEGER NOT NULL)"
    )
    insert = "INSERT INTO entry (board_id, member_id, score, submitted_at_ms) VALUES (?, ?, ?, ?)"

    def commit() -> None:
        with database:
            for member_id in range(rows_together):
                database.execute(insert, (1, member_id, 1234.5, 1_700_000_000_000))

    try:
        return repeat(commit, seconds, rows_together)
    finally:
        database.close()


async def answer(
    scope: dict[str, Any],
    _receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Answer any request with the same JSON: the bare ASGI application."""
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})


@contextmanager
def bare_server() -> Iterator[tuple[int, int]]:
    """Run the bare application in a process of its own; give its port and process id."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "bench.yardsticks:answer", "--port", str(port)]
    flags = "--loop uvloop --http httptools --ws none --lifespan off --no-access-log"
    with subprocess.Popen(
        [*command, *flags.split(), "--log-level", "warning"], cwd=load.ROOT
    ) as process:
        try:
            wait_until_healthy(process, port, tls=False)
            yield port, process.pid
        finally:
            process.terminate()


def bare_calls(door: str, connections: int, seconds: float, in_flight: int) -> Take:
    """Repeat one call at the bare server of a door, on plain connections."""
    if door == wires.HTTPS:
        request = (
            "POST /v1/leaderboards.get_rank HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {'x' * 300}\r\nContent-Type: application/json\r\n"
            "Content-Length: 2\r\n\r\n{}"
        )
        with bare_server() as (port, pid):
            return take_calls(door, port, pid, request, connections, seconds, in_flight)
    # An echo looks like an answer if the call does.
    text = f'{{"jsonrpc":"2.0","id":{wires.SLOT_HOLE},"result":{ANSWER.decode()}}}'
    port = free_port()
    with worker.start("bench.bare", door, str(port)) as bare:
        return take_calls(door, port, bare.pid, text, connections, seconds, in_flight)


def take_calls(
    door: str, port: int, pid: int, text: str, connections: int, seconds: float, in_flight: int
) -> Take:
    """Call a server with the generator of the cases."""
    outcome = load.run(
        load.Plan(
            ports=[port],
            tls=False,
            connections=connections,
            warmup_s=0.5,
            seconds=seconds,
            server_pids=[pid],
            scripts=[[text]],
            door=door,
            in_flight=in_flight,
        )
    )
    if outcome.failures:
        raise load.LoadError(outcome.first_failure)
    return Take(outcome.calls_per_s, outcome.server_cpu_us)


ALWAYS = ("fsync", "commit", "row")
"""Taken in every run on SQLite: they say which disk it was."""
MEANINGS = {
    "fsync": "append 4 KiB, fdatasync",
    "commit": "SQLite WAL, synchronous=FULL, one INSERT per commit",
    "row": f"the same, INSERTs at {ROWS_TOGETHER} per commit",
    "asgi": f"bare ASGI answer of {len(ANSWER)} bytes, HTTP, {CONNECTIONS} connections",
    "asgi:1": "the same, one connection",
    "websocket": f"bare echo of as many bytes, picows, {CONNECTIONS} connections",
    "websocket:1": "the same, one connection",
    "ndjson": f"bare echo of lines, asyncio.Protocol on uvloop, {CONNECTIONS} connections",
    "ndjson:1": "the same, one connection",
}
DEEDS: dict[str, Callable[[Path, float], Take]] = {
    "fsync": sync_blocks,
    "commit": lambda folder, seconds: commit_rows(folder, seconds, 1),
    "row": lambda folder, seconds: commit_rows(folder, seconds, ROWS_TOGETHER),
}
BARE = {
    "asgi": (wires.HTTPS, CONNECTIONS),
    "asgi:1": (wires.HTTPS, 1),
    "websocket": (wires.WEBSOCKET, CONNECTIONS),
    "websocket:1": (wires.WEBSOCKET, 1),
    "ndjson": (wires.NDJSON, CONNECTIONS),
    "ndjson:1": (wires.NDJSON, 1),
}
"""Bare servers: door and connections."""
