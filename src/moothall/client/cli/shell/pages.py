"""Lists by the page: by a number of rows to pass over, or by the cursor that a hall gives."""

from collections.abc import Sequence
from typing import Any

from moothall.client.cli.shell.menu import Choice, Deed, Step

PAGE_ROWS = 10
"""Rows of one page: with title, heads and choices it fits 24 lines."""


def number_rows(deeds: Sequence[Deed], offset: int) -> list[Choice]:
    """Return a choice by number for each row; the first has the number after ``offset``."""
    return [Choice(str(at), str(at), "", deed) for at, deed in enumerate(deeds, start=offset + 1)]


class OffsetPages:
    """Where one is in a list whose length is known."""

    def __init__(self, size: int = PAGE_ROWS) -> None:
        self.offset = 0
        self._size = size
        self._total = 0

    def note(self, total: int) -> bool:
        """Note how many rows there are; tell whether the page lay past them and was changed."""
        self._total = total
        if self.offset < max(total, 1):
            return False
        self.offset = max(total - 1, 0) // self._size * self._size
        return True

    def go_to(self, offset: int) -> None:
        """Begin with a row."""
        self.offset = max(offset, 0)

    def choices(self) -> tuple[Choice, ...]:
        """Return the choices that turn the page, as far as there is one."""
        has_more = self.offset + self._size < self._total
        return (
            Choice("n", "next", "next", lambda _: self._turn(self._size), has_more),
            Choice("p", "previous", "previous", lambda _: self._turn(-self._size), self.offset > 0),
        )

    def _turn(self, rows: int) -> Step:
        self.go_to(self.offset + rows)
        return Step.STAY


class CursorPages:
    """Where one is in a list that a hall gives by cursors; the way back is remembered."""

    def __init__(self, size: int = PAGE_ROWS) -> None:
        self._size = size
        self._cursors: list[object] = [None]
        self._offsets = [0]
        self._next: object = None
        self._count = 0

    @property
    def asked(self) -> dict[str, Any]:
        """The fields of a request for this page; the first one has no cursor."""
        after = self._cursors[-1]
        return {"limit": self._size, **({} if after is None else {"after": after})}

    @property
    def offset(self) -> int:
        """How many rows were passed over on the way here."""
        return self._offsets[-1]

    def note(self, count: int, following: object) -> None:
        """Note how many rows the page has, and the cursor of the next; None if it is the last."""
        self._count, self._next = count, following

    def choices(self) -> tuple[Choice, ...]:
        """Return the choices that turn the page, as far as there is one."""
        return (
            Choice("n", "next", "next", lambda _: self._forward(), self._next is not None),
            Choice("p", "previous", "previous", lambda _: self._back(), len(self._cursors) > 1),
        )

    def _forward(self) -> Step:
        self._cursors.append(self._next)
        self._offsets.append(self.offset + self._count)
        return Step.STAY

    def _back(self) -> Step:
        self._cursors.pop()
        self._offsets.pop()
        return Step.STAY
