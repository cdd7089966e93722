"""What the notes room knows."""

from typing import Literal

from moothall.action import Result

Misdeed = Literal[
    "none",
    "refuse",
    "crash",
    "sleep",
    "unlisted",
    "unlisted_below",
    "huge",
    "unencodable",
    "forgotten",
]

DEEDS: list[str] = []
"""What hooks and steps did, for the tests to read."""


class Note(Result):
    """A note."""

    title: str
    shelf: str
    text: str = ""
