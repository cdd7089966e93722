"""Push: one event that is durable, on its way to its readers."""

import msgspec

from moothall.action.cursor import Place


class Push(msgspec.Struct, frozen=True, gc=False):
    """An event as its row holds it.

    ``cursor`` is its hall-wide number, ``seq`` its number in the stream; ``data`` is JSON text.
    ``place`` is where a reader stands who has got it, if that is not just its number.
    """

    stream: str
    seq: int
    cursor: int
    kind: str
    at_ms: int
    data: str
    place: Place | None = None

    @property
    def reached(self) -> Place:
        """Where a reader stands who has got it."""
        return Place(self.cursor) if self.place is None else self.place
