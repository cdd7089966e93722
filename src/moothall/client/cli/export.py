"""`moothall account export` and `moothall member export NAME`: all data, as JSON Lines."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from moothall.client.cli.groups import LocalCommand, NounGroup
from moothall.client.cli.progress import open_export_bar
from moothall.client.cli.render import print_json, say
from moothall.client.cli.state import state_of
from moothall.client.errors import HallUnreachableError
from moothall.client.retry import Effect

if TYPE_CHECKING:
    from moothall.client.hall import Hall

PAGE_ROWS = 500
"""Rows of one call at most; the hall sets this bound."""

_RETRIES = 10


def account_group() -> click.Group:
    """Return the group of one's own account; the other verbs are the hall's."""
    command = LocalCommand("export", params=[_room()], callback=_export_own, help=_OWN)
    return NounGroup("account", own={"export": command}, help="Your own account.")


def member_group() -> click.Group:
    """Return the group of members; the other verbs are the hall's."""
    name = click.Argument(["name"], help="Name or id of the member.")
    command = LocalCommand("export", params=[name, _room()], callback=_export_of, help=_OF)
    return NounGroup("member", own={"export": command}, help="Members of the hall.")


_OWN = """Take along everything that the hall holds of you, as JSON Lines on standard output.

Each line has the room that holds it, its kind and its data: moothall account export > mine.jsonl
"""

_OF = """Export everything that the hall holds of a member, as JSON Lines on standard output.

Needs the permission members:export; each page is audited.
"""


def _room() -> click.Option:
    return click.Option(["--room"], metavar="ROOM", help="What one room holds only.")


def _export_own(*, room: str | None) -> None:
    _print_rows("identity.export_self", {}, room)


def _export_of(*, name: str, room: str | None) -> None:
    _print_rows("identity.export_member", {"member": name}, room)


def _print_rows(action: str, asked: Mapping[str, Any], room: str | None) -> None:
    state = state_of(click.get_current_context())
    if state.settings.retries is None:
        # Many calls in a row meet the limit of calls; the hall says how long to wait.
        state.settings = replace(state.settings, retries=_RETRIES)
    request = {**asked, "limit": PAGE_ROWS}
    if room is not None:
        request["room"] = room
    place, hall = state.place_of(action)
    rows = state.run(_print_pages(hall, action, request))
    say(f"{rows} rows" + ("" if place == state.server()[0] else f" of {place}"))


async def _print_pages(hall: "Hall", action: str, request: Mapping[str, Any]) -> int:
    """Print all pages and return how many rows they had; progress only where a person looks."""
    count = 0
    with open_export_bar() as bar:
        async for rows in _pages(hall, action, request):
            for row in rows:
                print_json(row)
            count += len(rows)
            bar.advance(len(rows))
    return count


async def _pages(hall: "Hall", action: str, request: Mapping[str, Any]) -> AsyncIterator[list[Any]]:
    """Yield the rows of each page until there is none left."""
    after: object = ""
    while after is not None:
        page = await hall.call(action, {**request, "after": after}, effect=Effect.READ)
        if not isinstance(page, Mapping) or not isinstance(page.get("rows"), list):
            msg = f"the answer to {action} is not understood"
            raise HallUnreachableError(msg)
        yield page["rows"]
        if page.get("next") == after:
            msg = f"{action} answers the same page again"
            raise HallUnreachableError(msg)
        after = page.get("next")
