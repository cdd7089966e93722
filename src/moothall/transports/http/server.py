"""The HTTPS door itself: listens, admits, counts, and stops gracefully.

The loop and the signals belong to the app. uvicorn parses requests and runs the application;
its own ``Server`` is not used, because it accepts without limit, gives a handshake a minute,
and takes the signals.
"""

import asyncio
import contextlib
import ipaddress
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from email.utils import formatdate

from uvicorn.config import Config
from uvicorn.server import ServerState

from moothall.action.call import Call, Reply
from moothall.core.errors import ConfigurationError
from moothall.transports.http.admission import Admission, Seat, source_of
from moothall.transports.http.application import HttpApplication
from moothall.transports.http.bounds import HttpBounds
from moothall.transports.http.connection import HttpConnection

ACCEPT_TOGETHER_MAX = 64
"""Connections accepted before other work has its turn."""
ACCEPT_PAUSE_S = 1.0
"""Rest after the system had no more descriptors."""
CANCEL_S = 1.0
"""What cancelled requests may take to answer so."""

_log = logging.getLogger(__name__)


class HttpDoor:
    """Serves calls and documents over HTTPS.

    Args:
        answer: The pipeline; it never raises.
        openapi: Makes the API document; called once, when it is first asked for.
        jwks: Makes the set of public signing keys (RFC 7517); called for each request.
        make_request_id: Names a request that does not reach the pipeline.
        host: Name or address to listen at; a name stands for all its addresses.
        port: 0 for a free one; see ``port`` after the start.
        context: Server side of TLS, or None with ``insecure``.
        insecure: Plain text, on loopback only.
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
        make_request_id: Callable[[], str],
        host: str,
        port: int,
        context: ssl.SSLContext | None,
        insecure: bool = False,
        bounds: HttpBounds | None = None,
    ) -> None:
        if (context is None) != insecure:
            raise ConfigurationError(
                "the HTTPS door needs a certificate, or 'insecure' for plain text on loopback"
            )
        self._bounds = bounds or HttpBounds()
        self._application = HttpApplication(
            answer,
            openapi=openapi,
            jwks=jwks,
            make_request_id=make_request_id,
            bounds=self._bounds,
        )
        self._host = host
        self._port = port
        self._context = context
        self._config = _make_config(self._application)
        self._state = ServerState()
        self._admission = Admission(
            self._bounds.connections_max, self._bounds.connections_per_source_max
        )
        self._listeners: list[socket.socket] = []
        self._opening: set[asyncio.Task[None]] = set()
        self._date_timer: asyncio.TimerHandle | None = None

    @property
    def port(self) -> int:
        """The port it listens at, once started."""
        return self._port

    @property
    def connections(self) -> int:
        """Open connections, those in a handshake included."""
        return self._admission.connections

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigurationError: The address cannot be had, or is not loopback though
                ``insecure``.
        """
        loop = asyncio.get_running_loop()
        self._listeners = await self._listen()
        self._port = self._listeners[0].getsockname()[1]
        self._renew_date()
        for listener in self._listeners:
            loop.add_reader(listener.fileno(), self._accept, listener)

    async def stop(self) -> None:
        """Accept nothing more, let running requests end within their time, then close."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._bounds.stop_timeout_ms / 1_000
        self._close_listeners()
        # A task that never began would not give its seat back.
        await asyncio.sleep(0)
        for task in self._opening:
            task.cancel()
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
        try:
            async with asyncio.timeout_at(until):
                await self._admission.empty.wait()
        except TimeoutError:
            for connection in list(self._state.connections):
                connection.transport.abort()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._admission.empty.wait(), CANCEL_S)
        if self._date_timer is not None:
            self._date_timer.cancel()

    async def _listen(self) -> list[socket.socket]:
        """Return listening sockets, one for each address of the host."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(
                self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
        except OSError as error:
            raise ConfigurationError(f"host {self._host!r} has no address: {error}") from None
        addresses = list(dict.fromkeys((family, where[0]) for family, _, _, _, where in found))
        if self._context is None:
            for _, address in addresses:
                if not ipaddress.ip_address(str(address)).is_loopback:
                    raise ConfigurationError(
                        f"plain text is for loopback only, and {address} is not: "
                        "leave 'insecure' out, or listen at 127.0.0.1"
                    )
        listeners: list[socket.socket] = []
        port, failure = self._port, ""
        for family, address in addresses:
            try:
                listener = socket.create_server(
                    (str(address), port), family=family, backlog=self._bounds.backlog_max
                )
            except OSError as error:
                # A host without IPv6 still resolves names to it.
                failure = f"cannot listen at {address} port {port}: {error.strerror}"
                continue
            listener.setblocking(False)  # noqa: FBT003 - the standard library's way
            listeners.append(listener)
            port = listener.getsockname()[1]
        if not listeners:
            raise ConfigurationError(f"{failure}; choose another host or port")
        return listeners

    def _accept(self, listener: socket.socket) -> None:
        """Admit or turn away who waits."""
        loop = asyncio.get_running_loop()
        for _ in range(ACCEPT_TOGETHER_MAX):
            try:
                connection, address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                _log.warning("cannot accept connections: %s", error.strerror)
                loop.remove_reader(listener.fileno())
                loop.call_later(ACCEPT_PAUSE_S, self._accept_again, listener)
                return
            seat = self._admission.admit(source_of(address[0]))
            if seat is None:
                connection.close()
                continue
            connection.setblocking(False)  # noqa: FBT003 - the standard library's way
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = loop.create_task(self._open(connection, seat))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    def _accept_again(self, listener: socket.socket) -> None:
        if listener in self._listeners:
            loop = asyncio.get_running_loop()
            loop.add_reader(listener.fileno(), self._accept, listener)

    async def _open(self, connection: socket.socket, seat: Seat) -> None:
        """Do the handshake and hand the connection over; a failed one gives its seat back."""
        is_open = False
        loop = asyncio.get_running_loop()
        tls = self._context is not None
        try:
            await loop.connect_accepted_socket(
                lambda: HttpConnection(
                    self._config, self._state, seat, self._bounds, self._application.refuse
                ),
                connection,
                ssl=self._context,
                ssl_handshake_timeout=self._bounds.handshake_timeout_ms / 1_000 if tls else None,
                ssl_shutdown_timeout=self._bounds.write_timeout_ms / 1_000 if tls else None,
            )
            is_open = True
        except OSError as error:
            # Scanners, plain text, an untrusting client: their business, but countable.
            _log.debug("no connection with %s: %s", seat.source, error)
        finally:
            # The transport closes the socket.
            if not is_open:
                seat.release()

    def _close_listeners(self) -> None:
        loop = asyncio.get_running_loop()
        for listener in self._listeners:
            loop.remove_reader(listener.fileno())
            listener.close()
        self._listeners = []

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
