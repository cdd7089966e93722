"""`moothall audit export` and `audit verify`: the whole audit trail, page after page."""

import datetime as dt
import sys
from collections.abc import Mapping
from typing import Any

import click
import msgspec

from moothall.client.cli.derive import call
from moothall.client.cli.groups import LocalCommand, NounGroup
from moothall.client.cli.plan import read_time
from moothall.client.cli.progress import open_export_bar
from moothall.client.cli.render import print_result
from moothall.client.cli.state import state_of
from moothall.client.cli.text import neutralise_json

_PAGE_ROWS = 500
_VERIFIED_ROWS = 100_000
"""At once, so that no call comes near its time limit."""


def audit_group() -> click.Group:
    """Return the group; the other verbs are the hall's."""
    own = {
        "export": LocalCommand("export", params=_params(), callback=_export, help=_EXPORT),
        "verify": LocalCommand("verify", params=[], callback=_verify, help=_VERIFY),
    }
    return NounGroup("audit", own=own, help="The audit trail: who did what, when, from where.")


_EXPORT = """Print the audit trail as JSON Lines, oldest first.

Each line is a row with its time as epoch milliseconds (at_ms) and as ISO text in UTC (time).
"""

_VERIFY = """Verify that the audit trail is whole: its rows, its seals and its signed heads.

Where it is not, the first wrong row is named and the exit code is 16.
"""


def _params() -> list[click.Parameter]:
    moment: dict[str, Any] = {"metavar": "TIME"}
    return [
        click.Option(["--since"], help="First moment: ISO, or epoch milliseconds.", **moment),
        click.Option(["--until"], help="First moment after.", **moment),
        click.Option(["--actor"], metavar="NAME", help="A member's name or id, or room:ROOM."),
        click.Option(["--action"], metavar="ACTION", help="Such as access.grant_role."),
        click.Option(["--at"], metavar="PATH", help="A resource and what lies below it."),
        click.Option(["--outcome"], metavar="NAME", help="done, or the name of an error."),
    ]


def _export(**options: str | None) -> None:
    state = state_of(click.get_current_context())
    request = {"limit": _PAGE_ROWS, "after": 0, **_wanted(options)}
    with open_export_bar() as bar:
        while request["after"] is not None:
            page = call(state, "access.list_audit", request)
            for entry in page["entries"]:
                text = msgspec.json.encode({**entry, "time": _iso(entry["at_ms"])}).decode()
                sys.stdout.write(neutralise_json(text) + "\n")
            bar.advance(len(page["entries"]))
            request["after"] = page["next"]


def _verify() -> None:
    state = state_of(click.get_current_context())
    after: Any = [0, 0, 0, 0]
    found = {"rows_checked": 0, "numbers_skipped": 0, "heads_checked": 0}
    report: dict[str, Any] = {}
    while after is not None:
        request = {"limit": _VERIFIED_ROWS, "after": after}
        report = call(state, "access.verify_audit", request)
        found = {name: count + report[name] for name, count in found.items()}
        after = report["next"]
    print_result({**report, **found}, state.settings)


def _wanted(options: Mapping[str, str | None]) -> dict[str, Any]:
    """Return the fields of the request that the options set."""
    found: dict[str, Any] = {}
    for name, text in options.items():
        if text is None:
            continue
        if name in {"since", "until"}:
            try:
                found[f"{name}_ms"] = read_time(text)
            except ValueError as error:
                raise click.UsageError(f"--{name}: {error}") from None
        else:
            found[name] = text
    return found


def _iso(epoch_ms: Any) -> str | None:
    """Return a moment as ISO text; None for what an altered row may hold instead."""
    try:
        moment = dt.datetime.fromtimestamp(epoch_ms / 1_000, tz=dt.UTC)
    except (OverflowError, ValueError, OSError, TypeError):
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
