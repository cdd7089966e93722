"""What a menu is: data, and pure functions that show it and find a choice in it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import chain, repeat
from typing import TYPE_CHECKING, Union

from moothall.client.cli.text import neutralise
from moothall.core.names import near_matches

if TYPE_CHECKING:
    from moothall.client.cli.shell.engine import Place, Shell

WIDTH = 78
"""Columns of a line; one less than most terminals have, so that none breaks it."""

_GAP = "  "


class Step(Enum):
    """Where a deed leads, if it is no new place."""

    STAY = "stay"
    """Load the place anew and show it."""
    KEEP = "keep"
    """Show nothing again; only ask."""
    BACK = "back"
    """Leave the place: what it showed is gone, or was left."""
    QUIT = "quit"
    """Leave the shell."""


Deed = Callable[["Shell"], Union["Place", Step]]


@dataclass(frozen=True, slots=True)
class Choice:
    """One line of a menu.

    Attributes:
        key: A letter or a number.
        word: A word that means the same.
        label: What it does, in few words.
        deed: What it does.
        is_offered: Whether it may be done now.
        help: What there is to know about it; the label by default.
    """

    key: str
    word: str
    label: str
    deed: Deed
    is_offered: bool = True
    help: str = ""


@dataclass(frozen=True, slots=True)
class Screen:
    """What is shown of a place.

    Attributes:
        title: One line.
        lines: What there is to see.
        choices: What can be done.
        rows: What the numbers choose, in words; '' where there are none.
    """

    title: str
    lines: tuple[str, ...] = ()
    choices: tuple[Choice, ...] = ()
    rows: str = ""

    @property
    def offered(self) -> tuple[Choice, ...]:
        """The choices that may be made now."""
        return tuple(choice for choice in self.choices if choice.is_offered)


def find_choice(screen: Screen, typed: str) -> Choice | None:
    """Return the choice that a person means by a letter, a number or a word, or None."""
    wanted = typed.strip().casefold()
    for choice in screen.offered:
        if wanted in {choice.key.casefold(), choice.word.casefold()}:
            return choice
    return None


def suggest(screen: Screen, typed: str) -> str:
    """Return what to say about an answer that is no choice."""
    near = near_matches(typed.strip().casefold(), [one.word for one in screen.offered])
    hint = f"did you mean {', '.join(near)}?" if near else "? lists the choices"
    return f"there is no choice {shorten(typed.strip(), 40)!r} here; {hint}"


def show_screen(screen: Screen) -> str:
    """Return a screen as text: title, lines, choices."""
    title = shorten(screen.title, WIDTH)
    shown = [title, "-" * text_width(title), *map(neutralise, screen.lines)]
    numbers = [choice for choice in screen.offered if choice.key.isdigit()]
    others = [f"[{one.key}] {one.label}" for one in screen.offered if not one.key.isdigit()]
    if numbers:
        others.insert(0, f"[{_show_numbers([int(one.key) for one in numbers])}] {screen.rows}")
    return "\n".join((*shown, "", *flow(others))) + "\n"


def _show_numbers(numbers: Sequence[int]) -> str:
    """Return rising numbers as people write them: 3, or 1-10, or 1,3."""
    first, last = numbers[0], numbers[-1]
    if first == last:
        return str(first)
    if last - first == len(numbers) - 1:
        return f"{first}-{last}"
    return ",".join(map(str, numbers))


def explain_screen(screen: Screen) -> str:
    """Return all choices of a screen, a line for each."""
    others = [one for one in screen.offered if not one.key.isdigit()]
    heads = ("key", "word", "what it does")
    shown = table(heads, [(one.key, one.word, one.help or one.label) for one in others])
    if any(choice.key.isdigit() for choice in screen.offered):
        shown.append(f"A number: {screen.rows}.")
    shown.append("An empty line shows the screen again. Ctrl-C goes back, Ctrl-D quits.")
    return "\n".join(shown) + "\n"


def flow(parts: Iterable[str]) -> list[str]:
    """Return parts side by side, in as few lines as they need; none is broken."""
    lines: list[str] = []
    for part in parts:
        if lines and text_width(lines[-1]) + len(_GAP) + text_width(part) <= WIDTH:
            lines[-1] += _GAP + part
        else:
            lines.append(part)
    return lines


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows below their heads, with numbers to the right.

    Where they are too wide, the widest columns give way.
    """
    cells = [tuple(heads), *(tuple(neutralise(cell) for cell in row) for row in rows)]
    widths = [max(text_width(row[at]) for row in cells) for at in range(len(heads))]
    widths = [min(width, WIDTH) for width in widths]
    while sum(widths) + len(_GAP) * (len(widths) - 1) > WIDTH:
        widths[widths.index(max(widths))] -= 1
    are_numbers = [all(_is_number(row[at]) for row in cells[1:]) for at in range(len(heads))]
    lines = []
    for row in cells:
        parts = []
        for cell, width, is_number in zip(row, widths, are_numbers, strict=True):
            shown = shorten(cell, width)
            blank = " " * (width - text_width(shown))
            parts.append(blank + shown if is_number else shown + blank)
        lines.append(_GAP.join(parts).rstrip())
    return lines


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def facts(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Return names and values below each other; a value of '' is left out."""
    known = [(name, neutralise(value)) for name, value in pairs if value]
    width = max((len(name) for name, _ in known), default=0) + 1
    lines = []
    for name, value in known:
        heads = chain([f"{name + ':':<{width}} "], repeat(" " * (width + 1)))
        parts = fold(value, WIDTH - width - 1)
        lines += [f"{head}{part}" for head, part in zip(heads, parts, strict=False)]
    return lines


def fold(text: str, width: int) -> list[str]:
    """Return a text in lines that are at most ``width`` wide; a longer word is broken."""
    from rich.cells import chop_cells  # noqa: PLC0415 - heavy

    lines: list[str] = []
    for word in neutralise(text).split():
        if lines and text_width(lines[-1]) + 1 + text_width(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines += chop_cells(word, width)
    return lines


def shorten(text: str, width: int) -> str:
    """Return a text that is at most ``width`` wide; what was cut ends in '...'."""
    from rich.cells import set_cell_size  # noqa: PLC0415 - heavy

    text = neutralise(text)
    if text_width(text) <= width:
        return text
    return set_cell_size(text, max(width - 3, 0)).rstrip() + "..."


def text_width(text: str) -> int:
    """Return how many columns a text takes."""
    from rich.cells import cell_len  # noqa: PLC0415 - heavy

    return cell_len(text)
