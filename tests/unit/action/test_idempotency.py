"""Remembered replies: a repeated WRITE has one effect and one answer."""

import asyncio
from itertools import product

import pytest
from structlog.testing import capture_logs

from moothall.action.idempotency import NODES_DIFFER_MS, REPLY_BYTES_MAX, sweep_replies
from moothall.core.units import DAY_MS, HOUR_MS
from moothall.testing import OpenHall, ProblemError, Visitor

NOTE = {"title": "a", "shelf": "s"}


async def count_notes(hall: OpenHall) -> int:
    ((count,),) = await hall.rows("SELECT count(*) FROM notes_note")
    return int(count)


@pytest.mark.requirement("R34")
async def test_the_same_again_has_the_same_answer_and_one_effect(
    hall: OpenHall, ada: Visitor
) -> None:
    fields = {"weights": {"a": 1}}
    replies = [
        await hall.answer("notes.weigh_notes", fields, token=ada.token, key="k") for _ in range(3)
    ]
    assert len({reply.body for reply in replies}) == 1  # it holds a fresh id per deed
    assert len({reply.request_id for reply in replies}) == 3

    for _ in range(3):
        await hall.call("notes.put_note", NOTE, as_=ada, key="k")
    assert await count_notes(hall) == 1
    assert len(await hall.events("shelf/s")) == 1


@pytest.mark.requirement("R34")
async def test_at_the_same_time_too(hall: OpenHall, ada: Visitor) -> None:
    replies = await asyncio.gather(
        *(hall.answer("notes.put_note", NOTE, token=ada.token, key="k") for _ in range(20))
    )
    assert len({reply.body for reply in replies}) == 1
    assert replies[0].body is not None
    assert await count_notes(hall) == 1
    assert [event.seq for event in await hall.events("shelf/s")] == [1]


@pytest.mark.requirement("R34")
@pytest.mark.parametrize(
    "spelling",
    [b'{"shelf":"s","title":"a"}', b' {"title": "a", "shelf": "s", "text": ""} \n'],
)
async def test_the_request_counts_and_not_its_spelling(
    hall: OpenHall, ada: Visitor, spelling: bytes
) -> None:
    first = await hall.answer("notes.put_note", NOTE, token=ada.token, key="k")
    second = await hall.answer("notes.put_note", spelling, token=ada.token, key="k")
    assert first.body == second.body


@pytest.mark.requirement("R34")
async def test_another_request_under_the_same_key_is_refused(hall: OpenHall, ada: Visitor) -> None:
    await hall.call("notes.put_note", NOTE, as_=ada, key="k")
    with pytest.raises(ProblemError) as refused:
        await hall.call("notes.put_note", {**NOTE, "title": "b"}, as_=ada, key="k")
    assert (refused.value.code, refused.value.name) == ("failed_precondition", "key_reused")
    assert refused.value.details["remedy"] == "take a new key for a new request"
    assert await count_notes(hall) == 1


@pytest.mark.requirement("R34")
async def test_members_actions_and_keys_do_not_meet(hall: OpenHall, ada: Visitor) -> None:
    bob = await hall.member("bob")
    for number, (who, key) in enumerate(product((ada, bob), ("k", "kk", "K", ".k"))):
        await hall.call("notes.put_note", {"title": f"n{number}"}, as_=who, key=key)
        await hall.call("notes.mint_secret", {}, as_=who, key=key)
    assert await count_notes(hall) == 16


@pytest.mark.requirement("R34")
async def test_errors_are_not_remembered(hall: OpenHall, ada: Visitor) -> None:
    await hall.call("notes.put_note", NOTE, as_=ada)
    with capture_logs(), pytest.raises(ProblemError, match="internal"):
        await hall.call("notes.put_note", NOTE, as_=ada, key="k")  # the title is taken
    with pytest.raises(ProblemError, match="note_refused"):
        await hall.call("notes.put_note", {"title": "b", "misdeed": "refuse"}, as_=ada, key="k")
    await hall.call("notes.put_note", {"title": "b"}, as_=ada, key="k")
    assert await count_notes(hall) == 2


@pytest.mark.requirement("R34")
async def test_a_secret_is_told_once_and_kept_nowhere(hall: OpenHall, ada: Visitor) -> None:
    minted = await hall.call("notes.mint_secret", {}, as_=ada, key="k")
    with pytest.raises(ProblemError) as refused:
        await hall.call("notes.mint_secret", {}, as_=ada, key="k")
    assert refused.value.name == "reply_not_kept"
    assert await count_notes(hall) == 1
    assert minted.secret not in str(await hall.rows("SELECT * FROM action_reply"))


async def test_a_reply_that_is_too_large_to_keep_undoes_the_deed(
    hall: OpenHall, ada: Visitor
) -> None:
    fields = {"title": "a", "misdeed": "huge"}
    with capture_logs() as logs:
        reply = await hall.answer("notes.put_note", fields, token=ada.token, key="k")
    assert reply.problem is not None
    assert (reply.problem.code, reply.problem.details) == ("internal", {})
    assert str(REPLY_BYTES_MAX) in repr(logs)
    assert await count_notes(hall) == 0
    reply = await hall.answer("notes.put_note", fields, token=ada.token)
    assert reply.problem is None  # without a key there is nothing to keep


@pytest.mark.requirement("R34")
@pytest.mark.parametrize("hour", [0, 1, 12, 23])
async def test_replies_are_kept_for_a_day_and_then_swept(
    hall: OpenHall, ada: Visitor, hour: int
) -> None:
    async def sweep() -> int:
        return await hall.hall.database.write(lambda tx: sweep_replies(tx, hall.clock.now_ms()))

    hall.clock.advance(hour * HOUR_MS)
    ada = await hall.sign_in("ada")
    await hall.call("notes.put_note", NOTE, as_=ada, key="k")
    hall.clock.advance(DAY_MS)
    ada = await hall.sign_in("ada")
    assert await sweep() == 0
    await hall.call("notes.put_note", NOTE, as_=ada, key="k")
    hall.clock.advance(DAY_MS + NODES_DIFFER_MS)  # another node may be late
    await hall.run_job("action.sweep_replies")
    assert await hall.rows("SELECT * FROM action_reply") == []
    assert await sweep() == 0


@pytest.mark.parametrize(("key", "is_good"), [("", False), ("x", True), ("!~" * 127, True),
                                              ("x" * 255, True), ("x" * 256, False), ("é", False),
                                              ("a b", False), ("a\nb", False)])  # fmt: skip
async def test_bounds_of_a_key(hall: OpenHall, ada: Visitor, *, key: str, is_good: bool) -> None:
    reply = await hall.answer("notes.put_note", NOTE, token=ada.token, key=key)
    assert (reply.problem is None) == is_good
    if reply.problem is not None:
        assert reply.problem.details["field"] == "idempotency_key"


@pytest.mark.requirement("R23", "R34")
async def test_a_remembered_reply_is_for_those_who_still_may(
    hall: OpenHall, librarian: Visitor
) -> None:
    admin = await hall.member("other")
    fields = {"shelf": "open"}
    first = await hall.answer("notes.open_shelf", fields, token=librarian.token, key="k")
    assert first.problem is None
    stranger = await hall.answer("notes.open_shelf", fields, token=admin.token, key="k")
    assert stranger.problem is not None
    assert stranger.problem.name == "permission_denied"
