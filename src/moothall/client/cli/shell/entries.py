"""Lists of entries: those of one member, and those that wait for a verdict."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from moothall.client.cli.render import format_time, show_value
from moothall.client.cli.shell.engine import Place, Shell
from moothall.client.cli.shell.entry import EntryPlace
from moothall.client.cli.shell.menu import Choice, Screen, Step, table
from moothall.client.cli.shell.pages import CursorPages, number_rows


def entries_lines(entries: Sequence[Any], first: int, *, has_board: bool) -> list[str]:
    """Return entries as a table, numbered from ``first``; with their boards where they differ."""
    rows = []
    for at, one in enumerate(entries, start=first):
        who = one["board_id"] if has_board else one["name"] or "(removed)"
        verdict = "verified" if one["verified_at_ms"] is not None else "waiting"
        date = format_time(one["submitted_at_ms"])[:16]
        rows.append((str(at), who, show_value("score", one["score"]), date, verdict))
    head = "board" if has_board else "name"
    return table(("no", head, "score", "date", "state"), rows) if rows else ["There are none."]


def number_entries(entries: Sequence[Any], offset: int) -> list[Choice]:
    """Return a choice for each entry, which opens it."""
    return number_rows([partial(_enter, entry_id=one["entry_id"]) for one in entries], offset)


class WaitingPlace:
    """Entries that wait for a verdict: all for moderators, one's own for others."""

    def __init__(self, board_id: str, name: str) -> None:
        self.title = f"Waiting on {name}"
        self._board_id = board_id
        self._pages = CursorPages()

    def look(self, shell: Shell) -> Screen:
        """Load one page."""
        page = shell.call(
            "leaderboards.list_waiting",
            board_id=self._board_id,
            **self._pages.asked,
        )
        entries = page["entries"]
        self._pages.note(len(entries), page["next"])
        lines = entries_lines(entries, self._pages.offset + 1, has_board=False)
        choices = (*number_entries(entries, self._pages.offset), *self._pages.choices())
        return Screen(self.title, tuple(lines), choices, rows="one entry")


class EntriesPlace:
    """The entries of one member that whoever looks may see, newest first; on one board or all."""

    def __init__(self, member: str, board_id: str | None, title: str) -> None:
        self.title = title
        self._member = member
        self._board_id = board_id
        self._pages = CursorPages()

    def look(self, shell: Shell) -> Screen:
        """Load one page."""
        asked = {"member": self._member, **self._pages.asked}
        if self._board_id is not None:
            asked["board_id"] = self._board_id
        page = shell.call("leaderboards.list_entries_of", **asked)
        entries = page["entries"]
        self._pages.note(len(entries), page["next"])
        lines = entries_lines(entries, self._pages.offset + 1, has_board=self._board_id is None)
        choices = (*number_entries(entries, self._pages.offset), *self._pages.choices())
        return Screen(self.title, tuple(lines), choices, rows="one entry")


def _enter(_shell: Shell, *, entry_id: str) -> Place | Step:
    return EntryPlace(entry_id)
