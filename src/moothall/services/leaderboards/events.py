"""Facts of the leaderboards room, and the streams that they belong to.

One stream has one audience (decision 0011). ``board/<id>`` is for readers, who see what is
verified; ``board/<id>/moderation`` for moderators, who see everything; ``member/<id>/entries``
for one submitter, who learns what others did to their entries. :func:`tell` chooses among
them, so that no action can tell readers of an entry that they may not see.

Whoever adds an event: it carries ids, not texts, because events stay when texts are removed.
"""

from moothall.action import Context, Event
from moothall.services.leaderboards.model import Counting, Direction, Entry, Level


class BoardCreated(Event):
    """A board was made."""

    board_id: str
    name: str


class BoardUpdated(Event):
    """Something of a board is different from now on; ask for it."""

    board_id: str


class BoardRemoved(Event):
    """A board is no more: this is the last event of its streams."""

    board_id: str


class SeasonStarted(Event):
    """A season has ended and the next one has begun, with an empty ranking."""

    board_id: str
    season: int
    """Its number; the first is 1."""
    began_at_ms: int


class RankingRebuilt(Event):
    """The current season counts otherwise from now on: all places are new."""

    board_id: str
    season: int
    direction: Direction
    counting: Counting


class ScoreSubmitted(Event):
    """An entry waits for verification."""

    board_id: str
    entry_id: str
    member_id: str
    score: float


class EntryVerified(Event):
    """An entry counts from now on."""

    board_id: str
    entry_id: str
    member_id: str
    score: float
    verified_by: str


class EntryUnverified(Event):
    """An entry counts no longer."""

    board_id: str
    entry_id: str
    member_id: str
    unverified_by: str


class EntryRemoved(Event):
    """An entry is gone, with its comments and proofs."""

    board_id: str
    entry_id: str
    member_id: str
    removed_by: str


class CommentAdded(Event):
    """Somebody said something about an entry."""

    board_id: str
    entry_id: str
    comment_id: str
    member_id: str
    """Who said it."""


class CommentRemoved(Event):
    """A comment is gone."""

    board_id: str
    entry_id: str
    comment_id: str
    removed_by: str


class ProofAdded(Event):
    """An entry has one more file that shows what it says."""

    board_id: str
    entry_id: str
    proof_id: str
    member_id: str


class ProofRemoved(Event):
    """A proof is gone."""

    board_id: str
    entry_id: str
    proof_id: str
    removed_by: str


class LevelChanged(Event):
    """A member has another level of their own on a board; the default may be higher."""

    board_id: str
    member_id: str
    level: Level
    changed_by: str


class EntriesRemoved(Event):
    """Entries of a member who was removed are gone, and with them their places."""

    member_id: str
    count: int


class EntriesImported(Event):
    """History was brought in."""

    count: int


def board_stream(board_id: str) -> str:
    """Return the stream that a board's readers see."""
    return f"board/{board_id}"


def moderation_stream(board_id: str) -> str:
    """Return the stream that a board's moderators see."""
    return f"board/{board_id}/moderation"


def entries_stream(member_id: str) -> str:
    """Return the stream that one submitter sees."""
    return f"member/{member_id}/entries"


def tell(ctx: Context, entry: Entry, event: Event) -> None:
    """Write an event about one entry to the streams of those who may see it.

    Args:
        ctx: The call; whoever makes it is not told what they did themselves.
        entry: As it is while readers see it: after it was verified, before it is unverified
            or removed.
        event: What happened.
    """
    ctx.emit(moderation_stream(entry.board_id), event)
    if entry.verified_at_ms is not None:
        ctx.emit(board_stream(entry.board_id), event)
    if entry.member_id != ctx.actor:
        ctx.emit(entries_stream(entry.member_id), event)
