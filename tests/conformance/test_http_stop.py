"""The door stops: running calls end, idle connections close, and none waits for ever."""

import asyncio
import contextlib
import socket
from pathlib import Path

import pytest

from moothall.action.call import Call, Reply
from moothall.core.errors import ConfigurationError
from moothall.transports.http import HttpServer
from moothall.transports.listener import Endpoint
from tests.conformance.http_wire import (
    DOCUMENT_MAKERS,
    connect,
    get,
    make_backend,
    make_tls,
    on_both_loops,
    open_door,
    post,
    until,
)

# The door decides, not what the rows lie on.
pytestmark = pytest.mark.sqlite


class Slow:
    """A pipeline that begins a call and ends it when told."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()

    async def answer(self, _call: Call) -> Reply:
        self.begun.set()
        await self.go_on.wait()
        return Reply("r", b"{}")


@on_both_loops
async def test_a_running_call_ends_and_idle_connections_close() -> None:
    slow = Slow()
    async with open_door(slow.answer) as door, connect(door) as idle, connect(door) as busy:
        assert (await idle.ask(get("/healthz"))).status == 200
        busy.send(post() + post())
        await slow.begun.wait()
        stopping = asyncio.ensure_future(door.stop())
        assert await idle.read_end() == b""
        with pytest.raises(OSError):  # noqa: PT011 - refused or reset
            await asyncio.open_connection("127.0.0.1", door.port)
        assert not stopping.done()
        slow.go_on.set()
        answer = await busy.read_answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        # The one that was queued was not begun; its client sends it again elsewhere.
        assert await busy.read_end() == b""
        await stopping
        assert door.connections == 0


@on_both_loops
async def test_a_call_that_takes_too_long_is_told_so() -> None:
    slow = Slow()
    async with open_door(slow.answer, stop_timeout_ms=50) as door, connect(door) as wire:
        wire.send(post())
        await slow.begun.wait()
        await door.stop()
        answer = await wire.read_answer()
        assert (answer.status, answer.json["code"]) == (504, "deadline_exceeded")
        assert await wire.read_end() == b""


@on_both_loops
async def test_a_call_goes_on_when_its_client_leaves() -> None:
    slow = Slow()
    async with open_door(slow.answer) as door:
        async with connect(door) as wire:
            wire.send(post())
            await slow.begun.wait()
        await until(lambda: door.connections == 0)
        stopping = asyncio.ensure_future(door.stop())
        await asyncio.sleep(0)
        assert not stopping.done()
        slow.go_on.set()
        await stopping


def door_at(host: str, port: int = 0, *, insecure: bool = True) -> HttpServer:
    return HttpServer(
        make_backend(Slow().answer),
        Endpoint(host=host, port=port, context=None, insecure=insecure),
        DOCUMENT_MAKERS,
    )


async def test_plain_text_is_for_loopback_only() -> None:
    with pytest.raises(ConfigurationError, match="certificate"):
        door_at("127.0.0.1", insecure=False)
    with pytest.raises(ConfigurationError, match="loopback"):
        await door_at("0.0.0.0").start()  # noqa: S104 - refused


async def test_a_port_that_is_taken_is_told() -> None:
    async with open_door() as door:
        with pytest.raises(ConfigurationError, match=f"port {door.port}"):
            await door_at("127.0.0.1", door.port).start()


@on_both_loops
async def test_an_idle_client_that_never_answers_the_farewell_of_tls_keeps_nobody_waiting(
    tmp_path: Path,
) -> None:
    tls = make_tls(tmp_path)

    def ask_once(port: int) -> socket.socket:
        """Ask over a socket that nobody reads afterwards, as of a client that is busy elsewhere."""
        plain = socket.create_connection(("127.0.0.1", port))
        secure = tls.client.wrap_socket(plain, server_hostname="localhost")
        secure.sendall(get("/healthz"))
        assert secure.recv(65_536).startswith(b"HTTP/1.1 200")
        return secure

    async with open_door(context=tls.server, stop_timeout_ms=600_000) as door:
        idle = await asyncio.to_thread(ask_once, door.port)
        with contextlib.closing(idle):
            async with asyncio.timeout(20):
                await door.stop()
        assert door.connections == 0
