"""The WebSocket door: JSON-RPC 2.0 at ``/v1/socket``, on the port of the HTTPS door.

Read ``protocol`` (frames) and ``handshake``, both pure, then ``connection`` (one client);
``server`` is what all clients share, ``bounds`` how much of anything there may be. What a
message means is ``transports/jsonrpc``.
"""

from moothall.transports.websocket.bounds import WebSocketBounds
from moothall.transports.websocket.server import WebSockets

__all__ = ["WebSocketBounds", "WebSockets"]
