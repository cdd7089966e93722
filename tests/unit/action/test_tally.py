"""What the house counts of calls: how they ended, how long they took, and what refused them."""

import pytest

from moothall.action.call import Call
from moothall.action.declare import Effect
from moothall.action.tally import UNKNOWN, CallTally
from moothall.core.errors import RateLimitedError
from moothall.testing import OpenHall, Visitor
from tests.unit.action.test_pipeline import make_pipeline


def outcomes(tally: CallTally) -> dict[tuple[str, str], int]:
    return {(action, code): number for action, code, number in tally.outcomes()}


async def test_calls_are_counted_by_action_and_code(hall: OpenHall, librarian: Visitor) -> None:
    pipeline = make_pipeline(hall, 1_000)
    for body in (b'{"shelf": "open"}', b'{"shelf": "open"}', b"{", b'{"shelf": "closed"}'):
        await pipeline.answer(Call("notes.open_shelf", body, "192.0.2.7", librarian.token))
    await pipeline.answer(Call("hall.ping", b"", "192.0.2.7"))
    assert outcomes(pipeline.tally) == {
        ("notes.open_shelf", "ok"): 2,
        ("notes.open_shelf", "invalid_argument"): 1,
        ("notes.open_shelf", "permission_denied"): 1,
        ("hall.ping", "ok"): 1,
    }
    writes, reads = (pipeline.tally.seconds[one] for one in (Effect.WRITE, Effect.READ))
    assert (sum(writes.counts), sum(reads.counts)) == (4, 1)


async def test_names_that_are_no_actions_are_one(hall: OpenHall) -> None:
    pipeline = make_pipeline(hall, 1_000)
    for number in range(3):
        await pipeline.answer(Call(f"made.up_{number}", b"", "192.0.2.7"))
    assert outcomes(pipeline.tally) == {(UNKNOWN, "unimplemented"): 3}


@pytest.mark.requirement("R35")
async def test_refusals_are_counted_by_their_limit(hall: OpenHall, librarian: Visitor) -> None:
    pipeline, source = make_pipeline(hall, 20), "192.0.2.7"
    for _ in range(5):  # 3 in a minute are allowed to a member
        shelf = Call("notes.open_shelf", b'{"shelf": "open"}', source, librarian.token)
        await pipeline.answer(shelf)
    for _ in range(3):  # 2 in a second are allowed to an address
        await pipeline.answer(Call("notes.hello", b"", source))
    assert pipeline.tally.refusals == {"source": 0, "action": 1, "member": 2}
    for _ in range(20):
        await pipeline.answer(Call("hall.ping", b"", source))
    assert pipeline.tally.refusals == {"source": 8, "action": 1, "member": 2}
    with pytest.raises(RateLimitedError):
        pipeline.charge_source(source)
    assert pipeline.tally.refusals["source"] == 9


async def test_a_bug_counts_as_internal(hall: OpenHall, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = make_pipeline(hall, 1_000)

    async def fail(*_: object) -> bytes:
        raise KeyError

    monkeypatch.setattr(pipeline, "_pass", fail)
    await pipeline.answer(Call("hall.ping", b"", "192.0.2.7"))
    assert outcomes(pipeline.tally) == {("hall.ping", "internal"): 1}
