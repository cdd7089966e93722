"""What the tests of the room `access` on two nodes have in common."""

import asyncio
import random
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from moothall.services.access.adapters.bindings import StoredBindings
from moothall.testing import OpenHall, Visitor
from tests.servers.nodes import Nodes, open_nodes

MADE: tuple[str, dict[str, Any]] = ("define_role", {"name": "made", "permissions": ["teams:list"]})
STAFF: tuple[str, dict[str, Any]] = ("create_team", {"team": "staff"})
JOINS: tuple[str, dict[str, Any]] = ("add_team_member", {"team": "staff", "member": "bob"})

Deed = tuple[OpenHall, Visitor, str, dict[str, Any]]
"""At which node, who calls what."""


def open_two(folder: Path) -> AbstractAsyncContextManager[Nodes]:
    """Open two nodes of a hall in which a few of each are all that may be."""
    tables = {
        "access": {
            "roles_max": 5,
            "teams_max": 5,
            "teams_per_member_max": 3,
            "bindings_per_subject_max": 3,
            "bans_per_member_max": 3,
        }
    }
    return open_nodes(folder, tables=tables)


def bound(subject: str, at: str = "") -> dict[str, Any]:
    return {"member": subject, "role": "made", "at": at}


def grant(subject: str, at: str = "") -> tuple[str, dict[str, Any]]:
    return "grant_role", bound(subject, at)


def index_of(hall: OpenHall) -> StoredBindings:
    return hall.hall.house.use(StoredBindings)


async def together(seed: int, *deeds: Deed, spread: int = 4) -> list[str]:
    """Make calls nearly at once, in an order of the seed.

    Args:
        seed: Says which of them comes when.
        deeds: The calls.
        spread: How many reads some of them are later than others, about a millisecond each.

    Returns:
        ``done`` or the name of the refusal, of each.
    """
    chance = random.Random(seed)

    async def one(deed: Deed, reads: int) -> str:
        hall, who, action, fields = deed
        for _ in range(reads):
            await hall.rows("SELECT 1")
        reply = await hall.answer(action, fields, token=who.token)
        name = reply.problem.name if reply.problem else "done"
        assert name != "internal", (seed, action)
        return name

    return await asyncio.gather(*(one(deed, chance.randint(0, spread)) for deed in deeds))


async def count(hall: OpenHall, sql: str, *params: object) -> int:
    return int((await hall.rows(sql, *params))[0][0])


async def administrators(hall: OpenHall) -> int:
    return await count(
        hall,
        "SELECT count(*) FROM access_binding WHERE role = 'administrator' AND path = '' "
        "AND subject NOT IN (SELECT member_id FROM access_ban WHERE path = '')",
    )
