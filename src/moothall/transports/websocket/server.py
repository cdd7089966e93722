"""What all WebSockets of a hall share. It listens to nothing: the HTTPS door hands over."""

from collections.abc import Awaitable, Callable

from moothall.action.call import Call, Reply
from moothall.action.connections import Connections
from moothall.ports.clock import Clock
from moothall.transports.jsonrpc import Calls, Conversation
from moothall.transports.upgrade import Upgrade
from moothall.transports.websocket.bounds import WebSocketBounds
from moothall.transports.websocket.connection import WebSocketConnection
from moothall.transports.websocket.handshake import read_handshake

DOOR = "websocket"


class WebSocketDoor:
    """Opens WebSockets for the HTTPS door, and waits for their calls when the hall stops.

    Args:
        answer: The pipeline; it never raises.
        connections: The house's.
        clock: The house's.
        cursor_of: Returns the text of a hall-wide number, by which clients resume.
        make_request_id: Names what does not reach the pipeline.
        bounds: How much of anything there may be.
    """

    def __init__(
        self,
        answer: Callable[[Call], Awaitable[Reply]],
        connections: Connections,
        *,
        clock: Clock,
        cursor_of: Callable[[int], str],
        make_request_id: Callable[[], str],
        bounds: WebSocketBounds | None = None,
    ) -> None:
        self.answer = answer
        self.bounds = bounds or WebSocketBounds()
        self.calls = Calls()
        self._connections = connections
        self._clock = clock
        self._cursor_of = cursor_of
        self.make_request_id = make_request_id

    def open(self, upgrade: Upgrade) -> WebSocketConnection:
        """Return the connection that a request asks for.

        Raises:
            UpgradeNeededError: unimplemented. Another version of the protocol.
            InvalidArgumentError: The handshake has no key.
        """
        return WebSocketConnection(self, upgrade, read_handshake(upgrade.headers))

    def converse(self, wire: WebSocketConnection, source: str) -> Conversation:
        """Return a new conversation over ``wire``."""
        return Conversation(
            self.answer,
            self._connections,
            wire,
            door=DOOR,
            source=source,
            clock=self._clock,
            cursor_of=self._cursor_of,
            make_request_id=self.make_request_id,
            calls=self.calls,
            bounds=self.bounds.conversation,
        )

    async def stop(self) -> None:
        """Wait for calls whose connections the HTTPS door has ended; to be called after it."""
        await self.calls.stop(self.bounds.conversation.stop_timeout_ms / 1_000)
