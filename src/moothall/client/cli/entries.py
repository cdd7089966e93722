"""`moothall entry import FILE`: the history of boards, from CSV or JSON Lines."""

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from moothall.client.cli.exits import OK, PARTLY, exit_code
from moothall.client.cli.failures import tell
from moothall.client.cli.groups import LocalCommand, NounGroup
from moothall.client.cli.plan import Mapped, Plan, Refused, make_plan
from moothall.client.cli.render import print_result, say
from moothall.client.cli.rows import read_rows
from moothall.client.cli.state import State, state_of
from moothall.client.cli.text import neutralise
from moothall.client.cli.upload import Outcome, Progress, upload
from moothall.core.names import near_matches

_RETRIES = 10
_SHOWN_MAX = 10
_JSONL_SUFFIXES = frozenset({".jsonl", ".ndjson"})


def entry_group() -> click.Group:
    """Return the group; the other verbs are the hall's."""
    command = LocalCommand("import", params=_params(), callback=_import, help=_HELP)
    return NounGroup("entry", own={"import": command}, help="Entries of boards.")


_HELP = """Import entries into boards, from CSV or JSON Lines.

Columns are named by --submitter, --score and --time. A board is named by a template over
columns: --board "{track} {type}", and made if it is missing and --direction is given.

Repeating the command within a day has no second effect.
"""


def _params() -> list[click.Parameter]:
    column: dict[str, Any] = {"metavar": "COLUMN", "show_default": True}
    return [
        click.Argument(
            ["file"], type=click.Path(exists=True, dir_okay=False), help="CSV or JSON Lines."
        ),
        click.Option(["--board"], metavar="TEMPLATE", help='Such as "{track} {type}".'),
        click.Option(["--board-id"], metavar="ID", help="One board, which exists, for all rows."),
        click.Option(["--submitter"], default="submitter", help="Who.", **column),
        click.Option(["--score"], default="score", help="The number that counts.", **column),
        click.Option(
            ["--time"], default="time", help="When: ISO, or epoch milliseconds.", **column
        ),
        click.Option(["--description"], metavar="COLUMN", help="First comment of the entry."),
        click.Option(
            ["--verified/--unverified"], default=True, show_default=True, help="State of entries."
        ),
        click.Option(["--direction"], help="Of new boards: ascending or descending."),
        click.Option(["--counting"], help="Of new boards: which scores count."),
        click.Option(["--default-level"], help="Of new boards: what everyone may do."),
        click.Option(["--dry-run"], is_flag=True, help="Check the file, and call nothing."),
        click.Option(
            ["--refused"],
            type=click.Path(dir_okay=False, writable=True),
            metavar="FILE",
            help="Write refused rows here, as CSV: line, board, reason.",
        ),
    ]


def _import(*, file: str, dry_run: bool, refused: str | None, **options: Any) -> int:
    state = state_of(click.get_current_context())
    mapped = _mapped(options)
    content = Path(file).read_bytes()
    plan = _plan(Path(file), content, mapped)
    if dry_run:
        outcome = Outcome(refused=plan.refused)
    else:
        outcome = _upload(state, plan, hashlib.sha256(content).hexdigest(), _new_board(options))
    outcome.refused.sort(key=lambda one: one.line)
    if refused is not None:
        _write_refused(Path(refused), outcome.refused)
    _report(state, plan, outcome, is_dry=dry_run, refused_file=refused)
    if outcome.stopped_by is not None:
        tell(outcome.stopped_by, as_json=state.settings.json)
        return exit_code(outcome.stopped_by)
    return PARTLY if outcome.refused else OK


def _mapped(options: Mapping[str, Any]) -> Mapped:
    if (options["board"] is None) == (options["board_id"] is None):
        raise click.UsageError("say either --board TEMPLATE or --board-id ID")
    return Mapped(
        submitter=options["submitter"],
        score=options["score"],
        time=options["time"],
        description=options["description"],
        board=options["board"],
        board_id=options["board_id"],
        is_verified=options["verified"],
    )


def _new_board(options: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the fields of boards to be made, or None where none shall be."""
    fields = {
        name: options[name]
        for name in ("direction", "counting", "default_level")
        if options[name] is not None
    }
    if fields and options["board_id"] is not None:
        raise click.UsageError("--board-id names a board that exists; it takes no --direction")
    if fields and "direction" not in fields:
        raise click.UsageError("to make boards, say --direction too")
    return fields or None


def _plan(file: Path, content: bytes, mapped: Mapped) -> Plan:
    try:
        columns, rows = read_rows(content, is_jsonl=file.suffix.lower() in _JSONL_SUFFIXES)
    except ValueError as error:
        raise click.UsageError(f"{file}: {error}") from None
    for name in mapped.columns:
        if rows and name not in columns:
            near = near_matches(name, columns)
            hint = f"did you mean {', '.join(near)}?" if near else f"it has {', '.join(columns)}"
            raise click.UsageError(neutralise(f"{file} has no column {name!r}; {hint}"))
    return make_plan(rows, mapped)


def _upload(
    state: State, plan: Plan, file_hash: str, new_board: Mapping[str, Any] | None
) -> Outcome:
    from rich.console import Console  # noqa: PLC0415 - heavy
    from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn  # noqa: PLC0415
    from rich.progress import Progress as Bar  # noqa: PLC0415

    if state.settings.retries is None:
        # Many calls in a row meet the limit of calls; the hall says how long to wait.
        state.settings = replace(state.settings, retries=_RETRIES)
    console = Console(stderr=True)
    parts = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*parts, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("rows", total=plan.rows)
        advance: Progress = lambda count: bar.advance(task, count)  # noqa: E731
        deed = upload(
            state.hall(), plan, file_hash=file_hash, new_board=new_board, progress=advance
        )
        return state.run(deed)


def _report(
    state: State, plan: Plan, outcome: Outcome, *, is_dry: bool, refused_file: str | None
) -> None:
    boards = [
        {
            "board_id": board.board_id,
            "name": board.name,
            "rows": len(board.lines),
            "imported": outcome.imported.get(board.board_id, 0),
            "created": board.board_id in outcome.created,
        }
        for board in plan.boards
    ]
    imported = sum(outcome.imported.values())
    if state.settings.json:
        report = {
            "dry_run": is_dry,
            "rows": plan.rows,
            "imported": imported,
            "boards": boards,
            "refused": [
                {"line": one.line, "board_id": one.board or None, "reason": one.reason}
                for one in outcome.refused
            ],
        }
        print_result(report, as_json=True)
        return
    print_result(boards, as_json=False)
    for one in outcome.refused[:_SHOWN_MAX]:
        say(f"line {one.line}: {one.reason}")
    if len(outcome.refused) > _SHOWN_MAX and refused_file is None:
        say(f"... and {len(outcome.refused) - _SHOWN_MAX} more; --refused FILE writes them all")
    done = "would be imported" if is_dry else "imported"
    count = plan.rows - len(plan.refused) if is_dry else imported
    say(f"{count} of {plan.rows} rows {done}, {len(outcome.refused)} refused")


def _write_refused(file: Path, refused: Sequence[Refused]) -> None:
    try:
        file.write_text(_as_csv(refused), encoding="utf-8", newline="")
    except OSError as error:
        # The import is done; its report still follows.
        say(f"{file} cannot be written: {error.strerror}")


def _as_csv(refused: Sequence[Refused]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("line", "board", "reason"))
    writer.writerows((one.line, one.board, one.reason) for one in refused)
    return text.getvalue()
