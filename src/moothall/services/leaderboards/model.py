"""Boards, entries and places."""

from enum import StrEnum

import msgspec

from moothall.action import Result


class Direction(StrEnum):
    """Which score is better."""

    ASCENDING = "ascending"
    """The lower one: times."""
    DESCENDING = "descending"
    """The higher one: points."""


class Counting(StrEnum):
    """Which of a member's verified entries count."""

    BEST = "best"
    LAST = "last"
    SUM = "sum"
    EVERY = "every"
    """Each entry is ranked by itself."""


class RemovedMembers(StrEnum):
    """What becomes of the entries of a member who is removed."""

    KEEP = "keep"
    """They stay, with their places and comments, without a name."""
    REMOVE = "remove"
    """They go, and so do the member's comments; others move up."""


class Level(StrEnum):
    """What a member may do on a board; each level includes those before it."""

    NONE = "none"
    READ = "read"
    WRITE = "write"
    MODERATE = "moderate"


LEVEL_ROLES = {
    Level.READ: ("board_reader", ("scores:read",), "Reads boards."),
    Level.WRITE: (
        "board_writer",
        ("scores:read", "scores:write"),
        "Reads boards and submits scores.",
    ),
    Level.MODERATE: (
        "board_moderator",
        ("scores:read", "scores:write", "scores:moderate"),
        "Reads, submits and verifies.",
    ),
}
"""Name, permissions and summary of the role that stands for each level above none."""


class Board(Result):
    """A board; ``level`` is the caller's."""

    board_id: str
    name: str
    direction: Direction
    counting: Counting
    default_level: Level
    created_at_ms: int
    removed_members: RemovedMembers = RemovedMembers.KEEP
    level: Level = Level.NONE


class Entry(Result):
    """A score that somebody submitted."""

    entry_id: str
    board_id: str
    member_id: str
    score: float
    submitted_at_ms: int
    verified_at_ms: int | None = None
    verified_by: str | None = None


class Standing(Result):
    """A ranked row: 1, 1, 3 where the first two tie.

    ``score`` is the total where the board counts the sum; ``entry_id`` is the entry that
    counts, the latest one of a sum.
    """

    place: int
    member_id: str
    name: str
    """Empty if the member was removed."""
    score: float
    submitted_at_ms: int
    entry_id: str
    is_removed: bool = False
    """Whether the member was removed and the board keeps the entries."""


class Ranked(msgspec.Struct, frozen=True):
    """What stands in the ranking for a member; ``key`` is smaller for a better score."""

    key: float
    submitted_at_ms: int
    entry_id: str
