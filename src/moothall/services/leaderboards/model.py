"""Boards, entries and places."""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from moothall.action import Result, RoomSettings


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
        ("scores:read", "scores:write", "scores:moderate", "levels:set", "levels:list"),
        "Reads, submits, verifies, and sets the levels of members below moderator.",
    ),
}
"""Name, permissions and summary of the role that stands for each level above none."""

LEVEL_PERMISSIONS = {
    Level.READ: ("scores:read",),
    Level.WRITE: ("scores:read", "scores:write"),
    Level.MODERATE: ("scores:read", "scores:write", "scores:moderate"),
}
"""What makes each level, by whatever role it is held; a role may bring more along."""


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
    season: int = 1
    """The current one; the first is 1."""
    season_began_at_ms: int = 0
    schedule: str | None = None
    """When a new season begins by itself, as cron writes it."""
    time_zone: str | None = None
    """The zone of the schedule."""
    next_reset_at_ms: int | None = None
    """When the next season begins by the schedule."""
    is_rebuilding: bool = False
    """Whether the ranking is being built anew: it can be read, but nothing can be verified."""


class BoardDetails(Board):
    """A board, and how much there is on it."""

    ranked: int = 0
    """Ranked rows of the current season: members, or entries where every entry counts."""
    waiting: int = 0
    """Entries that wait for a moderator, as far as the caller may see them; counted up to 1,000."""


class Season(Result):
    """A period of a board with a ranking of its own, and how it counts."""

    board_id: str
    season: int
    """Its number; the first is 1."""
    began_at_ms: int
    ended_at_ms: int | None
    """None for the current one."""
    direction: Direction
    counting: Counting


class SeasonRanking(msgspec.Struct, frozen=True):
    """Where a season's ranking stands, and how it counts."""

    board_id: str
    season: int
    ranking_id: str
    direction: Direction
    counting: Counting


class Entry(Result):
    """A score that somebody submitted."""

    entry_id: str
    board_id: str
    member_id: str
    score: float
    submitted_at_ms: int
    verified_at_ms: int | None = None
    verified_by: str | None = None
    season: int = 1
    """The one it was submitted in, in which it counts whenever it is verified."""


class EntryView(Entry):
    """An entry as people read it, with names beside the ids."""

    name: str = ""
    """The submitter's; empty if the member was removed."""
    is_removed: bool = False
    """Whether the submitter was removed and the board keeps the entries."""
    verified_by_name: str = ""
    """Empty where nobody verified it, or a member who was removed."""


class EntryDetails(EntryView):
    """One entry, and how much there is to read about it."""

    comments: int = 0
    """How many; see ``list_comments``."""
    proofs: int = 0
    """How many; see ``list_proofs``."""


class Comment(Result):
    """What somebody said about an entry."""

    comment_id: str
    entry_id: str
    member_id: str
    text: str
    created_at_ms: int


class CommentView(Comment):
    """A comment as people read it, with a name beside the id."""

    name: str
    """Empty if the member was removed."""


class Proof(Result):
    """A file that shows what an entry says; whoever sees it reads the file by its hash."""

    proof_id: str
    entry_id: str
    member_id: str
    """The submitter, who uploaded it."""
    sha256: str
    size_bytes: int
    name: str
    """For people to read; no path, and no word about what the file holds."""
    media_type: str
    """As the submitter says it."""
    added_at_ms: int


class MemberLevel(Result):
    """What somebody may do on a board."""

    member_id: str
    """A member's id, or ``team:<slug>``: what a team has, all its members have."""
    name: str
    level: Level
    """Their own; the effective one is higher where the default, a team or a role is."""
    effective_level: Level
    """``none`` while they are banned there."""
    is_banned: bool = False


class LevelTarget(msgspec.Struct, frozen=True):
    """Whose level is to be changed, as a decision needs it."""

    board_id: str
    member_id: str
    level: Level
    """Their own."""
    is_moderator: bool
    """Whether they moderate the board or grant roles there, from wherever they have it."""
    is_banned: bool


class BoardsSettings(RoomSettings):
    """Table ``[boards]``: what belongs to an entry."""

    comments_per_entry_max: Annotated[int, Meta(ge=1, le=10_000)] = 200
    """Comments of one entry, its description included."""
    proofs_per_entry_max: Annotated[int, Meta(ge=1, le=100)] = 8
    """Proof files of one entry."""


class Rebuild(msgspec.Struct, frozen=True):
    """A ranking that is being built anew, and the last row that stands in it already.

    ``position`` is None at first; then member, score, time and id of an entry.
    """

    ranking: SeasonRanking
    position: tuple[str, float, int, str] | None = None


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
    verified_at_ms: int | None = None
    verified_by: str | None = None
    """Who verified the entry, by id."""
    verified_by_name: str = ""
    """Empty if that member was removed."""
