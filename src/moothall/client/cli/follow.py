"""`moothall feed follow`: what happens at the hall, a line for each event as it comes."""

import sys
from typing import TYPE_CHECKING

import click
import msgspec

from moothall.client.cli.groups import LocalCommand, NounGroup
from moothall.client.cli.render import format_time, print_result, say
from moothall.client.cli.settings import Settings
from moothall.client.cli.state import state_of
from moothall.client.cli.text import neutralise

if TYPE_CHECKING:
    from moothall.client.feed import Event
    from moothall.client.hall import Hall

_KIND_WIDTH = 32


def feed_group() -> click.Group:
    """Return the group; the other verbs are the hall's."""
    command = LocalCommand("follow", params=_params(), callback=_follow, help=_FOLLOW)
    return NounGroup("feed", own={"follow": command}, help="What happens at the hall.")


_FOLLOW = """Print what happens, a line for each event as it comes, until Ctrl-C.

A line has time, kind, stream and number, and what the room tells. With --json it is a JSON
object, with the cursor by which --after goes on later. A connection that breaks is opened anew,
and nothing is left out or printed twice.
"""


def _params() -> list[click.Parameter]:
    return [
        click.Argument(["feed"], help="Its name, such as board/kart."),
        click.Option(
            ["--after"],
            metavar="CURSOR",
            help="Begin after this event, instead of with what happens from now on.",
        ),
        click.Option(
            ["--count"], metavar="N", type=click.IntRange(min=1), help="End after N events."
        ),
    ]


def _follow(*, feed: str, after: str | None, count: int | None) -> None:
    state = state_of(click.get_current_context())
    hall = state.hall()
    try:
        state.run(_print_events(hall, feed, after, count, state.settings))
    except KeyboardInterrupt:
        return  # This is how one stops to follow.


async def _print_events(
    hall: "Hall", name: str, after: str | None, count: int | None, settings: Settings
) -> None:
    async with hall.follow(name, after=after or "now", on_break=_tell_break) as feed:
        if not settings.prints_data:
            say(f"following {name} (Ctrl-C ends)")
        shown = 0
        async for event in feed:
            _print_event(event, settings)
            shown += 1
            if shown == count:
                return


def _print_event(event: "Event", settings: Settings) -> None:
    if settings.prints_data:
        print_result(msgspec.to_builtins(event), settings)
    else:
        data = msgspec.json.encode(event.data).decode()
        where = f"{event.stream} {event.seq}"
        line = f"{format_time(event.at_ms)}  {event.kind:<{_KIND_WIDTH}}  {where}  {data}"
        sys.stdout.write(neutralise(line) + "\n")
    # Whoever reads a pipe waits for this line, not for the next ones.
    sys.stdout.flush()


def _tell_break(reason: str, wait_s: float) -> None:
    say(f"{reason}; trying again in {wait_s:.1f} s")
