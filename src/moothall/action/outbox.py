"""Outbox: events become rows of the transaction in which they happened.

Each stream numbers its events without a gap. The number is taken when everything else is done,
in the order of the streams' names, so that two calls never wait for each other in a circle.
What was appended goes with the first event, and PostgreSQL may insert it after the stream's row was
locked. An insertion waits for others only where it breaks their key, or where they change the key
of a row that it refers to; so whoever changes such a key emits nothing.
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
# SQLite knows no insertion inside a WITH, and asks nothing for a statement more.
_APPEND_ONE = """
WITH taken AS (
  INSERT INTO action_stream (stream, last_seq) VALUES ($1, 1)
  ON CONFLICT (stream) DO UPDATE SET last_seq = action_stream.last_seq + 1
  RETURNING last_seq)
INSERT INTO action_event (stream, seq, kind, at_ms, data)
SELECT $1, last_seq, $2, $3, $4 FROM taken RETURNING seq, cursor
"""

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
            if len(told) == 1:  # nearly always, and every write pays for it
                pushes.append(await _insert_one(tx, stream, told[0], now_ms))
            else:
                pushes += await _insert(tx, stream, told, now_ms)
        if pushes:
            tx.on_commit(lambda: self._publish(pushes))


async def _insert_one(tx: Transaction, stream: str, event: Event, now_ms: int) -> Push:
    """Append one event, without the detour by blocks."""
    kind, data = kind_of(type(event)), _encode(event).decode()
    if tx.engine == "postgres":
        row = await tx.append_returning(_APPEND_ONE, stream, kind, now_ms, data)
        assert row is not None
        seq, cursor = row
    else:
        seq = await _take_numbers(tx, stream, 1)
        row = await tx.fetch_one(_INSERT_ONE, stream, seq, kind, now_ms, data)
        assert row is not None
        (cursor,) = row
    return Push(stream, seq, cursor, kind, now_ms, data)


async def _insert(tx: Transaction, stream: str, events: Sequence[Event], now_ms: int) -> list[Push]:
    """Append the events of one stream."""
    first_seq = await _take_numbers(tx, stream, len(events)) - len(events) + 1
    rows = [
        (stream, seq, kind_of(type(event)), now_ms, _encode(event).decode())
        for seq, event in enumerate(events, start=first_seq)
    ]
    cursors: dict[int, int] = dict(await insert_returning(tx, _INSERT, rows, _INSERT_TAIL))
    return [Push(stream, seq, cursors[seq], kind, now_ms, data) for _, seq, kind, _, data in rows]


async def _take_numbers(tx: Transaction, stream: str, count: int) -> int:
    """Return the last of the next ``count`` numbers of a stream, which are taken now."""
    row = await tx.fetch_one(_TAKE_NUMBERS, stream, count)
    assert row is not None
    number: int = row[0]
    return number
