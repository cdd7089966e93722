"""Removing an entry: who may, and that nothing of it is left."""

from typing import Any

import pytest

from moothall.testing import OpenHall, ProblemError
from tests.unit.services.leaderboards.cast import gather_cast


async def count(hall: OpenHall, sql: str) -> int:
    return int((await hall.rows(f"SELECT count(*) FROM {sql}"))[0][0])


@pytest.mark.requirement("R56")
async def test_submitter_and_moderators_remove_an_entry_and_nobody_else(hall: OpenHall) -> None:
    cast = await gather_cast(hall)
    by_ann, waiting, other = (
        await cast.verified(cast.ann, 3.0),
        await cast.submit(cast.ann, 2.0),
        await cast.verified(cast.ann, 1.0),
    )
    refusal = await cast.refused(cast.bob, "remove_entry", entry_id=by_ann.entry_id)
    assert (refusal.code, refusal.name) == ("permission_denied", "not_submitter")
    refusal = await cast.refused(cast.bob, "remove_entry", entry_id=waiting.entry_id)
    assert refusal.name == "permission_denied"
    for who, entry in ((cast.ann, by_ann), (cast.mod, waiting), (cast.boss, other)):
        removed = await cast.do(who, "remove_entry", entry_id=entry.entry_id)
        assert removed.entry_id == entry.entry_id
        again = await cast.refused(cast.boss, "remove_entry", entry_id=entry.entry_id)
        assert again.name == "entry_not_found"
    assert await count(hall, "leaderboards_entry") == 0


@pytest.mark.requirement("R34")
@pytest.mark.requirement("R56")
async def test_removal_that_is_repeated_with_its_key_answers_the_same(hall: OpenHall) -> None:
    cast = await gather_cast(hall)
    entry = await cast.submit(cast.ann, 2.0)
    name, fields = "leaderboards.remove_entry", {"entry_id": entry.entry_id}
    first = await hall.call(name, fields, as_=cast.ann, key="k")
    assert await hall.call(name, fields, as_=cast.ann, key="k") == first
    for who, key in ((cast.bob, "k"), (cast.ann, "another"), (cast.ann, None)):
        with pytest.raises(ProblemError) as caught:
            await hall.call(name, fields, as_=who, key=key)
        assert caught.value.problem.name == "permission_denied"
    with pytest.raises(ProblemError) as caught:
        await hall.call(name, {"entry_id": "1" * 24}, as_=cast.ann, key="k")
    assert caught.value.problem.name == "key_reused"


@pytest.mark.requirement("R54")
@pytest.mark.requirement("R56")
@pytest.mark.parametrize(
    ("counting", "left"),
    [
        ("best", [(1, "bob", 6.0), (2, "ann", 5.0)]),
        ("last", [(1, "bob", 6.0), (2, "ann", 2.0)]),
        ("sum", [(1, "ann", 7.0), (2, "bob", 6.0)]),
        ("every", [(1, "bob", 6.0), (2, "ann", 5.0), (3, "ann", 2.0)]),
    ],
)
async def test_removed_entry_leaves_no_place_no_comment_and_no_orphan(
    hall: OpenHall, counting: str, left: Any
) -> None:
    cast = await gather_cast(hall, counting=counting)
    await cast.grant("bob", "board_writer")
    await cast.verified(cast.ann, 5.0)
    await cast.verified(cast.bob, 6.0, description="by bob")
    await cast.verified(cast.ann, 2.0)
    best = await cast.verified(cast.ann, 9.0, description="by ann")
    await cast.do(cast.mod, "add_comment", entry_id=best.entry_id, text="wow")
    digest = await cast.upload(cast.ann, b"a picture")
    fields = {"entry_id": best.entry_id, "sha256": digest, "name": "a.png"}
    await cast.do(cast.ann, "add_proof", **fields)
    await cast.submit(cast.ann, 11.0)
    await cast.do(cast.ann, "remove_entry", entry_id=best.entry_id)
    assert await cast.places(cast.bob) == left
    assert await hall.rows("SELECT text FROM leaderboards_comment") == [("by bob",)]
    for table in ("leaderboards_proof", "files_hold"):
        assert await count(hall, table) == 0
    if hall.hall.database.engine == "sqlite":  # PostgreSQL never stops checking keys
        assert await hall.rows("SELECT * FROM pragma_foreign_key_check") == []
    known = "SELECT entry_id FROM leaderboards_entry"
    for table in ("rank", "standing"):
        assert await count(hall, f"leaderboards_{table} WHERE entry_id NOT IN ({known})") == 0
    ranked = await count(hall, "leaderboards_rank")
    sums = await hall.rows("SELECT sum(row_count) FROM leaderboards_rank_bucket GROUP BY level")
    assert sums == [(ranked,), (ranked,)]


@pytest.mark.requirement("R54")
async def test_last_entry_of_a_member_takes_their_place_along(hall: OpenHall) -> None:
    cast = await gather_cast(hall)
    entry = await cast.verified(cast.ann, 5.0)
    await cast.do(cast.mod, "remove_entry", entry_id=entry.entry_id)
    assert await cast.places(cast.bob) == []
    refusal = await cast.refused(cast.bob, "get_rank", board_id="seven", member="ann")
    assert refusal.name == "not_ranked"
