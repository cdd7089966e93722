"""The NDJSON door itself: listens, begins conversations, and stops gracefully.

The loop and the signals belong to the app, listening to ``transports/listener.py``, what is
said to ``transports/jsonrpc``.
"""

import ssl

from moothall.action.connections import CloseReason
from moothall.transports.admission import Seat
from moothall.transports.backend import Backend
from moothall.transports.jsonrpc import Calls, Conversation, ConversationBounds
from moothall.transports.listener import Listener, ListenerBounds
from moothall.transports.ndjson.bounds import NdjsonBounds
from moothall.transports.ndjson.connection import NdjsonConnection
from moothall.transports.proxies import Networks

DOOR = "ndjson"
ABORT_SECONDS = 1.0
"""What aborted connections may take to be gone."""


class NdjsonDoor:
    """Serves calls and events as newline-delimited JSON-RPC over TLS.

    Args:
        backend: What it needs of the house.
        host: Name or address to listen at; a name stands for all its addresses.
        port: 0 for a free one; see ``port`` after the start.
        context: Server side of TLS, or None with ``insecure``.
        insecure: Plain text: at loopback, or for trusted proxies and nobody else.
        trusted_proxies: Who may speak for others, from ``proxies.read_networks``.
        bounds: How much of anything the door takes.
        conversation_bounds: How much of anything one conversation holds.

    Raises:
        ConfigurationError: Neither or both of ``context`` and ``insecure`` are given.
    """

    def __init__(  # noqa: PLR0913 - all of them by name, and none has a natural group
        self,
        backend: Backend,
        *,
        host: str,
        port: int,
        context: ssl.SSLContext | None,
        insecure: bool = False,
        trusted_proxies: Networks = (),
        bounds: NdjsonBounds | None = None,
        conversation_bounds: ConversationBounds | None = None,
    ) -> None:
        self._backend = backend
        self._bounds = bounds or NdjsonBounds()
        self._conversation_bounds = conversation_bounds or ConversationBounds()
        self._calls = Calls()
        self._open: set[NdjsonConnection] = set()
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

    async def stop(self) -> None:
        """Accept nothing more, tell everybody, let calls in flight end in their time, close."""
        await self._listener.close_listeners()
        for connection in list(self._open):
            connection.conversation.connection.end(CloseReason.SHUTDOWN)
        await self._calls.stop(self._conversation_bounds.stop_timeout_ms / 1_000)
        left_ms = self._bounds.linger_timeout_ms + self._bounds.write_timeout_ms
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
            bounds=self._conversation_bounds,
        )
