"""Facts of the desk."""

from moothall.action import Event


class NoteRelayed(Event):
    """The desk was asked."""

    title: str
