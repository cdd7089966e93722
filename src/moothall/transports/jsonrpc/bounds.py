"""How much one conversation may hold, and how long its end may take: one place, with units."""

from dataclasses import dataclass

from moothall.core.units import MEBIBYTE, SECOND_MS
from moothall.transports.bounds import check_bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationBounds:
    """Every bound of a conversation; each must be at least 1.

    Attributes:
        calls_max: Calls in flight on one connection; a call is in flight until its reply has
            left for the client.
        calls_size_bytes_max: Params of the calls in flight together; one call is always taken.
        waiting_size_bytes_max: Frames that were read before reading paused.
        bad_frames_max: Refused frames after which the connection ends.
        grace_ms: How long calls in flight may take once the end was told.
        stop_timeout_ms: The same when the hall stops.
    """

    calls_max: int = 64
    calls_size_bytes_max: int = 4 * MEBIBYTE
    waiting_size_bytes_max: int = 4 * MEBIBYTE
    bad_frames_max: int = 16
    grace_ms: int = SECOND_MS
    stop_timeout_ms: int = 10 * SECOND_MS

    def __post_init__(self) -> None:
        """Refuse a bound of nothing."""
        check_bounds(self)
