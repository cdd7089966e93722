"""The boards that one may read, and making a new one."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from moothall.client.cli.shell.board import BoardPlace
from moothall.client.cli.shell.engine import Place, Shell
from moothall.client.cli.shell.menu import Choice, Screen, Step, table
from moothall.client.cli.shell.pages import CursorPages, number_rows
from moothall.client.cli.shell.settings import COUNTINGS, DIRECTIONS, LEVELS


def boards_screen(boards: Sequence[Any], pages: CursorPages, *, may_create: bool) -> Screen:
    """Return a page of boards, each with the level of whoever looks."""
    rows = [
        (str(at), one["name"], one["board_id"], one["level"])
        for at, one in enumerate(boards, start=pages.offset + 1)
    ]
    lines = table(("no", "board", "id", "you may"), rows) if rows else ["There are none here."]
    numbers = number_rows(
        [partial(_enter, board_id=one["board_id"], name=one["name"]) for one in boards],
        pages.offset,
    )
    return Screen(
        "Leaderboards",
        tuple(lines),
        (*numbers, Choice("c", "create", "create a board", _create, may_create), *pages.choices()),
        rows="one board",
    )


class BoardsPlace:
    """All boards that may be read."""

    title = "Leaderboards"

    def __init__(self) -> None:
        self._pages = CursorPages()

    def look(self, shell: Shell) -> Screen:
        """Load one page."""
        page = shell.call("leaderboards.list_boards", **self._pages.asked)
        self._pages.note(len(page["boards"]), page["next"])
        may_create = "boards:create" in shell.may("boards:create")
        return boards_screen(page["boards"], self._pages, may_create=may_create)


def _enter(_shell: Shell, *, board_id: str, name: str) -> Place | Step:
    return BoardPlace(board_id, name)


def _create(shell: Shell) -> Place | Step:
    name = shell.ask("Name of the board")
    direction = shell.ask_until("Which score is better first", DIRECTIONS) if name else ""
    if not direction:
        return Step.KEEP
    counting = shell.ask_until("Which entries of a member count", COUNTINGS, "best")
    level = shell.ask_until("What every member may do", LEVELS, "read")
    summary = (
        ("Name", name),
        ("Order", direction),
        ("Counts", counting),
        ("Everyone may", level),
    )
    if not shell.review("Create this board?", summary):
        return Step.KEEP
    board = shell.call(
        "leaderboards.create_board",
        name=name,
        direction=direction,
        counting=counting,
        default_level=level,
    )
    return BoardPlace(board["board_id"], board["name"])
