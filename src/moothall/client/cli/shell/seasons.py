"""The seasons of a board: choosing the one to look at, and beginning a new one."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from moothall.client.cli.render import format_time
from moothall.client.cli.shell.engine import Place, Shell
from moothall.client.cli.shell.menu import Choice, Screen, Step, table
from moothall.client.cli.shell.pages import CursorPages, number_rows

Choose = Callable[[int | None], None]
"""Takes the season to be shown; None for the current one, whichever it then is."""


def seasons_screen(
    name: str, seasons: Sequence[Any], pages: CursorPages, choose: Choose, start: Choice
) -> Screen:
    """Return a page of seasons."""
    rows = [
        (
            str(at),
            str(one["season"]),
            format_time(one["began_at_ms"])[:16],
            format_time(one["ended_at_ms"])[:16] if one["ended_at_ms"] is not None else "current",
            f"{one['direction']}, {one['counting']}",
        )
        for at, one in enumerate(seasons, start=pages.offset + 1)
    ]
    deeds = [
        partial(
            _choose,
            choose=choose,
            season=None if one["ended_at_ms"] is None else one["season"],
        )
        for one in seasons
    ]
    return Screen(
        f"Seasons of {name}",
        tuple(table(("no", "season", "began", "ended", "counted"), rows)),
        (*number_rows(deeds, pages.offset), start, *pages.choices()),
        rows="show its ranking",
    )


class SeasonsPlace:
    """The seasons of one board."""

    def __init__(self, board_id: str, name: str, choose: Choose) -> None:
        self.title = f"Seasons of {name}"
        self._board_id = board_id
        self._name = name
        self._choose = choose
        self._pages = CursorPages()

    def look(self, shell: Shell) -> Screen:
        """Load one page."""
        asked = {"board_id": self._board_id, **self._pages.asked}
        page = shell.call("leaderboards.list_seasons", **asked)
        self._pages.note(len(page["seasons"]), page["next"])
        may_start = bool(shell.may("boards:update", at=f"board/{self._board_id}"))
        start = Choice("s", "start", "begin a new season", self._start, may_start)
        return seasons_screen(self._name, page["seasons"], self._pages, self._choose, start)

    def _start(self, shell: Shell) -> Place | Step:
        question = f"Begin a new season of {self._name}? Its ranking begins empty"
        if not shell.confirm(question):
            return Step.KEEP
        shell.call("leaderboards.start_season", board_id=self._board_id)
        self._choose(None)
        return Step.BACK


def _choose(_shell: Shell, *, choose: Choose, season: int | None) -> Place | Step:
    choose(season)
    return Step.BACK
