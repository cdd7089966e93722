"""How much of anything the HTTPS door takes, and for how long: one place, with units."""

from dataclasses import dataclass, fields

from moothall.core.errors import ConfigurationError
from moothall.core.units import KIBIBYTE, MEBIBYTE, SECOND_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpBounds:
    """Every bound of the door; each must be at least 1.

    Attributes:
        head_size_bytes_max: Request line and headers together; trailers and the framing of a
            chunked body have as much again, plus eight bytes for each byte of content.
        body_size_bytes_max: Body of one request.
        handshake_timeout_ms: TLS handshake, from the accepted connection to its end.
        head_timeout_ms: From the connection, or the first byte of a later request, to the
            empty line after its headers.
        body_timeout_ms: From there to the last byte of the body; of a file, to the next
            ``file_pace_bytes_min`` of them.
        file_pace_bytes_min: What must come of a file in that time.
        write_timeout_ms: From an answer that found the client's window full to its end.
        idle_timeout_ms: Between two requests on one connection.
        linger_timeout_ms: How long what a refused client still sends is thrown away, so that
            it can read the refusal before the connection closes.
        stop_timeout_ms: How long running requests may take when the door stops.
        connections_max: Open connections, counted before the TLS handshake.
        connections_per_source_max: The same for one source: an IPv4 address, or a /64 network
            of IPv6, because one client has a whole one. Trusted proxies are not held to it.
        pipelined_requests_max: Requests of one connection that wait for the one before.
        backlog_max: Connections that the system holds until they are accepted.
    """

    head_size_bytes_max: int = 16 * KIBIBYTE
    body_size_bytes_max: int = MEBIBYTE
    handshake_timeout_ms: int = 10 * SECOND_MS
    head_timeout_ms: int = 10 * SECOND_MS
    body_timeout_ms: int = 30 * SECOND_MS
    file_pace_bytes_min: int = 64 * KIBIBYTE
    write_timeout_ms: int = 30 * SECOND_MS
    idle_timeout_ms: int = 75 * SECOND_MS
    linger_timeout_ms: int = SECOND_MS
    stop_timeout_ms: int = 10 * SECOND_MS
    connections_max: int = 10_000
    connections_per_source_max: int = 256
    pipelined_requests_max: int = 16
    backlog_max: int = 2_048

    def __post_init__(self) -> None:
        """Refuse a bound of nothing: none of them can be switched off."""
        for bound in fields(self):
            if getattr(self, bound.name) < 1:
                raise ConfigurationError(f"{bound.name} must be at least 1")
