"""Comments: who may say something about an entry, who reads it, who removes it."""

from pathlib import Path

import pytest

from moothall.testing import OpenHall, open_test_hall
from tests.unit.services.leaderboards.cast import Cast, gather_cast


@pytest.fixture
async def cast(hall: OpenHall) -> Cast:
    return await gather_cast(hall)


@pytest.mark.requirement("R56")
async def test_submitter_and_moderators_comment_and_nobody_else(cast: Cast) -> None:
    entry = await cast.verified(cast.ann, description="by ann")
    for who in (cast.ann, cast.mod, cast.boss):
        await cast.do(who, "add_comment", entry_id=entry.entry_id, text=f" by {who.name}\n")
        cast.hall.clock.advance(1)
    fields = {"entry_id": entry.entry_id, "text": "me too"}
    refusal = await cast.refused(cast.bob, "add_comment", **fields)
    assert (refusal.code, refusal.name) == ("permission_denied", "not_submitter")
    assert (await cast.refused(cast.out, "add_comment", **fields)).name == "permission_denied"
    page = await cast.do(cast.bob, "list_comments", entry_id=entry.entry_id)
    assert [(one.name, one.text) for one in page.comments] == [
        ("ann", "by ann"),
        ("ann", "by ann"),
        ("mod", "by mod"),
        ("boss", "by boss"),
    ]
    assert page.comments[0].created_at_ms == entry.submitted_at_ms
    assert page.comments[2].member_id == cast.mod.member_id


@pytest.mark.requirement("R23")
async def test_comments_of_a_hidden_entry_look_like_none(cast: Cast) -> None:
    entry = await cast.submit(cast.ann)
    comment = await cast.do(cast.ann, "add_comment", entry_id=entry.entry_id, text="mine")
    nothing = "0" * 24
    for action, hidden, absent in (
        ("list_comments", {"entry_id": entry.entry_id}, {"entry_id": nothing}),
        (
            "add_comment",
            {"entry_id": entry.entry_id, "text": "x"},
            {"entry_id": nothing, "text": "x"},
        ),
        ("remove_comment", {"comment_id": comment.comment_id}, {"comment_id": nothing}),
    ):
        for who in (cast.bob, cast.out):
            one, other = [await cast.refused(who, action, **f) for f in (hidden, absent)]
            assert one.code == other.code == "permission_denied"
            assert one.details == other.details
        assert (await cast.refused(cast.boss, action, **absent)).code == "not_found"
    assert len((await cast.do(cast.mod, "list_comments", entry_id=entry.entry_id)).comments) == 1


@pytest.mark.requirement("R56")
async def test_author_and_moderators_remove_comments(cast: Cast) -> None:
    entry = await cast.verified(cast.ann)
    by_ann, by_mod, more = [
        await cast.do(who, "add_comment", entry_id=entry.entry_id, text="hm")
        for who in (cast.ann, cast.mod, cast.ann)
    ]
    for who, name in (
        (cast.bob, "not_author"),
        (cast.ann, "not_author"),
        (cast.out, "permission_denied"),
    ):
        refusal = await cast.refused(who, "remove_comment", comment_id=by_mod.comment_id)
        assert (refusal.code, refusal.name) == ("permission_denied", name)
    await cast.do(cast.ann, "remove_comment", comment_id=by_ann.comment_id)
    await cast.do(cast.boss, "remove_comment", comment_id=by_mod.comment_id)
    assert (
        await cast.refused(cast.boss, "remove_comment", comment_id=by_mod.comment_id)
    ).name == "comment_not_found"
    left = (await cast.do(cast.bob, "list_comments", entry_id=entry.entry_id)).comments
    assert [one.comment_id for one in left] == [more.comment_id]


@pytest.mark.requirement("R56")
@pytest.mark.parametrize("text", ["", " \n\t", "x" * 4_001])
async def test_comment_that_says_nothing_or_too_much_is_refused(cast: Cast, text: str) -> None:
    entry = await cast.submit(cast.ann)
    fields = {"entry_id": entry.entry_id, "text": text}
    refusal = await cast.refused(cast.ann, "add_comment", **fields)
    assert (refusal.code, refusal.details["field"]) == ("invalid_argument", "text")
    assert await cast.hall.rows("SELECT count(*) FROM leaderboards_comment") == [(0,)]


@pytest.mark.requirement("R56")
async def test_entry_has_so_many_comments_and_no_more(tmp_path: Path) -> None:
    tables = {"boards": {"comments_per_entry_max": 3}}
    async with open_test_hall(tmp_path, tables=tables) as hall:
        cast = await gather_cast(hall)
        entry = await cast.submit(cast.ann, description="the first one")
        fields = {"entry_id": entry.entry_id, "text": "more"}
        await cast.do(cast.mod, "add_comment", **fields)
        last = await cast.do(cast.ann, "add_comment", **fields)
        refusal = await cast.refused(cast.mod, "add_comment", **fields)
        assert (refusal.code, refusal.name) == ("failed_precondition", "comments_full")
        assert refusal.details["limit"] == 3
        await cast.do(cast.ann, "remove_comment", comment_id=last.comment_id)
        await cast.do(cast.mod, "add_comment", **fields)


@pytest.mark.requirement("R56")
@pytest.mark.parametrize("limit", [1, 2, 3, 10])
async def test_comments_are_listed_once_by_pages(cast: Cast, limit: int) -> None:
    entry = await cast.submit(cast.ann)
    for number in range(6):
        await cast.do(cast.ann, "add_comment", entry_id=entry.entry_id, text=f"{number}")
        cast.hall.clock.advance(number % 2)  # some at the same moment
    seen: list[str] = []
    after: tuple[int, str] | None = (0, "")
    while after is not None:
        page = await cast.do(
            cast.mod, "list_comments", entry_id=entry.entry_id, after=after, limit=limit
        )
        assert len(page.comments) <= limit
        seen += [one.text for one in page.comments]
        after = page.next
    assert seen == [f"{number}" for number in range(6)]


@pytest.mark.requirement("R16")
async def test_comments_of_a_removed_member_stay_without_a_name(cast: Cast) -> None:
    entry = await cast.verified(cast.ann, description="by ann")
    await cast.hall.call("identity.remove_member", {"member": "ann"}, as_=cast.boss)
    [comment] = (await cast.do(cast.bob, "list_comments", entry_id=entry.entry_id)).comments
    assert (comment.name, comment.text) == ("", "by ann")
