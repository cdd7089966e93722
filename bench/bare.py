"""Bare servers: what a door could do if its answers and its events cost nothing.

``python -m bench.bare websocket|ndjson PORT`` sends back whatever comes: WebSocket by picows, or
lines by a protocol of asyncio, both on uvloop. The same processes broadcast: a worker's
command (see ``bench.worker``) makes one send given bytes to all its connections, as fast as
they are read.
"""

import asyncio
import sys
import time
from typing import cast

import msgspec
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server
from typing_extensions import override

from bench import wires, worker

QUEUED_BYTES_MAX = 262_144
"""What may wait for a reader before the broadcast waits for it; a quarter of a hall's bound."""


class Broadcast(msgspec.Struct, frozen=True):
    """Send ``text`` to everybody for so long, ``joined`` messages in each write."""

    text: str
    joined: int
    seconds: float


class Sent(msgspec.Struct, frozen=True):
    """How many writes there were in all, and what a message was long."""

    writes: int
    seconds: float


class Crowd:
    """The open connections of a bare server, and who of them does not read."""

    def __init__(self) -> None:
        self.transports: list[asyncio.Transport] = []
        self._paused = 0
        self._all_read = asyncio.Event()
        self._all_read.set()

    def pause(self) -> None:
        """Note that one of them does not read."""
        self._paused += 1
        self._all_read.clear()

    def resume(self) -> None:
        """Note that it reads again."""
        self._paused -= 1
        if not self._paused:
            self._all_read.set()

    def enter(self, transport: asyncio.BaseTransport) -> None:
        """Note a connection."""
        # uvloop's transports are asyncio's in all but ancestry.
        there = cast("asyncio.Transport", transport)
        there.set_write_buffer_limits(high=QUEUED_BYTES_MAX)
        self.transports.append(there)

    async def broadcast(self, frame: bytes, wanted: Broadcast) -> Sent:
        """Write to all, over and over, waiting where somebody does not read."""
        began_at = time.perf_counter()
        writes = 0
        data = frame * wanted.joined
        while time.perf_counter() < began_at + wanted.seconds:
            for transport in self.transports:
                transport.write(data)
            writes += len(self.transports)
            await asyncio.sleep(0)
            await self._all_read.wait()
        return Sent(writes, time.perf_counter() - began_at)


class LineEcho(asyncio.Protocol):
    """Sends whole lines back."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._begun = b""
        self._transport: asyncio.Transport

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Enter the crowd."""
        self._transport = cast("asyncio.Transport", transport)
        self._crowd.enter(transport)

    @override
    def data_received(self, data: bytes) -> None:
        """Answer the lines that have ended."""
        received = self._begun + data if self._begun else data
        end = received.rfind(b"\n") + 1
        self._begun = received[end:]
        if end and received != wires.EMPTY_LINE:  # that is only a sign of life
            self._transport.write(received[:end])

    @override
    def pause_writing(self) -> None:
        """Count a client that does not read."""
        self._crowd.pause()

    @override
    def resume_writing(self) -> None:
        """Count one less."""
        self._crowd.resume()


class SocketEcho(WSListener):
    """Sends messages back."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd

    @override
    def on_ws_connected(self, transport: WSTransport) -> None:
        """Enter the crowd."""
        self._crowd.enter(transport.underlying_transport)

    @override
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Answer a message."""
        if frame.msg_type is WSMsgType.TEXT:
            transport.send(WSMsgType.TEXT, frame.get_payload_as_bytes())

    @override
    def pause_writing(self) -> None:
        """Count a client that does not read."""
        self._crowd.pause()

    @override
    def resume_writing(self) -> None:
        """Count one less."""
        self._crowd.resume()


def text_frame(payload: bytes) -> bytes:
    """Return a message as a server sends it."""
    if len(payload) < 126:
        return bytes((0x81, len(payload))) + payload
    return bytes((0x81, 126)) + len(payload).to_bytes(2) + payload


async def serve(door: str, port: int) -> None:
    """Listen, and take commands until standard input ends."""
    crowd = Crowd()
    loop = asyncio.get_running_loop()

    def listen(_request: WSUpgradeRequest) -> WSListener:
        return SocketEcho(crowd)

    if door == wires.WEBSOCKET:
        await ws_create_server(listen, "127.0.0.1", port, backlog=2_048)
    else:
        await loop.create_server(lambda: LineEcho(crowd), "127.0.0.1", port, backlog=2_048)

    async def carry_out(command: bytes) -> object:
        wanted = msgspec.json.decode(command, type=Broadcast)
        payload = wanted.text.encode()
        frame = text_frame(payload) if door == wires.WEBSOCKET else payload + b"\n"
        return await crowd.broadcast(frame, wanted)

    await worker.serve(carry_out)


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(sys.argv[2])))
