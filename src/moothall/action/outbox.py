"""Outbox: events become rows of the transaction in which they happened.

Each stream numbers its events without a gap. The number is taken last, in the
order of the streams' names, so that two calls never wait for each other in a circle.
"""

from collections.abc import Callable, Sequence

import msgspec

from moothall.action.blocks import insert_returning
from moothall.action.event import Event, kind_of
from moothall.action.push import Push
from moothall.ports.database import Transaction

_encode = msgspec.json.encode

_TAKE_NUMBERS = """
INSERT INTO action_stream (stream, last_seq) VALUES ($1, $2)
ON CONFLICT (stream) DO UPDATE SET last_seq = action_stream.last_seq + $2
RETURNING last_seq
"""

_INSERT = "INSERT INTO action_event (stream, seq, kind, at_ms, data) VALUES"
_INSERT_TAIL = "RETURNING seq, cursor"
_INSERT_ONE = f"{_INSERT} ($1, $2, $3, $4, $5) RETURNING cursor"

ERASED_KIND = "action.event_erased"
"""Of an event that was erased: its number stays, so that no reader sees a gap."""

_ERASE = """
UPDATE action_event SET kind = $1, data = '{}' WHERE stream = $2 AND seq > $3 AND seq <= $4
"""


async def erase_events(tx: Transaction, stream: str, after_seq: int, limit: int) -> int:
    """Erase what ``limit`` events after number ``after_seq`` tell; 0 when there are no more."""
    return await tx.execute(_ERASE, ERASED_KIND, stream, after_seq, after_seq + limit)


class Outbox:
    """Writes events, and hands them on once they are durable."""

    def __init__(self, publish: Callable[[Sequence[Push]], None] = lambda _pushes: None) -> None:
        """Give what was committed to ``publish``, in the order of the commits."""
        self._publish = publish

    async def write(
        self, tx: Transaction, events: Sequence[tuple[str, Event]], now_ms: int
    ) -> None:
        """Append ``events``, given as (stream, event), to their streams."""
        of_stream: dict[str, list[Event]] = {}
        for stream, event in events:
            of_stream.setdefault(stream, []).append(event)
        pushes: list[Push] = []
        for stream in sorted(of_stream):
            told = of_stream[stream]
            taken = await tx.fetch_one(_TAKE_NUMBERS, stream, len(told))
            assert taken is not None
            rows = [
                (stream, seq, kind_of(type(event)), now_ms, _encode(event).decode())
                for seq, event in enumerate(told, start=taken[0] - len(told) + 1)
            ]
            cursors = await _insert(tx, rows)
            pushes += [
                Push(stream, seq, cursors[seq], kind, now_ms, data)
                for _, seq, kind, _, data in rows
            ]
        if pushes:
            tx.on_commit(lambda: self._publish(pushes))


async def _insert(
    tx: Transaction, rows: Sequence[tuple[str, int, str, int, str]]
) -> dict[int, int]:
    """Append the events of one stream, and return their cursors by their numbers."""
    if len(rows) == 1:  # nearly always, and every write pays for it: blocks took 8 µs more
        returned = await tx.fetch_one(_INSERT_ONE, *rows[0])
        assert returned is not None
        return {rows[0][1]: returned[0]}
    return dict(await insert_returning(tx, _INSERT, rows, _INSERT_TAIL))
