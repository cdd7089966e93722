"""`moothall entry import FILE`: the history of boards, from CSV or JSON Lines."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from moothall.client.cli.exits import INTERRUPTED, OK, PARTLY, exit_code
from moothall.client.cli.failures import tell
from moothall.client.cli.groups import LocalCommand, NounGroup
from moothall.client.cli.importer import Importer
from moothall.client.cli.plan import (
    LINE_COLUMN,
    REASON_COLUMN,
    Mapped,
    Outcome,
    Planner,
    Refused,
)
from moothall.client.cli.progress import RowsBar
from moothall.client.cli.ranking import export_command
from moothall.client.cli.render import print_result, say
from moothall.client.cli.rows import Table, read_rows, survey
from moothall.client.cli.state import State, state_of
from moothall.client.cli.text import neutralise
from moothall.client.errors import ClientError
from moothall.core.names import near_matches

_RETRIES = 10
_SHOWN_MAX = 10


def entry_group() -> click.Group:
    """Return the group; the other verbs are the hall's."""
    command = LocalCommand("import", params=_params(), callback=_import, help=_HELP)
    own = {"export": export_command(), "import": command}
    return NounGroup("entry", own=own, help="Entries of boards.")


_HELP = """Import entries into boards, from CSV or JSON Lines.

Columns are named by --submitter, --score and --time. A board is named by a template over
columns: --board "{track} {type}", and made if it is missing and --direction is given.

A row that is there already changes nothing: repeat the command to go on after a break. A row is
known by its --ref, or else by submitter, score, time and its line in the file.
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
        click.Option(["--ref"], metavar="COLUMN", help="The row's own id, never used twice."),
        click.Option(
            ["--season"], type=click.IntRange(min=1), help="In which they count; now's by default."
        ),
        click.Option(
            ["--verified/--unverified"], default=True, show_default=True, help="State of entries."
        ),
        click.Option(["--direction"], help="Of new boards: ascending or descending."),
        click.Option(["--counting"], help="Of new boards: which scores count."),
        click.Option(["--default-level"], help="Of new boards: what everyone may do."),
        click.Option(["--dry-run"], is_flag=True, help="Tell what would be done; change nothing."),
        click.Option(
            ["--refused"],
            type=click.Path(dir_okay=False, writable=True),
            metavar="FILE",
            help="Write refused rows here, as CSV to be mended and imported again.",
        ),
    ]


def _import(*, file: str, dry_run: bool, refused: str | None, **options: Any) -> int:
    state = state_of(click.get_current_context())
    mapped, new_board = _mapped(options), _new_board(options)
    path = Path(file)
    table = _survey(path, mapped)
    planner = Planner(mapped)
    if state.settings.retries is None:
        # Many calls in a row meet the limit of calls; the hall says how long to wait.
        state.settings = replace(state.settings, retries=_RETRIES)
    with RowsBar(table.rows, is_hidden=state.settings.prints_data) as bar:
        importer = Importer(
            state.hall(),
            planner,
            new_board=new_board,
            season=options["season"],
            progress=bar.advance,
        )
        deed = importer.preview if dry_run else importer.run
        error, is_interrupted = None, False
        try:
            state.run(deed(read_rows(path)))
        except ClientError as stopped_by:
            error = stopped_by
        except KeyboardInterrupt:
            is_interrupted = True
    outcome = importer.outcome
    outcome.refused.sort(key=lambda one: one.line)
    if refused is not None:
        _write_refused(Path(refused), path, table, outcome.refused)
    _report(state, planner, outcome, table, is_dry=dry_run, refused_file=refused)
    if is_interrupted or error is not None:
        say("it ended early; repeat the same command to go on: rows that are in are known by then")
    if is_interrupted:
        return INTERRUPTED
    if error is not None:
        tell(error, as_json=state.settings.json)
        return exit_code(error)
    return PARTLY if outcome.refused else OK


def _mapped(options: Mapping[str, Any]) -> Mapped:
    if (options["board"] is None) == (options["board_id"] is None):
        raise click.UsageError("say either --board TEMPLATE or --board-id ID")
    return Mapped(
        submitter=options["submitter"],
        score=options["score"],
        time=options["time"],
        description=options["description"],
        ref=options["ref"],
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


def _survey(file: Path, mapped: Mapped) -> Table:
    if not file.is_file():
        raise click.UsageError(f"{file} cannot be read twice; save it as a file first")
    try:
        table = survey(file)
    except ValueError as error:
        raise click.UsageError(f"{file}: {error}") from None
    for name in mapped.columns:
        if table.rows and name not in table.columns:
            near = near_matches(name, table.columns)
            known = ", ".join(table.columns)
            hint = f"did you mean {', '.join(near)}?" if near else f"it has {known}"
            raise click.UsageError(neutralise(f"{file} has no column {name!r}; {hint}"))
    return table


def _report(
    state: State,
    planner: Planner,
    outcome: Outcome,
    table: Table,
    *,
    is_dry: bool,
    refused_file: str | None,
) -> None:
    created = set(outcome.created)
    boards = [
        {
            "board_id": board.board_id,
            "name": board.name,
            "rows": board.rows,
            "imported": outcome.imported.get(board.board_id, 0),
            "known": outcome.known.get(board.board_id, 0),
            "created": board.board_id in created,
        }
        for board in planner.boards.values()
    ]
    imported, known = sum(outcome.imported.values()), sum(outcome.known.values())
    if state.settings.prints_data:
        report = {
            "dry_run": is_dry,
            "rows": table.rows,
            "imported": imported,
            "known": known,
            "boards": boards,
            "refused": [
                {"line": one.line, "board_id": one.board or None, "reason": one.reason}
                for one in outcome.refused
            ],
        }
        print_result(report, state.settings)
        return
    print_result(boards, state.settings)
    for one in outcome.refused[:_SHOWN_MAX]:
        say(f"line {one.line}: {one.reason}")
    if len(outcome.refused) > _SHOWN_MAX and refused_file is None:
        say(f"... and {len(outcome.refused) - _SHOWN_MAX} more; --refused FILE writes them all")
    refused = f"{len(outcome.refused)} refused"
    if is_dry:
        count = sum(board.rows for board in planner.boards.values())
        say(f"{count} of {table.rows} rows would be sent, {len(created)} boards made, {refused}")
    else:
        before = f"{known} known already, " if known else ""
        say(f"{imported} of {table.rows} rows imported, {before}{refused}")


def _write_refused(file: Path, source: Path, table: Table, refused: Sequence[Refused]) -> None:
    """Write refused rows as they stood in the file, with line and reason."""
    reasons = {one.line: one.reason for one in refused}
    columns = [name for name in table.columns if name not in {LINE_COLUMN, REASON_COLUMN}]
    try:
        with file.open("w", encoding="utf-8", newline="") as text:
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow([*columns, LINE_COLUMN, REASON_COLUMN])
            for row in read_rows(source) if reasons else ():
                if row.line in reasons:
                    cells = [row.values.get(name, "") for name in columns]
                    first = row.values.get(LINE_COLUMN, row.line)
                    writer.writerow([*cells, first, reasons[row.line]])
    except OSError as error:
        # The import is done; its report still follows.
        say(f"{file} cannot be written: {error.strerror}")
