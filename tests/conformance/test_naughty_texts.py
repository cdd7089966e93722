"""A text is refused with a reason, or it comes back as it was; nothing breaks on it."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from moothall.services.identity.rules.names import check_name
from moothall.testing import OpenHall, open_test_hall
from moothall.testing.hall import PASSWORD
from tests.conformance.http_wire import post
from tests.conformance.naughty import NAUGHTY
from tests.conformance.site import open_site

pytestmark = pytest.mark.requirement("R32")

Ask = Callable[[str, dict[str, Any]], Awaitable[tuple[int, Any]]]
"""Calls an action; gives the status and the result or problem."""

CHARACTERS_MAX = 4_000
NUL = "\0"
"""No text may hold it: PostgreSQL keeps none that does, and a hall is the same on both engines."""
EXPECTED = {"invalid_argument", "not_found", "unauthenticated", "already_exists"}


def is_kept(text: str) -> bool:
    """Tell whether a text may stand where texts of people stand."""
    return len(text) <= CHARACTERS_MAX and NUL not in text


class Desk:
    """Brings a text into the hall by one way after the other, and looks at what it became."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.taken = 0

    async def gives(self, action: str, **request: Any) -> Any:
        """Return the result, or None for a refusal that says which field is wrong."""
        status, told = await self._ask(action, request)
        if status == 200:
            self.taken += 1
            return told
        assert status < 500, (action, told)
        assert told["code"] in EXPECTED, (action, told)
        if told["code"] == "invalid_argument":
            assert told["details"]["field"].partition("[")[0] in request, (action, told)
            assert len(str(told)) < 2_000
        return None

    async def look_up(self, text: str) -> None:
        """Ask for what is called so; nothing is, and that is all there is to it."""
        for action, field in [
            ("identity.find_member", "member"),
            ("leaderboards.get_board", "board_id"),
            ("leaderboards.list_boards", "after"),
            ("access.list_team_members", "team"),
            ("identity.list_members", "after"),
            ("access.check", "at"),
        ]:
            more = {"permission": "scores:read"} if action == "access.check" else {}
            await self.gives(action, **{field: text}, **more)
        sign_in = await self.gives("identity.open_session", name=text, password=text)
        assert sign_in is None

    async def keep(self, text: str, number: int) -> None:
        """Leave the text wherever a text may stand, and read it again."""
        is_fine = is_kept(text)
        board = await self.gives(
            "leaderboards.create_board",
            name=text,
            direction="ascending",
            default_level="write",
            board_id=f"board-{number}",
        )
        if board is not None:
            found = await self.gives("leaderboards.get_board", board_id=f"board-{number}")
            assert found["name"] == board["name"] == text.strip()
        fields = {"name": f"role_{number}", "permissions": ["scores:read"], "summary": text}
        role = await self.gives("access.define_role", **fields)
        assert (role is not None) == is_fine
        if role is not None:
            roles = (await self.gives("access.list_roles"))["roles"]
            assert [one["summary"] for one in roles if one["name"] == f"role_{number}"] == [text]
        team = await self.gives("access.create_team", team=f"team-{number}", summary=text)
        assert (team is not None) == is_fine
        if team is not None:
            teams = (await self.gives("access.list_teams", limit=500))["teams"]
            assert [one["summary"] for one in teams if one["team"] == f"team-{number}"] == [text]
        score = {"board_id": "main", "score": number, "description": text}
        assert (await self.gives("leaderboards.submit_score", **score) is not None) == is_fine

    async def join(self, text: str) -> None:
        """Be called so, or say it of the device; a name is kept in the form of RFC 8265."""
        joined = await self.gives("identity.register", name=text, password=PASSWORD)
        if joined is None:
            return
        assert joined["name"] == check_name(text)[0]
        signed_in = await self.gives("identity.open_session", name=text, password=PASSWORD)
        assert signed_in["name"] == joined["name"]
        found = await self.gives("identity.find_member", member=joined["name"])
        assert found["member_id"] == joined["member_id"]

    async def label(self, text: str) -> None:
        """Say it of a device."""
        device = {"name": "bob", "password": PASSWORD, "device": text}
        if await self.gives("identity.open_session", **device) is not None:
            sessions = (await self.gives("identity.list_sessions_of", member="bob"))["sessions"]
            assert text.strip() in [one["device"] for one in sessions]
            assert text.isprintable()


async def prepare(hall: OpenHall) -> str:
    """Return the token of an administrator of a hall with a board and a member."""
    admin = await hall.administrator()
    await hall.member("bob")
    board = {"name": "Main", "direction": "ascending", "default_level": "write"}
    await hall.call("leaderboards.create_board", {**board, "board_id": "main"}, as_=admin)
    return admin.token


@pytest.mark.parametrize("way", ["look_up", "keep", "join", "label"])
async def test_no_text_breaks_a_room(tmp_path: Path, way: str) -> None:
    async with open_test_hall(tmp_path) as hall:
        token = await prepare(hall)
        sources = iter(range(10_000))

        async def ask(action: str, request: dict[str, Any]) -> tuple[int, Any]:
            source = f"203.0.113.{next(sources) % 250}"
            reply = await hall.answer(action, request, token=token, source=source)
            if reply.problem is not None:
                return reply.problem.status, msgspec.to_builtins(reply.problem)
            return 200, msgspec.json.decode(reply.body or b"")

        desk = Desk(ask)
        for number, text in enumerate(NAUGHTY.values()):
            await (desk.keep(text, number) if way == "keep" else getattr(desk, way)(text))
        assert desk.taken > 0
        if way == "keep":
            comments = {
                text for (text,) in await hall.rows("SELECT text FROM leaderboards_comment")
            }
            assert comments == {text for text in NAUGHTY.values() if text.strip() and is_kept(text)}


async def test_no_text_breaks_the_door(tmp_path: Path) -> None:
    async with open_site(tmp_path) as (hall, wire):
        token = await prepare(hall)

        async def ask(action: str, request: dict[str, Any]) -> tuple[int, Any]:
            bearer = f"Authorization: Bearer {token}"
            answer = await wire.ask(post(action, msgspec.json.encode(request), bearer))
            return answer.status, answer.json

        desk = Desk(ask)
        for number, text in enumerate(NAUGHTY.values()):
            status, told = await ask("echo.repeat_value", {"value": {text: [text]}})
            if NUL in text:
                assert (status, told["code"]) == (400, "invalid_argument")
                assert told["details"]["field"] == "value"
            else:
                assert (status, told) == (200, {"value": {text: [text]}})
            await desk.keep(text, number)
            await desk.look_up(text)
        assert desk.taken > len(NAUGHTY)
