"""How much of anything the NDJSON door takes, and for how long: one place, with units."""

from dataclasses import dataclass, field

from moothall.core.units import MEBIBYTE, SECOND_MS
from moothall.transports.bounds import check_bounds
from moothall.transports.jsonrpc import ConversationBounds
from moothall.transports.listener import ListenerBounds


@dataclass(frozen=True, slots=True, kw_only=True)
class NdjsonBounds:
    """Every bound of the door; each must be at least 1.

    What may wait for a client, and how long it may be silent, stands in ``ConnectionBounds``.

    Attributes:
        line_size_bytes_max: One line, without its end.
        line_timeout_ms: From the first byte of a line to its end.
        empty_lines_max: Empty lines in a row within ``line_timeout_ms``.
        linger_timeout_ms: How long what a client still sends is thrown away after the last
            word, so that it can read it before the connection closes.
        listener: Bounds of listening. Its ``write_timeout_ms`` is how long what was written may
            take to leave after that.
        conversation: Bounds of the calls.
    """

    line_size_bytes_max: int = MEBIBYTE
    line_timeout_ms: int = 30 * SECOND_MS
    empty_lines_max: int = 1_000
    linger_timeout_ms: int = SECOND_MS // 2
    listener: ListenerBounds = field(
        default_factory=lambda: ListenerBounds(write_timeout_ms=10 * SECOND_MS)
    )
    conversation: ConversationBounds = field(default_factory=ConversationBounds)

    def __post_init__(self) -> None:
        """Refuse a bound of nothing."""
        check_bounds(self)
