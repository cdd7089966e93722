"""Outbox: events become rows of the transaction in which they happened.

Each stream numbers its events without a gap. The number is taken last, in the
order of the streams' names, so that two calls never wait for each other in a circle.
"""

from collections.abc import Callable, Sequence

import msgspec

from moothall.action.event import Event, kind_of
from moothall.action.push import Push
from moothall.ports.database import Transaction

_encode = msgspec.json.encode

_TAKE_NUMBER = """
INSERT INTO action_stream (stream, last_seq) VALUES ($1, 1)
ON CONFLICT (stream) DO UPDATE SET last_seq = action_stream.last_seq + 1
RETURNING last_seq
"""

_INSERT = """
INSERT INTO action_event (stream, seq, kind, at_ms, data) VALUES ($1, $2, $3, $4, $5)
RETURNING cursor
"""


class Outbox:
    """Writes events, and hands them on once they are durable."""

    def __init__(self, publish: Callable[[Sequence[Push]], None] = lambda _pushes: None) -> None:
        """Give what was committed to ``publish``, in the order of the commits."""
        self._publish = publish

    async def write(
        self, tx: Transaction, events: Sequence[tuple[str, Event]], now_ms: int
    ) -> None:
        """Append ``events``, given as (stream, event), to their streams."""
        if len(events) > 1:
            events = sorted(events, key=lambda pair: pair[0])
        pushes: list[Push] = []
        for stream, event in events:
            taken = await tx.fetch_one(_TAKE_NUMBER, stream)
            assert taken is not None
            seq, kind, data = taken[0], kind_of(type(event)), _encode(event).decode()
            row = await tx.fetch_one(_INSERT, stream, seq, kind, now_ms, data)
            assert row is not None
            pushes.append(Push(stream, seq, row[0], kind, now_ms, data))
        if pushes:
            tx.on_commit(lambda: self._publish(pushes))
