"""A balancer that passes TCP through and says for whom, by the PROXY protocol."""

import asyncio
import contextlib
import ipaddress
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL = SIGNATURE + struct.pack("!BBH", 0x20, 0x00, 0)
UNKNOWN = b"PROXY UNKNOWN\r\n"
PIECE_SIZE_BYTES = 65_536


def header_v1(source: str) -> bytes:
    """Return the header of version 1 for a client at an address."""
    address = ipaddress.ip_address(source)
    return f"PROXY TCP{address.version} {address} {address} 40000 443\r\n".encode()


def header_v2(source: str, extensions: bytes = b"") -> bytes:
    """Return the header of version 2 for a client at an address."""
    address = ipaddress.ip_address(source)
    family = 0x11 if address.version == 4 else 0x21
    block = address.packed * 2 + struct.pack("!HH", 40_000, 443) + extensions
    return SIGNATURE + struct.pack("!BBH", 0x21, family, len(block)) + block


@asynccontextmanager
async def open_balancer(
    port: int, next_header: Callable[[], bytes], *, host: str = "127.0.0.1"
) -> AsyncIterator[int]:
    """Pass connections on to a port of loopback; yields the port at which it listens.

    The header goes out together with the first bytes of the client, as HAProxy does it, so a
    hall that takes a byte too much of it breaks the client's handshake.
    """
    passing: set[asyncio.Task[None]] = set()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        passing.add(task)
        task.add_done_callback(passing.discard)
        with contextlib.closing(writer.transport), contextlib.suppress(OSError):
            first = next_header() + await reader.read(PIECE_SIZE_BYTES)
            hall_reader, hall_writer = await asyncio.open_connection(
                "127.0.0.1", port, local_addr=(host, 0)
            )
            with contextlib.closing(hall_writer.transport):
                hall_writer.write(first)
                there = asyncio.create_task(_pipe(reader, hall_writer))
                back = asyncio.create_task(_pipe(hall_reader, writer))
                ways = {there, back}
                try:
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for way in ways:
                        way.cancel()
                    await asyncio.wait(ways)

    server = await asyncio.start_server(pass_on, host)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(passing):
            task.cancel()
        if passing:
            await asyncio.wait(set(passing))
        # One more turn for the transports to close their sockets.
        await asyncio.sleep(0)


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(PIECE_SIZE_BYTES):
            writer.write(data)
            await writer.drain()
