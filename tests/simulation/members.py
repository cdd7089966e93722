"""Members at work: calls of many kinds through the pipeline, each noted before and after."""

import asyncio
import hashlib
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec

from moothall.testing import OpenHall, Visitor
from tests.simulation.image import BOARDS, Deed

FIRST_CHOICE = ("submit", "submit", "verify", "verify", "comment", "remove", "upload", "sign in")


@dataclass
class Members:
    """Those who act in one story. What they are told they note at once.

    Attributes:
        deeds: Calls that were begun.
        answered: Those that were answered, in the order of the answers.
    """

    hall: OpenHall
    random: Random
    deeds: list[Deed]
    answered: list[Deed]
    people: list[Visitor] = field(default_factory=list)
    entries: list[str] = field(default_factory=list)
    """Of entries that nobody has begun to verify or remove."""
    _keys: int = 0

    @property
    def boss(self) -> Visitor:
        """The administrator."""
        return self.people[-1]

    async def settle_in(self, count: int) -> None:
        """Bring in the members and the administrator, and make the boards."""
        for number in range(count):
            self.people.append(await self.hall.member(f"member{number}"))
        self.people.append(await self.hall.administrator("boss"))
        role = {"name": "helper", "permissions": ["scores:moderate"]}
        await self.do(self.boss, "access.define_role", role)
        for board in BOARDS:
            fields = {
                "board_id": board,
                "name": board,
                "direction": "descending",
                "counting": board,
                "default_level": "moderate",
            }
            await self.do(self.boss, "leaderboards.create_board", fields)

    async def do(
        self, who: Visitor | None, action: str, fields: Mapping[str, Any], *, keyed: bool = True
    ) -> Any:
        """Make a call, and note it before and after."""
        self._keys += 1
        key = f"key-{self._keys}" if keyed else None
        deed = Deed(action, msgspec.json.encode(fields), None if who is None else who.token, key)
        self.deeds.append(deed)
        reply = await self.hall.answer(action, deed.request, token=deed.token, key=key)
        assert reply.body is not None, f"{action}: {reply.problem}"
        deed.reply = reply.body
        self.answered.append(deed)
        return msgspec.json.decode(reply.body)

    async def act(self, number: int, steps: int) -> None:
        """Do something, so many times."""
        for _ in range(steps):
            who = self.people[number]
            choice = self.random.choice(FIRST_CHOICE)
            if choice == "sign in":
                await self._sign_in_and_out(number)
            elif choice == "upload":
                await self._upload(who)
            elif choice == "submit" or not self.entries:
                await self._submit(who)
            else:
                await self._moderate(who, choice)

    async def govern(self, steps: int) -> None:
        """Grant and revoke roles; each pair of a member and a place has its turn once."""
        for step in range(steps):
            member = self.people[step % (len(self.people) - 1)]
            fields = {"member": member.name, "role": "helper", "at": f"hall/place-{step}"}
            await self.do(self.boss, "access.grant_role", fields)
            if self.random.random() < 0.5:
                await self.do(self.boss, "access.revoke_role", fields)

    async def _submit(self, who: Visitor) -> None:
        fields = {
            "board_id": self.random.choice(BOARDS),
            "score": self.random.randrange(50),
            "description": f"description {len(self.deeds)}",
        }
        entry = await self.do(who, "leaderboards.submit_score", fields)
        self.entries.append(entry["entry_id"])

    async def _moderate(self, who: Visitor, choice: str) -> None:
        place = self.random.randrange(len(self.entries))
        if choice == "comment":
            entry_id = self.entries.pop(place)
            fields = {"entry_id": entry_id, "text": f"comment {len(self.deeds)}"}
            await self.do(who, "leaderboards.add_comment", fields)
            self.entries.append(entry_id)
            return
        fields = {"entry_id": self.entries.pop(place)}
        await self.do(who, f"leaderboards.{choice}_entry", fields)
        if choice == "verify" and self.random.random() < 0.3:
            await self.do(who, "leaderboards.unverify_entry", fields)
            self.entries.append(fields["entry_id"])

    async def _upload(self, who: Visitor) -> None:
        data = self.random.randbytes(self.random.choice((100, 20_000)))
        fields = {
            "sha256": hashlib.sha256(data).hexdigest(),
            "size_bytes": len(data),
            "offset": 0,
            "data": b64encode(data).decode(),
        }
        await self.do(who, "files.put_chunk", fields, keyed=False)

    async def _sign_in_and_out(self, number: int) -> None:
        """Open a second session, and close the first one."""
        first = self.people[number]
        second = await self.hall.sign_in(first.name)
        opened = Deed(
            "identity.open_session", b"{}", second.token, None, second.session_id.encode()
        )
        self.deeds.append(opened)
        self.answered.append(opened)
        await self.do(first, "identity.close_session", {}, keyed=False)
        self.people[number] = second
        await asyncio.sleep(0)
