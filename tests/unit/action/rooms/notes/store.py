"""Rows of the notes room."""

from typing import Protocol

from moothall.action import Context
from moothall.ports.database import Transaction

from .errors import NoteLostError


class OfNote(Protocol):
    """A request about one note."""

    title: str


async def insert_note(tx: Transaction, title: str, shelf: str, text: str) -> None:
    """Add a note."""
    await tx.execute("INSERT INTO notes_note VALUES ($1, $2, $3)", title, shelf, text)


async def find_note_path(ctx: Context, request: OfNote) -> str | None:
    """Return the shelf on which the note stands."""
    row = await ctx.tx.fetch_one("SELECT shelf FROM notes_note WHERE title = $1", request.title)
    return None if row is None else f"shelf/{row[0]}"


def lose() -> None:
    """Raise, out of sight of the declaration, what no action lists."""
    raise NoteLostError
