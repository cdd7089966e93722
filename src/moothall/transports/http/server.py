"""The HTTPS door itself: listens, admits, counts, and stops gracefully.

The loop and the signals belong to the app, listening to ``transports/listener.py``. uvicorn
parses requests and runs the application; its own ``Server`` is not used, because it accepts
without limit, gives a handshake a minute, and takes the signals.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from email.utils import formatdate

from uvicorn.config import Config
from uvicorn.server import ServerState

from moothall.action.call import Call, Reply
from moothall.transports.admission import Seat
from moothall.transports.http.application import HttpApplication
from moothall.transports.http.bounds import HttpBounds
from moothall.transports.http.connection import HttpConnection
from moothall.transports.http.feeds import FeedDoor
from moothall.transports.http.files import FileDoor
from moothall.transports.http.origins import Origins
from moothall.transports.http.upgrade import Upgrades
from moothall.transports.listener import Listener, ListenerBounds
from moothall.transports.proxies import Networks
from moothall.transports.upgrade import OpenUpgraded

CANCEL_S = 1.0
"""What cancelled requests may take to answer so."""

FAREWELL_S = 0.5
"""What clients to whom all was said may take to close their side of TLS."""

_log = logging.getLogger(__name__)


class HttpDoor:
    """Serves calls and documents over HTTPS.

    Args:
        answer: The pipeline; it never raises.
        openapi: Makes the API document; called once, when it is first asked for.
        jwks: Makes the set of public signing keys (RFC 7517); called for each request.
        describe: Makes what the hall says of itself before anybody signs in (RFC 8615); called
            for each request.
        make_request_id: Names a request that does not reach the pipeline.
        host: Name or address to listen at; a name stands for all its addresses.
        port: 0 for a free one; see ``port`` after the start.
        context: Server side of TLS, or None with ``insecure``.
        insecure: Plain text: at loopback, or for trusted proxies and nobody else.
        open_socket: Opens what upgrades to ``websocket``; None where nothing does.
        feeds: What ``/v1/feeds`` needs of the house; None where there are none.
        files: What ``/v1/files`` needs of the house; None where there are none.
        admit: Charges a source for one request and returns in how many seconds it may begin;
            without it the pipeline charges.
        origins: Whose pages may call, from ``origins.read_origins``.
        trusted_proxies: Who may say for whom they call, from ``proxies.read_networks``.
        bounds: How much of anything there may be.

    Raises:
        ConfigurationError: Neither or both of ``context`` and ``insecure`` are given.
    """

    def __init__(  # noqa: PLR0913 - all of them by name, and none has a natural group
        self,
        answer: Callable[[Call], Awaitable[Reply]],
        *,
        openapi: Callable[[], bytes],
        jwks: Callable[[], bytes],
        describe: Callable[[], bytes],
        make_request_id: Callable[[], str],
        host: str,
        port: int,
        context: ssl.SSLContext | None,
        insecure: bool = False,
        open_socket: OpenUpgraded | None = None,
        feeds: FeedDoor | None = None,
        files: FileDoor | None = None,
        admit: Callable[[str], float] | None = None,
        origins: Origins = frozenset(),
        trusted_proxies: Networks = (),
        bounds: HttpBounds | None = None,
    ) -> None:
        self._bounds = bounds or HttpBounds()
        self._application = HttpApplication(
            answer,
            openapi=openapi,
            jwks=jwks,
            describe=describe,
            make_request_id=make_request_id,
            bounds=self._bounds,
            origins=origins,
            trusted_proxies=trusted_proxies,
            feeds=feeds,
            files=files,
        )
        self._admit = admit
        self._config = _make_config(self._application)
        self._upgrades: Upgrades | None = None
        if open_socket is not None:
            self._upgrades = Upgrades(self._application.read_upgrade, open_socket)
        self._state = ServerState()
        self._listener = Listener(
            self._make_connection,
            host=host,
            port=port,
            context=context,
            insecure=insecure,
            trusted_proxies=trusted_proxies,
            bounds=ListenerBounds(
                connections_max=self._bounds.connections_max,
                connections_per_source_max=self._bounds.connections_per_source_max,
                handshake_timeout_ms=self._bounds.handshake_timeout_ms,
                write_timeout_ms=self._bounds.write_timeout_ms,
                backlog_max=self._bounds.backlog_max,
            ),
        )
        self._date_timer: asyncio.TimerHandle | None = None

    @property
    def port(self) -> int:
        """The port it listens at, once started."""
        return self._listener.port

    @property
    def connections(self) -> int:
        """Open connections, those in a handshake included."""
        return self._listener.connections

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigurationError: The address cannot be had, or is not loopback though
                ``insecure`` and no proxy is trusted.
        """
        await self._listener.start()
        self._renew_date()

    async def stop(self) -> None:
        """Accept nothing more, let running requests end within their time, then close."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._bounds.stop_timeout_ms / 1_000
        await self._listener.close_listeners()
        for connection in list(self._state.connections):
            connection.shutdown()
        if self._state.tasks:
            await asyncio.wait(set(self._state.tasks), timeout=until - loop.time())
        if self._state.tasks:
            _log.warning("%d requests did not end in time", len(self._state.tasks))
            for running in self._state.tasks:
                running.cancel()
            await asyncio.wait(set(self._state.tasks), timeout=CANCEL_S)
            until = loop.time() + CANCEL_S
        await self._say_farewell(until)
        if self._date_timer is not None:
            self._date_timer.cancel()

    async def _say_farewell(self, until: float) -> None:
        """Let connections close that have nothing more to say, at the latest by ``until``.

        Over TLS a client that is idle may never answer the farewell; whoever still reads an
        answer has all the time.
        """
        loop = asyncio.get_running_loop()
        if await self._listener.wait_until_empty(min(FAREWELL_S, until - loop.time())):
            return
        for connection in list(self._state.connections):
            if connection.transport.get_write_buffer_size() == 0:
                connection.transport.abort()
        if not await self._listener.wait_until_empty(until - loop.time()):
            for connection in list(self._state.connections):
                connection.transport.abort()
            await self._listener.wait_until_empty(CANCEL_S)

    def _make_connection(self, seat: Seat) -> HttpConnection:
        return HttpConnection(
            self._config,
            self._state,
            seat,
            self._bounds,
            self._application.refuse,
            self._admit,
            self._upgrades,
        )

    def _renew_date(self) -> None:
        """Keep the Date header (RFC 9110, section 6.6.1), once a second for all answers."""
        loop = asyncio.get_running_loop()
        now = formatdate(usegmt=True).encode("ascii")
        self._state.default_headers = [(b"date", now)]
        self._date_timer = loop.call_later(1.0, self._renew_date)


def _make_config(application: HttpApplication) -> Config:
    """Return uvicorn's settings with everything off that the door does itself or not at all."""
    config = Config(
        application,
        interface="asgi3",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        workers=1,
    )
    config.load()
    return config
