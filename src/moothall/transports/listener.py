"""How any TCP door listens: addresses, sockets, seats, TLS, and the end of listening.

The loop's own servers accept without limit and count nobody; a client that is turned away
has had its TLS handshake by then. Here a seat comes before the handshake, the handshake has
its time, and what a connection is begins only after it. Handshakes that are ready together
would run back to back and keep everybody else waiting, so they begin one at a time, at a steady
pace, and the sources take turns. Where balancers pass TCP through, each connection begins with a
header that names their client, and is the client's from then on. A door gives a protocol for each
seat and keeps the rest: its connections, and how they end when the house closes.
"""

import asyncio
import contextlib
import ipaddress
import logging
import socket
import ssl
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from moothall.core.addresses import source_of
from moothall.core.errors import ConfigurationError
from moothall.core.units import SECOND_MS
from moothall.transports.admission import Admission, Seat, Turns
from moothall.transports.bounds import check_bounds
from moothall.transports.proxies import Networks
from moothall.transports.proxy_protocol import (
    HEADER_SIZE_BYTES_MAX,
    ProxyHeader,
    ProxyHeaderError,
    find_header,
)

ACCEPT_TOGETHER_MAX = 8
"""Connections accepted before other work has its turn."""
UNREACHABLE_TIMEOUT_MS = 30_000
"""How long what was sent may be without any sign from the client's machine (RFC 5482): a
heartbeat into a connection whose other side is gone ends it."""
REFUSED_PAUSE_S = 0.002
"""Rest after a connection that was turned away."""
ACCEPT_PAUSE_S = 1.0
"""Rest after the system had no more descriptors."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerBounds:
    """Every bound of listening; each must be at least 1.

    Attributes:
        connections_max: Open connections, counted before the TLS handshake.
        connections_per_source_max: The same for one source: an IPv4 address, or a /64 network
            of IPv6, because one client has a whole one. Trusted proxies are not held to it.
        proxy_header_timeout_ms: Header of the PROXY protocol, from accepting to its last byte.
        handshake_timeout_ms: TLS handshake, from its turn to its end.
        handshakes_per_second_max: TLS handshakes that begin in a second, evenly spread; more
            wait, and the sources that wait take turns. Who comes after a pause begins at once.
        write_timeout_ms: How long what was written may take to leave, and TLS to close.
        backlog_max: Connections that the system holds until they are accepted.
    """

    connections_max: int = 10_000
    connections_per_source_max: int = 256
    proxy_header_timeout_ms: int = 5 * SECOND_MS
    handshake_timeout_ms: int = 10 * SECOND_MS
    handshakes_per_second_max: int = 100
    write_timeout_ms: int = 30 * SECOND_MS
    backlog_max: int = 2_048

    def __post_init__(self) -> None:
        """Refuse a bound of nothing."""
        check_bounds(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a door listens, and to whom.

    Attributes:
        host: Name or address to listen at; a name stands for all its addresses.
        port: 0 for a free one; see ``Listener.port`` after the start.
        context: Server side of TLS, or None with ``insecure``.
        insecure: Plain text: at loopback, or for trusted proxies and nobody else.
        trusted_proxies: Who may speak for others, from ``proxies.read_networks``.
        proxy_protocol: Trusted proxies name their client at the beginning of each connection,
            before TLS, and nobody else may connect.
    """

    host: str
    port: int
    context: ssl.SSLContext | None
    insecure: bool = False
    trusted_proxies: Networks = ()
    proxy_protocol: bool = False

    def __post_init__(self) -> None:
        """Refuse plain text that nobody asked for, and a door that is for nobody.

        Raises:
            ConfigurationError: Neither or both of ``context`` and ``insecure`` are given, or
                ``proxy_protocol`` without ``trusted_proxies``.
        """
        if (self.context is None) != self.insecure:
            raise ConfigurationError(
                "a door needs a certificate, or 'insecure' for plain text on loopback"
            )
        if self.proxy_protocol and not self.trusted_proxies:
            raise ConfigurationError(
                "settings: proxy_protocol: only trusted proxies may name their clients, and there "
                "are none; list your balancers in trusted_proxies"
            )


class Listener:
    """Accepts connections for one door.

    Args:
        make_protocol: Called once a connection is open, its handshake behind it. The protocol
            owns the seat and must release it in ``connection_lost``.
        endpoint: Where it listens.
        bounds: How much of anything there may be.
    """

    def __init__(
        self,
        make_protocol: Callable[[Seat], asyncio.BaseProtocol],
        endpoint: Endpoint,
        *,
        bounds: ListenerBounds | None = None,
    ) -> None:
        self._make_protocol = make_protocol
        self._host = endpoint.host
        self._port = endpoint.port
        self._context = endpoint.context
        self._trusted_proxies = endpoint.trusted_proxies
        self._proxy_protocol = endpoint.proxy_protocol
        self._bounds = bounds or ListenerBounds()
        self._admission = Admission(
            self._bounds.connections_max,
            self._bounds.connections_per_source_max,
            endpoint.trusted_proxies,
            proxies_only=endpoint.proxy_protocol
            or (endpoint.insecure and bool(endpoint.trusted_proxies)),
        )
        self._listeners: list[socket.socket] = []
        self._opening: set[asyncio.Task[None]] = set()
        self._turns: Turns[tuple[socket.socket, Seat]] = Turns()
        self._next_turn_at = 0.0
        self._turn_timer: asyncio.TimerHandle | None = None

    @property
    def port(self) -> int:
        """The port it listens at, once started."""
        return self._port

    @property
    def connections(self) -> int:
        """Open connections, those in a handshake or waiting for it included."""
        return self._admission.connections

    @property
    def refused(self) -> int:
        """Connections that were turned away since the start, being too many or no proxies."""
        return self._admission.refused

    @property
    def handshakes_waiting(self) -> int:
        """Connections that wait for their turn to begin TLS."""
        return len(self._turns)

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigurationError: The address cannot be had, or is not loopback though
                ``insecure`` and no proxy is trusted.
        """
        loop = asyncio.get_running_loop()
        self._listeners = await self._listen()
        self._port = self._listeners[0].getsockname()[1]
        for listener in self._listeners:
            loop.add_reader(listener.fileno(), self._accept, listener)

    async def close_listeners(self) -> None:
        """Accept nothing more, end handshakes and who waits; the door ends open connections."""
        loop = asyncio.get_running_loop()
        for listener in self._listeners:
            loop.remove_reader(listener.fileno())
            listener.close()
        self._listeners = []
        if self._turn_timer is not None:
            self._turn_timer.cancel()
            self._turn_timer = None
        for connection, seat in self._turns.drain():
            connection.close()
            seat.release()
        # A task that never began would not give its seat back.
        await asyncio.sleep(0)
        for task in self._opening:
            task.cancel()

    async def wait_until_empty(self, timeout_s: float) -> bool:
        """Wait until no connection is left; tell whether that came in time."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._admission.empty.wait(), max(0.0, timeout_s))
        return self._admission.empty.is_set()

    async def _listen(self) -> list[socket.socket]:
        """Return listening sockets, one for each address of the host."""
        addresses = await self._resolve()
        listeners: list[socket.socket] = []
        port, failure = self._port, ""
        for family, address in addresses:
            try:
                listener = socket.create_server(
                    (address, port), family=family, backlog=self._bounds.backlog_max
                )
            except OSError as error:
                # A host without IPv6 still resolves names to it.
                failure = f"cannot listen at {address} port {port}: {error.strerror}"
                continue
            listener.setblocking(False)  # noqa: FBT003 - the standard library's way
            listeners.append(listener)
            port = listener.getsockname()[1]
        if not listeners:
            remedy = "choose another host or port, such as --port 9443"
            raise ConfigurationError(f"{failure}; {remedy}")
        return listeners

    async def _resolve(self) -> list[tuple[socket.AddressFamily, str]]:
        """Return the addresses of the host, after a look whether plain text may go there."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(
                self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
        except OSError as error:
            raise ConfigurationError(f"host {self._host!r} has no address: {error}") from None
        addresses: list[tuple[socket.AddressFamily, str]] = list(
            dict.fromkeys((family, str(where[0])) for family, _, _, _, where in found)
        )
        if self._context is None and not self._trusted_proxies:
            for _, address in addresses:
                if not ipaddress.ip_address(address).is_loopback:
                    raise ConfigurationError(
                        f"plain text is for loopback only, and {address} is not: leave "
                        "'insecure' out, listen at 127.0.0.1, or name your trusted_proxies"
                    )
        return addresses

    def _accept(self, listener: socket.socket) -> None:
        """Admit or turn away who waits."""
        for _ in range(ACCEPT_TOGETHER_MAX):
            try:
                connection, address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                _log.warning("cannot accept connections: %s", error.strerror)
                self._rest(listener, ACCEPT_PAUSE_S)
                return
            seat = self._admission.admit(source_of(address[0]))
            if seat is None:
                self._turn_away(connection, listener)
                return
            connection.setblocking(False)  # noqa: FBT003 - the standard library's way
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
                connection.setsockopt(
                    socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREACHABLE_TIMEOUT_MS
                )
            if self._proxy_protocol:
                self._begin(self._find_client(connection, seat, listener))
            else:
                self._let_in(connection, seat)

    def _turn_away(self, connection: socket.socket, listener: socket.socket) -> None:
        """Close a connection that has no seat, and rest.

        Turning away costs something too, and who is turned away may try for ever.
        """
        self._admission.refused += 1
        connection.close()
        self._rest(listener, REFUSED_PAUSE_S)

    async def _find_client(
        self, connection: socket.socket, seat: Seat, listener: socket.socket
    ) -> None:
        """Make the seat of a trusted proxy its client's, and let the client in."""
        is_let_in = False
        try:
            header = await _read_header(connection, self._bounds.proxy_header_timeout_ms)
            # Who is read in the very turn in which listening ends comes too late.
            if listener in self._listeners:
                if seat.name_client(header.source):
                    is_let_in = True
                    self._let_in(connection, seat)
                else:
                    self._turn_away(connection, listener)
        except (OSError, ProxyHeaderError) as error:
            _log.debug("no connection through %s: %s", seat.source, error)
        finally:
            if not is_let_in:
                connection.close()
                seat.release()

    def _let_in(self, connection: socket.socket, seat: Seat) -> None:
        """Open a connection: at once where it is plain text, else when its handshake has a turn."""
        if self._context is None:
            self._begin(self._open(connection, seat))
        else:
            self._wait_for_turn(connection, seat)

    def _rest(self, listener: socket.socket, pause_s: float) -> None:
        """Accept nothing for a while; the system keeps who comes meanwhile."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener.fileno())
        loop.call_later(pause_s, self._accept_again, listener)

    def _accept_again(self, listener: socket.socket) -> None:
        if listener in self._listeners:
            loop = asyncio.get_running_loop()
            loop.add_reader(listener.fileno(), self._accept, listener)

    def _wait_for_turn(self, connection: socket.socket, seat: Seat) -> None:
        """Begin at once after a pause, or when those before had their turns."""
        self._turns.add(seat.network, (connection, seat))
        if self._turn_timer is not None:
            return
        loop = asyncio.get_running_loop()
        if loop.time() >= self._next_turn_at:
            self._take_turn()
        else:
            self._turn_timer = loop.call_at(self._next_turn_at, self._take_turn)

    def _take_turn(self) -> None:
        """Begin one handshake; the timer runs on only while somebody waits."""
        self._turn_timer = None
        if (turn := self._turns.take()) is None:
            return
        loop = asyncio.get_running_loop()
        # From now and not from when it was due: a late turn must not bring the next one nearer.
        self._next_turn_at = loop.time() + 1 / self._bounds.handshakes_per_second_max
        if self._turns:
            self._turn_timer = loop.call_at(self._next_turn_at, self._take_turn)
        self._begin(self._open(*turn))

    def _begin(self, opening: Coroutine[None, None, None]) -> None:
        """Go on with a connection in a task of its own."""
        task = asyncio.get_running_loop().create_task(opening)
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, connection: socket.socket, seat: Seat) -> None:
        """Do the handshake and hand the connection over; a failed one gives its seat back."""
        is_open = False
        loop = asyncio.get_running_loop()
        tls = self._context is not None
        try:
            await loop.connect_accepted_socket(
                lambda: self._make_protocol(seat),
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


async def _read_header(connection: socket.socket, timeout_ms: int) -> ProxyHeader:
    """Take the header of the PROXY protocol from a connection, and no byte behind it.

    Raises:
        ProxyHeaderError: What comes is none, or it did not come whole in its time.
        OSError: The connection broke.
    """
    data = b""
    try:
        async with asyncio.timeout(timeout_ms / 1_000):
            while True:
                await _until_readable(connection)
                # What cannot be told yet is all header; what stands behind a header is the
                # client's, and stays in the socket for TLS.
                seen = connection.recv(HEADER_SIZE_BYTES_MAX - len(data), socket.MSG_PEEK)
                if not seen:
                    raise ProxyHeaderError("it ended before its header was whole")
                header = find_header(data + seen)
                size_bytes = len(seen) if header is None else header.size_bytes - len(data)
                data += connection.recv(size_bytes)
                if header is not None:
                    return header
    except TimeoutError:
        raise ProxyHeaderError(f"its header was not whole within {timeout_ms} ms") from None


async def _until_readable(connection: socket.socket) -> None:
    """Wait until something has come on a socket that nothing else reads."""
    loop = asyncio.get_running_loop()
    is_readable = asyncio.Event()
    loop.add_reader(connection.fileno(), is_readable.set)
    try:
        await is_readable.wait()
    finally:
        loop.remove_reader(connection.fileno())
