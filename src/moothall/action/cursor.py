"""Cursors: where a reader stands in the hall's events, as clients see it: ``<epoch>.<number>``.

The number is that of an event, for the whole hall. The epoch is a random word that a restore
renews: numbers are given out anew from there, and a cursor from before must not silently mean
other events.

On SQLite numbers are the order of the commits, so one number says it all. On PostgreSQL an event
may appear below others that are there already, so a cursor has two parts: ``<epoch>.<settled>``,
up to where nothing can appear any more, and then ``-<number>`` of an event that was sent although
it lies above. Within one stream events appear in order, so of the stream of that event
everything up to it was sent. In a feed of one stream that is exact. A feed of several streams
names one such event of each, four at most; where there are more, a reader who comes back gets
some events once more. No cursor ever claims an event that its reader was not sent.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from moothall.action.blocks import fetch_among
from moothall.ports.database import Horizon, Transaction

if TYPE_CHECKING:
    from moothall.action.push import Push

CURSOR_LENGTH_MAX = 64

BEYOND_MAX = 4
"""Numbers above the settled one that a cursor names."""

_DIGITS_MAX = 16
"""Of a number in a cursor: 2**53 has so many."""

_STATE = """
SELECT epoch, swept_cursor, COALESCE((SELECT MAX(cursor) FROM action_event), 0)
FROM action_epoch WHERE id = 1
"""

_NEWEST = """
SELECT (
  SELECT e.cursor FROM action_event AS e WHERE e.stream = s.stream ORDER BY e.seq DESC LIMIT 1)
FROM action_stream AS s WHERE s.stream IN ({values})
"""


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where a reader stands.

    All events up to number ``settled`` were sent, and of the stream of each event in ``beyond``
    all up to that one. ``beyond`` rises, and its numbers are above ``settled``; there are
    ``BEYOND_MAX`` at most. A number of no event, or of a stream that is not followed, says nothing.
    """

    settled: int
    beyond: tuple[int, ...] = ()

    @property
    def last(self) -> int:
        """The highest number in it."""
        return self.beyond[-1] if self.beyond else self.settled

    def is_newer(self, other: "Place") -> bool:
        """Tell whether a reader who stood at both was here later.

        It is exact in a feed of one stream, also where one node knows of less that is settled.
        """
        return _order(self) > _order(other)


def _order(place: Place) -> tuple[int, ...]:
    return (place.last, place.settled, *reversed(place.beyond))


def make_place(settled: int, numbers: Iterable[int]) -> Place:
    """Return a place by those of ``numbers`` that lie above ``settled``; the highest, if many."""
    return Place(settled, tuple(sorted({n for n in numbers if n > settled})[-BEYOND_MAX:]))


class Reach:
    """How far one reader, or a group of readers, has come in each stream of a feed."""

    def __init__(self, settled: int, numbers: dict[str, int]) -> None:
        """Begin after ``settled``, and in some streams after a number above it."""
        self._settled = settled
        self._numbers = numbers

    def placed(self, push: "Push", settled: int) -> "Push":
        """Return the next event that is sent, with the place of whoever has got it.

        Events come in the order of their numbers, as far as they are settled: nothing up to
        ``settled`` is missing but what follows.
        """
        if (reached := min(push.cursor, settled)) > self._settled:
            self._settled = reached
            if self._numbers:
                self._numbers = {s: n for s, n in self._numbers.items() if n > reached}
        if push.cursor > self._settled:
            self._numbers[push.stream] = push.cursor
        place = make_place(self._settled, self._numbers.values())
        return push if place == push.reached else replace(push, place=place)


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


async def find_now(tx: Transaction, streams: Sequence[str], extent: Extent) -> Place:
    """Return the place of who begins now, and is told nothing of what was there before.

    Of a feed of many streams it may be told what was not settled yet.
    """
    if extent.settled == extent.last:
        return Place(extent.settled)
    rows = await fetch_among(tx, _NEWEST, streams)
    return make_place(extent.settled, [row[0] for row in rows if row[0] is not None])


def read_cursor(text: str, extent: Extent) -> Place | None:
    """Return the place of a cursor, or None if the events after it cannot be told any more.

    That is a cursor of another epoch, from the future, before what was swept, or none at all.
    """
    epoch, _, rest = text.partition(".")
    parts = rest.split("-")
    if epoch != extent.epoch or len(parts) > 1 + BEYOND_MAX or not all(map(_is_number, parts)):
        return None
    settled, *beyond = numbers = [int(part) for part in parts]
    if not extent.swept <= settled <= numbers[-1] <= extent.last:
        return None
    return Place(settled, tuple(beyond)) if numbers == sorted(set(numbers)) else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX


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

    def text(self, place: Place) -> str:
        """Return a cursor as clients get it; what would make it too long is left out."""
        text = f"{self._epoch}.{place.settled}"
        for left_out in range(len(place.beyond)):
            whole = "-".join((text, *map(str, place.beyond[left_out:])))
            if len(whole) <= CURSOR_LENGTH_MAX:
                return whole
        return text

    def of(self, push: "Push") -> str:
        """Return the cursor that goes with an event; each event that is pushed pays for it."""
        return f"{self._epoch}.{push.cursor}" if push.place is None else self.text(push.place)
