"""What all doors have from the listener, on real sockets."""

import asyncio
import socket
from typing import cast

import pytest

from moothall.action.connections import ConnectionBounds
from moothall.transports.listener import UNREACHABLE_TIMEOUT_MS, Listener


@pytest.mark.requirement("R13")
async def test_a_client_whose_machine_is_gone_is_noticed() -> None:
    """The system gives up on what it cannot deliver: no signal of TCP says that a cable is cut."""
    made: list[asyncio.Transport] = []
    is_made = asyncio.Event()

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.append(cast("asyncio.Transport", transport))
            is_made.set()

    listener = Listener(
        lambda _seat: Protocol(), host="127.0.0.1", port=0, context=None, insecure=True
    )
    await listener.start()
    _, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    try:
        async with asyncio.timeout(10):
            await is_made.wait()
        found = made[0].get_extra_info("socket")
        timeout_ms = found.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        assert timeout_ms == UNREACHABLE_TIMEOUT_MS
        assert ConnectionBounds().beat_seconds * 1_000 + timeout_ms <= 45_000
    finally:
        writer.close()
        made[0].abort()
        await listener.close_listeners()
