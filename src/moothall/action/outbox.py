"""Outbox: events become rows of the transaction in which they happened.

Each stream numbers its events without a gap. The number is taken last, in the
order of the streams' names, so that two calls never wait for each other in a circle.
"""

from collections.abc import Sequence

import msgspec

from moothall.action.event import Event, kind_of
from moothall.ports.database import Transaction

_encode = msgspec.json.encode

_TAKE_NUMBER = """
INSERT INTO action_stream (stream, last_seq) VALUES ($1, 1)
ON CONFLICT (stream) DO UPDATE SET last_seq = action_stream.last_seq + 1
RETURNING last_seq
"""

_INSERT = """
INSERT INTO action_event (stream, seq, kind, at_ms, data) VALUES ($1, $2, $3, $4, $5)
"""


class Outbox:
    """Writes events; delivering them is the feeds' work."""

    async def write(
        self, tx: Transaction, events: Sequence[tuple[str, Event]], now_ms: int
    ) -> None:
        """Append ``events``, given as (stream, event), to their streams."""
        if len(events) > 1:
            events = sorted(events, key=lambda pair: pair[0])
        for stream, event in events:
            row = await tx.fetch_one(_TAKE_NUMBER, stream)
            assert row is not None
            data = _encode(event).decode()
            await tx.execute(_INSERT, stream, row[0], kind_of(type(event)), now_ms, data)
