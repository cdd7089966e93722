"""Cursors: where a reader stands in the hall's events, as clients see it: ``<epoch>.<number>``.

The number is the order of the commits, for the whole hall. The epoch is a random word that a
restore renews: numbers are given out anew from there, and a cursor from before must not
silently mean other events.
"""

import msgspec

from moothall.ports.database import Transaction

CURSOR_LENGTH_MAX = 64

_STATE = """
SELECT epoch, swept_cursor, COALESCE((SELECT MAX(cursor) FROM action_event), 0)
FROM action_epoch WHERE id = 1
"""


class Head(msgspec.Struct, frozen=True):
    """How far the hall's events go, and from where on they are kept."""

    epoch: str
    swept: int
    """All events up to this number are gone."""
    last: int


async def find_head(tx: Transaction) -> Head:
    """Return the present end of all streams."""
    row = await tx.fetch_one(_STATE)
    assert row is not None
    epoch, swept, last = row
    return Head(epoch, swept, max(swept, last))


def read_cursor(text: str, head: Head) -> int | None:
    """Return the number of a cursor, or None if the events after it cannot be told any more.

    That is a cursor of another epoch, from the future, before what was swept, or none at all.
    """
    epoch, _, number = text.partition(".")
    if epoch != head.epoch or not (number.isascii() and number.isdigit() and len(number) <= 16):  # noqa: PLR2004 - 2**53 has 16 digits
        return None
    return int(number) if head.swept <= int(number) <= head.last else None


class Cursors:
    """Writes cursors of the present epoch, which lasts as long as the process."""

    def __init__(self) -> None:
        """Know no epoch yet; it is read when the hall opens."""
        self._epoch = ""

    async def load(self, tx: Transaction) -> None:
        """Read the epoch."""
        self._epoch = (await find_head(tx)).epoch

    def text(self, number: int) -> str:
        """Return a cursor as clients get it."""
        return f"{self._epoch}.{number}"
