"""How much of anything the NDJSON door takes, and for how long: one place, with units."""

from dataclasses import dataclass, fields

from moothall.core.errors import ConfigurationError
from moothall.core.units import MEBIBYTE, SECOND_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class NdjsonBounds:
    """Every bound of the door; each must be at least 1.

    What one conversation may hold stands in ``ConversationBounds``, what may wait for a
    client, and how long it may be silent, in ``ConnectionBounds``.

    Attributes:
        line_size_bytes_max: One line, without its end.
        line_timeout_ms: From the first byte of a line to its end.
        empty_lines_max: Empty lines in a row within ``line_timeout_ms``.
        handshake_timeout_ms: TLS handshake, from the accepted connection to its end.
        linger_timeout_ms: How long what a client still sends is thrown away after the last
            word, so that it can read it before the connection closes.
        write_timeout_ms: How long what was written may take to leave after that.
        connections_max: Open connections, counted before the TLS handshake.
        connections_per_source_max: The same for one source: an IPv4 address, or a /64 network
            of IPv6, because one client has a whole one.
        backlog_max: Connections that the system holds until they are accepted.
    """

    line_size_bytes_max: int = MEBIBYTE
    line_timeout_ms: int = 30 * SECOND_MS
    empty_lines_max: int = 1_000
    handshake_timeout_ms: int = 10 * SECOND_MS
    linger_timeout_ms: int = SECOND_MS // 2
    write_timeout_ms: int = 10 * SECOND_MS
    connections_max: int = 10_000
    connections_per_source_max: int = 256
    backlog_max: int = 2_048

    def __post_init__(self) -> None:
        """Refuse a bound of nothing: none of them can be switched off."""
        for bound in fields(self):
            if getattr(self, bound.name) < 1:
                raise ConfigurationError(f"{bound.name} must be at least 1")
