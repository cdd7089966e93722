"""What a command prints: tables and `name: value` for people, one JSON document for programs.

Data goes to standard output, everything else to standard error. All of it passes
:mod:`.text`, because names and comments come from others.

Nothing is cut short, because an id that lacks its end is of no use to the next command.
Where a table is wider than the terminal, long texts fold and columns of little use are left
out; the last lines say which. A pipe has no width: each row is one line and has it all.
"""

import datetime as dt
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import msgspec

from moothall.client.cli.settings import Settings
from moothall.client.cli.text import neutralise, neutralise_json
from moothall.client.errors import NothingToPickError

_GAP = "  "
_NEEDED = 5
_FOLDED_WIDTH_MIN = 16
_MOMENTS = frozenset({"at_ms", "now_ms", "since_ms", "until_ms"})
_MOMENT_SUFFIXES = ("_at_ms", "_until_ms")
_DURATION_SUFFIXES = ("life_ms", "left_ms", "after_ms")
_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"), (1, "ms"))
_KEYS = frozenset({"at", "id", "name", "role", "subject", "url"})
_PLACES = frozenset({"at", "path"})
"""Fields that hold a resource; the empty one is above all others."""
_KEY_SUFFIXES = ("_id", "_name")


@dataclass(frozen=True, slots=True, eq=False)
class _Column:
    """A column of a table.

    Attributes:
        title: Its name on the wire.
        cells: One for each row.
        is_number: All of its values are numbers; they stand to the right.
        width: Of its widest cell, in places of the terminal.
        folded_width: To which it may be folded; no word is broken.
    """

    title: str
    cells: tuple[str, ...]
    is_number: bool
    width: int
    folded_width: int

    @property
    def is_key(self) -> bool:
        """Whether the next command may need it."""
        return self.title in _KEYS or self.title.endswith(_KEY_SUFFIXES)

    @property
    def is_same(self) -> bool:
        """Whether several rows all say the same."""
        return len(self.cells) > 1 and len(set(self.cells)) == 1


_Widths = dict[_Column, int]


def print_result(result: Any, settings: Settings) -> None:
    """Print what a command answers, or the one value of it that was picked.

    Raises:
        NothingToPickError: There is no such value.
    """
    if settings.pick is not None:
        print_picked(result, settings.pick)
        return
    if settings.json:
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
            sys.stdout.write(f"{show_value('', result)}\n")


def print_picked(result: Any, path: str) -> None:
    """Print one value: texts as they are, all else as JSON.

    Args:
        result: What a command answers.
        path: Names and numbers from 0, joined by dots: ``entries.0.entry_id``.

    Raises:
        NothingToPickError: There is no such value.
    """
    value = result
    for step in path.split("."):
        known: Mapping[str, Any] = {}
        if isinstance(value, Mapping):
            known = value
        elif isinstance(value, list):
            known = {str(number): one for number, one in enumerate(value)}
        if step not in known:
            raise NothingToPickError(path, step, list(known))
        value = known[step]
    if isinstance(value, str):
        sys.stdout.write(f"{neutralise(value)}\n")
    else:
        print_json(value)


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
    _print_values(single)
    for name, rows in lists.items():
        sys.stdout.write(f"{neutralise(name)}:\n")
        _print_rows(rows)


def _print_values(values: Mapping[str, Any], indent: str = "") -> None:
    width = max((len(neutralise(name)) for name in values), default=0) + 1
    for name, value in values.items():
        label = f"{neutralise(name)}:"
        if isinstance(value, Mapping) and value:
            sys.stdout.write(f"{indent}{label}\n")
            _print_values(value, indent + _GAP)
        elif value is not None:
            sys.stdout.write(f"{indent}{label:<{width}} {show_value(name, value)}\n")


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(row, Mapping) for row in value)


def _print_rows(rows: Sequence[Any]) -> None:
    if not rows:
        say("(nothing)")
        return
    if not _is_rows(rows):
        for row in rows:
            sys.stdout.write(f"{show_value('', row)}\n")
        return
    from rich.console import Console  # noqa: PLC0415 - heavy
    from rich.text import Text  # noqa: PLC0415

    names = list(dict.fromkeys(name for row in rows for name in row))
    names = [name for name in names if any(row.get(name) is not None for row in rows)]
    columns = [_column(name, [row.get(name) for row in rows]) for name in names]
    console = Console(file=sys.stdout, highlight=False)
    everything = {column: column.width for column in columns}
    widths = _fit(columns, console.width) if sys.stdout.isatty() else everything
    if widths is None:
        # Not even the ids fit side by side.
        for at, row in enumerate(rows):
            sys.stdout.write("\n" if at else "")
            _print_values(row)
        return
    head, body = _table(widths)
    # Text, never markup: a name such as "[red]" is a name.
    console.print(Text.assemble((head, "bold"), "\n", body), soft_wrap=True)
    _tell_left_out([column for column in columns if column not in widths])


def _tell_left_out(columns: Sequence[_Column]) -> None:
    """Say once what all rows have in common, and name what else a table does not show."""
    same = [f"{column.title} {column.cells[0]}" for column in columns if column.is_same]
    if same:
        sys.stdout.write(f"in every row: {', '.join(same)}\n")
    others = [column.title for column in columns if not column.is_same]
    if others:
        say(f"(left out: {', '.join(others)}; --json shows all)")


# --- tables, as text ------------------------------------------------------------------------------


def _column(name: str, values: Sequence[Any]) -> _Column:
    from rich.cells import cell_len  # noqa: PLC0415 - heavy

    texts = (neutralise(name), *(show_value(name, value) for value in values))
    is_number = all(
        isinstance(value, (int, float, type(None))) and not isinstance(value, bool)
        for value in values
    )
    width = max(map(cell_len, texts))
    word_width = max(cell_len(word) for text in texts for word in text.split(" "))
    return _Column(
        title=texts[0],
        cells=texts[1:],
        is_number=is_number and not _is_moment(name),
        width=width,
        folded_width=max(word_width, min(width, _FOLDED_WIDTH_MIN)),
    )


def _fit(columns: Sequence[_Column], width: int) -> _Widths | None:
    """Return the columns that fit a width, each with its own; None if the keys do not.

    The least useful are left out first; of two that are as useful, the one to the right.
    """
    shown = list(columns)
    has_name = any(column.title == "name" for column in columns)
    from_right = list(reversed(columns))
    for column in sorted(from_right, key=lambda one: _usefulness(one, has_name=has_name)):
        widths = _narrow(shown, width)
        if widths is not None:
            return widths
        if _usefulness(column, has_name=has_name) == _NEEDED:
            break
        shown.remove(column)
    return _narrow(shown, width, may_fold_names=True)


def _usefulness(column: _Column, *, has_name: bool) -> int:
    """Return how much is lost where a column is left out."""
    if column.is_same:
        return 0  # nothing: it is told once, below the table
    if column.is_key:
        # Commands take a member's name for the id.
        return 3 if column.title == "member_id" and has_name else _NEEDED
    if _is_moment(column.title):
        return 1
    return 4 if column.is_number else 2


def _narrow(
    columns: Sequence[_Column], width: int, *, may_fold_names: bool = False
) -> _Widths | None:
    """Return columns folded to fit a width in all, or None if they cannot be."""
    least = {
        column: column.folded_width if may_fold_names or not column.is_key else column.width
        for column in columns
    }
    widths = {column: max(least[column], min(column.width, width)) for column in columns}
    excess = sum(widths.values()) + len(_GAP) * (len(columns) - 1) - width
    if not columns or excess > sum(widths.values()) - sum(least.values()):
        return None
    for _ in range(excess):
        foldable = (column for column in columns if widths[column] > least[column])
        widths[max(foldable, key=lambda column: widths[column])] -= 1
    return widths


def _table(widths: _Widths) -> tuple[str, str]:
    """Return the head and the body of a table."""
    rows = [
        line
        for cells in zip(*(column.cells for column in widths), strict=True)
        for line in _lines(cells, widths)
    ]
    return "\n".join(_lines([column.title for column in widths], widths)), "\n".join(rows)


def _lines(cells: Sequence[str], widths: _Widths) -> Iterator[str]:
    """Yield the lines of one row; it has several where a cell is folded."""
    from rich.cells import cell_len  # noqa: PLC0415 - heavy

    folded = [_fold(cell, width) for cell, width in zip(cells, widths.values(), strict=True)]
    for parts in zip_longest(*folded, fillvalue=""):
        line = []
        for (column, width), part in zip(widths.items(), parts, strict=True):
            blank = " " * (width - cell_len(part))
            line.append(blank + part if column.is_number else part + blank)
        yield _GAP.join(line).rstrip()


def _fold(text: str, width: int) -> list[str]:
    """Return the lines of a text that no word of which is wider than ``width``."""
    from rich.cells import cell_len  # noqa: PLC0415 - heavy

    if cell_len(text) <= width:
        return [text]
    lines: list[str] = []
    for word in text.split(" "):
        if lines and cell_len(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def show_value(name: str, value: Any) -> str:
    """Return one value as people read it; its name tells whether it is a moment."""
    match value:
        case None:
            text = ""
        case "" if name in _PLACES:
            text = "the whole hall"
        case bool():
            text = "yes" if value else "no"
        case 0 if _is_moment(name):
            text = "never"
        case int() if _is_moment(name):
            text = format_time(value)
        case int() if name.endswith(_DURATION_SUFFIXES):
            text = format_duration(value)
        case int() | float():
            text = f"{value:.12g}" if isinstance(value, float) else str(value)
        case str():
            text = value
        case list() if all(isinstance(one, (str, int)) for one in value):
            text = ", ".join(map(str, value))
        case _:
            text = msgspec.json.encode(value).decode()
    return neutralise(text)


def _is_moment(name: str) -> bool:
    """Tell whether a number of this name is a moment, in epoch milliseconds."""
    return name in _MOMENTS or name.endswith(_MOMENT_SUFFIXES)


def format_time(epoch_ms: int) -> str:
    """Return a moment as local time with its offset, or the number if it is none."""
    try:
        moment = dt.datetime.fromtimestamp(epoch_ms / 1_000, tz=dt.UTC).astimezone()
    except (OverflowError, ValueError, OSError):
        return str(epoch_ms)
    return moment.isoformat(sep=" ", timespec="seconds")


def format_duration(duration_ms: int) -> str:
    """Return a duration exactly, in the units that people use: ``1 h 30 min``."""
    parts, left_ms = [], abs(duration_ms)
    for unit_ms, unit in _UNITS:
        count, left_ms = divmod(left_ms, unit_ms)
        if count:
            parts.append(f"{count} {unit}")
    return ("-" if duration_ms < 0 else "") + (" ".join(parts) or "0 ms")
