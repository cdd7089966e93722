"""The house itself answers."""

import pytest

from moothall.testing import OpenHall, ProblemError


@pytest.mark.requirement("R41")
async def test_ping_answers_pong_to_anybody(hall: OpenHall) -> None:
    pong = await hall.call("hall.ping")
    assert (pong.answer, pong.now_ms) == ("pong", hall.clock.now_ms())


@pytest.mark.requirement("R41")
async def test_ping_takes_no_field(hall: OpenHall) -> None:
    with pytest.raises(ProblemError) as refusal:
        await hall.call("hall.ping", {"loud": True})
    assert (refusal.value.code, refusal.value.details["field"]) == ("invalid_argument", "loud")
