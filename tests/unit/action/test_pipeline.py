"""The road of a call: its order, its effects, and what it lets nobody see."""

from dataclasses import asdict
from typing import Any

import pytest
from structlog.testing import capture_logs

from moothall.action.call import Call, Reply
from moothall.action.limiter import PerSource
from moothall.action.pipeline import Pipeline
from moothall.testing import OpenHall, ProblemError, Visitor
from tests.unit.action.scenes import grant

SECRET_TEXT = "what the bug knows"


def make_pipeline(hall: OpenHall, calls: int) -> Pipeline:
    """A second road into the same hall, with its own limits at their real size."""
    known = hall.hall.pipeline
    rate = PerSource(calls=calls, window_ms=60_000)
    return Pipeline(known._house, known._verifier, source_rate=rate)


def name_of(reply: Reply) -> str:
    return "done" if reply.problem is None else reply.problem.name


def shown(reply: Reply) -> dict[str, Any]:
    """The problem without what differs from call to call."""
    assert reply.problem is not None
    return {**asdict(reply.problem), "request_id": ""}


async def notes_of(hall: OpenHall) -> list[str]:
    return [row[0] for row in await hall.rows("SELECT title FROM notes_note ORDER BY title")]


STEPS = (
    ("source", "rate_limited"),
    ("action", "unknown_action"),
    ("form", "invalid_argument"),
    ("who", "unauthenticated"),
    ("member", "rate_limited"),
    ("key", "invalid_argument"),
    ("permission", "permission_denied"),
    ("remembered", "key_reused"),
    ("deed", "note_refused"),
    ("nothing", "done"),
)


@pytest.mark.requirement("R23")
@pytest.mark.parametrize(("first", "name"), STEPS)
async def test_of_several_faults_the_earliest_is_told(
    hall: OpenHall, first: str, name: str
) -> None:
    """A call that is wrong at ``first`` and at every later step."""
    admin, pipeline = await hall.administrator(), make_pipeline(hall, 5)
    order = [step for step, _ in STEPS]
    wrong = set(order[order.index(first) :])
    members = {who: await hall.member(who) for who in ("fresh", "busy")}
    for member in members.values():
        await grant(hall, admin, member, "librarian", "shelf/open")
        call = Call(
            "notes.open_shelf", b'{"shelf": "open"}', "2001:db8:0:1::", member.token, "used"
        )
        assert name_of(await pipeline.answer(call)) == "done"
    for _ in range(2):
        call = Call(
            "notes.open_shelf", b'{"shelf": "open"}', "2001:db8:0:2::", members["busy"].token
        )
        assert name_of(await pipeline.answer(call)) == "done"
    while (
        "source" in wrong
        and name_of(await pipeline.answer(Call("x", b"", "2001:db8:0:3::"))) != name
    ):
        pass

    shelf = "closed" if "permission" in wrong else "open"
    text = "rubbish" if "deed" in wrong else ""
    body = f'{{"shelf": "{shelf}", "text": "{text}"' + ("" if "form" in wrong else "}")
    token = members["busy" if "member" in wrong else "fresh"].token
    reply = await pipeline.answer(
        Call(
            action="notes.opn_shelf" if "action" in wrong else "notes.open_shelf",
            body=body.encode(),
            source="2001:db8:0:3::",
            token=token[:-4] + "AAAA" if "who" in wrong else token,
            idempotency_key="x" * 256
            if "key" in wrong
            else ("used" if "remembered" in wrong else "new"),
        )
    )

    assert name_of(reply) == name
    if first == "key":
        assert shown(reply)["details"]["field"] == "idempotency_key"


@pytest.mark.requirement("R23", "R35")
async def test_unknown_actions_and_public_ones_are_charged_to_the_source(hall: OpenHall) -> None:
    pipeline = make_pipeline(hall, 3)
    answers = [await pipeline.answer(Call("x", b"", "2001:db8:0:1::")) for _ in range(4)]
    assert [name_of(reply) for reply in answers] == ["unknown_action"] * 3 + ["rate_limited"]
    assert shown(answers[3])["details"]["retry_after_ms"] == 20_000
    hellos = [await pipeline.answer(Call("notes.hello", b"", "2001:db8:0:2::")) for _ in range(3)]
    assert [name_of(reply) for reply in hellos] == ["done", "done", "rate_limited"]
    assert name_of(await pipeline.answer(Call("notes.hello", b"", "2001:db8:0:4::"))) == "done"


@pytest.mark.requirement("R41")
async def test_an_unknown_action_is_refused_by_name_with_near_matches(hall: OpenHall) -> None:
    for name in ("hall.pong", "notes.put_notes", "put_note", "", "../x", "é", "x" * 100_000):
        reply = await hall.answer(name)
        details = shown(reply)["details"]
        assert (shown(reply)["code"], shown(reply)["status"]) == ("unimplemented", 501)
        assert details["remedy"]
        assert len(str(details)) < 500
    assert "notes.put_note" in shown(await hall.answer("notes.put_notes"))["details"]["near"]


@pytest.mark.requirement("R41")
@pytest.mark.parametrize("name", ["notes.lose", "notes.store.insert_note", "notes._do", "notes"])
async def test_only_declared_actions_can_be_reached(hall: OpenHall, name: str) -> None:
    assert name_of(await hall.answer(name)) == "unknown_action"


async def test_a_public_action_looks_at_no_token(hall: OpenHall, ada: Visitor) -> None:
    for token in (None, "rubbish", ada.token):
        reply = await hall.answer("notes.hello", token=token)
        assert reply.body == b'{"actor":""}'


async def test_a_write_commits_rows_and_events_and_then_its_hooks(
    hall: OpenHall, ada: Visitor
) -> None:
    deeds = _deeds()
    note = await hall.call("notes.put_note", {"title": "a", "shelf": "s"}, as_=ada)
    assert (note.title, note.shelf) == ("a", "s")
    assert await notes_of(hall) == ["a"]
    assert [(e.seq, e.kind, e.data) for e in await hall.events("shelf/s")] == [
        (1, "notes.note_put", {"title": "a"})
    ]
    assert deeds == ["committed a"]


@pytest.mark.requirement("R40")
@pytest.mark.parametrize(
    ("misdeed", "name"),
    [
        ("refuse", "note_refused"),
        ("crash", "internal"),
        ("sleep", "internal"),
        ("unlisted_below", "internal"),
        ("unencodable", "internal"),
    ],
)
async def test_whatever_is_raised_undoes_all(
    hall: OpenHall, ada: Visitor, misdeed: str, name: str
) -> None:
    deeds = _deeds()
    with capture_logs(), pytest.raises(ProblemError) as refused:
        await hall.call("notes.put_note", {"title": "a", "misdeed": misdeed}, as_=ada)
    assert refused.value.name == name
    assert await notes_of(hall) == []
    assert await hall.events("shelf/hall") == []
    assert deeds == []
    await hall.call("notes.put_note", {"title": "a"}, as_=ada)
    assert [event.seq for event in await hall.events("shelf/hall")] == [1]


@pytest.mark.requirement("R40")
@pytest.mark.parametrize(
    "misdeed", ["crash", "unlisted_below", "sleep", "unencodable", "forgotten"]
)
async def test_a_bug_leaks_nothing_and_is_logged_whole(
    hall: OpenHall, ada: Visitor, misdeed: str
) -> None:
    with capture_logs() as logs:
        reply = await hall.answer(
            "notes.put_note", {"title": "a", "misdeed": misdeed}, token=ada.token
        )
    problem = shown(reply)
    assert problem["code"] == "internal"
    assert problem["details"] == {}
    assert SECRET_TEXT not in str(problem)
    (entry,) = logs
    assert entry["request_id"] == reply.request_id
    assert entry["action"] == "notes.put_note"
    told = repr(entry["exc_info"])
    if misdeed == "crash":
        assert SECRET_TEXT in told
    if misdeed == "sleep":
        assert "may await only its transaction" in told
        assert "notes" in told or "tasks.py" in told
    if misdeed == "unlisted_below":
        assert "note_lost" in told
        assert "does not list" in told
    if misdeed == "forgotten":
        assert "notes.put_note returned None, not the Note that its declaration names" in told


async def test_a_read_changes_nothing(hall: OpenHall, ada: Visitor) -> None:
    with capture_logs():
        reply = await hall.answer("notes.read_badly", {"title": "a"}, token=ada.token)
    assert reply.problem is not None
    assert await notes_of(hall) == []


@pytest.mark.requirement("R34")
@pytest.mark.parametrize("action", ["notes.hello", "notes.show_note", "notes.send_note"])
async def test_a_key_that_would_not_protect_is_refused(
    hall: OpenHall, ada: Visitor, action: str
) -> None:
    body = {} if action == "notes.hello" else {"title": "a"}
    reply = await hall.answer(action, body, token=ada.token, key="k")
    details = shown(reply)["details"]
    assert details["field"] == "idempotency_key"
    assert details["remedy"].startswith("leave it out")


@pytest.mark.requirement("R23", "R20")
async def test_a_hidden_thing_and_an_absent_one_look_alike(
    hall: OpenHall, librarian: Visitor, ada: Visitor
) -> None:
    await hall.call("notes.put_note", {"title": "hidden", "shelf": "closed"}, as_=ada)
    await hall.call("notes.put_note", {"title": "seen", "shelf": "open"}, as_=ada)
    assert (await hall.call("notes.show_note", {"title": "seen"}, as_=librarian)).title == "seen"
    for member in (librarian, ada):
        replies = [
            await hall.answer("notes.show_note", {"title": title}, token=member.token)
            for title in ("hidden", "absent")
        ]
        assert shown(replies[0]) == shown(replies[1])
        assert shown(replies[0])["code"] == "permission_denied"


@pytest.mark.requirement("R20", "R21")
async def test_a_refusal_says_what_was_missing_and_changes_nothing(
    hall: OpenHall, ada: Visitor
) -> None:
    with pytest.raises(ProblemError) as refused:
        await hall.call("notes.open_shelf", {"shelf": "a"}, as_=ada)
    assert refused.value.details["permission"] == "shelves:open"
    assert refused.value.details["path"] == "shelf/a"


@pytest.mark.requirement("R20")
async def test_a_role_at_one_shelf_covers_no_other(hall: OpenHall, librarian: Visitor) -> None:
    await hall.call("notes.open_shelf", {"shelf": "open"}, as_=librarian)
    for shelf in ("open0", "ope", "open.x"):
        with pytest.raises(ProblemError, match="permission_denied"):
            await hall.call("notes.open_shelf", {"shelf": shelf}, as_=librarian)


@pytest.mark.requirement("R24")
async def test_deeds_and_refusals_are_in_the_audit_trail(hall: OpenHall, ada: Visitor) -> None:
    await hall.call("notes.put_note", {"title": "a"}, as_=ada)
    await hall.answer("notes.open_shelf", {"shelf": "a"}, token=ada.token)
    await hall.call("notes.send_note", {"title": "b"}, as_=ada)
    rows = await hall.rows(
        "SELECT action, outcome, source FROM access_audit "
        "WHERE actor = $1 AND action LIKE 'notes.%' ORDER BY rowid",
        ada.member_id,
    )
    assert rows == [
        ("notes.put_note", "done", "192.0.2.1"),
        ("notes.open_shelf", "permission_denied", "192.0.2.1"),
        ("notes.send_note", "done", "192.0.2.1"),
    ]


async def test_a_flow_writes_in_steps_and_may_wait(hall: OpenHall, ada: Visitor) -> None:
    sent = await hall.call("notes.send_note", {"title": "a", "wait_ms": 1}, as_=ada)
    assert sent.shelf == "shelf/sent"
    assert [event.seq for event in await hall.events("shelf/sent")] == [1]


@pytest.mark.requirement("R20")
@pytest.mark.requirement("R24")
async def test_a_flow_finds_its_resource_in_the_database(
    hall: OpenHall, ada: Visitor, librarian: Visitor
) -> None:
    await hall.call("notes.put_note", {"title": "seen", "shelf": "open"}, as_=ada)
    recited = await hall.call("notes.recite_note", {"title": "seen"}, as_=librarian)
    assert recited.shelf == "shelf/open"
    for title in ("seen", "absent"):
        with pytest.raises(ProblemError, match="permission_denied"):
            await hall.call("notes.recite_note", {"title": title}, as_=ada)
    rows = await hall.rows(
        "SELECT actor, path, outcome FROM access_audit WHERE action = 'notes.recite_note'"
    )
    assert rows == [
        (librarian.member_id, "shelf/open", "done"),
        (ada.member_id, "shelf/open", "permission_denied"),
        (ada.member_id, "", "permission_denied"),
    ]


async def test_a_step_that_raises_is_undone(hall: OpenHall, ada: Visitor) -> None:
    with pytest.raises(ProblemError, match="note_refused"):
        await hall.call("notes.send_note", {"title": "a", "misdeed": "refuse"}, as_=ada)
    assert await notes_of(hall) == []
    assert await hall.events("shelf/sent") == []


@pytest.mark.requirement("R35")
async def test_a_call_that_was_admitted_is_charged_once(hall: OpenHall) -> None:
    known, rate = hall.hall.pipeline, PerSource(calls=3, window_ms=300)
    pipeline = Pipeline(known._house, known._verifier, source_rate=rate)
    delays = [pipeline.charge_source("192.0.2.9") for _ in range(3)]
    assert [round(delay, 3) for delay in delays] == [0.08, 0.18, 0.28]
    charged = Call("hall.ping", b"", "192.0.2.9", is_charged=True)
    assert [name_of(await pipeline.answer(charged)) for _ in range(5)] == ["done"] * 5
    other = Call("hall.ping", b"", "192.0.2.9")
    assert name_of(await pipeline.answer(other)) == "rate_limited"


@pytest.mark.requirement("R35")
async def test_an_ipv6_client_is_counted_by_its_network(hall: OpenHall) -> None:
    pipeline = make_pipeline(hall, 3)
    sources = [f"2001:db8:0:9::{number}" for number in range(4)]
    answers = [await pipeline.answer(Call("hall.ping", b"", source)) for source in sources]
    assert [name_of(reply) for reply in answers] == ["done"] * 3 + ["rate_limited"]
    elsewhere = Call("hall.ping", b"", "2001:db8:0:a::1")
    assert name_of(await pipeline.answer(elsewhere)) == "done"


@pytest.mark.parametrize(
    ("action", "fields"),
    [("notes.put_note", {"title": "late"}), ("identity.get_self", {})],
)
async def test_what_nobody_waits_for_any_more_is_not_begun(
    hall: OpenHall, ada: Visitor, action: str, fields: dict[str, str], monkeypatch: Any
) -> None:
    """The database is busy with others until the time of this call is up."""
    database = hall.hall.database

    def late(run: Any) -> Any:
        async def run_later(work: Any, **options: Any) -> Any:
            hall.clock.advance(11)
            return await run(work, **options)

        return run_later

    for verb in ("read", "write"):
        monkeypatch.setattr(type(database), verb, staticmethod(late(getattr(database, verb))))
    reply = await hall.answer(action, fields, token=ada.token, deadline_ms=10)
    assert (shown(reply)["code"], shown(reply)["status"]) == ("deadline_exceeded", 504)
    monkeypatch.undo()
    assert await notes_of(hall) == []


@pytest.mark.parametrize("deadline_ms", [0, 20])
async def test_a_flow_ends_at_its_deadline(hall: OpenHall, ada: Visitor, deadline_ms: int) -> None:
    fields = {"title": "a", "wait_ms": 60_000}
    reply = await hall.answer("notes.send_note", fields, token=ada.token, deadline_ms=deadline_ms)
    assert (shown(reply)["code"], shown(reply)["status"]) == ("deadline_exceeded", 504)


async def test_request_ids_are_unique(hall: OpenHall) -> None:
    ids = {(await hall.answer("hall.ping")).request_id for _ in range(20)}
    assert len(ids) == 20


async def test_an_ended_session_is_refused_at_once(hall: OpenHall, ada: Visitor) -> None:
    await hall.call("identity.close_session", as_=ada)
    with pytest.raises(ProblemError, match="the session has ended"):
        await hall.call("identity.get_self", as_=ada)


def _deeds() -> list[str]:
    """What the room's hooks did, from now on."""
    from notes.model import DEEDS  # type: ignore[import-not-found]  # noqa: PLC0415 - a served room

    deeds: list[str] = DEEDS
    deeds.clear()
    return deeds
