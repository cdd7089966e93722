"""Events are rows of the transaction in which they happened, numbered without a gap."""

import asyncio
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from moothall.action.event import Event, kind_of
from moothall.core.errors import DeclarationError
from moothall.testing import OpenHall, Visitor, open_test_hall
from tests.unit.action.scenes import ROOMS

CALLS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.sampled_from(["none", "none", "refuse", "crash", "unencodable"]),
        st.sampled_from([None, None, "k1", "k2"]),
    ),
    min_size=1,
    max_size=12,
)


@given(calls=CALLS, is_parallel=st.booleans())
@settings(max_examples=8)
def test_numbers_have_no_gap_whatever_fails(
    *, calls: list[tuple[str, str, str | None]], is_parallel: bool
) -> None:
    async def play() -> None:
        with TemporaryDirectory() as folder, capture_logs():
            async with open_test_hall(Path(folder), functions=[ROOMS]) as hall:
                await _play(hall, calls, is_parallel=is_parallel)

    asyncio.run(play())


async def _play(
    hall: OpenHall, calls: list[tuple[str, str, str | None]], *, is_parallel: bool
) -> None:
    ada = await hall.member("ada")
    replies = [
        hall.answer(
            "notes.put_note",
            {"title": f"n{number}", "shelf": shelf, "misdeed": misdeed},
            token=ada.token,
            key=key,
        )
        for number, (shelf, misdeed, key) in enumerate(calls)
    ]
    done = await asyncio.gather(*replies) if is_parallel else [await each for each in replies]
    expected = Counter(
        shelf for (shelf, _, _), reply in zip(calls, done, strict=True) if reply.problem is None
    )
    for shelf in ("a", "b"):
        events = await hall.events(f"shelf/{shelf}")
        assert [event.seq for event in events] == list(range(1, expected[shelf] + 1))
    ((count,),) = await hall.rows("SELECT count(*) FROM notes_note")
    assert count == expected.total()
    for reply in done:
        if reply.problem is not None:
            assert reply.problem.code in {"failed_precondition", "internal"}


async def test_the_hall_wide_cursor_is_the_order_of_commits(hall: OpenHall, ada: Visitor) -> None:
    for number in range(6):
        fields = {"title": f"n{number}", "shelf": "ab"[number % 2]}
        await hall.call("notes.put_note", fields, as_=ada)
    rows = await hall.rows(
        "SELECT stream, seq, at_ms FROM action_event WHERE stream LIKE $1 ORDER BY cursor",
        "shelf/%",
    )
    now_ms = hall.clock.now_ms()
    assert rows == [(f"shelf/{'ab'[n % 2]}", n // 2 + 1, now_ms) for n in range(6)]


async def test_the_kind_on_the_wire_is_room_and_fact(hall: OpenHall, ada: Visitor) -> None:
    await hall.call("desk.relay_note", {"title": "a"}, as_=ada)
    kinds = [(await hall.events(stream))[0].kind for stream in ("desk", "shelf/hall")]
    assert kinds == ["desk.note_relayed", "notes.note_put"]


def test_an_event_stands_in_a_rooms_events() -> None:
    class NotePut(Event):
        pass

    with pytest.raises(DeclarationError, match=r"declared in a room's events\.py"):
        kind_of(NotePut)
