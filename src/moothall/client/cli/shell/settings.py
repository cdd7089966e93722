"""Changing a board, and removing it."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from moothall.client.cli.render import format_time
from moothall.client.cli.shell.engine import Place, Shell
from moothall.client.cli.shell.menu import Choice, Screen, Step, facts

DIRECTIONS = ("ascending", "descending")
COUNTINGS = ("best", "last", "sum", "every")
LEVELS = ("none", "read", "write", "moderate")
REMOVED_MEMBERS = ("keep", "remove")


def settings_screen(board: Any) -> Screen:
    """Return what a board is set to, with a choice to change each."""
    next_ms = board["next_reset_at_ms"]
    schedule = f"{board['schedule']} ({board['time_zone']})" if board["schedule"] else "none"
    lines = facts(
        (
            ("Name", board["name"]),
            ("Order", board["direction"]),
            ("Counts", board["counting"]),
            ("Everyone may", board["default_level"]),
            ("Removed members", f"{board['removed_members']} their entries"),
            ("Schedule", schedule),
            ("Next season", format_time(next_ms) if next_ms is not None else ""),
        )
    )
    board_id = board["board_id"]

    def one_of(field: str, label: str, known: Sequence[str]) -> Any:
        return partial(
            _change_word,
            board_id=board_id,
            field=field,
            label=label,
            known=known,
            present=board[field],
        )

    return Screen(
        f"Settings of {board['name']} ({board_id})",
        tuple(lines),
        (
            Choice("e", "name", "name", partial(_rename, board_id=board_id)),
            Choice("o", "order", "order", one_of("direction", "Better first", DIRECTIONS)),
            Choice("c", "counts", "what counts", one_of("counting", "What counts", COUNTINGS)),
            Choice(
                "v",
                "level",
                "what everyone may do",
                one_of("default_level", "Everyone may", LEVELS),
            ),
            Choice(
                "m",
                "removed",
                "entries of removed members",
                one_of("removed_members", "Their entries", REMOVED_MEMBERS),
            ),
            Choice("s", "schedule", "schedule of seasons", partial(_schedule, board_id=board_id)),
        ),
    )


class SettingsPlace:
    """What one board is set to."""

    def __init__(self, board_id: str, name: str) -> None:
        self.title = f"Settings of {name} ({board_id})"
        self._board_id = board_id

    def look(self, shell: Shell) -> Screen:
        """Load the board."""
        return settings_screen(shell.call("leaderboards.get_board", board_id=self._board_id))


def remove_board(shell: Shell, *, board: Any) -> Place | Step:
    """Remove a board once its name was typed."""
    shell.say(f"This removes {board['name']} with all its entries, comments and proofs, for ever.")
    if shell.ask("Type the name of the board to remove it") != board["name"]:
        shell.say("that is not its name; nothing was done")
        return Step.KEEP
    shell.call("leaderboards.remove_board", board_id=board["board_id"])
    shell.say(f"{board['name']} is removed.")
    return Step.BACK


def _change_word(
    shell: Shell, *, board_id: str, field: str, label: str, known: Sequence[str], present: str
) -> Place | Step:
    chosen = shell.ask_until(label, known, present)
    if chosen == present:
        shell.say("that is how it stands; nothing was done")
        return Step.KEEP
    return _change(shell, board_id, f"Change from {present} to {chosen}?", {field: chosen})


def _rename(shell: Shell, *, board_id: str) -> Place | Step:
    name = shell.ask("New name (nothing to stop)")
    return _change(shell, board_id, f"Call it {name}?", {"name": name}) if name else Step.KEEP


def _schedule(shell: Shell, *, board_id: str) -> Place | Step:
    text = "When seasons begin, as cron writes it: 0 0 1 * * ('none' for no schedule)"
    schedule = shell.ask(text)
    if not schedule:
        return Step.KEEP
    if schedule.casefold() == "none":
        return _change(shell, board_id, "Begin no seasons by themselves?", {"schedule": ""})
    zone = shell.ask("In which time zone", "UTC")
    asked = {"schedule": schedule, "time_zone": zone}
    return _change(shell, board_id, f"Begin a season at {schedule} in {zone}?", asked)


def _change(shell: Shell, board_id: str, question: str, changed: dict[str, str]) -> Place | Step:
    if not shell.confirm(question):
        return Step.KEEP
    shell.call("leaderboards.update_board", board_id=board_id, **changed)
    return Step.STAY
