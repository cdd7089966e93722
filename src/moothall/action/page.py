"""Page: where the next page of a list begins.

A list is given in pages: a request says ``after`` which cursor and at most how many
(``limit``), the answer holds ``next``, which is the cursor of its last item, or None. A room
with such a list asks :func:`next_cursor`, so that all lists end alike.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
C = TypeVar("C")


def next_cursor(found: Sequence[T], limit: int, cursor_of: Callable[[T], C]) -> C | None:
    """Return the cursor after which the next page begins, or None after the last one.

    A page that is not full is the last one. A full one may be the last too, and the next one
    is empty then: nobody has to look one row further to know.

    Args:
        found: The items of this page, in order.
        limit: How many items this page may have, 1 or more.
        cursor_of: Gives the cursor of an item.
    """
    return cursor_of(found[-1]) if found and len(found) >= limit else None
