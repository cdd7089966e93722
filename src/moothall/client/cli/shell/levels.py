"""What members may do on a board: listing and setting their levels."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from moothall.client.cli.shell.engine import Place, Shell
from moothall.client.cli.shell.menu import Choice, Screen, Step, table
from moothall.client.cli.shell.pages import CursorPages, number_rows
from moothall.client.cli.shell.settings import LEVELS


def levels_lines(levels: Sequence[Any], first: int) -> list[str]:
    """Return the members who have a level of their own, numbered from ``first``."""
    rows = [
        (
            str(at),
            one["name"] or one["member_id"],
            one["level"],
            "banned" if one["is_banned"] else one["effective_level"],
        )
        for at, one in enumerate(levels, start=first)
    ]
    if not rows:
        return ["Nobody has a level of their own; what everyone may do is a setting of the board."]
    return table(("no", "member", "own level", "may in fact"), rows)


class LevelsPlace:
    """The levels of one board."""

    def __init__(self, board_id: str, name: str) -> None:
        self.title = f"Levels on {name}"
        self._board_id = board_id
        self._pages = CursorPages()

    def look(self, shell: Shell) -> Screen:
        """Load one page."""
        page = shell.call(
            "leaderboards.list_levels",
            board_id=self._board_id,
            **self._pages.asked,
        )
        levels = page["levels"]
        self._pages.note(len(levels), page["next"])
        deeds = [partial(self._set, member=one["member_id"], name=one["name"]) for one in levels]
        numbers = number_rows(deeds, self._pages.offset)
        choices = (
            *numbers,
            Choice("s", "set", "set somebody's level", self._set_other),
            *self._pages.choices(),
        )
        lines = levels_lines(levels, self._pages.offset + 1)
        return Screen(self.title, tuple(lines), choices, rows="change this level")

    def _set_other(self, shell: Shell) -> Place | Step:
        member = shell.ask("Name of the member")
        return self._set(shell, member=member, name=member) if member else Step.KEEP

    def _set(self, shell: Shell, *, member: str, name: str) -> Place | Step:
        level = shell.ask_until(f"Level of {name}; none takes it away", LEVELS)
        summary = (("Member", name), ("Level", level))
        if not level or not shell.review("Set this level?", summary):
            return Step.KEEP
        shell.call("leaderboards.set_level", board_id=self._board_id, member=member, level=level)
        return Step.STAY
