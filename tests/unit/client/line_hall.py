"""A hall that stays on the line: real TLS over a Unix socket, and as badly behaved as told.

It signs everybody in, delivers a feed of numbered events, and leaves all else to its script.
"""

import asyncio
import contextlib
import json
import ssl
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import trustme
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from moothall.client import Hall, Limits, MemoryStore, Session, World
from moothall.client.address import Address
from moothall.client.trust import Streams
from tests.unit.client.stub_hall import LIFETIME_MS, StubHall, tokens

AUTHORITY = trustme.CA()
RIGHT = AUTHORITY.issue_cert("hall.example")
WRONG = AUTHORITY.issue_cert("hall.example")
PIN = RIGHT.cert_chain_pems[0].bytes().decode()

URLS = {"wss": "wss://hall.example:8443", "ndjson": "ndjson://hall.example:8444"}
PLAIN_URL = "ndjson+plain://127.0.0.1:8444"


class HeldTime:
    """Time that passes only when the test says so; a sleep of nothing is over at once."""

    def __init__(self) -> None:
        self.seconds = 1_000.0
        self.sleepers: list[tuple[float, asyncio.Future[None]]] = []
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.seconds

    def now_ms(self) -> int:
        return int(self.seconds * 1_000)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sleepers.append((self.seconds + seconds, over))
        await over

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
        due = [one for one in self.sleepers if one[0] <= self.seconds]
        self.sleepers = [one for one in self.sleepers if one[0] > self.seconds]
        for _, over in due:
            if not over.done():
                over.set_result(None)


class Talk:
    """One connection as the hall sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.received: list[dict[str, Any]] = []
        self.pongs: list[Frame] = []
        self.on_change: Callable[[], None] = lambda: None
        self._socket: ServerProtocol | None = None

    async def greet(self) -> None:
        """Find out which door this is; shake hands if it is a WebSocket."""
        first = await self.reader.read(65_536)
        if not first.startswith(b"GET "):
            self._first = first
            return
        self._first = b""
        self._socket = ServerProtocol()
        self._socket.receive_data(first)
        request = self._socket.events_received()[0]
        assert isinstance(request, Request)
        assert request.path == "/v1/socket"
        self._socket.send_response(self._socket.accept(request))
        self._flush()

    def named(self, method: str) -> list[dict[str, Any]]:
        return [message for message in self.received if message["method"] == method]

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """Yield what the client says, until it is gone."""
        buffer, self._first = self._first, b""
        while True:
            if self._socket is None:
                *lines, buffer = buffer.split(b"\n")
            else:
                lines = self._frames(buffer)
                buffer = b""
            for line in lines:
                message = json.loads(line)
                self.received.append(message)
                yield message
            piece = await self.reader.read(65_536)
            if not piece:
                return
            buffer += piece

    def send(self, *messages: Mapping[str, Any]) -> None:
        """Send messages, joined."""
        self.write(b"".join(self.frame(json.dumps(one).encode()) for one in messages))

    def frame(self, message: bytes) -> bytes:
        """Return a message as it stands on the wire."""
        if self._socket is None:
            return message + b"\n"
        return Frame(Opcode.TEXT, message).serialize(mask=False)

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    def ping(self) -> None:
        assert self._socket is not None
        self._socket.send_ping(b"are you there")
        self._flush()

    def answer(self, message: Mapping[str, Any], result: object) -> None:
        self.send({"jsonrpc": "2.0", "id": message["id"], "result": result})

    def refuse(self, message: Mapping[str, Any], problem: Mapping[str, Any]) -> None:
        error = {"code": -32000, "message": problem["title"], "data": problem}
        self.send({"jsonrpc": "2.0", "id": message["id"], "error": error})

    def notify(self, method: str, **params: object) -> None:
        self.send({"jsonrpc": "2.0", "method": method, "params": params})

    def drop(self) -> None:
        """Close without a word."""
        self.writer.transport.abort()

    def finish(self) -> None:
        """Close when what was said has left."""
        self.writer.close()

    def _frames(self, data: bytes) -> list[bytes]:
        assert self._socket is not None
        if data:
            self._socket.receive_data(data)
            self._flush()
        frames = [one for one in self._socket.events_received() if isinstance(one, Frame)]
        self.pongs += [one for one in frames if one.opcode is Opcode.PONG]
        self.on_change()
        return [bytes(one.data) for one in frames if one.opcode is Opcode.TEXT]

    def _flush(self) -> None:
        assert self._socket is not None
        for data in self._socket.data_to_send():
            if data:
                self.writer.write(data)


Script = Callable[[Talk, dict[str, Any]], None]


class LineHall:
    """Use it in ``async with``."""

    def __init__(
        self, script: Script | None = None, *, certificate: trustme.LeafCert | None = RIGHT
    ) -> None:
        self.script = script or _answer_all
        self.documents = StubHall()
        self.time = HeldTime()
        self.talks: list[Talk] = []
        self.log: list[dict[str, Any]] = []
        self.is_away = False
        self.session_id = "s1"
        self._certificate = certificate
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._folder = tempfile.TemporaryDirectory(prefix="hall")
        self._path = str(Path(self._folder.name) / "line")

    async def __aenter__(self) -> Self:
        context = None
        if self._certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._certificate.configure_cert(context)
        self._server = await asyncio.start_unix_server(self._serve, self._path, ssl=context)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for talk in self.talks:
            talk.drop()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._server.wait_closed()
        self._folder.cleanup()

    @property
    def messages(self) -> list[dict[str, Any]]:
        """Everything that clients said, on all connections."""
        return [message for talk in self.talks for message in talk.received]

    def named(self, method: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["method"] == method]

    async def connect(self, address: Address, context: ssl.SSLContext | None) -> Streams:
        if self.is_away:
            raise ConnectionRefusedError("nobody is there")
        if context is None:
            return await asyncio.open_unix_connection(self._path)
        return await asyncio.open_unix_connection(
            self._path, ssl=context, server_hostname=address.host, ssl_shutdown_timeout=0.5
        )

    def client(self, url: str, **options: Any) -> Hall:
        return Hall(url, **self.options(**options))

    def options(
        self, *, is_signed: bool = True, fraction: float = 0.0, **options: Any
    ) -> dict[str, Any]:
        """Return the arguments of a client of this hall."""
        if is_signed:
            options.setdefault("store", MemoryStore(session(self.time.now_ms())))
        return {
            "certificate_pem": PIN if self._certificate else None,
            "limits": Limits(retries=2),
            "insecure": self._certificate is None,
            "world": self.world(fraction),
            **options,
        }

    def world(self, fraction: float = 0.0) -> World:
        keys = iter(range(1, 10_000))
        return World(
            monotonic=self.time.monotonic,
            now_ms=self.time.now_ms,
            sleep=self.time.sleep,
            fraction=lambda: fraction,
            new_key=lambda: f"key-{next(keys)}",
            connect=self.connect,
            transport=self.documents.transport,
        )

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something the clients say makes it true."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def until_asleep(self, count: int) -> None:
        """Wait until somebody has begun to wait for at least half a second ``count`` times."""
        while sum(0.5 <= one <= 30 for one in self.time.slept) < count:  # noqa: ASYNC110 - see below
            # Who begins to sleep tells nobody.
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        talk = Talk(reader, writer)
        talk.on_change = self._changed.set
        try:
            with contextlib.suppress(OSError):
                await talk.greet()
                self.talks.append(talk)
                self._changed.set()
                async for message in talk.messages():
                    self._take(talk, message)
                    self._changed.set()
        finally:
            self._tasks.discard(task)
            talk.drop()
            self._changed.set()

    def _take(self, talk: Talk, message: dict[str, Any]) -> None:
        match message["method"]:
            case "identity.authenticate":
                talk.answer(message, {"member_id": "m1", "session_id": "s1"})
            case "hall.ping":
                talk.answer(message, {"answer": "pong", "now_ms": self.time.now_ms()})
            case "identity.open_session" | "identity.refresh_session":
                generation = len(self.named("identity.refresh_session"))
                opened = tokens(generation, now_ms=self.time.now_ms())
                talk.answer(message, {**opened, "session_id": self.session_id})
            case _:
                self.script(talk, message)


@contextlib.contextmanager
def elsewhere(hall: LineHall) -> Iterator[LineHall]:
    """Run a hall in a thread of its own, for clients that block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def run(deed: Coroutine[Any, Any, object]) -> None:
        asyncio.run_coroutine_threadsafe(deed, loop).result(10)

    run(hall.__aenter__())
    try:
        yield hall
    finally:
        run(hall.__aexit__())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def _answer_all(talk: Talk, message: dict[str, Any]) -> None:
    talk.answer(message, {"ok": True})


def session(now_ms: int, lifetime_ms: int = LIFETIME_MS) -> Session:
    """Return a session that was just opened."""
    return Session(
        name="ann",
        member_id="m1",
        session_id="s1",
        refresh_token="refresh-0",
        refresh_expires_at_ms=now_ms + 10**9,
        access_token="access-0",
        access_lifetime_ms=lifetime_ms,
        received_at_ms=now_ms,
    )


def event(number: int, *, feed: str = "board/kart", streams: int = 1) -> dict[str, Any]:
    """Return event ``number`` of the hall (1, 2, ...), in one of several streams in turn."""
    params = {
        "feed": feed,
        "cursor": f"e.{number}",
        "stream": f"stream-{number % streams}",
        "seq": (number + streams - 1) // streams,
        "kind": "leaderboards.entry_verified",
        "at": 1_000 + number,
        "data": {"number": number},
    }
    return {"jsonrpc": "2.0", "method": "event", "params": params}
