"""What a command prints: tables and `name: value` for people, one JSON document for programs.

Data goes to standard output, everything else to standard error. All of it passes
:mod:`.text`, because names and comments come from others.
"""

import datetime as dt
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from moothall.client.cli.text import neutralise, neutralise_json

if TYPE_CHECKING:
    from rich.console import Console

_CELL_LENGTH_MAX = 200
_WIDTH_PIPED = 10_000
_TIME_SUFFIX = "_at_ms"


def print_result(result: Any, *, as_json: bool) -> None:
    """Print what a command answers."""
    if as_json:
        print_json(result)
        return
    match result:
        case None:
            return
        case list():
            _print_rows(result)
        case Mapping():
            _print_object(result)
        case _:
            sys.stdout.write(f"{_cell('', result)}\n")


def print_json(result: Any) -> None:
    """Print one JSON document in one line."""
    sys.stdout.write(neutralise_json(msgspec.json.encode(result).decode()) + "\n")


def say(message: str) -> None:
    """Tell a person something; it is no data."""
    sys.stderr.write(neutralise(message, keep="\n") + "\n")


def _print_object(result: Mapping[str, Any]) -> None:
    """Print single values first, then each list under its name."""
    lists = {name: rows for name, rows in result.items() if _is_rows(rows)}
    single = {name: value for name, value in result.items() if name not in lists}
    if len(lists) == 1 and all(value is None for value in single.values()):
        _print_rows(next(iter(lists.values())))
        return
    width = max((len(neutralise(name)) for name in single), default=0) + 1
    for name, value in single.items():
        if value is not None:
            label = f"{neutralise(name)}:"
            sys.stdout.write(f"{label:<{width}} {_cell(name, value)}\n")
    for name, rows in lists.items():
        sys.stdout.write(f"{neutralise(name)}:\n")
        _print_rows(rows)


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(row, Mapping) for row in value)


def _print_rows(rows: Sequence[Any]) -> None:
    if not rows:
        say("(nothing)")
        return
    if not _is_rows(rows):
        for row in rows:
            sys.stdout.write(f"{_cell('', row)}\n")
        return
    from rich.table import Table  # noqa: PLC0415 - heavy
    from rich.text import Text  # noqa: PLC0415

    names = list(dict.fromkeys(name for row in rows for name in row))
    names = [name for name in names if any(row.get(name) is not None for row in rows)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        is_number = all(isinstance(row.get(name), (int, float, type(None))) for row in rows)
        is_number = is_number and not name.endswith(_TIME_SUFFIX)
        # Text, never markup: a name such as "[red]" is a name.
        table.add_column(Text(neutralise(name)), justify="right" if is_number else "left")
    for row in rows:
        table.add_row(*(Text(_cell(name, row.get(name))) for name in names))
    _console().print(table)


def _console() -> "Console":
    from rich.console import Console  # noqa: PLC0415 - heavy

    # A pipe has no width; a table cut to 80 columns there would lose data.
    width = None if sys.stdout.isatty() else _WIDTH_PIPED
    return Console(file=sys.stdout, highlight=False, width=width, soft_wrap=width is not None)


def _cell(name: str, value: Any) -> str:
    match value:
        case None:
            text = ""
        case bool():
            text = "yes" if value else "no"
        case int() if name.endswith(_TIME_SUFFIX) or name == "now_ms":
            text = format_time(value)
        case int() | float():
            text = f"{value:.12g}" if isinstance(value, float) else str(value)
        case str():
            text = value
        case list() if all(isinstance(one, (str, int)) for one in value):
            text = ", ".join(map(str, value))
        case _:
            text = msgspec.json.encode(value).decode()
    text = neutralise(text)
    return text if len(text) <= _CELL_LENGTH_MAX else text[: _CELL_LENGTH_MAX - 1] + "…"


def format_time(epoch_ms: int) -> str:
    """Return a moment as local time with its offset, or the number if it is none."""
    try:
        moment = dt.datetime.fromtimestamp(epoch_ms / 1_000, tz=dt.UTC).astimezone()
    except (OverflowError, ValueError, OSError):
        return str(epoch_ms)
    return moment.isoformat(sep=" ", timespec="seconds")
