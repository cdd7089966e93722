"""The bus of nodes on several machines: a NATS server between them.

A hall starts and serves without the server; what the bus would have told is then read from the
database a little later. So nothing here waits for the server or fails because of it: one task
connects, and again whenever the connection broke, for as long as the hall runs.
"""

import asyncio
import logging
import random
import ssl
from collections.abc import Callable
from typing import Self

import structlog

from moothall.bus.access import (
    BusAccess,
    ServerAddress,
    check_access,
    read_address,
    read_sign_in,
)
from moothall.bus.bounds import (
    CONNECT_SECONDS_MAX,
    RETRY_SECONDS,
    check_hall_id,
    check_payload,
    check_topic,
)
from moothall.bus.link import Link, LinkRefusedError, describe
from moothall.bus.listeners import Listeners
from moothall.core.errors import ConfigurationError
from moothall.core.operator_files import make_trust

_log = structlog.get_logger("moothall.bus")

# The library prints tracebacks of what it meets; what matters of them is told here.
logging.getLogger("nats").setLevel(logging.CRITICAL + 1)
# What both kinds of loops say of its streams with TLS when a server hangs up; it means nothing.
_HARMLESS = "returning true from eof_received() has no effect when using ssl"
logging.getLogger("asyncio").addFilter(lambda record: record.msg != _HARMLESS)

_random = random.SystemRandom()


class NatsBus:
    """Implements the port Bus by NATS. Made by :meth:`open`.

    A topic is the subject ``moothall.<hall id>.<topic>``, so several halls may share a server.
    The server must let a hall publish and subscribe to ``moothall.<hall id>.>``.
    """

    def __init__(
        self, address: ServerAddress, hall_id: str, access: BusAccess, trust: ssl.SSLContext | None
    ) -> None:
        self.is_connected = False
        self.published = 0
        self.dropped = 0
        self.received = 0
        self.reconnections = 0
        self._address = address
        self._access = access
        self._trust = trust
        self._prefix = f"moothall.{hall_id}."
        self._listeners = Listeners()
        self._link: Link | None = None
        self._was_connected = False
        self._away_since: float | None = None
        self._was_refusal_told = False
        self._task = asyncio.get_running_loop().create_task(self._run(), name="moothall-bus")

    @classmethod
    async def open(cls, url: str, hall_id: str, access: BusAccess | None = None) -> Self:
        """Begin to connect, and return at once.

        Args:
            url: ``nats://host[:port]``, or ``tls://host[:port]`` for TLS and nothing else.
            hall_id: 1 to 64 characters of ``A-Z a-z 0-9 _ -``; the same on all nodes of a hall.
            access: How to sign in; None: not at all.

        Raises:
            ConfigurationError: One of these cannot be used, or a file cannot be read.
        """
        check_hall_id(hall_id)
        access = access or BusAccess()
        address = read_address(url)
        check_access(access, address)
        read_sign_in(access)  # so that what is wrong with it ends the start
        needs_trust = address.is_encrypted or access.authority
        trust = make_trust("bus: bus_authority", access.authority) if needs_trust else None
        return cls(address, hall_id, access, trust)

    async def publish(self, topic: str, payload: bytes) -> None:
        """Give a hint to all other nodes; see the port."""
        check_topic(topic)
        check_payload(payload)
        if self._link is not None and await self._link.send(topic, payload):
            self.published += 1
        else:
            self.dropped += 1

    def subscribe(self, topic: str, on_message: Callable[[bytes], None]) -> None:
        """Call ``on_message`` with each hint of a topic; see the port."""
        self._listeners.subscribe(topic, on_message)

    def on_restored(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when a connection has begun; see the port."""
        self._listeners.on_restored(callback)

    async def close(self) -> None:
        """Leave at once; what the system has not taken yet is lost."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        """Be connected, for as long as there is a server."""
        while True:
            link = Link(self._prefix, self._take)
            try:
                await self._use(link)
            finally:
                self._link = None
                self.is_connected = False
                await link.discard()
            await asyncio.sleep(_random.uniform(*RETRY_SECONDS))

    async def _use(self, link: Link) -> None:
        """Connect, and return when the connection cannot be had or broke."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS_MAX):
                await link.open(self._address, read_sign_in(self._access), self._trust)
        except Exception as error:  # noqa: BLE001 - what comes from the network may raise anything in the library, and none of it may end the task
            is_refused = isinstance(error, LinkRefusedError | ConfigurationError)
            self._tell_away(describe(error), is_refused=is_refused)
            return
        self._link = link
        self.is_connected = True
        self.reconnections += self._was_connected
        self._was_connected = True
        self._tell_connected()
        self._listeners.tell_restored()
        reason = await link.broken
        self._tell_away(reason, is_refused=False)

    def _take(self, topic: str, payload: bytes) -> None:
        self.received += self._listeners.deliver(topic, payload)

    def _tell_away(self, reason: str, *, is_refused: bool) -> None:
        """Log an outage once, and once that somebody must do something about it."""
        if self._away_since is None:
            self._away_since = asyncio.get_running_loop().time()
            self._was_refusal_told = is_refused
        elif is_refused and not self._was_refusal_told:
            self._was_refusal_told = True
        else:
            return
        _log.warning(
            "the bus does not let this hall in; it tries again"
            if is_refused
            else "the bus is away; the hall serves, and other nodes learn of changes later",
            server=self._address.url,
            reason=reason,
        )

    def _tell_connected(self) -> None:
        away_s = 0.0
        if self._away_since is not None:
            away_s = asyncio.get_running_loop().time() - self._away_since
            self._away_since = None
        _log.info("the bus is connected", server=self._address.url, away_s=round(away_s, 1))
