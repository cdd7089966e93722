"""What becomes of a board when somebody on it is removed."""

from pathlib import Path
from typing import Any

import pytest

from moothall.core.units import MINUTE_MS
from moothall.services.leaderboards import personal
from moothall.services.leaderboards.model import Comment
from moothall.services.leaderboards.store import comments
from moothall.testing import OpenHall, ProblemError, Visitor, open_test_hall
from moothall.testing.hall import PASSWORD

BOARD = {"board_id": "seven"}


async def create(hall: OpenHall, boss: Visitor, **fields: str) -> Any:
    board = {"name": "Seven", "direction": "descending", "default_level": "write", **fields}
    return await hall.call("leaderboards.create_board", board, as_=boss)


async def import_scores(hall: OpenHall, boss: Visitor, scores: dict[str, list[float]]) -> None:
    rows = [
        {"submitter": name, "score": score, "submitted_at_ms": number, "description": f"by {name}"}
        for name, its_scores in scores.items()
        for number, score in enumerate(its_scores)
    ]
    for at in range(0, len(rows), 500):
        request = {**BOARD, "entries": rows[at : at + 500]}
        report = await hall.call("leaderboards.import_entries", request, as_=boss)
        assert report.refused == []


async def standings(hall: OpenHall, boss: Visitor) -> list[tuple[int, str, float]]:
    page = await hall.call("leaderboards.list_entries", BOARD, as_=boss)
    assert page.total == len(page.standings)
    assert all(row.is_removed == (row.name == "") for row in page.standings)
    return [(row.place, row.name, row.score) for row in page.standings]


async def remove(hall: OpenHall, boss: Visitor, member: str) -> Any:
    return await hall.call("identity.remove_member", {"member": member}, as_=boss)


async def count(hall: OpenHall, table: str, where: str = "TRUE", *params: object) -> int:
    return int((await hall.rows(f"SELECT count(*) FROM {table} WHERE {where}", *params))[0][0])


async def check_is_whole(hall: OpenHall) -> None:
    """Refuse a place without its entry, an entry without its place, and other orphans."""
    ranked = "SELECT entry_id FROM leaderboards_rank"
    assert await count(hall, "leaderboards_rank") == await count(
        hall, "leaderboards_entry", f"entry_id IN ({ranked}) AND verified_at_ms IS NOT NULL"
    )
    buckets = await hall.rows(
        "SELECT level, sum(row_count) FROM leaderboards_rank_bucket GROUP BY level"
    )
    total = await count(hall, "leaderboards_rank")
    assert {sum_ for _, sum_ in buckets} <= {total}
    assert await count(hall, "leaderboards_standing", f"entry_id NOT IN ({ranked})") == 0
    known = "SELECT entry_id FROM leaderboards_entry"
    assert await count(hall, "leaderboards_comment", f"entry_id NOT IN ({known})") == 0
    if hall.hall.database.engine == "sqlite":  # PostgreSQL never stops checking keys
        assert await hall.rows("SELECT * FROM pragma_foreign_key_check") == []


SCORES = {"ann": [5.0, 9.0, 1.0], "bob": [9.0, 2.0], "cid": [3.0, 3.0, 3.0], "dan": [1.0]}


@pytest.mark.requirement("R16")
@pytest.mark.requirement("R54")
@pytest.mark.parametrize("counting", ["best", "last", "sum", "every"])
@pytest.mark.parametrize("direction", ["ascending", "descending"])
async def test_removed_entries_leave_the_board_as_if_they_had_never_been(
    hall: OpenHall, boss: Visitor, counting: str, direction: str
) -> None:
    await create(hall, boss, counting=counting, direction=direction, removed_members="remove")
    await create(hall, boss, name="Expected", counting=counting, direction=direction)
    await import_scores(hall, boss, SCORES)
    others = {name: scores for name, scores in SCORES.items() if name != "ann"}
    rows = [
        {"submitter": name, "score": score, "submitted_at_ms": number}
        for name, scores in others.items()
        for number, score in enumerate(scores)
    ]
    request = {"board_id": "expected", "entries": rows}
    await hall.call("leaderboards.import_entries", request, as_=boss)
    before = await standings(hall, boss)
    assert "ann" in [name for _, name, _ in before]
    assert (await remove(hall, boss, "ann")).is_erased
    page = await hall.call("leaderboards.list_entries", {"board_id": "expected"}, as_=boss)
    expected = [(row.place, row.name, row.score) for row in page.standings]
    assert await standings(hall, boss) == expected
    assert await count(hall, "leaderboards_comment", "text = 'by ann'") == 0
    assert await count(hall, "leaderboards_comment", "text = 'by bob'") == 2
    await check_is_whole(hall)
    [event] = [
        event
        for event in await hall.events("board/seven")
        if event.kind == "leaderboards.entries_removed"
    ]
    assert event.data["count"] == 3


@pytest.mark.requirement("R16")
@pytest.mark.parametrize("counting", ["best", "every"])
async def test_kept_entries_keep_their_places_without_a_name(
    hall: OpenHall, boss: Visitor, counting: str
) -> None:
    board = await create(hall, boss, counting=counting)
    assert board.removed_members == "keep"
    await import_scores(hall, boss, SCORES)
    before = await standings(hall, boss)
    found = await hall.call("identity.find_member", {"member": "ann"}, as_=boss)
    await remove(hall, boss, "ann")
    assert await standings(hall, boss) == [
        (place, "" if name == "ann" else name, score) for place, name, score in before
    ]
    ask = {**BOARD, "member": found.member_id}
    rank = await hall.call("leaderboards.get_rank", ask, as_=boss)
    assert rank.place == 1
    around = await hall.call("leaderboards.list_around", ask, as_=boss)
    assert next(row.is_removed for row in around.standings if row.member_id == found.member_id)
    assert await count(hall, "leaderboards_comment", "text = 'by ann'") == 3
    await check_is_whole(hall)


@pytest.mark.requirement("R16")
async def test_verifications_stay_and_waiting_entries_and_comments_go(
    hall: OpenHall, boss: Visitor
) -> None:
    await create(hall, boss, removed_members="remove")
    ann, bob = await hall.member("ann"), await hall.member("bob")
    grant = {"member": "ann", "role": "board_moderator", "at": "board/seven"}
    await hall.call("access.grant_role", grant, as_=boss)
    fields = {**BOARD, "score": 4.0, "description": "mine"}
    of_bob = await hall.call("leaderboards.submit_score", fields, as_=bob)
    await hall.call("leaderboards.verify_entry", {"entry_id": of_bob.entry_id}, as_=ann)
    of_ann = await hall.call("leaderboards.submit_score", fields, as_=ann)

    async def comment(entry_id: str, who: Visitor, text: str) -> None:
        await hall.hall.database.write(
            lambda tx: comments.insert_comment(
                tx,
                Comment(
                    comment_id=f"{text}-{entry_id}",
                    entry_id=entry_id,
                    member_id=who.member_id,
                    text=text,
                    created_at_ms=1,
                ),
            )
        )

    await comment(of_bob.entry_id, ann, "by ann")
    await comment(of_ann.entry_id, bob, "by bob")
    await hall.call("identity.remove_account", {"password": PASSWORD}, as_=ann)
    assert await hall.rows("SELECT entry_id, verified_by FROM leaderboards_entry") == [
        (of_bob.entry_id, ann.member_id)
    ]
    assert await hall.rows("SELECT text FROM leaderboards_comment") == [("mine",)]
    assert await standings(hall, boss) == [(1, "bob", 4.0)]
    kinds = [event.kind for event in await hall.events("board/seven/moderation")]
    assert kinds[-1] == "leaderboards.entries_removed"
    await check_is_whole(hall)


@pytest.mark.requirement("R16")
@pytest.mark.parametrize("counting", ["sum", "every"])
async def test_many_entries_go_in_steps_also_over_a_restart(tmp_path: Path, counting: str) -> None:
    many = personal.ENTRIES_AT_ONCE * 3 + 1
    async with open_test_hall(tmp_path) as hall:
        boss = await hall.administrator("boss")
        await create(hall, boss, counting=counting, removed_members="remove")
        await import_scores(hall, boss, {"ann": [1.0] * many, "bob": [2.0, 3.0]})
        found = await hall.call("identity.find_member", {"member": "ann"}, as_=boss)
        await hall.hall.database.write(
            lambda tx: tx.execute(
                "UPDATE identity_member SET name = '', removed_at_ms = $1 WHERE member_id = $2",
                hall.clock.now_ms(),
                found.member_id,
            )
        )
        job = hall.hall.jobs._context(hall.hall.catalog.rooms["identity"].jobs[0])
        left = []
        for _ in range(3):
            done = await job.write(
                lambda step: personal.erase_rows(step, found.member_id), outcome=None
            )
            left.append(await count(hall, "leaderboards_entry", "member_id = $1", found.member_id))
            assert not done
            await check_is_whole(hall)
        # One step for the comments, then one for each hundred of the entries.
        assert left == [many, many - 100, many - 200]
        clock = hall.clock
    async with open_test_hall(tmp_path, clock=clock) as hall:
        hall.clock.advance(MINUTE_MS)
        await hall.run_job("identity.finish_removals")
        boss = await hall.sign_in("boss")
        assert {name for _, name, _ in await standings(hall, boss)} == {"bob"}
        await check_is_whole(hall)


@pytest.mark.requirement("R16")
async def test_the_setting_can_be_changed_by_whoever_may(hall: OpenHall, boss: Visitor) -> None:
    await create(hall, boss)
    ann = await hall.member("ann")
    change = {**BOARD, "removed_members": "remove"}
    with pytest.raises(ProblemError) as refusal:
        await hall.call("leaderboards.update_board", change, as_=ann)
    assert refusal.value.details["permission"] == "boards:update"
    assert (await hall.call("leaderboards.get_board", BOARD, as_=ann)).removed_members == "keep"
    board = await hall.call("leaderboards.update_board", change, as_=boss)
    assert board.removed_members == "remove"
    absent = {"board_id": "absent", "removed_members": "keep"}
    with pytest.raises(ProblemError) as refusal:
        await hall.call("leaderboards.update_board", absent, as_=boss)
    assert refusal.value.name == "board_not_found"
    await import_scores(hall, boss, {"ann": [3.0], "bob": [2.0]})
    await remove(hall, boss, "ann")
    assert await standings(hall, boss) == [(1, "bob", 2.0)]


@pytest.mark.requirement("R16")
async def test_a_member_takes_entries_along_with_scores_as_they_were_submitted(
    hall: OpenHall, boss: Visitor
) -> None:
    await create(hall, boss)
    await create(hall, boss, name="Up", direction="ascending")
    ann = await hall.member("ann")
    for board_id, score in (("seven", 7.5), ("up", 2.5), ("seven", 0.0)):
        fields = {"board_id": board_id, "score": score, "description": "so there"}
        entry = await hall.call("leaderboards.submit_score", fields, as_=ann)
        await hall.call("leaderboards.verify_entry", {"entry_id": entry.entry_id}, as_=boss)
    ask = {"room": "leaderboards"}
    rows = (await hall.call("identity.export_self", ask, as_=ann)).rows
    of_ann = [(row.data["board_id"], row.data["score"]) for row in rows if row.kind == "entry"]
    assert of_ann == [("seven", 7.5), ("up", 2.5), ("seven", 0.0)], "as they came in"
    assert [str(score) for _, score in of_ann] == ["7.5", "2.5", "0.0"]
    places = [(row.data["board_id"], row.data["score"]) for row in rows if row.kind == "standing"]
    assert places == [("seven", 7.5), ("up", 2.5)]
    assert [row.data["text"] for row in rows if row.kind == "comment"] == ["so there"] * 3
    of_boss = (await hall.call("identity.export_self", ask, as_=boss)).rows
    kinds = [row.kind for row in of_boss]
    assert (kinds.count("board"), kinds.count("verification")) == (2, 3)
    assert "entry" not in kinds
