"""What the tests of the room `identity` on several nodes have in common."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from moothall.testing import OpenHall, Visitor
from moothall.testing.hall import PASSWORD
from tests.nodes.watching import WITHIN_SECONDS
from tests.servers.nodes import Nodes, open_nodes

SEEDS = (1, 2, 3)


@asynccontextmanager
async def open_two(folder: Path, **tables: dict[str, Any]) -> AsyncIterator[Nodes]:
    async with open_nodes(folder, 2, tables=tables) as nodes:
        yield nodes


async def outcome(hall: OpenHall, action: str, who: Visitor | None = None, **fields: Any) -> str:
    """Return the name of the problem, or ``done``."""
    token = None if who is None else who.token
    source = fields.pop("source", "192.0.2.1")
    reply = await hall.answer(f"identity.{action}", fields, token=token, source=source)
    return reply.problem.name if reply.problem else "done"


async def until_refused(hall: OpenHall, who: Visitor) -> None:
    async with asyncio.timeout(WITHIN_SECONDS):
        while await outcome(hall, "get_self", who) != "unauthenticated":  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.005)


async def meet(seed: int, works: Iterable[Awaitable[Any]]) -> list[Any]:
    """Run calls at once, in the order of a seed; return what came of each, in their own order."""
    listed = list(works)
    order = list(range(len(listed)))
    random.Random(seed).shuffle(order)
    tasks: dict[int, asyncio.Future[Any]] = {}
    for at in order:
        tasks[at] = asyncio.ensure_future(listed[at])
    return [await tasks[at] for at in range(len(listed))]


async def sign_in(hall: OpenHall, name: str, at: int) -> Any:
    fields = {"name": name, "password": PASSWORD}
    return await hall.call("identity.open_session", fields, source=f"203.0.113.{at}")


class Letterbox:
    """Implements Sender; keeps the code of each message by its address."""

    def __init__(self) -> None:
        self.codes: dict[str, str] = {}

    async def send(self, address: str, subject: str, text: str) -> None:
        self.codes[address] = text.split("Your code is ")[1][:8]
