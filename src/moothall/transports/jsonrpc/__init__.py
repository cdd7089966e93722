"""JSON-RPC 2.0 for every door whose connections stay: one conversation, whatever moves its frames.

Read ``protocol`` (what a frame means), then ``conversation`` (calls in flight, events, the
end); ``bounds`` says how much of anything there may be, ``calls`` keeps what runs. A door cuts
bytes into frames and gives a ``Wire``.
"""

from moothall.transports.jsonrpc.bounds import ConversationBounds
from moothall.transports.jsonrpc.calls import Calls
from moothall.transports.jsonrpc.conversation import Conversation, Wire
from moothall.transports.jsonrpc.protocol import HEARTBEAT, FrameError, frame_too_large

__all__ = [
    "HEARTBEAT",
    "Calls",
    "Conversation",
    "ConversationBounds",
    "FrameError",
    "Wire",
    "frame_too_large",
]
