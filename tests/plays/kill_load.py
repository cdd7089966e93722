"""A hall that is killed again and again, and the load that remembers what it was promised.

Calls are plain HTTP over sockets of our own, because a client that repeats by itself would
hide what was in flight. Each connection carries one call at a time.
"""

import asyncio
import os
import signal
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import msgspec

PROGRAM = (sys.executable, "-c", "from moothall.app.main import serve; serve()")
PASSWORD = "correct horse battery staple"
START_TIMEOUT_S = 60
OK = b"HTTP/1.1 200"


class KilledHall:
    """A hall on one folder, through all its lives."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self._log = folder.with_suffix(".log")
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and wait until it says where it is."""
        # Nothing of whoever runs the tests; and no limit but the disk's.
        kept = {name: text for name, text in os.environ.items() if "MOOTHALL" not in name}
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *PROGRAM,
                *("--data", str(self.folder), "--port", "0", "--insecure"),
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**kept, "MOOTHALL_LIMITS_SCALE": "100000"},
            )
        assert self._process.stdout is not None
        async with asyncio.timeout(START_TIMEOUT_S):
            line = (await self._process.stdout.readline()).decode()
        assert line.startswith("Moothall is open at "), f"{line}{self._log.read_text()}"
        self.port = int(line.rpartition(":")[2])

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
        await self._process.communicate()
        assert self._process.returncode is not None
        return self._process.returncode


@dataclass
class Write:
    """One keyed write, and the answer to it once there is one."""

    action: str
    request: dict[str, Any]
    key: str
    token: str = field(repr=False)
    reply: bytes | None = None

    @property
    def result(self) -> dict[str, Any]:
        assert self.reply is not None
        result: dict[str, Any] = msgspec.json.decode(self.reply)
        return result

    def encode(self) -> bytes:
        return encode_call(self.action, self.request, self.token, self.key)


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
    tokens: list[str] = field(default_factory=list)
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
            again = await exchange(reader, writer, write.encode())
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
            write.reply = await exchange(reader, writer, write.encode())
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
        token = self.random.choice(self.tokens)
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
        return Write(action, request, f"key-{self._keys}", token)
