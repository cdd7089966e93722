"""Cursors: where a reader stands in the hall's events, as clients see it: ``<epoch>.<number>``.

The number is the order of the commits, for the whole hall. The epoch is a random word that a
restore renews: numbers are given out anew from there, and a cursor from before must not
silently mean other events.
"""

import msgspec

from moothall.ports.database import Horizon, Transaction

CURSOR_LENGTH_MAX = 64

_STATE = """
SELECT epoch, swept_cursor, COALESCE((SELECT MAX(cursor) FROM action_event), 0)
FROM action_epoch WHERE id = 1
"""


class Extent(msgspec.Struct, frozen=True):
    """How far the hall's events go, and from where on they are kept."""

    epoch: str
    swept: int
    """All events up to this number are gone."""
    settled: int
    """No event up to this number can appear any more: a reader may begin after it."""
    last: int
    """No cursor has a higher number."""


async def find_extent(tx: Transaction) -> Extent:
    """Return the present extent."""
    row = await tx.fetch_one(_STATE)
    assert row is not None
    epoch, swept, newest = row
    horizon = await tx.find_horizon() or Horizon(newest, newest)
    # Numbers above the newest may be given out once more after a crash of the server.
    settled = min(horizon.settled, newest)
    return Extent(epoch, swept, max(swept, settled), max(swept, horizon.last))


def read_cursor(text: str, extent: Extent) -> int | None:
    """Return the number of a cursor, or None if the events after it cannot be told any more.

    That is a cursor of another epoch, from the future, before what was swept, or none at all.
    """
    epoch, _, number = text.partition(".")
    if epoch != extent.epoch or not (number.isascii() and number.isdigit() and len(number) <= 16):  # noqa: PLR2004 - 2**53 has 16 digits
        return None
    return int(number) if extent.swept <= int(number) <= extent.last else None


async def delete_events(tx: Transaction, before_ms: int, limit: int) -> int:
    """Delete the oldest events if they are from before then, and say up to where; return how many.

    A cursor that lies before them is told apart by that from one that misses nothing.
    """
    rows = await tx.lock_rows(
        "SELECT cursor, at_ms FROM action_event ORDER BY cursor LIMIT $1", limit
    )
    old = []
    for cursor, at_ms in rows:
        if at_ms >= before_ms:
            break
        old.append(cursor)
    if old:
        await tx.execute("UPDATE action_epoch SET swept_cursor = $1 WHERE id = 1", old[-1])
        await tx.execute("DELETE FROM action_event WHERE cursor <= $1", old[-1])
    return len(old)


class Cursors:
    """Writes cursors of the present epoch, which lasts as long as the process."""

    def __init__(self) -> None:
        """Know no epoch yet; it is read when the hall opens."""
        self._epoch = ""

    async def load(self, tx: Transaction) -> None:
        """Read the epoch."""
        self._epoch = (await find_extent(tx)).epoch

    def text(self, number: int) -> str:
        """Return a cursor as clients get it."""
        return f"{self._epoch}.{number}"
