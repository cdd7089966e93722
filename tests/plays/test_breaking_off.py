"""Clients that begin and do not go on: half a greeting, or a reset in the middle of an answer."""

import asyncio
import logging
import socket
import ssl
import struct
import time
from pathlib import Path

import pytest
import uvloop

from moothall.action.call import Call, Reply
from tests.conformance.doors_wire import (
    Ask,
    ask_https,
    ask_speaker,
    place_of,
    speak_lines,
)
from tests.conformance.http_wire import echo, open_door, post, until
from tests.plays.conftest import StartHall

SOURCES = [f"127.0.4.{number}" for number in range(1, 6)]
HELD = 1_000
SERVED_S = 5.0
"""How long somebody else may take meanwhile: TCP, handshake and call, on a machine that is busy."""
RESETS = 300


def half_a_greeting() -> bytes:
    """Return the first half of a ClientHello."""
    context, outgoing = ssl.create_default_context(), ssl.MemoryBIO()
    wanted = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        wanted.do_handshake()
    greeting = outgoing.read()
    assert len(greeting) > 100
    return greeting[: len(greeting) // 2]


async def hold(port: int, source: str, greeting: bytes) -> socket.socket:
    """Connect, send half a greeting, and stay."""
    loop = asyncio.get_running_loop()
    held = socket.socket()
    held.setblocking(False)  # noqa: FBT003 - the standard library's way
    held.bind((source, 0))
    await loop.sock_connect(held, ("127.0.0.1", port))
    await loop.sock_sendall(held, greeting)
    return held


async def wait_for_end(held: socket.socket) -> None:
    """Read until the hall closes; an alert of TLS may come first."""
    loop = asyncio.get_running_loop()
    try:
        while await loop.sock_recv(held, 1_024):
            pass
    except ConnectionError:
        return


@pytest.mark.requirement("R12")
@pytest.mark.requirement("R35")
async def test_a_thousand_half_greetings_keep_nobody_waiting_and_are_ended(
    start_hall: StartHall,
) -> None:
    place = place_of(await asyncio.to_thread(start_hall))
    greeting = half_a_greeting()
    async with speak_lines(place) as member:
        assert not (await ask_speaker(member, Ask("hall.ping"))).problem
        held = await asyncio.gather(
            *(hold(place.web_port, SOURCES[at % len(SOURCES)], greeting) for at in range(HELD))
        )
        try:
            for _ in range(10):
                began_at = time.monotonic()
                assert not (await ask_speaker(member, Ask("hall.ping"))).problem
                assert not (await ask_https(place, Ask("hall.ping"))).problem
                assert time.monotonic() - began_at < SERVED_S
            # Each has its turn, ten seconds for its handshake, and then no longer its place.
            async with asyncio.timeout(60):
                await asyncio.gather(*map(wait_for_end, held))
        finally:
            for each in held:
                each.close()
        assert not (await ask_https(place, Ask("hall.ping"))).problem


@pytest.mark.requirement("R32")
def test_a_reset_in_the_middle_of_an_answer_is_no_fault(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Uvloop refuses to write to what was reset, before it tells; found by the fuzzer."""
    asked = post() * 16

    async def answer(call: Call) -> Reply:
        for _ in range(3):  # as long as a read that waits for its thread
            await asyncio.sleep(0)
        return await echo(call)

    async def reset_again_and_again() -> None:
        async with open_door(answer) as door:
            for at in range(RESETS):
                connection = socket.create_connection(("127.0.0.1", door.port))
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                connection.sendall(asked)
                for _ in range(at % 30):
                    await asyncio.sleep(0)
                connection.close()
            await until(lambda: door.connections == 0)

    with caplog.at_level(logging.ERROR), asyncio.Runner(loop_factory=uvloop.new_event_loop) as run:
        run.run(reset_again_and_again())
    assert caplog.text == ""
