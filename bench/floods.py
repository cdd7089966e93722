"""A worker that does harm, from addresses of its own, until it is told to stop."""

import asyncio
import ssl
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable

import msgspec
import uvloop
from typing_extensions import override

from bench import wires, worker
from bench.load import client_tls

TICK_S = 0.01
UNREAD_BYTES_MAX = 262_144
AGAIN_S = 1.0
DRIP_S = 0.5
FLOODERS = 64
CALLERS = 8
OPEN_MAX = 8_192
"""Connections that can be open at the same time; those before the last so many are closed."""
RAMP_S = 5.0
"""Over which dripping connections are opened, so that they drip and do not flood."""
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(506)
"""The beginning of a TLS handshake: a record that says it has 512 bytes."""
HEAD = b"POST /v1/hall.ping HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "


class Begin(msgspec.Struct, frozen=True, tag=True):
    """Begin: what, against which door, from where, and how much of it."""

    kind: str
    port: int
    tls: bool
    sources: list[str]
    per_s: float = 0.0
    """Calls a second; of logins those of a minute come at once."""
    count: int = 0
    """Connections that are tried at the same time."""


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Stop, and tell."""


class Told(msgspec.Struct, frozen=True):
    """What came of it."""

    seconds: float
    counts: dict[str, int]
    own_cpu_s: float


class Caller(asyncio.Protocol):
    """Sends calls without waiting for answers, and counts those by a word in them."""

    def __init__(self, counts: Counter[str], done: bytes, refused: bytes) -> None:
        self._counts = counts
        self._done = done
        self._refused = refused
        self.is_lost = False

    @override
    def data_received(self, data: bytes) -> None:
        """Count answers, but for those on a seam."""
        self._counts["done"] += data.count(self._done)
        self._counts["refused"] += data.count(self._refused)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end."""
        self._counts["lost"] += 1
        self.is_lost = True


class Flood:
    """The harm that this process does."""

    def __init__(self) -> None:
        self._kinds: dict[str, Callable[[Begin], Awaitable[None]]] = {
            "calls": self._calls,
            "requests": self._requests,
            "logins": self._logins,
            "connections": self._connections,
            "handshakes": self._handshakes,
            "dripping": self._dripping,
        }
        self._counts: Counter[str] = Counter()
        self._context: ssl.SSLContext | None = None
        self._task: asyncio.Future[None] | None = None
        self._began = (0.0, 0.0)
        self._transports: deque[asyncio.Transport] = deque(maxlen=OPEN_MAX)

    async def carry_out(self, line: bytes) -> object:
        """Do what a command says."""
        command = msgspec.json.decode(line, type=Begin | Stop)
        if isinstance(command, Begin):
            self._context = client_tls() if command.tls else None
            self._began = time.perf_counter(), time.process_time()
            self._task = asyncio.ensure_future(self._kinds[command.kind](command))
            if command.kind == "dripping":
                await asyncio.sleep(RAMP_S + AGAIN_S)
            return {}
        assert self._task is not None
        seconds = time.perf_counter() - self._began[0]
        cpu_s = time.process_time() - self._began[1]
        told = Told(seconds, dict(self._counts), cpu_s)
        if self._task.done():
            self._task.result()
        self._task.cancel()
        for transport in self._transports:
            transport.abort()
        return told

    async def _connect(
        self, port: int, source: str, protocol: asyncio.Protocol, *, tls: bool = True
    ) -> asyncio.Transport:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(
            lambda: protocol,
            "127.0.0.1",
            port,
            ssl=self._context if tls else None,
            local_addr=(source, 0),
        )
        self._transports.append(transport)
        return transport

    # --- calls --------------------------------------------------------------------------------

    async def _calls(self, wanted: Begin) -> None:
        """Send pings over WebSocket."""
        text = wires.call_text("hall.ping", {}).replace(wires.SLOT_HOLE, "10")
        opening = wires.upgrade_text().encode()
        words = b'"result":', b'"error":'
        frame = wires.frame_of(wires.WEBSOCKET, text)
        await self._send(wanted, opening, lambda _: frame, words, 0, CALLERS)

    async def _requests(self, wanted: Begin) -> None:
        """Send pings over HTTPS, on each connection the next with the answer to the last."""
        request = "POST /v1/hall.ping HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n"
        request += "Content-Type: application/json\r\n\r\n{}"
        tally = wires.Tally()
        tally.measuring = True
        script = wires.script_of(wires.HTTPS, [request], 1)

        async def begin(_number: int) -> None:
            connection = wires.HttpConnection(tally, script, [])
            await self._connect(wanted.port, wanted.sources[0], connection)
            tally.at_work.add(connection)
            connection.begin()

        await asyncio.gather(*map(begin, range(FLOODERS)))
        while True:
            await asyncio.sleep(TICK_S)
            self._counts["done"] = sum(tally.ticks.values())
            self._counts["refused"] = tally.failures

    async def _logins(self, wanted: Begin) -> None:
        """Try to sign in, each time as somebody else; those of a minute at once."""

        def login(number: int) -> bytes:
            body = b'{"name":"nobody%08d","password":"a password of nobody"}' % number
            head = b"POST /v1/identity.open_session HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            head += b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            return head + body

        words = b"HTTP/1.1 401", b"HTTP/1.1 429"
        await self._send(wanted, b"", login, words, round(wanted.per_s * 60), FLOODERS)

    async def _send(
        self,
        wanted: Begin,
        opening: bytes,
        frame_of: Callable[[int], bytes],
        words: tuple[bytes, bytes],
        first: int,
        connections: int,
    ) -> None:
        """Send ``per_s`` frames over some connections, wherever the hall still reads."""
        callers: list[tuple[asyncio.Transport, Caller]] = []
        due, sent, began_at = float(first), 0, time.perf_counter()
        while True:
            callers = [each for each in callers if not each[1].is_lost]
            while len(callers) < connections:
                caller = Caller(self._counts, *words)
                transport = await self._connect(wanted.port, wanted.sources[0], caller)
                transport.write(opening)
                callers.append((transport, caller))
            due = first + (time.perf_counter() - began_at) * wanted.per_s
            for turn, (transport, _) in enumerate(callers):
                size = (int(due) - sent) // (connections - turn)
                if transport.get_write_buffer_size() > UNREAD_BYTES_MAX:
                    self._counts["not sent"] += size
                elif size > 0:
                    transport.write(b"".join(map(frame_of, range(sent, sent + size))))
                    self._counts["sent"] += size
                sent += max(size, 0)
            await asyncio.sleep(TICK_S)

    # --- connections --------------------------------------------------------------------------

    async def _connections(self, wanted: Begin) -> None:
        """Hold as many connections as there are to be had, and try for more each second."""

        async def hold(_number: int) -> None:
            while True:
                try:
                    await self._hold(wanted.port, wanted.sources[0])
                except OSError:
                    self._counts["refused"] += 1
                await asyncio.sleep(AGAIN_S)

        await asyncio.gather(*map(hold, range(wanted.count)))

    async def _hold(self, port: int, source: str) -> None:
        """Open a connection, TLS included, and wait until the hall closes it."""
        ended = asyncio.Event()

        class Held(asyncio.Protocol):
            @override
            def connection_lost(self, exc: Exception | None) -> None:
                ended.set()

        transport = await self._connect(port, source, Held())
        self._counts["opened"] += 1
        try:
            await ended.wait()
        finally:
            transport.abort()

    async def _handshakes(self, wanted: Begin) -> None:
        """Open connections, TLS included, and close them at once."""

        async def knock(_number: int) -> None:
            while True:
                try:
                    transport = await self._connect(
                        wanted.port, wanted.sources[0], asyncio.Protocol()
                    )
                except OSError:
                    self._counts["refused"] += 1
                    await asyncio.sleep(TICK_S)
                else:
                    transport.abort()
                    self._counts["opened"] += 1

        await asyncio.gather(*map(knock, range(FLOODERS)))

    async def _dripping(self, wanted: Begin) -> None:
        """Send handshakes and heads of requests, a byte at a time."""

        async def drip(number: int) -> None:
            source = wanted.sources[number % len(wanted.sources)]
            is_hello = number % 2 == 0 and self._context is not None
            text = HELLO if is_hello else HEAD + b"x" * 1_000
            await asyncio.sleep(RAMP_S * number / wanted.count)
            while True:
                caller = Caller(self._counts, b"HTTP/1.1 2", b"HTTP/1.1 4")
                try:
                    transport = await self._connect(wanted.port, source, caller, tls=not is_hello)
                    self._counts["opened"] += 1
                    for place in range(len(text)):
                        if caller.is_lost:
                            break
                        transport.write(text[place : place + 1])
                        await asyncio.sleep(DRIP_S)
                except OSError:
                    self._counts["refused"] += 1
                await asyncio.sleep(AGAIN_S)

        await asyncio.gather(*map(drip, range(wanted.count)))


async def main() -> None:
    """Take commands."""
    # A connection that is refused in its handshake is counted, and nothing to tell of.
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    await worker.serve(Flood().carry_out)


if __name__ == "__main__":
    uvloop.run(main())
