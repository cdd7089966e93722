"""Facts of the wires room."""

from moothall.action import Event


class WordSent(Event):
    """A word went along a wire."""

    word: str
