"""Many connections that only read: a worker that opens them, counts what comes, and keeps them.

A reader costs one call of Python for each piece that arrives, so that thousands of them fit
beside the hall on a small machine. All readers of a feed get the same bytes, so only the first
one looks into them: deliveries are the bytes of all, divided by the mean size of its
messages. ``Settle`` says afterwards whether all have got the same number of bytes; one that
missed an event, or got it twice, has not.
"""

import asyncio
import re
import socket
import ssl
import time
from collections import Counter

import msgspec
import uvloop
from typing_extensions import override

from bench import wires, worker
from bench.load import client_tls, cpu_seconds
from bench.wires import Tally

MESSAGE = b'"jsonrpc"'
"""Stands once in each message."""
REASON = re.compile(rb'"method":"closing","params":\{"reason":"([a-z_]+)"')
CONNECT_TOGETHER_MAX = 32
SIGN_OF_LIFE_S = 10.0
"""How often each reader is heard; a hall asks after 15 s of silence."""
ROUNDS = 100
SMALL_BUFFER_BYTES = 4_096
QUIET_S = 0.3
QUIET_S_MAX = 20.0


class Open(msgspec.Struct, frozen=True, tag=True):
    """Open so many connections; the ``i``-th one from ``sources[i % len(sources)]``.

    With ``tokens`` they are signed in, and with a ``feed`` they follow it. ``has_small_buffers``
    ones let little wait in their own system, so that the hall soon notices when they stop.
    ``is_quiet`` ones, by WebSocket, say something only when the hall asks whether they are there.
    """

    door: str
    port: int
    tls: bool
    connections: int
    tokens: list[str] = []
    feed: str = ""
    sources: tuple[str, ...] = ("127.0.0.1",)
    has_small_buffers: bool = False
    is_quiet: bool = False


class Measure(msgspec.Struct, frozen=True, tag=True):
    """Count what comes within ``seconds``, after a wait."""

    wait_s: float
    seconds: float
    server_pid: int


class Listen(msgspec.Struct, frozen=True, tag=True):
    """Read on, or nothing more; tells by reason how many were closed until now."""

    is_on: bool


class Settle(msgspec.Struct, frozen=True, tag=True):
    """Wait until nothing more comes, and look back on everything since the readers are open."""


class Counted(msgspec.Struct, frozen=True):
    """What came within a window; ``pieces`` are the reads it came in."""

    size_bytes: int
    pieces: int
    seconds: float
    server_cpu_s: float
    own_cpu_s: float


class Settled(msgspec.Struct, frozen=True):
    """What came in all."""

    messages: int
    """To each reader, as the first one counted."""
    message_bytes: float
    """Mean size of a message, with its frame."""
    odd: int
    """Readers that are open and got another number of bytes than the first one."""
    open: int
    closed: dict[str, int]
    """By reason: readers that were closed."""


class Reader(asyncio.Protocol):
    """One connection that reads."""

    def __init__(self, transport: asyncio.Transport, sign: bytes) -> None:
        self.transport = transport
        self.sign = sign
        self.size_bytes = 0
        self.pieces = 0
        self.last = b""
        self.is_lost = False

    @override
    def data_received(self, data: bytes) -> None:
        """Count bytes."""
        self.size_bytes += len(data)
        self.pieces += 1
        self.last = data

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """Note that it is gone."""
        self.is_lost = True

    def reason(self) -> str:
        """Return why the hall closed it."""
        found = REASON.search(self.last)
        return found[1].decode() if found else "without a word"


class QuietReader(Reader):
    """One that answers the hall's heartbeats and says nothing else, as a client at rest does."""

    @override
    def data_received(self, data: bytes) -> None:
        """Count bytes; where nothing happens, a heartbeat comes alone."""
        super().data_received(data)
        if data.startswith(wires.PING):
            self.transport.write(self.sign)


class FirstReader(Reader):
    """The one that counts messages too."""

    def __init__(self, transport: asyncio.Transport, sign: bytes) -> None:
        super().__init__(transport, sign)
        self.messages = 0
        self._tail = b""

    @override
    def data_received(self, data: bytes) -> None:
        """Count messages, those on the seam of two pieces too."""
        super().data_received(data)
        reach = len(MESSAGE) - 1
        self.messages += data.count(MESSAGE) + (self._tail + data[:reach]).count(MESSAGE)
        self._tail = (self._tail + data)[-reach:]


class Readers:
    """All connections of this process."""

    def __init__(self) -> None:
        self._readers: list[Reader] = []
        self._signs: asyncio.Task[None] | None = None

    async def carry_out(self, line: bytes) -> object:
        """Do what a command says."""
        command = msgspec.json.decode(line, type=Open | Measure | Listen | Settle)
        if isinstance(command, Open):
            return await self._open(command)
        if isinstance(command, Measure):
            return await self._measure(command)
        if isinstance(command, Listen):
            return self._listen(is_on=command.is_on)
        return await self._settle()

    async def _open(self, wanted: Open) -> float:
        """Open connections beside those there are; return the seconds that it took."""
        began_at = time.perf_counter()
        together = asyncio.Semaphore(CONNECT_TOGETHER_MAX)
        context = client_tls() if wanted.tls else None

        async def open_one(number: int) -> None:
            async with together:
                await self._open_one(wanted, number, context)

        await asyncio.gather(*map(open_one, range(wanted.connections)))
        if self._signs is None and not wanted.is_quiet:
            self._signs = asyncio.create_task(self._give_signs())
        return time.perf_counter() - began_at

    async def _open_one(self, wanted: Open, number: int, context: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        tokens = wanted.tokens or [""]
        calls = []
        if wanted.feed:
            request = {"feed": wanted.feed, "after": "now"}
            calls.append(wires.call_text("feeds.subscribe", request))
        opening = wires.opening_of(wanted.door, tokens[number % len(tokens)], calls)
        end = socket.socket()
        end.setblocking(False)  # noqa: FBT003 - the standard library's way
        if wanted.has_small_buffers:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
        end.bind((wanted.sources[number % len(wanted.sources)], 0))
        await loop.sock_connect(end, ("127.0.0.1", wanted.port))
        transport, connection = await loop.create_connection(
            lambda: wires.CONNECTIONS[wanted.door](Tally(), [], opening),
            sock=end,
            ssl=context,
            server_hostname="localhost" if context else None,
        )
        await connection.opened
        sign = wires.PONG if wanted.door == wires.WEBSOCKET else wires.EMPTY_LINE
        first = Reader if self._readers else FirstReader
        reader = (QuietReader if wanted.is_quiet else first)(transport, sign)
        transport.set_protocol(reader)
        self._readers.append(reader)

    async def _give_signs(self) -> None:
        """Let the hall hear each reader now and then, a few at a time."""
        turn = 0
        while True:
            await asyncio.sleep(SIGN_OF_LIFE_S / ROUNDS)
            for reader in self._readers[turn::ROUNDS]:
                if not reader.is_lost:
                    reader.transport.write(reader.sign)
            turn = (turn + 1) % ROUNDS

    def _listen(self, *, is_on: bool) -> dict[str, int]:
        for reader in self._readers:
            if not reader.is_lost:
                transport = reader.transport
                (transport.resume_reading if is_on else transport.pause_reading)()
        return self._closed()

    def _closed(self) -> dict[str, int]:
        """Count those that were closed, by the reason that the hall gave."""
        return dict(Counter(reader.reason() for reader in self._readers if reader.is_lost))

    async def _measure(self, wanted: Measure) -> Counted:
        await asyncio.sleep(wanted.wait_s)
        server_before, own_before = cpu_seconds(wanted.server_pid), time.process_time()
        began_at, (size_before, pieces_before) = time.perf_counter(), self._totals()
        await asyncio.sleep(wanted.seconds)
        ended_at, (size_after, pieces_after) = time.perf_counter(), self._totals()
        return Counted(
            size_bytes=size_after - size_before,
            pieces=pieces_after - pieces_before,
            seconds=ended_at - began_at,
            server_cpu_s=cpu_seconds(wanted.server_pid) - server_before,
            own_cpu_s=time.process_time() - own_before,
        )

    def _totals(self) -> tuple[int, int]:
        return (
            sum(reader.size_bytes for reader in self._readers),
            sum(reader.pieces for reader in self._readers),
        )

    async def _settle(self) -> Settled:
        before, quiet_s, waited_s = self._totals(), 0.0, 0.0
        while quiet_s < QUIET_S and waited_s < QUIET_S_MAX:
            await asyncio.sleep(QUIET_S / 3)
            waited_s += QUIET_S / 3
            now = self._totals()
            quiet_s = quiet_s + QUIET_S / 3 if now == before else 0.0
            before = now
        first = self._readers[0]
        assert isinstance(first, FirstReader)
        there = [reader for reader in self._readers if not reader.is_lost]
        return Settled(
            messages=first.messages,
            message_bytes=first.size_bytes / max(first.messages, 1),
            odd=sum(reader.size_bytes != first.size_bytes for reader in there),
            open=len(there),
            closed=self._closed(),
        )


async def main() -> None:
    """Take commands."""
    await worker.serve(Readers().carry_out)


if __name__ == "__main__":
    uvloop.run(main())
