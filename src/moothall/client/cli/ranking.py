"""`moothall entry export BOARD`: a whole ranking, as JSON Lines."""

import sys

import click
import msgspec

from moothall.client.cli.derive import call
from moothall.client.cli.groups import LocalCommand
from moothall.client.cli.progress import open_export_bar
from moothall.client.cli.render import say
from moothall.client.cli.state import state_of
from moothall.client.cli.text import neutralise_json
from moothall.client.retry import Effect

PAGE_ROWS = 200
"""Rows of one call at most; the hall sets this bound."""

_HELP = """Print the ranking of a board, best first, as JSON Lines on standard output.

Each line has place, name, score and time: moothall entry export BOARD > ranking.jsonl. `moothall
entry import` reads such a file: --submitter name --time submitted_at_ms. What changes while this
runs may be missing, or stand twice.
"""


def export_command() -> click.Command:
    """Return the command."""
    board = click.Argument(["board_id"], metavar="BOARD", help="Id of the board.")
    season = click.Option(["--season"], type=click.IntRange(min=1), help="By default the current.")
    return LocalCommand("export", params=[board, season], callback=_export, help=_HELP)


def _export(*, board_id: str, season: int | None) -> None:
    state = state_of(click.get_current_context())
    request = {"board_id": board_id, "limit": PAGE_ROWS}
    if season is not None:
        request["season"] = season
    offset = 0
    with open_export_bar() as bar:
        while True:
            asked = {**request, "offset": offset}
            page = call(state, "leaderboards.list_entries", asked, effect=Effect.READ)
            bar.expect(page["total"])
            for row in page["standings"]:
                sys.stdout.write(neutralise_json(msgspec.json.encode(row).decode()) + "\n")
            offset += len(page["standings"])
            bar.advance(len(page["standings"]))
            if not page["standings"] or offset >= page["total"]:
                break
    say(f"{offset} rows")
