"""A hall that is killed again and again, and the load that remembers what it was promised.

    python -m tests.plays.kill_load --kills 200 --seed 1

Calls are plain HTTP over sockets of our own, because a client that repeats by itself would
hide what was in flight. Each connection carries one call at a time.
"""

import argparse
import asyncio
import os
import shutil
import signal
import statistics
import sys
import tempfile
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any

import apsw
import msgspec

from moothall.client import Hall

PROGRAM = (sys.executable, "-c", "from moothall.app.main import serve; serve()")
PASSWORD = "correct horse battery staple"
START_TIMEOUT_S = 60
OK = b"HTTP/1.1 200"
CONNECTIONS = 48
ANSWERED_MAX = 400
CALLS_IN_FLIGHT_MIN = 20
"""A kill, on average; or the load was none."""
MEMBERS = ("ada", "bo", "cy", "dee")
COUNTING = {"every": "every", "best": "best"}
"""How scores count, by board."""
TOKEN_SECONDS = 150.0
"""How long a token is used; it lives for twice as long."""
START_SECONDS_MAX = 3.0
"""From the start of the process after a kill to the first call that is answered."""


class KilledHall:
    """A hall on one folder, through all its lives."""

    def __init__(self, folder: Path, program: tuple[str, ...] = PROGRAM) -> None:
        self.folder = folder
        self.program = program
        self.options: tuple[str, ...] = ()
        self.port = 0
        self._log = folder.with_suffix(".log")
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and wait until it says where it is."""
        # Nothing of whoever runs the tests; and no limit but the disk's.
        kept = {name: text for name, text in os.environ.items() if "MOOTHALL" not in name}
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.program,
                *("--data", str(self.folder), "--port", "0", "--insecure"),
                *self.options,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**kept, "MOOTHALL_LIMITS_SCALE": "100000"},
            )
        assert self._process.stdout is not None
        async with asyncio.timeout(START_TIMEOUT_S):
            line = (await self._process.stdout.readline()).decode()
        assert line.startswith("Moothall is open at "), f"{line}{self._log.read_text()}"
        self.port = int(line.rpartition(":")[2])

    async def start_timed(self) -> float:
        """Start it, and return after how many seconds it had answered a call."""
        began = perf_counter()
        await self.start()
        await call_once(self.port, "hall.ping", {})
        return perf_counter() - began

    @property
    def process_id(self) -> int:
        """Of the life that it is in."""
        assert self._process is not None
        return self._process.pid

    async def wait(self) -> int:
        """Wait until it ends by itself, and return its exit status."""
        assert self._process is not None
        await self._process.communicate()
        assert self._process.returncode is not None
        return self._process.returncode

    async def kill(self) -> None:
        """End it as a power switch would, if the machine stayed up."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """Ask it to stop, and return its exit status."""
        return await self._end(signal.SIGTERM)

    async def leave(self) -> None:
        """Leave nothing running, however the test ended."""
        if self._process is not None and self._process.returncode is None:
            await self.kill()

    async def _end(self, number: signal.Signals) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        # Reads what is left of the banner too, so that the pipe is closed.
        return await self.wait()


@dataclass
class Write:
    """One keyed write, and the answer to it once there is one."""

    action: str
    request: dict[str, Any]
    key: str
    name: str
    """Of the member who makes it."""
    reply: bytes | None = None

    @property
    def result(self) -> dict[str, Any]:
        assert self.reply is not None
        result: dict[str, Any] = msgspec.json.decode(self.reply)
        return result

    def encode(self, tokens: dict[str, str]) -> bytes:
        return encode_call(self.action, self.request, tokens[self.name], self.key)


def encode_call(action: str, request: dict[str, Any], token: str = "", key: str = "") -> bytes:
    body = msgspec.json.encode(request)
    lines = [
        f"POST /v1/{action} HTTP/1.1",
        "host: localhost",
        "content-type: application/json",
        f"content-length: {len(body)}",
    ]
    if token:
        lines.append(f"authorization: Bearer {token}")
    if key:
        lines.append(f"idempotency-key: {key}")
    return "\r\n".join([*lines, "", ""]).encode() + body


async def exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, call: bytes
) -> bytes:
    """Send a call and return the body of its answer, which must be good."""
    writer.write(call)
    head = await reader.readuntil(b"\r\n\r\n")
    _, _, rest = head.lower().partition(b"content-length:")
    body = await reader.readexactly(int(rest.partition(b"\r\n")[0]))
    assert head.startswith(OK), f"{call.splitlines()[0]!r}\n{head!r}{body!r}"
    return body


async def ask(
    port: int, action: str, request: dict[str, Any], token: str = "", key: str = ""
) -> tuple[int, Any]:
    """Make one call, and return its status and what it answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(encode_call(action, request, token, key))
        head = await reader.readuntil(b"\r\n\r\n")
        _, _, rest = head.lower().partition(b"content-length:")
        body = await reader.readexactly(int(rest.partition(b"\r\n")[0]))
        return int(head.split(b" ", 2)[1]), msgspec.json.decode(body)
    finally:
        writer.close()
        await writer.wait_closed()


async def call_once(port: int, action: str, request: dict[str, Any], token: str = "") -> Any:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return msgspec.json.decode(
            await exchange(reader, writer, encode_call(action, request, token))
        )
    finally:
        writer.close()
        await writer.wait_closed()


@dataclass
class Load:
    """Members who submit scores and verify them, each call under a key of its own."""

    random: Random
    tokens: dict[str, str] = field(default_factory=dict, repr=False)
    """By member."""
    boards: list[str] = field(default_factory=list)
    done: list[Write] = field(default_factory=list)
    lost: deque[Write] = field(default_factory=deque)
    """Sent, and not answered before the hall died: to be sent again as they were."""
    in_flight: int = 0
    _unverified: list[Write] = field(default_factory=list)
    _keys: int = 0
    _wanted: int = 0
    _enough: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, port: int, connections: int) -> None:
        """Send calls on that many connections until the hall dies."""
        async with asyncio.TaskGroup() as group:
            for _ in range(connections):
                group.create_task(self._work(port, lambda: True))

    async def run_until_settled(self, port: int, connections: int) -> None:
        """Send again what was lost, and nothing new."""
        async with asyncio.TaskGroup() as group:
            for _ in range(connections):
                group.create_task(self._work(port, lambda: self.lost))

    async def answered(self, count: int, running: "asyncio.Task[None]") -> None:
        """Return when that many more calls were answered by the load that runs."""
        self._wanted = len(self.done) + count
        self._enough.clear()
        enough = asyncio.create_task(self._enough.wait())
        await asyncio.wait({enough, running}, return_when=asyncio.FIRST_COMPLETED)
        enough.cancel()
        if running.done():
            await running
            raise AssertionError("the hall died by itself")

    async def repeat(self, port: int, writes: list[Write]) -> None:
        """Send writes again that were answered: the answer must be the first one."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for write in writes:
            again = await exchange(reader, writer, write.encode(self.tokens))
            assert again == write.reply, f"{write}: {again!r}"
        writer.close()
        await writer.wait_closed()

    async def _work(self, port: int, goes_on: Callable[[], object]) -> None:
        """Send one call after the other on one connection."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionError:
            return
        try:
            while goes_on():
                write = self.lost.popleft() if self.lost else self._next()
                await self._send(reader, writer, write)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    async def _send(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, write: Write
    ) -> None:
        """Send one write and keep what came of it."""
        self.in_flight += 1
        try:
            write.reply = await exchange(reader, writer, write.encode(self.tokens))
        except (ConnectionError, asyncio.IncompleteReadError):
            self.lost.append(write)
            raise
        finally:
            self.in_flight -= 1
        self.done.append(write)
        if write.action == "leaderboards.submit_score":
            self._unverified.append(write)
        if len(self.done) >= self._wanted:
            self._enough.set()

    def _next(self) -> Write:
        """Make up a write: a score, or now and then the verification of one."""
        self._keys += 1
        name = self.random.choice(list(self.tokens))
        if self._unverified and self.random.random() < 0.4:
            place = self.random.randrange(len(self._unverified))
            self._unverified[place], self._unverified[-1] = (
                self._unverified[-1],
                self._unverified[place],
            )
            entry_id = self._unverified.pop().result["entry_id"]
            action, request = "leaderboards.verify_entry", {"entry_id": entry_id}
        else:
            action = "leaderboards.submit_score"
            request = {
                "board_id": self.random.choice(self.boards),
                # Few enough values for many ties.
                "score": self.random.randrange(500),
                "description": f"entry {self._keys}",
            }
        return Write(action, request, f"key-{self._keys}", name)


async def sign_in(hall: KilledHall) -> dict[str, str]:
    """Sign all members in, and return their access tokens."""
    tokens = {}
    for name in MEMBERS:
        credentials = {"name": name, "password": PASSWORD}
        opened = await call_once(hall.port, "identity.open_session", credentials)
        tokens[name] = opened["access_token"]
    return tokens


async def settle_in(hall: KilledHall) -> dict[str, str]:
    """Bring in the members and make the boards; return the members' tokens."""
    for name in MEMBERS:
        await call_once(hall.port, "identity.register", {"name": name, "password": PASSWORD})
    tokens = await sign_in(hall)
    secret = (hall.folder / "first-administrator-secret").read_text().strip()
    await call_once(
        hall.port, "access.claim_administration", {"secret": secret}, tokens[MEMBERS[0]]
    )
    for board, counting in COUNTING.items():
        request = {
            "name": board,
            "board_id": board,
            "direction": "descending",
            "counting": counting,
            "default_level": "moderate",
        }
        await call_once(hall.port, "leaderboards.create_board", request, tokens[MEMBERS[0]])
    return tokens


async def list_waiting(client: Hall, board: str) -> list[dict[str, Any]]:
    """Return all entries of a board that nobody has verified."""
    found: list[dict[str, Any]] = []
    after: str | None = ""
    while after is not None:
        page = await client.leaderboards.list_waiting(board_id=board, after=after, limit=200)
        found += page["entries"]
        after = page["next"]
    return found


async def list_entries(client: Hall, board: str) -> list[dict[str, Any]]:
    """Return the whole ranking of a board."""
    found: list[dict[str, Any]] = []
    while True:
        page = await client.leaderboards.list_entries(board_id=board, offset=len(found), limit=200)
        found += page["standings"]
        if not page["standings"]:
            assert page["total"] == len(found)
            return found


def recount(entries: list[dict[str, Any]], counting: str) -> list[tuple[int, str, float]]:
    """Return (place, entry, score) of a ranking, from the entries alone."""
    ordered = sorted(entries, key=lambda e: (-e["score"], e["submitted_at_ms"], e["entry_id"]))
    if counting == "best":
        best: dict[str, dict[str, Any]] = {}
        for entry in ordered:
            best.setdefault(entry["member_id"], entry)
        ordered = list(best.values())
    better = Counter(entry["score"] for entry in ordered)
    return [
        (1 + sum(n for score, n in better.items() if score > e["score"]), e["entry_id"], e["score"])
        for e in ordered
    ]


async def check_board(client: Hall, board: str, writes: list[Write]) -> None:
    """Compare what a client reads of a board with what was acknowledged."""
    submitted = {
        write.result["entry_id"]: write.result
        for write in writes
        if write.action == "leaderboards.submit_score" and write.request["board_id"] == board
    }
    verified = {
        write.request["entry_id"]
        for write in writes
        if write.action == "leaderboards.verify_entry" and write.request["entry_id"] in submitted
    }
    waiting = await list_waiting(client, board)
    # Not one is missing, and not one is there that no answer named: nothing was done twice.
    assert [entry["entry_id"] for entry in waiting] == sorted(submitted.keys() - verified)
    for entry in waiting:
        assert entry == {**entry, **submitted[entry["entry_id"]]}  # it has names besides
    ranking = await list_entries(client, board)
    counted = recount([submitted[entry_id] for entry_id in verified], COUNTING[board])
    assert [(row["place"], row["entry_id"], row["score"]) for row in ranking] == counted
    places: dict[str, int] = {}
    for row in ranking:
        places.setdefault(row["name"], row["place"])
    for name, place in places.items():
        rank = await client.leaderboards.get_rank(board_id=board, member=name)
        assert (rank["place"], rank["total"]) == (place, len(counted))


def check_file(folder: Path, writes: list[Write]) -> None:
    """Look at the file itself, once nobody else does."""
    file = apsw.Connection(str(folder / "hall.sqlite"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert file.execute("PRAGMA foreign_key_check").fetchall() == []
        gaps = "SELECT stream FROM action_event GROUP BY stream HAVING max(seq) <> count(*)"
        assert file.execute(gaps).fetchall() == []
        told = "SELECT count(*) FROM action_event WHERE stream LIKE 'board/%'"
        # Moderators are told of each, readers only of what is verified now, and of new boards.
        verified = sum(write.action == "leaderboards.verify_entry" for write in writes)
        assert file.execute(told).fetchall() == [(len(writes) + verified + len(COUNTING),)]
    finally:
        file.close()


@dataclass
class KillReport:
    """What came of all kills."""

    kills: int
    in_flight: int
    writes: int
    start_seconds: list[float]
    """For each start after a kill."""


async def kill_many(hall: KilledHall, kills: int, seed: int) -> KillReport:
    """Kill a fresh hall under load so many times, and hold what is there against what it said."""
    random, in_flight, seconds = Random(seed), 0, list[float]()
    await hall.start()
    load, signed_in = Load(random, await settle_in(hall), list(COUNTING)), perf_counter()
    for _ in range(kills):
        running = asyncio.create_task(load.run(hall.port, CONNECTIONS))
        # Sometimes right after the start, mostly in the middle; then a part of a commit later.
        answered = random.choice((1, random.randrange(ANSWERED_MAX), ANSWERED_MAX))
        await load.answered(answered, running)
        await asyncio.sleep(random.random() * 0.005)
        in_flight += load.in_flight
        await hall.kill()
        await running
        seconds.append(await hall.start_timed())
        if perf_counter() - signed_in > TOKEN_SECONDS:
            load.tokens, signed_in = await sign_in(hall), perf_counter()
        # What the dead hall has answered, the new one answers alike.
        await load.repeat(hall.port, random.sample(load.done, min(10, len(load.done))))
    await load.run_until_settled(hall.port, CONNECTIONS)
    assert not load.lost
    assert in_flight >= CALLS_IN_FLIGHT_MIN * kills
    await check_hall(hall, load)
    return KillReport(kills, in_flight, len(load.done), seconds)


async def check_hall(hall: KilledHall, load: Load) -> None:
    """Compare everything that a client reads with what was acknowledged; then stop the hall."""
    async with Hall(f"http://127.0.0.1:{hall.port}", insecure=True) as client:
        await client.sign_in(MEMBERS[0], PASSWORD)
        for board in COUNTING:
            await check_board(client, board, load.done)
    await load.repeat(hall.port, load.random.sample(load.done, min(300, len(load.done))))
    assert await hall.stop() == 0
    check_file(hall.folder, load.done)


async def _run(kills: int, seed: int) -> KillReport:
    folder = Path(tempfile.mkdtemp(prefix="moothall-kills-"))
    hall = KilledHall(folder / "hall")
    try:
        report = await kill_many(hall, kills, seed)
    finally:
        await hall.leave()
    shutil.rmtree(folder)
    return report


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Kill a hall under load, again and again.")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    report = asyncio.run(_run(given.kills, given.seed))
    longest = max(report.start_seconds)
    late = sum(seconds > START_SECONDS_MAX for seconds in report.start_seconds)
    print(  # noqa: T201 - its report
        f"{report.kills} kills, seed {given.seed}: {report.writes} writes, "
        f"{report.in_flight} in flight when killed; lost 0, done twice 0; first answer after "
        f"p50 {statistics.median(report.start_seconds):.2f} s, max {longest:.2f} s, "
        f"{late} after more than {START_SECONDS_MAX:g} s"
    )
    if longest > START_SECONDS_MAX:
        sys.exit(f"a start took longer than {START_SECONDS_MAX:g} s")


if __name__ == "__main__":
    main()
