"""What a handler may ask of the house, and rooms that call rooms."""

import pytest
from structlog.testing import capture_logs

from moothall.testing import OpenHall, ProblemError, Visitor


async def titles(hall: OpenHall) -> list[str]:
    return [row[0] for row in await hall.rows("SELECT title FROM notes_note ORDER BY title")]


async def relay(hall: OpenHall, who: Visitor, **fields: str) -> str:
    """Call the desk and return the name of the refusal, or 'done'."""
    with capture_logs():
        try:
            await hall.call("desk.relay_note", {"title": "a", **fields}, as_=who)
        except ProblemError as error:
            return error.name
    return "done"


async def test_a_room_calls_another_in_the_same_transaction(hall: OpenHall, ada: Visitor) -> None:
    assert await relay(hall, ada) == "done"
    assert await titles(hall) == ["a"]
    assert len(await hall.events("desk")) == len(await hall.events("shelf/hall")) == 1
    rows = await hall.rows(
        "SELECT actor, action FROM access_audit WHERE action LIKE $1 ORDER BY rowid", "%_note"
    )
    assert rows == [
        (f"room:desk for {ada.member_id}", "notes.put_note"),
        (ada.member_id, "desk.relay_note"),
    ]


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"misdeed": "refuse"}, "note_refused"),
        ({"plan": "raise_after"}, "note_refused"),
        ({"misdeed": "crash"}, "internal"),
        ({"misdeed": "sleep"}, "internal"),
        ({"misdeed": "unlisted_below"}, "internal"),
        ({"plan": "flow"}, "internal"),
        ({"plan": "not_needed"}, "internal"),
        ({"title": "Not A Slug"}, "invalid_argument"),
        ({"misdeed": "unheard of"}, "invalid_argument"),
    ],
)
async def test_what_the_other_room_raises_undoes_both(
    hall: OpenHall, ada: Visitor, fields: dict[str, str], name: str
) -> None:
    assert await relay(hall, ada, **fields) == name
    assert await titles(hall) == []
    assert await hall.events("desk") == []
    assert await hall.events("shelf/hall") == []


@pytest.mark.requirement("R20")
async def test_a_room_needs_the_permission_itself(hall: OpenHall) -> None:
    admin = await hall.administrator()
    await hall.call("notes.open_shelf", {"shelf": "a"}, as_=admin)
    assert await relay(hall, admin, plan="no_permission") == "permission_denied"


async def test_whoever_goes_on_after_a_refusal_keeps_only_its_own(
    hall: OpenHall, ada: Visitor
) -> None:
    from notes.model import DEEDS  # type: ignore[import-not-found]  # noqa: PLC0415 - a served room

    DEEDS.clear()
    fields = {"title": "a", "misdeed": "refuse", "plan": "go_on"}
    relayed = await hall.call("desk.relay_note", fields, as_=ada)
    assert relayed.refused == "note_refused"
    assert await titles(hall) == []
    assert [event.kind for event in await hall.events("desk")] == ["desk.note_relayed"]
    assert await hall.events("shelf/hall") == []
    assert DEEDS == []


async def test_two_calls_of_one_deed_number_their_events_in_order(
    hall: OpenHall, ada: Visitor
) -> None:
    assert await relay(hall, ada, plan="twice") == "done"
    events = [(event.seq, event.data["title"]) for event in await hall.events("shelf/hall")]
    assert events == [(1, "a"), (2, "a-2")]


async def test_ids_of_one_moment_rise_and_go_on_rising_when_the_clock_is_set_back(
    hall: OpenHall,
) -> None:
    admin = await hall.administrator()
    made = []
    for set_back_ms in (0, 0, 0, 60_000, 0):
        hall.clock.set_wall(hall.clock.now_ms() - set_back_ms)
        made.append((await hall.call("notes.weigh_notes", {"weights": {}}, as_=admin)).text)
        admin = await hall.sign_in("admin")
    assert made == sorted(set(made))
