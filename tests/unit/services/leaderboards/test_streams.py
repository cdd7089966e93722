"""Who learns what: readers nothing of unverified entries, submitters what others did."""

import inspect
from typing import Any

import pytest

from moothall.action import Event
from moothall.action.event import kind_of
from moothall.services.leaderboards import events
from moothall.testing import OpenHall, Visitor
from tests.unit.services.leaderboards.cast import BOARD, Cast, gather_cast

READERS, MODERATORS = "board/seven", "board/seven/moderation"

ABOUT_ENTRIES = {
    "score_submitted",
    "entry_verified",
    "entry_unverified",
    "entry_removed",
    "comment_added",
    "comment_removed",
    "proof_added",
    "proof_removed",
}
"""Kinds of events that name an entry."""


@pytest.fixture
async def cast(hall: OpenHall) -> Cast:
    return await gather_cast(hall)


async def say_and_show(cast: Cast, who: Visitor, entry_id: str) -> None:
    """Say something, let the submitter show something, and take both back as ``who``."""
    said = await cast.do(who, "add_comment", entry_id=entry_id, text="secret")
    await cast.do(who, "remove_comment", comment_id=said.comment_id)
    digest = await cast.upload(cast.ann, b"secret")
    proof = await cast.do(
        cast.ann, "add_proof", entry_id=entry_id, sha256=digest, name="secret.png"
    )
    await cast.do(who, "remove_proof", proof_id=proof.proof_id)


async def go_through(cast: Cast, entry_id: str, *, verify: bool) -> None:
    """Do everything to an entry that can be done to it; it is gone at the end."""
    for who in (cast.ann, cast.mod):
        await say_and_show(cast, who, entry_id)
    if verify:
        await cast.do(cast.mod, "verify_entry", entry_id=entry_id)
        await say_and_show(cast, cast.mod, entry_id)
        await cast.do(cast.mod, "unverify_entry", entry_id=entry_id)
        await cast.do(cast.mod, "add_comment", entry_id=entry_id, text="secret")
    await cast.do(cast.mod, "remove_entry", entry_id=entry_id)


@pytest.mark.requirement("R53")
async def test_no_event_tells_readers_of_an_entry_that_was_never_verified(cast: Cast) -> None:
    secret = await cast.submit(cast.ann, 1234.5, description="secret")
    await go_through(cast, secret.entry_id, verify=False)
    shown = await cast.submit(cast.ann, 2.0)
    await go_through(cast, shown.entry_id, verify=True)
    rows = await cast.hall.rows("SELECT stream, data FROM action_event")
    for stream, data in rows:
        text = data.decode() if isinstance(data, bytes) else str(data)
        assert "secret" not in text
        if stream == READERS:
            assert secret.entry_id not in text
            assert "1234.5" not in text
    assert await cast.kinds(READERS) == [
        "board_created",
        "entry_verified",
        "comment_added",
        "comment_removed",
        "proof_added",
        "proof_removed",
        "entry_unverified",
    ]


@pytest.mark.requirement("R53")
async def test_moderators_learn_everything_and_submitters_what_others_did(cast: Cast) -> None:
    before = len(await cast.kinds(MODERATORS))
    entry = await cast.submit(cast.ann)
    await go_through(cast, entry.entry_id, verify=True)
    assert (await cast.kinds(MODERATORS))[before:] == [
        "score_submitted",
        "comment_added",
        "comment_removed",
        "proof_added",
        "proof_removed",
        "comment_added",
        "comment_removed",
        "proof_added",
        "proof_removed",
        "entry_verified",
        "comment_added",
        "comment_removed",
        "proof_added",
        "proof_removed",
        "entry_unverified",
        "comment_added",
        "entry_removed",
    ]
    own = await cast.hall.events(f"member/{cast.ann.member_id}/entries")
    assert [event.kind.partition(".")[2] for event in own] == [
        "level_changed",
        "comment_added",
        "comment_removed",
        "proof_removed",
        "entry_verified",
        "comment_added",
        "comment_removed",
        "proof_removed",
        "entry_unverified",
        "comment_added",
        "entry_removed",
    ]
    assert {event.data["board_id"] for event in own} == {"seven"}


@pytest.mark.requirement("R53")
async def test_removing_a_verified_entry_is_told_to_readers(cast: Cast) -> None:
    entry = await cast.verified(cast.ann)
    await cast.do(cast.ann, "remove_entry", entry_id=entry.entry_id)
    event = (await cast.hall.events(READERS))[-1]
    assert event.kind == "leaderboards.entry_removed"
    assert event.data == {
        "board_id": "seven",
        "entry_id": entry.entry_id,
        "member_id": cast.ann.member_id,
        "removed_by": cast.ann.member_id,
    }
    own = await cast.kinds(f"member/{cast.ann.member_id}/entries")
    assert own == ["level_changed", "entry_verified"]


@pytest.mark.requirement("R53")
def test_every_event_about_an_entry_is_known_to_these_tests() -> None:
    """A new event that names an entry must be walked through above."""
    found = {
        kind_of(one).partition(".")[2]
        for _, one in inspect.getmembers(events, inspect.isclass)
        if issubclass(one, Event) and one is not Event and "entry_id" in one.__struct_fields__
    }
    assert found == ABOUT_ENTRIES


@pytest.mark.requirement("R53")
async def test_submitters_follow_their_own_entries_and_nobody_elses(cast: Cast) -> None:
    async def follow(who: Visitor, feed: str) -> Any:
        connection = await cast.hall.connect(who)
        await connection.call("feeds.subscribe", feed=feed)
        await connection.until_live(feed)
        return connection

    entry = await cast.submit(cast.ann)
    of_ann, of_bob = await follow(cast.ann, "own-entries"), await follow(cast.bob, "own-entries")
    await cast.do(cast.mod, "verify_entry", entry_id=entry.entry_id)
    await cast.do(cast.mod, "set_level", **BOARD, member="bob", level="write")
    assert (await of_ann.next_event()).kind == "leaderboards.entry_verified"
    assert (await of_bob.next_event()).kind == "leaderboards.level_changed"
    for name in (f"member/{cast.ann.member_id}/entries", "board/seven/moderation"):
        connection = await cast.hall.connect(cast.bob)
        reply = await connection.answer("feeds.subscribe", feed=name)
        assert reply.problem is not None
