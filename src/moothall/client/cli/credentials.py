"""`moothall credentials import FILE`: accounts of another system, one `name password` a line.

A line is never shown, not even one that is refused: any part of it may be a password.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from moothall.client.cli.exits import OK, PARTLY, exit_code
from moothall.client.cli.failures import tell
from moothall.client.cli.groups import LocalCommand, NounGroup
from moothall.client.cli.render import print_result, say
from moothall.client.cli.state import State, state_of
from moothall.client.errors import CallError, ClientError
from moothall.client.retry import Effect
from moothall.core.codes import Code

if TYPE_CHECKING:
    from moothall.client.hall import Hall

ROWS_AT_ONCE = 100
"""Rows of one call at most; the hall sets this bound."""

LENGTH_MAX = 1_024
"""Characters of a name or a password that a call may carry; the hall decides what is too long."""

_CALL_TIMEOUT_MS = 60_000
_RETRIES = 10
_WAIT_MS = 1_000
_NOTHING_WAS_DONE = frozenset({Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE})
_SHOWN_MAX = 20

_HELP = """Import accounts from a text file: one "name password" per line.

The first space of a line separates; what follows it is the password, whatever it holds. Names
that exist are reported and stay as they are. The hall keeps no password in plain text: destroy
the file afterwards.
"""


def credentials_group() -> click.Group:
    """Return the group; other verbs are the hall's."""
    file = click.Argument(
        ["file"], type=click.Path(exists=True, dir_okay=False), help="Such as credentials.txt."
    )
    command = LocalCommand("import", params=[file], callback=_import, help=_HELP)
    text = "Names and passwords of another system."
    return NounGroup("credentials", own={"import": command}, help=text)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the file that can be sent."""

    number: int
    name: str
    password: str = field(repr=False)


@dataclass(slots=True)
class Report:
    """What became of the lines.

    Attributes:
        imported: How many became accounts.
        refused: Number of the line, and why it did not.
        weak: Lines whose passwords nobody could choose here.
        stopped_by: The error that ended the import early.
    """

    imported: int = 0
    refused: list[tuple[int, str]] = field(default_factory=list)
    weak: list[int] = field(default_factory=list)
    stopped_by: ClientError | None = None


def read_lines(content: bytes) -> tuple[list[Line], list[tuple[int, str]]]:
    """Return the lines that can be sent, and the numbers of those that cannot, with reasons.

    Lines end in LF or CRLF. Nothing else is trimmed, because a password may begin or end with
    a space. Empty lines are passed over.

    Raises:
        ValueError: It is no text in UTF-8.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"the file is no UTF-8 text (line {number})") from None
    lines, refused = [], []
    # Not splitlines(): it would end a line at signs that a password may hold.
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.removesuffix("\r")
        name, _, password = line.partition(" ")
        if not line:
            continue
        if not name or not password:
            refused.append((number, "is no name, a space and a password"))
        elif max(len(name), len(password)) > LENGTH_MAX:
            refused.append((number, "is too long"))
        else:
            lines.append(Line(number, name, password))
    return lines, refused


def _import(*, file: str) -> int:
    state = state_of(click.get_current_context())
    try:
        lines, refused = read_lines(Path(file).read_bytes())
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{file}: {error}") from None
    count, report = len(lines) + len(refused), Report(refused=refused)
    if lines:
        _upload(state, lines, report)
    report.refused.sort()
    _tell(state, file, count, report)
    if report.stopped_by is not None:
        tell(report.stopped_by, as_json=state.settings.json)
        return exit_code(report.stopped_by)
    return PARTLY if report.refused else OK


def _upload(state: State, lines: Sequence[Line], report: Report) -> None:
    from rich.console import Console  # noqa: PLC0415 - heavy
    from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn  # noqa: PLC0415
    from rich.progress import Progress as Bar  # noqa: PLC0415

    console = Console(stderr=True)
    parts = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*parts, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("lines", total=len(lines))
        _, hall = state.place_of("identity.import_credentials")
        deed = send(hall, lines, report, lambda count: bar.advance(task, count))
        state.run(deed)


async def send(
    hall: "Hall", lines: Sequence[Line], report: Report, progress: Callable[[int], object]
) -> None:
    """Send all lines, a hundred at a time, and note in ``report`` what became of them.

    Whoever repeats the whole command finds what was done reported as existing.
    """
    for start in range(0, len(lines), ROWS_AT_ONCE):
        chunk = lines[start : start + ROWS_AT_ONCE]
        rows = [{"name": line.name, "password": line.password} for line in chunk]
        try:
            answer = await _call(hall, rows)
        except ClientError as error:
            report.stopped_by = error
            return
        for at, one in _rows_of(answer, "imported", len(chunk)):
            report.imported += 1
            if one.get("is_weak") is True:
                report.weak.append(chunk[at].number)
        for at, one in _rows_of(answer, "refused", len(chunk)):
            report.refused.append((chunk[at].number, f"{one.get('field')}: {one.get('reason')}"))
        progress(len(chunk))


async def _call(hall: "Hall", rows: Sequence[Mapping[str, str]]) -> Any:
    """Send one chunk; again where the hall has too much to do, which means that nothing was done.

    The client does not repeat such a call by itself: after a lost reply it would report as
    existing what it has just made.
    """
    retries = 0
    while True:
        try:
            return await hall.call(
                "identity.import_credentials",
                {"rows": rows},
                effect=Effect.FLOW,
                timeout_ms=_CALL_TIMEOUT_MS,
            )
        except CallError as error:
            retries += 1
            if retries > _RETRIES or error.error_code not in _NOTHING_WAS_DONE:
                raise
            wait_ms = _WAIT_MS if error.retry_after_ms is None else error.retry_after_ms
            await asyncio.sleep(wait_ms / 1_000)


def _rows_of(answer: Any, name: str, count: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows of one list of the hall's report, each with its place."""
    rows = answer.get(name) if isinstance(answer, dict) else None
    for one in rows if isinstance(rows, list) else ():
        match one:
            case {"row": int() as at} if 0 <= at < count:
                yield at, one


def _tell(state: State, file: str, count: int, report: Report) -> None:
    if state.settings.prints_data:
        shown = {
            "lines": count,
            "imported": report.imported,
            "refused": [{"line": number, "reason": reason} for number, reason in report.refused],
            "weak": report.weak,
        }
        print_result(shown, state.settings)
    else:
        for number, reason in report.refused[:_SHOWN_MAX]:
            say(f"line {number}: {reason}")
        if len(report.refused) > _SHOWN_MAX:
            say(f"... and {len(report.refused) - _SHOWN_MAX} more; --json lists them all")
        if report.weak:
            some = ", ".join(map(str, report.weak[:_SHOWN_MAX]))
            more = ", ..." if len(report.weak) > _SHOWN_MAX else ""
            say(f"weak passwords, which their members should change: line {some}{more}")
        say(f"{report.imported} of {count} lines imported, {len(report.refused)} refused")
    if report.imported:
        say(f"destroy {file} when you need it no more: it holds passwords in plain text")
