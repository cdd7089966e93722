"""The HTTPS door itself: listens, admits, counts, and stops gracefully.

The loop and the signals belong to the app, listening to ``transports/listener.py``. uvicorn
parses requests and runs the application; its own ``Server`` is not used, because it accepts
without limit, gives a handshake a minute, and takes the signals.
"""

import asyncio
import logging
from email.utils import formatdate

from uvicorn.config import Config
from uvicorn.server import ServerState

from moothall.transports.admission import Seat
from moothall.transports.backend import Backend
from moothall.transports.http.application import Documents, HttpApplication
from moothall.transports.http.bounds import HttpBounds
from moothall.transports.http.connection import HttpConnection
from moothall.transports.http.origins import Origins
from moothall.transports.http.upgrade import Upgrades
from moothall.transports.listener import Endpoint, Listener
from moothall.transports.upgrade import OpenUpgraded

CANCEL_S = 1.0
"""What cancelled requests may take to answer so."""

FAREWELL_S = 0.5
"""What clients to whom all was said may take to close their side of TLS."""

_log = logging.getLogger(__name__)


class HttpServer:
    """Serves calls and documents over HTTPS.

    Args:
        backend: What it needs of the house.
        endpoint: Where it listens.
        documents: What it serves beside calls.
        open_socket: Opens what upgrades to ``websocket``; None where nothing does.
        file_size_bytes_max: Of one file at ``/v1/files``; 0 where there are none.
        origins: Whose pages may call, from ``origins.read_origins``.
        bounds: How much of anything there may be.
    """

    def __init__(
        self,
        backend: Backend,
        endpoint: Endpoint,
        documents: Documents,
        *,
        open_socket: OpenUpgraded | None = None,
        file_size_bytes_max: int = 0,
        origins: Origins = frozenset(),
        bounds: HttpBounds | None = None,
    ) -> None:
        self._bounds = bounds or HttpBounds()
        self._application = HttpApplication(
            backend,
            documents,
            bounds=self._bounds,
            origins=origins,
            trusted_proxies=endpoint.trusted_proxies,
            file_size_bytes_max=file_size_bytes_max,
        )
        self._charge_source = backend.charge_source
        self._config = _make_config(self._application)
        self._upgrades: Upgrades | None = None
        if open_socket is not None:
            self._upgrades = Upgrades(self._application.read_upgrade, open_socket)
        self._state = ServerState()
        self._listener = Listener(self._make_connection, endpoint, bounds=self._bounds.listener)
        self._date_timer: asyncio.TimerHandle | None = None

    @property
    def port(self) -> int:
        """The port it listens at, once started."""
        return self._listener.port

    @property
    def connections(self) -> int:
        """Open connections, those in a handshake included."""
        return self._listener.connections

    @property
    def listener(self) -> Listener:
        """What accepts its connections, for metrics."""
        return self._listener

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
            self._charge_source,
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
