"""Push: one event that is durable, on its way to its readers."""

import msgspec


class Push(msgspec.Struct, frozen=True, gc=False):
    """An event as its row holds it.

    ``cursor`` is its hall-wide number, ``seq`` its number in the stream; ``data`` is JSON text.
    """

    stream: str
    seq: int
    cursor: int
    kind: str
    at_ms: int
    data: str
