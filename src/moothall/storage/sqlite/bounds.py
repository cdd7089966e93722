"""Bounds of the engine. Tests lower them; a hall runs on the defaults."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SqliteBounds:
    """How much, and how long."""

    batch_calls_max: int = 256
    """Calls that share a commit."""
    batch_seconds_max: float = 0.005
    """After this long a batch takes no further call: the loop has others to serve."""
    queue_calls_max: int = 20_000
    """Writes that wait; about a second of work."""
    commit_seconds_inline_max: float = 0.002
    """A COMMIT that takes longer than this, on average, is given to another thread."""
    lock_seconds_max: float = 5.0
    """How long writes wait while another program holds the file's lock."""
    read_seconds_inline_max: float = 0.001
    """How long a read may hold the loop's thread before it is run again elsewhere."""
    read_seconds_max: float = 5.0
    """How long such a read may take then, waiting included."""
    reads_waiting_max: int = 256
    """Long reads that run or wait."""
    log_pages_wish: int = 2_000
    """Pages of 4 KiB that the log grows by before a checkpoint begins (8 MiB)."""
    log_pages_max: int = 16_000
    """Pages at which the writer pauses for a checkpoint that starts the log anew (64 MiB)."""
