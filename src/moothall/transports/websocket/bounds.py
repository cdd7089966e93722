"""How much of anything a WebSocket takes, and for how long: one place, with units."""

from dataclasses import dataclass, field

from moothall.core.units import KIBIBYTE, MEBIBYTE, SECOND_MS
from moothall.transports.bounds import check_bounds
from moothall.transports.jsonrpc import ConversationBounds


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketBounds:
    """Every bound of the door; each must be at least 1.

    Attributes:
        message_size_bytes_max: Payload of one message, over all its fragments.
        fragments_max: Frames of one message.
        message_timeout_ms: From the first byte of a message or frame to its last.
        close_timeout_ms: From our close frame to the end of the connection; what was queued
            before is still sent, if the client reads.
        linger_timeout_ms: How long what still comes is thrown away after a fault, so that the
            client can read why.
        write_high_bytes: What may wait for the client before replies wait for it to read.
        conversation: Bounds of the calls.
    """

    message_size_bytes_max: int = MEBIBYTE
    fragments_max: int = 4_096
    message_timeout_ms: int = 30 * SECOND_MS
    close_timeout_ms: int = 10 * SECOND_MS
    linger_timeout_ms: int = SECOND_MS
    write_high_bytes: int = 64 * KIBIBYTE
    conversation: ConversationBounds = field(default_factory=ConversationBounds)

    def __post_init__(self) -> None:
        """Refuse a bound of nothing."""
        check_bounds(self)
