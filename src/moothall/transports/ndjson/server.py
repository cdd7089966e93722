"""The NDJSON door itself: listens, begins conversations, and stops gracefully.

The loop and the signals belong to the app, listening to ``transports/listener.py``, what is
said to ``transports/jsonrpc``.
"""

from moothall.action.connections import CloseReason
from moothall.transports.admission import Seat
from moothall.transports.backend import Backend
from moothall.transports.jsonrpc import Calls, Conversation
from moothall.transports.listener import Endpoint, Listener
from moothall.transports.ndjson.bounds import NdjsonBounds
from moothall.transports.ndjson.connection import NdjsonConnection

DOOR = "ndjson"
ABORT_SECONDS = 1.0
"""What aborted connections may take to be gone."""


class NdjsonServer:
    """Serves calls and events as newline-delimited JSON-RPC over TLS.

    Args:
        backend: What it needs of the house.
        endpoint: Where it listens.
        bounds: How much of anything there may be.
    """

    def __init__(
        self, backend: Backend, endpoint: Endpoint, *, bounds: NdjsonBounds | None = None
    ) -> None:
        self._backend = backend
        self._bounds = bounds or NdjsonBounds()
        self._calls = Calls()
        self._open: set[NdjsonConnection] = set()
        self._listener = Listener(self._make_connection, endpoint, bounds=self._bounds.listener)

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

    async def stop(self) -> None:
        """Accept nothing more, tell everybody, let calls in flight end in their time, close."""
        await self._listener.close_listeners()
        for connection in list(self._open):
            connection.conversation.connection.end(CloseReason.SHUTDOWN)
        await self._calls.stop(self._bounds.conversation.stop_timeout_ms / 1_000)
        left_ms = self._bounds.linger_timeout_ms + self._bounds.listener.write_timeout_ms
        if not await self._listener.wait_until_empty(left_ms / 1_000):
            for connection in list(self._open):
                connection.abort()
            await self._listener.wait_until_empty(ABORT_SECONDS)

    def _make_connection(self, seat: Seat) -> NdjsonConnection:
        return NdjsonConnection(
            seat,
            self._bounds,
            self._backend.connections.bounds.queued_bytes_max,
            self._converse,
            self._open.discard,
        )

    def _converse(self, connection: NdjsonConnection) -> Conversation:
        """Begin the conversation of a connection that is open now."""
        self._open.add(connection)
        return Conversation(
            self._backend,
            connection,
            door=DOOR,
            source=connection.seat.source,
            calls=self._calls,
            bounds=self._bounds.conversation,
        )
