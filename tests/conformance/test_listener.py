"""What all doors have from the listener, on real sockets."""

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from moothall.action.connections import ConnectionBounds
from moothall.transports.admission import Seat
from moothall.transports.listener import UNREACHABLE_TIMEOUT_MS, Endpoint, Listener, ListenerBounds
from tests.conformance.http_wire import BothEnds, make_tls, on_both_loops, until

# The door decides, not what the rows lie on.
pytestmark = pytest.mark.sqlite

CROWD = 100
CROWD_SOURCE = "127.0.0.1"
OTHER_SOURCE = "127.0.0.2"
SOON_S = 10


class Open(asyncio.Protocol):
    """A connection whose handshake is done; it ends when the client or the test says so."""

    def __init__(self, seat: Seat, served: list["Open"]) -> None:
        self.source = seat.source
        self.transport: asyncio.Transport | None = None
        self._seat = seat
        self._served = served

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._served.append(self)

    def connection_lost(self, _error: Exception | None) -> None:
        self.transport = None
        self._seat.release()


class Site:
    """A listener of its own, and who was served by it, in that order."""

    def __init__(self, tls: BothEnds | None, handshakes_per_second_max: int) -> None:
        self.served: list[Open] = []
        self._clients: list[asyncio.Task[asyncio.StreamWriter]] = []
        self._tls = tls
        self.listener = Listener(
            lambda seat: Open(seat, self.served),
            Endpoint(
                host="0.0.0.0" if tls else CROWD_SOURCE,  # noqa: S104 - both sources reach it
                port=0,
                context=tls.server if tls else None,
                insecure=tls is None,
            ),
            bounds=ListenerBounds(handshakes_per_second_max=handshakes_per_second_max),
        )

    @property
    def sources(self) -> list[str]:
        return [one.source for one in self.served]

    def come(self, count: int, source: str = CROWD_SOURCE) -> None:
        """Connect so many times at once from an address of loopback, and begin the handshakes."""

        async def connect() -> asyncio.StreamWriter:
            _, writer = await asyncio.open_connection(
                CROWD_SOURCE,
                self.listener.port,
                local_addr=(source, 0),
                ssl=self._tls.client if self._tls else None,
                server_hostname="localhost" if self._tls else None,
            )
            return writer

        self._clients.extend(asyncio.create_task(connect()) for _ in range(count))

    async def end(self) -> None:
        """Close and see that every seat came back and every client had an end."""
        await self.listener.close_listeners()
        for one in self.served:
            if one.transport is not None:
                one.transport.abort()
        assert await self.listener.wait_until_empty(SOON_S)
        async with asyncio.timeout(SOON_S):
            ends = await asyncio.gather(*self._clients, return_exceptions=True)
        for end in ends:
            if isinstance(end, asyncio.StreamWriter):
                end.transport.abort()
            else:
                assert isinstance(end, OSError)
        await asyncio.sleep(0)


@asynccontextmanager
async def open_site(tls: BothEnds | None, pace: int) -> AsyncIterator[Site]:
    site = Site(tls, pace)
    await site.listener.start()
    try:
        yield site
    finally:
        await site.end()


def longest_run(sources: Iterable[str]) -> int:
    return max(len(list(run)) for _, run in itertools.groupby(sources))


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
        lambda _seat: Protocol(),
        Endpoint(host="127.0.0.1", port=0, context=None, insecure=True),
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


@pytest.mark.requirement("R13")
@on_both_loops
async def test_a_crowd_of_handshakes_does_not_delay_another_source(tmp_path: Path) -> None:
    """A hundred that came before would take two seconds; another source waits for one turn."""
    async with open_site(make_tls(tmp_path), 50) as site:
        site.come(CROWD)
        await until(lambda: site.listener.connections == CROWD)
        served_before = len(site.served)
        site.come(1, OTHER_SOURCE)
        await until(lambda: OTHER_SOURCE in site.sources)
        assert site.sources.index(OTHER_SOURCE) - served_before <= 10
        assert site.listener.connections == CROWD + 1
        assert len(site.served) < CROWD // 2, "it was the pace that let the other pass"


@pytest.mark.requirement("R13")
@on_both_loops
async def test_sources_take_turns_and_everybody_is_served(tmp_path: Path) -> None:
    async with open_site(make_tls(tmp_path), 100) as site:
        site.come(20)
        await until(lambda: site.listener.connections == 20)
        site.come(5, OTHER_SOURCE)
        await until(lambda: len(site.served) == 25)
        first = site.sources.index(OTHER_SOURCE)
        last = 24 - site.sources[::-1].index(OTHER_SOURCE)
        # A handshake may overtake another of its kind, so a run is a little longer than a turn.
        assert longest_run(site.sources[first : last + 1]) <= 3


@pytest.mark.requirement("R13")
@on_both_loops
async def test_who_leaves_while_it_waits_gives_its_seat_back(tmp_path: Path) -> None:
    async with open_site(make_tls(tmp_path), 100) as site:
        crowd = [socket.create_connection((CROWD_SOURCE, site.listener.port)) for _ in range(20)]
        await until(lambda: site.listener.connections == 20)
        for one in crowd:
            one.close()
        await until(lambda: site.listener.connections == 0)
        assert site.served == []
        site.come(1)
        await until(lambda: len(site.served) == 1)


@pytest.mark.requirement("R13")
@on_both_loops
async def test_the_end_of_listening_waits_for_nobody_who_waits(tmp_path: Path) -> None:
    """One a second: all of them would take a minute and a half."""
    async with open_site(make_tls(tmp_path), 1) as site:
        site.come(CROWD)
        await until(lambda: site.listener.connections == CROWD and bool(site.served))
        await site.listener.close_listeners()
        await until(lambda: site.listener.connections <= len(site.served))
        assert len(site.served) < 10


@pytest.mark.requirement("R13")
@on_both_loops
async def test_the_pace_of_handshakes_does_not_hold_up_plain_text() -> None:
    async with open_site(None, 1) as site:
        site.come(CROWD)
        await until(lambda: len(site.served) == CROWD)
