"""The hall for tests: real, but for the clock, chance and the cost of a password."""

from pathlib import Path

import pytest
import structlog

from moothall.services.hall.actions.liveness import Ping, ping
from moothall.testing import ProblemError, open_test_hall
from tests.unit.action.scenes import IMPORTS, forget_rooms, write_room


async def test_a_call_by_action_or_by_name_gives_the_typed_result(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path) as hall:
        pong = await hall.call(ping, Ping())
        assert (pong.answer, pong.now_ms) == ("pong", hall.clock.now_ms())
        assert await hall.call("hall.ping") == pong
        assert await hall.call("hall.ping", b"{}") == pong


async def test_a_refusal_raises_the_problem(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path) as hall:
        with pytest.raises(ProblemError, match=r"identity\.get_self: unauthenticated") as refused:
            await hall.call("identity.get_self")
    assert refused.value.code == "unauthenticated"
    assert refused.value.problem.status == 401


BROKEN = f"""{IMPORTS}
class TossCoin(Request):
    pass

class Tossed(Result):
    side: str

@action(access=PUBLIC, effect=READ, limit=PerSource(calls=9, window_ms=9), raises=())
async def toss_coin(ctx: Context, request: TossCoin) -> Tossed:
    "Toss."
    raise ValueError("it stands on its edge")
"""


@pytest.mark.parametrize("as_list", [False, True])
async def test_a_fault_is_raised_from_what_the_handler_raised(
    tmp_path: Path, *, as_list: bool
) -> None:
    name = f"toss_{'list' if as_list else 'one'}"
    room = write_room(tmp_path, name, actions=BROKEN)
    structlog.reset_defaults()  # as in the tests of whoever writes a room
    with forget_rooms(tmp_path):
        async with open_test_hall(tmp_path, functions=[room] if as_list else room) as hall:
            with pytest.raises(ProblemError) as refused:
                await hall.call(f"{name}.toss_coin")
    assert isinstance(refused.value.__cause__, ValueError)
    told = str(refused.value)
    assert f"{name}.toss_coin: internal, internal: ValueError: it stands on its edge" in told
    assert f"{room / 'actions.py'}:15" in told
    assert refused.value.details == {}, "what a client would learn"


async def test_members_and_the_administrator(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path) as hall:
        admin, ada = await hall.administrator(), await hall.member("ada")
        assert (await hall.call("identity.get_self", as_=ada)).member_id == ada.member_id
        await hall.call("access.list_roles", as_=admin)
        with pytest.raises(ProblemError, match="permission_denied"):
            await hall.call("access.list_roles", as_=ada)
        assert ada.token not in repr(ada)


async def test_time_passes_only_when_the_test_says_so(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path) as hall:
        ada = await hall.member("ada")
        hall.clock.advance(300_000)
        with pytest.raises(ProblemError, match="expired"):
            await hall.call("identity.get_self", as_=ada)
        ada = await hall.sign_in("ada")
        await hall.call("identity.get_self", as_=ada)


async def test_limits_bite_at_their_real_size_when_asked_to(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path, limits_scale=1.0, rooms=()) as hall:
        for _ in range(1_000):
            await hall.call("hall.ping")
        with pytest.raises(ProblemError) as refused:
            await hall.call("hall.ping")
        assert refused.value.details["retry_after_ms"] == 1
        hall.clock.advance(1)
        await hall.call("hall.ping")


async def test_events_and_rows_can_be_read(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path) as hall:
        await hall.member("ada")
        (event,) = await hall.events("identity")
        assert (event.seq, event.kind) == (1, "identity.member_registered")
        assert await hall.rows("SELECT name FROM identity_member") == [("ada",)]
