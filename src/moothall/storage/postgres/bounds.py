"""Bounds of the engine. Tests lower them; a hall runs on the defaults."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PostgresBounds:
    """How much, and how long."""

    writers: int = 12
    """Connections for writes: as many run side by side, at most."""
    lane_writers: int = 3
    """How many writes of one lane run side by side: one works, one commits, one comes."""
    lane_calls_max: int = 1_000
    """Writes of one lane that run or wait, a part of all that may."""
    readers: int = 6
    """Connections for reads."""
    queue_calls_max: int = 10_000
    """Writes, and likewise reads, that run or wait for a connection."""
    wait_seconds_max: float = 5.0
    """How long a call waits for its turn in its lane, and then for a connection."""
    connect_seconds_max: float = 3.0
    """How long opening a connection may take."""
    statement_seconds_max: float = 5.0
    """How long one statement may run; the server ends it."""
    lock_seconds_max: float = 4.0
    """How long a statement may wait for another call's rows; the server ends it."""
    answer_seconds_max: float = 7.0
    """How long the server may be silent; then the connection is given up."""
    write_seconds_max: float = 20.0
    """How long a write may take with all that is run again."""
    runs_max: int = 20
    """How often a write is run because others were in its way."""
    outage_seconds: float = 0.25
    """How long calls are refused at once after the server could not be reached."""
