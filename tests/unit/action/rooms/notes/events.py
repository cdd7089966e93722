"""Facts of the notes room."""

from moothall.action import Event


class NotePut(Event):
    """A note was put on a shelf."""

    title: str
