"""Requests of a source that calls too often: one after the other, and refused late."""

from time import perf_counter

import pytest

from moothall.action.call import Call, Reply
from moothall.core.errors import RateLimitedError
from tests.conformance.http_wire import connect, on_both_loops, open_door, post

# The door decides, not what the rows lie on.
pytestmark = pytest.mark.sqlite


class Source:
    """A budget: ``delays`` one after the other, then none."""

    def __init__(self, *delays: float) -> None:
        self.delays = list(delays)
        self.calls: list[Call] = []

    def charge_source(self, source: str) -> float:
        assert source == "127.0.0.1"
        if not self.delays:
            raise RateLimitedError
        return self.delays.pop(0)

    async def answer(self, call: Call) -> Reply:
        self.calls.append(call)
        if not call.is_charged:
            return Reply("r", problem=RateLimitedError(retry_after_ms=5).problem("r"))
        return Reply("r", b"{}")


@on_both_loops
@pytest.mark.requirement("R35")
async def test_who_calls_too_often_waits_and_is_then_refused() -> None:
    source = Source(0.0, 0.1)
    async with (
        open_door(source.answer, charge_source=source.charge_source) as door,
        connect(door) as wire,
    ):
        assert (await wire.ask(post())).status == 200
        begin = perf_counter()
        assert (await wire.ask(post())).status == 200
        # Only lower bounds, and uvloop's clock has steps of a millisecond.
        assert perf_counter() - begin >= 0.09
        assert (await wire.ask(post())).status == 429
        assert perf_counter() - begin >= 1.05
        assert [call.is_charged for call in source.calls] == [True, True, False]
