"""A board with people of every level, and calls that tests of the room make again and again."""

from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import pytest

from moothall.testing import OpenHall, ProblemError, Visitor

BOARD = {"board_id": "seven"}


@dataclass
class Cast:
    """Everybody at the board ``seven``, on which the default level is ``none``."""

    hall: OpenHall
    boss: Visitor
    mod: Visitor
    ann: Visitor
    """A writer, and the submitter of most entries."""
    bob: Visitor
    """A reader."""
    out: Visitor
    """Somebody without a level."""

    async def do(self, who: Visitor, action: str, **fields: Any) -> Any:
        return await self.hall.call(f"leaderboards.{action}", fields, as_=who)

    async def refused(self, who: Visitor, action: str, **fields: Any) -> ProblemError:
        with pytest.raises(ProblemError) as refusal:
            await self.do(who, action, **fields)
        return refusal.value

    async def submit(self, who: Visitor, score: float = 1.0, **fields: Any) -> Any:
        self.hall.clock.advance(1)
        return await self.do(who, "submit_score", **{**BOARD, "score": score, **fields})

    async def verified(self, who: Visitor, score: float = 1.0, **fields: Any) -> Any:
        entry = await self.submit(who, score, **fields)
        return await self.do(self.mod, "verify_entry", entry_id=entry.entry_id)

    async def upload(self, who: Visitor, data: bytes) -> str:
        """Upload a file and return its SHA-256."""
        digest = sha256(data).hexdigest()
        fields = {
            "sha256": digest,
            "size_bytes": len(data),
            "offset": 0,
            "data": b64encode(data).decode(),
        }
        await self.hall.call("files.put_chunk", fields, as_=who)
        return digest

    async def grant(self, member: str, role: str, at: str = "board/seven") -> None:
        fields = {"member": member, "role": role, "at": at}
        await self.hall.call("access.grant_role", fields, as_=self.boss)

    async def ban(self, member: str, at: str = "board/seven") -> None:
        await self.hall.call("access.ban", {"member": member, "at": at}, as_=self.boss)

    async def level_of(self, who: Visitor, board_id: str = "seven") -> str:
        page = await self.do(who, "list_boards")
        levels = {board.board_id: str(board.level) for board in page.boards}
        return levels.get(board_id, "none")

    async def kinds(self, stream: str) -> list[str]:
        return [event.kind.partition(".")[2] for event in await self.hall.events(stream)]

    async def places(self, who: Visitor) -> list[tuple[int, str, float]]:
        ranking = await self.do(who, "list_entries", **BOARD)
        return [(row.place, row.name, row.score) for row in ranking.standings]


async def gather_cast(hall: OpenHall, **fields: str) -> Cast:
    """Bring everybody in and make the board."""
    boss = await hall.administrator("boss")
    mod, ann, bob, out = [await hall.member(name) for name in ("mod", "ann", "bob", "out")]
    board = {"name": "Seven", "direction": "descending", "default_level": "none", **fields}
    await hall.call("leaderboards.create_board", board, as_=boss)
    cast = Cast(hall, boss, mod, ann, bob, out)
    for member, level in (("mod", "moderate"), ("ann", "write"), ("bob", "read")):
        await cast.do(boss, "set_level", **BOARD, member=member, level=level)
    return cast
