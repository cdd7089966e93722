"""Changing boards, while they are read; and removing them, without an orphan."""

from pathlib import Path
from typing import Any

import pytest

from moothall.client.cli.derive import DANGEROUS
from moothall.core.units import MINUTE_MS
from moothall.services.leaderboards.actions import erasing, rebuilding
from moothall.testing import OpenHall, ProblemError, Visitor, open_test_hall

REBUILD = "leaderboards.rebuild_rankings"
ERASE = "leaderboards.erase_removed_boards"
UNUSED = "leaderboards_unused_ranking"
ERASE_RANKINGS = "leaderboards.erase_unused_rankings"


@pytest.fixture
async def ann(hall: OpenHall) -> Visitor:
    return await hall.member("ann")


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a few entries be as many as one step ranks."""
    monkeypatch.setattr(rebuilding, "ROWS_AT_ONCE", 3)


async def create(hall: OpenHall, boss: Visitor, **fields: str) -> Any:
    board = {"name": "Seven", "direction": "descending", "default_level": "write", **fields}
    return await hall.call("leaderboards.create_board", board, as_=boss)


async def do(hall: OpenHall, who: Visitor, action: str, **fields: Any) -> Any:
    of = {} if "entry_id" in fields else {"board_id": "seven"}
    return await hall.call(f"leaderboards.{action}", {**of, **fields}, as_=who)


async def refused(hall: OpenHall, who: Visitor, action: str, **fields: Any) -> ProblemError:
    with pytest.raises(ProblemError) as refusal:
        await do(hall, who, action, **fields)
    return refusal.value


async def add(hall: OpenHall, boss: Visitor, **scores: list[float]) -> None:
    """Bring in verified entries of members, in the order they are given."""
    rows = [
        {"submitter": name, "score": score, "submitted_at_ms": hall.clock.now_ms() + at}
        for at, (name, score) in enumerate(
            (name, score) for name, found in scores.items() for score in found
        )
    ]
    report = await do(hall, boss, "import_entries", entries=rows)
    assert report.imported == len(rows)


async def ranking(hall: OpenHall, who: Visitor, **fields: int) -> list[tuple[int, str, float]]:
    found = await do(hall, who, "list_entries", **fields)
    return [(row.place, row.name, row.score) for row in found.standings]


async def count(hall: OpenHall, table: str) -> int:
    [(rows,)] = await hall.rows(f"SELECT count(*) FROM {table}")
    return int(rows)


async def tables(hall: OpenHall) -> list[str]:
    known = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table' AND name",
        "postgres": "SELECT tablename FROM pg_tables WHERE tablename",
    }
    rows = await hall.rows(f"{known[hall.hall.database.engine]} LIKE 'leaderboards_%'")
    return [str(name) for (name,) in rows]


async def check_nothing_is_left(hall: OpenHall) -> None:
    found = await tables(hall)
    assert len(found) >= 9
    for table in found:
        assert await count(hall, table) == 0, table


# --- Changing -------------------------------------------------------------------------------------

COUNTED = {
    ("descending", "best"): [(1, "ann", 5.0), (2, "bob", 4.0)],
    ("descending", "last"): [(1, "bob", 4.0), (2, "ann", 1.0)],
    ("descending", "sum"): [(1, "ann", 6.0), (1, "bob", 6.0)],
    ("descending", "every"): [(1, "ann", 5.0), (2, "bob", 4.0), (3, "bob", 2.0), (4, "ann", 1.0)],
    ("ascending", "best"): [(1, "ann", 1.0), (2, "bob", 2.0)],
    ("ascending", "last"): [(1, "ann", 1.0), (2, "bob", 4.0)],
    ("ascending", "sum"): [(1, "ann", 6.0), (1, "bob", 6.0)],
    ("ascending", "every"): [(1, "ann", 1.0), (2, "bob", 2.0), (3, "bob", 4.0), (4, "ann", 5.0)],
}


@pytest.mark.requirement("R59")
@pytest.mark.requirement("R61")
@pytest.mark.parametrize(("direction", "counting"), COUNTED)
async def test_a_small_board_counts_otherwise_at_once(
    hall: OpenHall, boss: Visitor, direction: str, counting: str
) -> None:
    await create(hall, boss)
    await add(hall, boss, ann=[5.0, 1.0], bob=[2.0, 4.0])
    await do(hall, boss, "start_season")
    hall.clock.advance(1_000)
    await add(hall, boss, ann=[5.0, 1.0], bob=[2.0, 4.0])
    board = await do(hall, boss, "update_board", direction=direction, counting=counting)
    assert (board.direction, board.counting, board.is_rebuilding) == (direction, counting, False)
    assert await ranking(hall, boss) == COUNTED[direction, counting]
    # Who won then, has won.
    assert await ranking(hall, boss, season=1) == COUNTED["descending", "best"]
    page = await do(hall, boss, "list_seasons")
    assert [(one.direction, one.counting) for one in page.seasons] == [
        (direction, counting),
        ("descending", "best"),
    ]


@pytest.mark.requirement("R59")
@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("counting", ["best", "last", "sum", "every"])
async def test_a_large_board_is_read_as_it_was_until_it_changes_over(
    hall: OpenHall, boss: Visitor, ann: Visitor, counting: str
) -> None:
    await create(hall, boss, counting="best" if counting != "best" else "every")
    await add(hall, boss, ann=[5.0, 1.0], bob=[2.0, 4.0], cid=[3.0], dan=[9.0, 9.0, 9.0, 9.0])
    hall.clock.advance(1_000)
    before = await ranking(hall, boss)
    waiting = await do(hall, ann, "submit_score", score=6.0)
    verified = (await do(hall, boss, "list_entries")).standings[0].entry_id

    board = await do(hall, boss, "update_board", counting=counting, name="Eight")
    assert (board.name, board.is_rebuilding) == ("Eight", True)
    assert board.counting != counting
    assert await ranking(hall, boss) == before
    for action, fields in (
        ("verify_entry", {"entry_id": waiting.entry_id}),
        ("unverify_entry", {"entry_id": verified}),
        ("update_board", {"name": "Nine"}),
        ("start_season", {}),
    ):
        refusal = await refused(hall, boss, action, **fields)
        assert (refusal.code, refusal.name) == ("unavailable", "board_busy")
        assert refusal.problem.retryable
        assert refusal.details["retry_after_ms"] == 1_000
    await do(hall, ann, "submit_score", score=7.0)

    await hall.run_job(REBUILD)
    board = await do(hall, ann, "get_board")
    assert (board.counting, board.is_rebuilding, board.name) == (counting, False, "Eight")
    await hall.call("leaderboards.verify_entry", {"entry_id": waiting.entry_id}, as_=boss)
    expected = {
        "best": [(1, "dan", 9.0), (2, "ann", 6.0), (3, "bob", 4.0), (4, "cid", 3.0)],
        "last": [(1, "dan", 9.0), (2, "ann", 6.0), (3, "bob", 4.0), (4, "cid", 3.0)],
        "sum": [(1, "dan", 36.0), (2, "ann", 12.0), (3, "bob", 6.0), (4, "cid", 3.0)],
        "every": [*[(1, "dan", 9.0)] * 4, (5, "ann", 6.0), (6, "ann", 5.0), (7, "bob", 4.0)],
    }[counting]
    assert (await ranking(hall, boss))[:7] == expected
    kinds = [event.kind for event in await hall.events("board/seven")]
    assert kinds.count("leaderboards.ranking_rebuilt") == 1
    assert kinds.count("leaderboards.board_updated") == 1

    await hall.run_job(ERASE_RANKINGS)
    assert await count(hall, "leaderboards_rank") == len(await ranking(hall, boss))
    assert await count(hall, UNUSED) == 0
    ranked = await hall.rows("SELECT DISTINCT ranking_id FROM leaderboards_rank_bucket")
    assert ranked == [("seven@1.1",)]


@pytest.mark.requirement("R59")
@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("counting", ["sum", "every"])
async def test_building_anew_goes_on_where_a_restart_cut_it_off(
    tmp_path: Path, counting: str
) -> None:
    async with open_test_hall(tmp_path) as hall:
        boss = await hall.administrator("boss")
        await create(hall, boss)
        await add(hall, boss, ann=[1.0, 2.0, 2.0], bob=[2.0, 2.0, 2.0, 2.0], cid=[3.0], dan=[9.0])
        before = await ranking(hall, boss)
        await do(hall, boss, "update_board", counting=counting)
        job = hall.hall.jobs._context(hall.hall.jobs._jobs[REBUILD])
        assert not await job.write(lambda step: rebuilding.rebuild_some(step, "seven"))
        ranked = await hall.rows(
            "SELECT count(*) FROM leaderboards_rank WHERE ranking_id = 'seven@1.1'"
        )
        assert ranked == [({"sum": 2, "every": 6}[counting],)]
        clock = hall.clock
    async with open_test_hall(tmp_path, clock=clock) as hall:
        assert await ranking(hall, boss) == before
        await hall.run_job(REBUILD)
        found = await ranking(hall, boss)
        assert len(found) == {"sum": 4, "every": 9}[counting]
        assert found[:2] == [
            (1, "dan", 9.0),
            (2, *{"sum": ("bob", 8.0), "every": ("cid", 3.0)}[counting]),
        ]
        assert not (await do(hall, boss, "get_board")).is_rebuilding


@pytest.mark.requirement("R16")
@pytest.mark.usefixtures("small_steps")
async def test_who_is_removed_meanwhile_is_erased_once_the_ranking_is_built(
    hall: OpenHall, boss: Visitor, ann: Visitor
) -> None:
    await create(hall, boss, removed_members="remove")
    await add(hall, boss, ann=[5.0, 1.0], bob=[2.0, 4.0])
    assert (await do(hall, boss, "update_board", counting="sum")).is_rebuilding
    member = {"member": ann.member_id}
    removal = await hall.call("identity.remove_member", member, as_=boss)
    assert not removal.is_erased
    assert len(await ranking(hall, boss)) == 2
    await hall.run_job(REBUILD)
    hall.clock.advance(MINUTE_MS)
    await hall.run_job("identity.finish_removals")
    assert await ranking(hall, boss) == [(1, "bob", 6.0)]


@pytest.mark.requirement("R50")
async def test_default_level_changes_for_everyone_and_leaves_their_own(
    hall: OpenHall, boss: Visitor, ann: Visitor
) -> None:
    bob = await hall.member("bob")
    await create(hall, boss, default_level="read")
    grant = {"member": "bob", "role": "board_writer", "at": "board/seven"}
    await hall.call("access.grant_role", grant, as_=boss)
    for level, held in (
        ("none", [None, "write"]),
        ("write", ["write", "write"]),
        ("moderate", ["moderate", "moderate"]),
        ("read", ["read", "write"]),
    ):
        board = await do(hall, boss, "update_board", default_level=level)
        assert board.default_level == level
        found = []
        for who in (ann, bob):
            page = await hall.call("leaderboards.list_boards", {}, as_=who)
            found.append(page.boards[0].level if page.boards else None)
        assert found == held


@pytest.mark.requirement("R50")
async def test_a_default_that_somebody_has_revoked_by_hand_can_be_changed(
    hall: OpenHall, boss: Visitor, ann: Visitor
) -> None:
    await create(hall, boss, default_level="read")
    revoke = {"member": "everyone", "role": "board_reader", "at": "board/seven"}
    await hall.call("access.revoke_role", revoke, as_=boss)
    await do(hall, boss, "update_board", default_level="write")
    assert (await do(hall, ann, "get_board")).level == "write"


@pytest.mark.requirement("R59")
async def test_only_who_may_changes_a_board_and_a_refusal_changes_nothing(
    hall: OpenHall, boss: Visitor, ann: Visitor
) -> None:
    await create(hall, boss)
    before = await do(hall, boss, "get_board")
    assert (await refused(hall, ann, "update_board", name="Mine")).code == "permission_denied"
    assert (await refused(hall, ann, "remove_board")).code == "permission_denied"
    bad = await refused(hall, boss, "update_board", name=" \t", direction="ascending")
    assert bad.details["field"] == "name"
    assert await do(hall, boss, "get_board") == before


async def test_changing_nothing_tells_nobody(hall: OpenHall, boss: Visitor) -> None:
    await create(hall, boss)
    await do(hall, boss, "update_board", name="Seven", direction="descending", counting="best")
    assert [e.kind for e in await hall.events("board/seven")] == ["leaderboards.board_created"]
    assert await count(hall, UNUSED) == 0


# --- Removing -------------------------------------------------------------------------------------


@pytest.mark.requirement("R59")
async def test_a_removed_board_is_hidden_at_once_everywhere(
    hall: OpenHall, boss: Visitor, ann: Visitor
) -> None:
    await create(hall, boss)
    await add(hall, boss, ann=[5.0])
    waiting = await do(hall, ann, "submit_score", score=6.0)
    verified = (await do(hall, boss, "list_entries")).standings[0].entry_id
    assert (await do(hall, boss, "remove_board")).board_id == "seven"

    page = await hall.call("leaderboards.list_boards", {}, as_=boss)
    assert page.boards == []
    of_board: list[tuple[str, dict[str, Any]]] = [
        ("get_board", {}),
        ("list_entries", {}),
        ("get_rank", {}),
        ("list_around", {"member": "ann"}),
        ("list_seasons", {}),
        ("list_waiting", {}),
        ("submit_score", {"score": 1.0}),
        ("start_season", {}),
        ("update_board", {"name": "Back"}),
        ("remove_board", {}),
        ("import_entries", {"entries": [{"submitter": "x", "score": 1, "submitted_at_ms": 1}]}),
    ]
    for action, fields in of_board:
        assert (await refused(hall, boss, action, **fields)).name == "board_not_found", action
    for action, entry_id in (
        ("verify_entry", waiting.entry_id),
        ("unverify_entry", verified),
    ):
        assert (await refused(hall, boss, action, entry_id=entry_id)).name == "entry_not_found"
        # As if it had never been.
        denied = await refused(hall, ann, action, entry_id=entry_id)
        assert denied.details == (await refused(hall, ann, action, entry_id="absent")).details
    denied = await refused(hall, ann, "get_board")
    other = await refused(hall, ann, "get_board", board_id="eight")
    assert (denied.code, other.code) == ("permission_denied", "permission_denied")


@pytest.mark.requirement("R59")
async def test_followers_of_a_removed_board_are_told_or_ended(
    hall: OpenHall, boss: Visitor, ann: Visitor
) -> None:
    await create(hall, boss)
    readers = {}
    for who in (boss, ann):
        readers[who.name] = await hall.connect(who)
        await readers[who.name].call("feeds.subscribe", feed="board/seven")
    await do(hall, boss, "remove_board")
    event = await readers["boss"].next_event()
    assert (event.kind, event.data) == ("leaderboards.board_removed", {"board_id": "seven"})
    assert await readers["ann"].wait_event() is None
    assert readers["ann"].ended == {"board/seven": "permission_denied"}
    with pytest.raises(ProblemError, match="not_found"):
        await readers["boss"].call("feeds.subscribe", feed="board/seven")


@pytest.mark.requirement("R59")
@pytest.mark.parametrize("steps", [1, 500])
async def test_nothing_of_a_removed_board_is_left_and_its_neighbour_keeps_all(
    hall: OpenHall, boss: Visitor, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    monkeypatch.setattr(erasing, "ROWS_AT_ONCE", steps)
    for board_id in ("seven", "seven-a"):
        await create(hall, boss, board_id=board_id, counting="best")
        for _ in range(2):
            rows = [
                {
                    "submitter": name,
                    "score": score,
                    "submitted_at_ms": hall.clock.now_ms(),
                    "verified": verified,
                    "description": "so it was",
                }
                for name in ("ann", "bob", "cid")
                for score, verified in ((1.0, True), (2.0, True), (3.0, False))
            ]
            await do(hall, boss, "import_entries", board_id=board_id, entries=rows)
            await do(hall, boss, "start_season", board_id=board_id)
            hall.clock.advance(1_000)
        await do(hall, boss, "update_board", board_id=board_id, counting="sum")
        grant = {"member": "ann", "role": "board_writer", "at": f"board/{board_id}"}
        await hall.call("access.grant_role", grant, as_=boss)
        ban = {"member": "bob", "at": f"board/{board_id}/below"}
        await hall.call("access.ban", ban, as_=boss)
    names = await tables(hall)
    before = {table: await count(hall, table) for table in names}
    monkeypatch.setattr(rebuilding, "ROWS_AT_ONCE", 1)
    await do(hall, boss, "update_board", board_id="seven", counting="every")

    await do(hall, boss, "remove_board")
    await hall.run_job(ERASE)
    await hall.run_job(ERASE_RANKINGS)
    await hall.run_job(REBUILD)
    # One of both boards is left; of no board a ranking that was replaced.
    left = {table: rows // 2 for table, rows in before.items()} | {UNUSED: 0}
    assert {table: await count(hall, table) for table in names} == left
    for table in ("access_binding", "access_ban"):
        places = await hall.rows(f"SELECT DISTINCT path FROM {table} WHERE path LIKE 'board/%'")
        assert {path.split("/")[1] for (path,) in places} == {"seven-a"}
    [row] = await hall.rows(
        "SELECT path, outcome FROM access_audit WHERE action = $1 AND path <> ''", ERASE
    )
    assert row == ("board/seven", "done")
    assert len(await ranking(hall, boss, board_id="seven-a", season=1)) == 3  # type: ignore[arg-type]  # one field is a text

    await do(hall, boss, "remove_board", board_id="seven-a")
    await hall.run_job(ERASE)
    await check_nothing_is_left(hall)


@pytest.mark.requirement("R59")
async def test_an_id_is_free_again_when_nothing_is_left(hall: OpenHall, boss: Visitor) -> None:
    await create(hall, boss)
    await add(hall, boss, ann=[5.0])
    await do(hall, boss, "remove_board")
    refusal = await refused(hall, boss, "create_board", name="Seven", direction="ascending")
    assert refusal.name == "board_exists"
    assert "being erased" in str(refusal.details["reason"])
    await hall.run_job(ERASE)
    await create(hall, boss, direction="ascending")
    assert await ranking(hall, boss) == []
    assert (await do(hall, boss, "get_board")).season == 1
    # Who reads the new board learns nothing of the old one from the numbers that stay.
    *old, made = await hall.events("board/seven")
    assert made.kind == "leaderboards.board_created"
    moderated = await hall.events("board/seven/moderation")
    assert (len(old), len(moderated)) == (3, 2)
    for event in [*old, *moderated]:
        assert (event.kind, event.data) == ("action.event_erased", {})


@pytest.mark.requirement("R59")
async def test_erasing_goes_on_after_a_restart(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path) as hall:
        boss = await hall.administrator("boss")
        await create(hall, boss)
        await add(hall, boss, ann=[5.0, 6.0], bob=[1.0])
        await do(hall, boss, "remove_board")
        job = hall.hall.jobs._context(hall.hall.jobs._jobs[ERASE])
        for erase in erasing.HANGS_ON_BOARD[:2]:
            await job.write(lambda step, erase=erase: erase(step, "seven"), outcome=None)  # type: ignore[misc]  # the default binds it
        clock = hall.clock
    async with open_test_hall(tmp_path, clock=clock) as hall:
        assert (await hall.call("leaderboards.list_boards", {}, as_=boss)).boards == []
        await hall.run_job(ERASE)
        await check_nothing_is_left(hall)


@pytest.mark.requirement("R59")
@pytest.mark.requirement("R22")
async def test_all_of_a_hall_cannot_be_revoked_by_one_call(
    hall: OpenHall, boss: Visitor, ann: Visitor
) -> None:
    with pytest.raises(ProblemError) as refusal:
        await hall.call("access.revoke_all", {"at": ""}, as_=boss)
    assert refusal.value.name == "invalid_argument"
    with pytest.raises(ProblemError) as refusal:
        await hall.call("access.revoke_all", {"at": "board/seven"}, as_=ann)
    assert refusal.value.code == "permission_denied"


def test_removing_is_a_command_that_asks_first(hall: OpenHall) -> None:
    noun, verb = hall.hall.catalog.actions["leaderboards.remove_board"].command
    assert noun == "board"
    assert verb in DANGEROUS
