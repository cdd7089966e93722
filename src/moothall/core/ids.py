"""Identifiers of rows: short, sortable by creation, safe in paths and URLs."""

import re
from collections.abc import Callable
from threading import Lock

ID_LENGTH = 24
"""11 hexadecimal digits of epoch milliseconds, 13 of randomness (52 bits)."""

ENTROPY_BYTES = 7
"""Random bytes that :func:`make_id` takes; the last half byte is dropped."""

SLUG_LENGTH_MAX = 64

_CHANCE_BITS = 52

_ID = re.compile(r"[0-9a-f]{24}\Z")
_NOT_SLUG = re.compile(r"[^a-z0-9]+")


def make_id(now_ms: int, entropy: bytes) -> str:
    """Return an id for a row made at ``now_ms`` (UTC epoch milliseconds).

    Rows made one after the other sort next to each other, which keeps the pages
    that an insertion touches few. An id is no secret.
    """
    return f"{now_ms:011x}{entropy.hex()[:13]}"


class RisingIds:
    """Makes the ids of one process, each greater than the one before.

    The first id of a millisecond is :func:`make_id`'s; those after it count up from there,
    as in the monotonic ULID (https://github.com/ulid/spec#monotonicity), so that rows of one
    millisecond sort in the order in which they were made. A clock that is set back is not
    followed: ids go on from the last moment they have seen.
    """

    __slots__ = ("_last", "_lock")

    def __init__(self) -> None:
        """Begin below every id."""
        self._last = -1
        # A long read runs on a thread of its own and may ask for ids too.
        self._lock = Lock()

    def make(self, now_ms: int, random_bytes: Callable[[int], bytes]) -> str:
        """Return an id for a row made at ``now_ms`` (UTC epoch milliseconds).

        Args:
            now_ms: When; the id says later if an id was made later already.
            random_bytes: Gives that many random bytes; asked once per millisecond.
        """
        with self._lock:
            # The id as a number: milliseconds above, chance below. Counting past the last
            # chance of a millisecond carries into the next one, and so rises too.
            made = self._last + 1
            if now_ms > self._last >> _CHANCE_BITS:
                chance = int.from_bytes(random_bytes(ENTROPY_BYTES), "big") >> 4
                made = now_ms << _CHANCE_BITS | chance
            self._last = made
        return f"{made:024x}"


def is_id(text: str) -> bool:
    """Tell whether ``text`` has the form of an id; names must not."""
    return _ID.match(text) is not None


def make_slug(text: str) -> str:
    """Return a readable identifier made from a name, or '' if nothing is left of it.

    Only ASCII letters and digits survive, so that a slug can stand in a resource
    path, a URL and a shell command without quoting.
    """
    return _NOT_SLUG.sub("-", text.lower()).strip("-")[:SLUG_LENGTH_MAX].strip("-")
