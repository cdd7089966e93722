"""Facts of the leaderboards room.

``board/<id>`` is for readers, ``board/<id>/moderation`` for moderators, because an
unverified entry is seen by its submitter and by them only.
"""

from moothall.action import Event


class BoardCreated(Event):
    """A board was made."""

    board_id: str
    name: str


class ScoreSubmitted(Event):
    """An entry waits for verification."""

    entry_id: str
    member_id: str
    score: float


class EntryVerified(Event):
    """An entry counts from now on."""

    entry_id: str
    member_id: str
    score: float
    verified_by: str


class EntryUnverified(Event):
    """An entry counts no longer."""

    entry_id: str
    member_id: str


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
