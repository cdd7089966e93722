"""Looking at entries: one of them, those of one member, those that wait."""

from typing import Any

import pytest

from moothall.services.leaderboards.actions import views as view_actions
from moothall.services.leaderboards.store import entries as entry_store
from moothall.services.leaderboards.store import views as view_store
from moothall.testing import OpenHall, Visitor
from tests.unit.services.leaderboards.cast import BOARD, Cast, gather_cast

NOTHING = "0" * 24


@pytest.fixture
async def cast(hall: OpenHall) -> Cast:
    return await gather_cast(hall)


async def list_of(cast: Cast, who: Visitor, member: str, **fields: Any) -> list[float]:
    page = await cast.do(who, "list_entries_of", member=member, **fields)
    assert page.name == member
    assert {entry.name for entry in page.entries} <= {member}
    return [entry.score for entry in page.entries]


@pytest.mark.requirement("R53")
@pytest.mark.requirement("R55")
async def test_entry_shows_names_verifier_and_time(cast: Cast) -> None:
    entry = await cast.submit(cast.ann, 7.0, description="by ann")
    for who in (cast.ann, cast.mod, cast.boss):
        shown = await cast.do(who, "get_entry", entry_id=entry.entry_id)
        assert (shown.name, shown.score, shown.comments) == ("ann", 7.0, 1)
        assert (shown.verified_at_ms, shown.verified_by, shown.verified_by_name) == (None, None, "")
    cast.hall.clock.advance(5)
    await cast.do(cast.mod, "verify_entry", entry_id=entry.entry_id)
    shown = await cast.do(cast.bob, "get_entry", entry_id=entry.entry_id)
    assert (shown.verified_by, shown.verified_by_name) == (cast.mod.member_id, "mod")
    assert shown.verified_at_ms == cast.hall.clock.now_ms()
    assert shown.submitted_at_ms == entry.submitted_at_ms


@pytest.mark.requirement("R23")
@pytest.mark.requirement("R53")
async def test_hidden_entry_looks_like_one_that_does_not_exist(cast: Cast) -> None:
    waiting, verified = await cast.submit(cast.ann), await cast.verified(cast.ann)
    for action in ("get_entry", "remove_entry", "list_comments"):
        for who, hidden in ((cast.bob, [waiting]), (cast.out, [waiting, verified])):
            absent = await cast.refused(who, action, entry_id=NOTHING)
            assert absent.code == "permission_denied"
            for entry in hidden:
                refusal = await cast.refused(who, action, entry_id=entry.entry_id)
                assert refusal.name == absent.name
                assert refusal.details == absent.details
    # Whoever reads all boards, but moderates none, learns nothing either.
    await cast.grant("out", "board_reader", at="")
    for action in ("get_entry", "remove_entry", "list_comments"):
        for entry_id in (waiting.entry_id, NOTHING):
            refusal = await cast.refused(cast.out, action, entry_id=entry_id)
            assert (refusal.name, dict(refusal.details)) == (
                "entry_not_found",
                {"entry_id": entry_id},
            )


@pytest.mark.requirement("R51")
async def test_own_entry_is_hidden_with_its_board(cast: Cast) -> None:
    entry = await cast.verified(cast.ann)
    await cast.do(cast.mod, "set_level", **BOARD, member="ann", level="none")
    assert (await cast.refused(cast.ann, "get_entry", entry_id=entry.entry_id)).code == (
        "permission_denied"
    )
    assert await list_of(cast, cast.ann, "ann") == []


@pytest.mark.requirement("R60")
async def test_member_is_shown_with_the_entries_that_the_caller_may_see(cast: Cast) -> None:
    for name, level in (("Open", "write"), ("Closed", "none")):
        board = {"name": name, "direction": "ascending", "default_level": level}
        await cast.do(cast.boss, "create_board", **board)
    await cast.verified(cast.ann, 1.0)
    await cast.submit(cast.ann, 2.0)
    on_open = await cast.submit(cast.ann, 3.0, board_id="open")
    await cast.submit(cast.ann, 4.0, board_id="open")
    await cast.do(cast.boss, "verify_entry", entry_id=on_open.entry_id)
    await cast.grant("ann", "board_writer", at="board/closed")
    await cast.submit(cast.ann, 5.0, board_id="closed")
    expected = {
        cast.ann: [5.0, 4.0, 3.0, 2.0, 1.0],
        cast.boss: [5.0, 4.0, 3.0, 2.0, 1.0],
        cast.mod: [3.0, 2.0, 1.0],
        cast.bob: [3.0, 1.0],
        cast.out: [3.0],
    }
    for who, scores in expected.items():
        assert await list_of(cast, who, "ann") == scores, who.name
    assert await list_of(cast, cast.mod, "ann", **BOARD) == [2.0, 1.0]
    assert await list_of(cast, cast.bob, "ann", **BOARD) == [1.0]
    assert await list_of(cast, cast.bob, "out") == []
    page = await cast.do(cast.out, "list_entries_of", member="ann")
    found = await cast.hall.call("identity.find_member", {"member": "ann"}, as_=cast.out)
    assert (page.member_id, page.registered_at_ms) == (found.member_id, found.created_at_ms)
    assert page.entries[0].verified_by_name == "boss"


@pytest.mark.requirement("R51")
async def test_entries_on_a_hidden_board_look_like_those_on_none(cast: Cast) -> None:
    hidden, absent = [
        await cast.refused(cast.out, "list_entries_of", member="ann", board_id=board_id)
        for board_id in ("seven", "eight")
    ]
    assert hidden.code == absent.code == "permission_denied"
    assert repr(hidden.details).replace("seven", "eight") == repr(absent.details)
    known = await cast.refused(cast.boss, "list_entries_of", member="ann", board_id="eight")
    assert known.name == "board_not_found"
    nobody = await cast.refused(cast.out, "list_entries_of", member="nobody")
    assert nobody.name == "member_not_found"


@pytest.mark.requirement("R60")
@pytest.mark.parametrize("limit", [1, 3, 50])
async def test_entries_of_a_member_are_listed_once_by_pages_though_most_are_hidden(
    cast: Cast, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view_actions, "_SCANNED_AT_ONCE", 2)
    monkeypatch.setattr(view_actions, "SCANNED_MAX", 4)
    for number in range(12):
        make = cast.submit if number % 4 else cast.verified
        await make(cast.ann, float(number))
    for who, expected in (
        (cast.bob, [8.0, 4.0, 0.0]),
        (cast.mod, [float(number) for number in reversed(range(12))]),
    ):
        seen: list[float] = []
        after: str | None = ""
        while after is not None:
            fields = {"member": "ann", "after": after, "limit": limit}
            page = await cast.do(who, "list_entries_of", **fields)
            assert len(page.entries) <= limit
            seen += [entry.score for entry in page.entries]
            after = page.next
        assert seen == expected


@pytest.mark.requirement("R16")
async def test_removed_member_is_shown_by_id_without_a_name(cast: Cast) -> None:
    entry = await cast.verified(cast.ann)
    await cast.hall.call("identity.remove_member", {"member": "ann"}, as_=cast.boss)
    page = await cast.do(cast.bob, "list_entries_of", member=cast.ann.member_id)
    assert (page.name, page.is_removed, len(page.entries)) == ("", True, 1)
    shown = await cast.do(cast.bob, "get_entry", entry_id=entry.entry_id)
    assert (shown.name, shown.is_removed) == ("", True)


@pytest.mark.requirement("R53")
async def test_readers_list_their_own_waiting_entries_and_moderators_all(cast: Cast) -> None:
    await cast.do(cast.mod, "set_level", **BOARD, member="bob", level="write")
    await cast.submit(cast.ann, 1.0)
    await cast.submit(cast.bob, 2.0)
    await cast.verified(cast.bob, 3.0)
    await cast.do(cast.mod, "set_level", **BOARD, member="bob", level="read")
    for who, expected in (
        (cast.ann, [("ann", 1.0)]),
        (cast.bob, [("bob", 2.0)]),
        (cast.mod, [("ann", 1.0), ("bob", 2.0)]),
        (cast.boss, [("ann", 1.0), ("bob", 2.0)]),
    ):
        page = await cast.do(who, "list_waiting", **BOARD)
        assert [(entry.name, entry.score) for entry in page.entries] == expected


@pytest.mark.requirement("R55")
@pytest.mark.parametrize("verb", ["verify", "unverify"])
async def test_setting_the_state_it_has_is_an_error_also_with_another_key(
    cast: Cast, verb: str
) -> None:
    entry = await cast.submit(cast.ann)
    if verb == "unverify":
        await cast.do(cast.mod, "verify_entry", entry_id=entry.entry_id)

    async def set_state(who: Visitor, key: str) -> Any:
        fields = {"entry_id": entry.entry_id}
        reply = await cast.hall.answer(
            f"leaderboards.{verb}_entry", fields, token=who.token, key=key
        )
        return reply.body if reply.problem is None else reply.problem.name

    first = await set_state(cast.mod, "one")
    expected = {"verify": "already_verified", "unverify": "not_verified"}[verb]
    before = await cast.do(cast.boss, "get_entry", entry_id=entry.entry_id)
    cast.hall.clock.advance(1)
    assert await set_state(cast.mod, "one") == first
    assert await set_state(cast.mod, "two") == expected
    assert await set_state(cast.boss, "one") == expected
    assert await cast.do(cast.boss, "get_entry", entry_id=entry.entry_id) == before


@pytest.mark.requirement("R55")
async def test_ranking_shows_verifier_and_time(cast: Cast) -> None:
    entry = await cast.verified(cast.ann, 7.0)
    [standing] = (await cast.do(cast.bob, "list_entries", **BOARD)).standings
    assert standing.verified_at_ms == entry.verified_at_ms
    assert (standing.verified_by, standing.verified_by_name) == (cast.mod.member_id, "mod")


@pytest.mark.requirement("R53")
async def test_board_tells_how_many_entries_count_and_wait_for_whom(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        await cast.submit(cast.ann)
    await cast.verified(cast.ann)
    for who, waiting in ((cast.ann, 3), (cast.bob, 0), (cast.mod, 3), (cast.boss, 3)):
        board = await cast.do(who, "get_board", **BOARD)
        assert (board.ranked, board.waiting) == (1, waiting), who.name
    monkeypatch.setattr(view_store, "WAITING_COUNTED_MAX", 2)
    for who in (cast.ann, cast.mod):
        assert (await cast.do(who, "get_board", **BOARD)).waiting == 2


@pytest.mark.sqlite  # its words for a plan; tests/nodes/test_board_plans.py reads PostgreSQL's
@pytest.mark.requirement("R53")
async def test_pages_of_entries_seek_in_an_index_and_never_sort(cast: Cast) -> None:
    class Explained:
        """A transaction that tells how its statements would be carried out."""

        def __init__(self, tx: Any) -> None:
            self.tx = tx
            self.plan = ""

        async def fetch_all(self, sql: str, *params: object) -> list[Any]:
            rows = await self.tx.fetch_all(f"EXPLAIN QUERY PLAN {sql}", *params)
            self.plan = "; ".join(row[3] for row in rows)
            return []

    async def explain(tx: Any) -> list[str]:
        plans = []
        explained: Any = Explained(tx)
        for member_id in (None, "ann"):
            await entry_store.list_waiting(explained, "seven", member_id, "5", 50)
            plans.append(explained.plan)
        await entry_store.list_newest_of_member(explained, "ann", "", 50)
        plans.append(explained.plan)
        return plans

    plans = await cast.hall.hall.database.read(explain)
    assert not [plan for plan in plans if "SCAN" in plan or "TEMP B-TREE" in plan]
    for plan, index in zip(
        plans,
        (
            "leaderboards_entry_waiting (board_id=? AND entry_id>?)",
            "leaderboards_entry_waiting_of_member (board_id=? AND member_id=? AND entry_id>?)",
            "leaderboards_entry_of_member (member_id=? AND entry_id<?)",
        ),
        strict=True,
    ):
        assert index in plan
