"""What all WebSockets of a hall share. It listens to nothing: the HTTPS door hands over."""

from moothall.transports.backend import Backend
from moothall.transports.jsonrpc import Calls, Conversation
from moothall.transports.upgrade import Upgrade
from moothall.transports.websocket.bounds import WebSocketBounds
from moothall.transports.websocket.connection import WebSocketConnection
from moothall.transports.websocket.handshake import read_handshake

DOOR = "websocket"


class WebSockets:
    """Opens WebSockets for the HTTPS door, and waits for their calls when the hall stops.

    Args:
        backend: What it needs of the house.
        bounds: How much of anything there may be.
    """

    def __init__(self, backend: Backend, *, bounds: WebSocketBounds | None = None) -> None:
        self.backend = backend
        self.bounds = bounds or WebSocketBounds()
        self.calls = Calls()

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
            self.backend,
            wire,
            door=DOOR,
            source=source,
            calls=self.calls,
            bounds=self.bounds.conversation,
        )

    async def stop(self) -> None:
        """Wait for calls whose connections the HTTPS door has ended; to be called after it."""
        await self.calls.stop(self.bounds.conversation.stop_timeout_ms / 1_000)
