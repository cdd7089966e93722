"""How much of anything the HTTPS door takes, and for how long: one place, with units."""

from dataclasses import dataclass, field

from moothall.core.units import KIBIBYTE, MEBIBYTE, SECOND_MS
from moothall.transports.bounds import check_bounds
from moothall.transports.listener import ListenerBounds


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpBounds:
    """Every bound of the door; each must be at least 1.

    Attributes:
        head_size_bytes_max: Request line and headers together; trailers and the framing of a
            chunked body have as much again, plus eight bytes for each byte of content.
        body_size_bytes_max: Body of one request.
        head_timeout_ms: From the connection, or the first byte of a later request, to the
            empty line after its headers.
        body_timeout_ms: From there to the last byte of the body; of a file, to the next
            ``file_pace_bytes_min`` of them.
        file_pace_bytes_min: What must come of a file in that time.
        idle_timeout_ms: Between two requests on one connection.
        linger_timeout_ms: How long what a refused client still sends is thrown away, so that
            it can read the refusal before the connection closes.
        stop_timeout_ms: How long running requests may take when the door stops.
        pipelined_requests_max: Requests of one connection that wait for the one before.
        listener: Bounds of listening. Its ``write_timeout_ms`` counts from an answer that found
            the client's window full to its end.
    """

    head_size_bytes_max: int = 16 * KIBIBYTE
    body_size_bytes_max: int = MEBIBYTE
    head_timeout_ms: int = 10 * SECOND_MS
    body_timeout_ms: int = 30 * SECOND_MS
    file_pace_bytes_min: int = 64 * KIBIBYTE
    idle_timeout_ms: int = 75 * SECOND_MS
    linger_timeout_ms: int = SECOND_MS
    stop_timeout_ms: int = 10 * SECOND_MS
    pipelined_requests_max: int = 16
    listener: ListenerBounds = field(default_factory=ListenerBounds)

    def __post_init__(self) -> None:
        """Refuse a bound of nothing."""
        check_bounds(self)
