"""What happens on a board, as it happens: a line for each event, until Enter."""

import asyncio
from typing import TYPE_CHECKING

from moothall.client.cli.render import format_time, show_value
from moothall.client.cli.shell.engine import Place, Shell
from moothall.client.cli.shell.menu import Step

if TYPE_CHECKING:
    from moothall.client.feed import Event, Feed


def event_line(event: "Event") -> str:
    """Return an event as one line: when, what, and the facts."""
    kind = event.kind.rpartition(".")[2].replace("_", " ")
    data = event.data if isinstance(event.data, dict) else {}
    facts = ", ".join(f"{name} {show_value(name, value)}" for name, value in data.items())
    return f"{format_time(event.at_ms)[11:19]}  {kind}: {facts}"


def follow_board(shell: Shell, *, board_id: str, is_moderator: bool) -> Place | Step:
    """Show what happens on a board until Enter; moderators also see what waits."""
    name = f"board/{board_id}/moderation" if is_moderator else f"board/{board_id}"
    try:
        shell.state.run(_follow(shell, name))
    except KeyboardInterrupt:
        shell.write("\n")  # Where Enter cannot be waited for, this is how one stops.
    return Step.QUIT if shell.keyboard.is_at_end else Step.STAY


async def _follow(shell: Shell, name: str) -> None:
    def tell_break(reason: str, wait_s: float) -> None:
        shell.say(f"{reason}; trying again in {wait_s:.1f} s")

    async with shell.hall().follow(name, after="now", on_break=tell_break) as feed:
        shell.say("Following. Each event is a line; Enter ends it.")
        tasks = (
            asyncio.create_task(_print(shell, feed)),
            asyncio.create_task(shell.keyboard.wait_for_line()),
        )
        printing, waiting = tasks
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if printing in done or not waiting.result():
                await printing
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def _print(shell: Shell, feed: "Feed") -> None:
    async for event in feed:
        shell.say(event_line(event))
