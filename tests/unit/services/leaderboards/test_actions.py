"""Boards, levels and entries, by calls that take the whole road."""

import asyncio
from typing import Any

import msgspec
import pytest

from moothall.services.leaderboards.actions import boards as board_actions
from moothall.testing import OpenHall, ProblemError, Visitor

LEVELS = ["none", "read", "write", "moderate"]


@pytest.fixture
async def ann(hall: OpenHall) -> Visitor:
    return await hall.member("ann")


@pytest.fixture
async def bob(hall: OpenHall) -> Visitor:
    return await hall.member("bob")


async def create(hall: OpenHall, boss: Visitor, name: str = "Seven", **fields: str) -> Any:
    board = {"name": name, "direction": "descending", **fields}
    return await hall.call("leaderboards.create_board", board, as_=boss)


async def submit(hall: OpenHall, who: Visitor, score: float = 1.0, **fields: str) -> Any:
    request = {"board_id": "seven", "score": score, **fields}
    return await hall.call("leaderboards.submit_score", request, as_=who)


async def set_verified(hall: OpenHall, who: Visitor, verb: str, entry_id: str) -> Any:
    return await hall.call(f"leaderboards.{verb}_entry", {"entry_id": entry_id}, as_=who)


async def give(hall: OpenHall, boss: Visitor, member: str, level: str, board: str) -> None:
    role = {"read": "board_reader", "write": "board_writer", "moderate": "board_moderator"}[level]
    grant = {"member": member, "role": role, "at": f"board/{board}"}
    await hall.call("access.grant_role", grant, as_=boss)


async def refused(
    hall: OpenHall, who: Visitor | None, action: str, request: dict[str, Any]
) -> ProblemError:
    with pytest.raises(ProblemError) as refusal:
        await hall.call(f"leaderboards.{action}", request, as_=who)
    return refusal.value


async def listed(hall: OpenHall, who: Visitor, **fields: Any) -> list[tuple[str, str]]:
    page = await hall.call("leaderboards.list_boards", fields, as_=who)
    return [(board.board_id, board.level) for board in page.boards]


def history(submitter: str, score: float, at_ms: int = 1_000, **fields: Any) -> dict[str, Any]:
    return {"submitter": submitter, "score": score, "submitted_at_ms": at_ms, **fields}


async def bring_in(hall: OpenHall, boss: Visitor, *rows: dict[str, Any], key: str = "") -> Any:
    request = {"board_id": "seven", "entries": list(rows)}
    return await hall.call("leaderboards.import_entries", request, as_=boss, key=key or None)


async def places(hall: OpenHall, who: Visitor, **fields: int) -> list[tuple[int, str, float]]:
    ranking = await hall.call("leaderboards.list_entries", {"board_id": "seven", **fields}, as_=who)
    return [(row.place, row.name, row.score) for row in ranking.standings]


# --- boards and levels ----------------------------------------------------------------------------


@pytest.mark.requirement("R50")
@pytest.mark.parametrize("default", LEVELS)
@pytest.mark.parametrize("own", LEVELS)
async def test_effective_level_is_the_higher_of_default_and_own(
    hall: OpenHall, boss: Visitor, ann: Visitor, default: str, own: str
) -> None:
    await create(hall, boss, default_level=default)
    if own != "none":
        await give(hall, boss, "ann", own, "seven")
    level = max(default, own, key=LEVELS.index)
    assert await listed(hall, ann) == ([] if level == "none" else [("seven", level)])
    assert await listed(hall, boss) == [("seven", "moderate")]
    request = {"board_id": "seven"}
    attempts: dict[str, dict[str, Any]] = {
        "get_board": request,
        "list_entries": request,
        "list_waiting": request,
        "submit_score": {**request, "score": 1.0},
        "import_entries": {**request, "entries": [history("ann", 1.0)]},
        "verify_entry": {"entry_id": (await submit(hall, boss)).entry_id},
    }
    needed = {"submit_score": "write", "verify_entry": "moderate", "import_entries": "admin"}
    for action, body in attempts.items():
        reply = await hall.answer(f"leaderboards.{action}", body, token=ann.token)
        may = LEVELS.index(level) >= [*LEVELS, "admin"].index(needed.get(action, "read"))
        assert (reply.problem is None) is may, action
        assert reply.problem is None or reply.problem.code == "permission_denied"


@pytest.mark.requirement("R50")
async def test_level_given_on_one_board_is_worth_nothing_on_another(
    hall: OpenHall, boss: Visitor, ann: Visitor
) -> None:
    for name in ("a", "a-1", "a-10"):
        await create(hall, boss, name, default_level="none")
    await give(hall, boss, "ann", "moderate", "a-1")
    assert await listed(hall, ann) == [("a-1", "moderate")]


@pytest.mark.requirement("R59")
async def test_board_is_made_as_asked_and_told_to_its_readers(
    hall: OpenHall, boss: Visitor
) -> None:
    made = await create(hall, boss, "  Rainbow Road  ", counting="sum", direction="ascending")
    got = await hall.call("leaderboards.get_board", {"board_id": "rainbow-road"}, as_=boss)
    assert made == msgspec.convert(msgspec.structs.asdict(got), type(made))
    assert (got.ranked, got.waiting) == (0, 0)
    assert (got.name, got.counting, got.direction) == ("Rainbow Road", "sum", "ascending")
    assert got.default_level == "read"
    [event] = await hall.events("board/rainbow-road")
    assert (event.kind, event.data["name"]) == ("leaderboards.board_created", "Rainbow Road")


@pytest.mark.requirement("R51")
async def test_maker_of_a_board_is_told_their_own_level_on_it(
    hall: OpenHall, boss: Visitor, ann: Visitor
) -> None:
    role = {"name": "board_maker", "permissions": ["boards:create"]}
    await hall.call("access.define_role", role, as_=boss)
    await hall.call("access.grant_role", {"member": "ann", "role": "board_maker"}, as_=boss)
    for default in LEVELS:
        made = await create(hall, ann, f"b-{default}", default_level=default)
        assert made.level == default
    assert await listed(hall, ann) == sorted((f"b-{level}", level) for level in LEVELS[1:])


@pytest.mark.requirement("R59")
@pytest.mark.parametrize(
    ("fields", "field", "code"),
    [
        ({"name": "SEVEN"}, None, "already_exists"),
        ({"name": "Other", "board_id": "seven"}, None, "already_exists"),
        ({"name": "Other", "board_id": "Seven"}, "board_id", "invalid_argument"),
        ({"name": "Other", "board_id": "a/b"}, "board_id", "invalid_argument"),
        ({"name": "Other", "board_id": "a\n"}, "board_id", "invalid_argument"),
        ({"name": "Other", "board_id": ""}, "board_id", "invalid_argument"),
        ({"name": "日本"}, "board_id", "invalid_argument"),
        ({"name": "   "}, "name", "invalid_argument"),
        ({"name": "two\nlines"}, "name", "invalid_argument"),
        ({"name": "x" * 65}, "name", "invalid_argument"),
        ({"name": "Other", "direction": "up"}, "direction", "invalid_argument"),
        ({"name": "Other", "counting": "most"}, "counting", "invalid_argument"),
        ({"name": "Other", "default_level": "admin"}, "default_level", "invalid_argument"),
        ({"name": "Other", "colour": "red"}, "colour", "invalid_argument"),
    ],
)
async def test_bad_board_is_refused_with_field_and_remedy(
    hall: OpenHall, boss: Visitor, fields: dict[str, str], field: str | None, code: str
) -> None:
    await create(hall, boss)
    request = {"direction": "ascending", **fields}
    refusal = await refused(hall, boss, "create_board", request)
    assert (refusal.code, refusal.details.get("field")) == (code, field)
    assert refusal.details["remedy"]
    assert await listed(hall, boss) == [("seven", "moderate")]


@pytest.mark.requirement("R51")
@pytest.mark.parametrize(
    ("action", "fields"),
    [
        ("get_board", {}),
        ("list_entries", {}),
        ("get_rank", {}),
        ("get_rank", {"member": "boss"}),
        ("list_around", {}),
        ("list_waiting", {}),
        ("submit_score", {"score": 1.0}),
        ("import_entries", {"entries": [history("ann", 1.0)]}),
    ],
)
async def test_hidden_board_looks_like_one_that_does_not_exist(
    hall: OpenHall, boss: Visitor, ann: Visitor, action: str, fields: dict[str, Any]
) -> None:
    await create(hall, boss, default_level="none")
    hidden = await refused(hall, ann, action, {"board_id": "seven", **fields})
    absent = await refused(hall, ann, action, {"board_id": "eight", **fields})
    assert hidden.code == absent.code == "permission_denied"
    assert repr(hidden.details).replace("seven", "eight") == repr(absent.details)
    known = await refused(hall, boss, action, {"board_id": "eight", **fields})
    assert (known.code, known.name) == ("not_found", "board_not_found")
    assert known.details["board_id"] == "eight"
    assert known.details["remedy"]


@pytest.mark.requirement("R23")
async def test_hidden_entry_looks_like_one_that_does_not_exist(
    hall: OpenHall, boss: Visitor, ann: Visitor
) -> None:
    await create(hall, boss, default_level="none")
    entry = await submit(hall, boss)
    for verb in ("verify_entry", "unverify_entry"):
        hidden = await refused(hall, ann, verb, {"entry_id": entry.entry_id})
        absent = await refused(hall, ann, verb, {"entry_id": "0" * 24})
        assert hidden.code == absent.code == "permission_denied"
        assert hidden.details == absent.details
        known = await refused(hall, boss, verb, {"entry_id": "0" * 24})
        assert (known.code, known.name) == ("not_found", "entry_not_found")


@pytest.mark.requirement("R51")
@pytest.mark.parametrize("limit", [1, 2, 7])
async def test_boards_are_listed_once_by_pages_though_most_are_hidden(
    hall: OpenHall, boss: Visitor, ann: Visitor, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board_actions, "_SCANNED_AT_ONCE", 3)
    monkeypatch.setattr(board_actions, "SCANNED_MAX", 6)
    for number in range(20):
        await create(hall, boss, f"b{number:02}", default_level="read" if number % 5 else "none")
    seen: list[str] = []
    after: str | None = ""
    for _ in range(30):
        page = await hall.call(
            "leaderboards.list_boards", {"after": after, "limit": limit}, as_=ann
        )
        assert len(page.boards) <= limit
        seen += [board.board_id for board in page.boards]
        after = page.next
        if after is None:
            break
    assert seen == [f"b{number:02}" for number in range(20) if number % 5]


# --- submitting -----------------------------------------------------------------------------------


@pytest.mark.requirement("R52")
async def test_entry_starts_unverified_with_its_description_as_first_comment(
    hall: OpenHall, boss: Visitor, ann: Visitor
) -> None:
    await create(hall, boss, default_level="write")
    entry = await submit(hall, ann, 12.5, description="No glitches, 'honest'.")
    assert (entry.verified_at_ms, entry.verified_by) == (None, None)
    assert entry.submitted_at_ms == hall.clock.now_ms()
    rows = await hall.rows("SELECT entry_id, member_id, text FROM leaderboards_comment")
    assert rows == [(entry.entry_id, ann.member_id, "No glitches, 'honest'.")]
    assert await places(hall, ann) == []
    refusal = await refused(hall, ann, "get_rank", {"board_id": "seven"})
    assert (refusal.code, refusal.name) == ("not_found", "not_ranked")


@pytest.mark.requirement("R52")
async def test_empty_description_is_no_comment(hall: OpenHall, boss: Visitor) -> None:
    await create(hall, boss)
    await submit(hall, boss, description="")
    await submit(hall, boss, description=" \n ")
    assert await hall.rows("SELECT count(*) FROM leaderboards_comment") == [(0,)]


@pytest.mark.requirement("R52")
@pytest.mark.parametrize(
    ("score", "field"),
    [
        (b"1e999", "score"),
        (b"-1e999", "score"),
        (b"1" + b"0" * 400, "score"),
        (b'"12"', "score"),
        (b"true", "score"),
        (b"null", "score"),
        (b"[1]", "score"),
        (b"NaN", "body"),
        (b"Infinity", "body"),
    ],
)
async def test_score_that_is_no_finite_number_is_refused_by_name(
    hall: OpenHall, boss: Visitor, score: bytes, field: str
) -> None:
    await create(hall, boss)
    with pytest.raises(ProblemError) as refusal:
        await hall.call(
            "leaderboards.submit_score", b'{"board_id":"seven","score":' + score + b"}", as_=boss
        )
    assert (refusal.value.code, refusal.value.details["field"]) == ("invalid_argument", field)
    assert await hall.rows("SELECT count(*) FROM leaderboards_entry") == [(0,)]


@pytest.mark.requirement("R52")
@pytest.mark.parametrize("direction", ["ascending", "descending"])
async def test_huge_tiny_and_zero_scores_come_back_the_same(
    hall: OpenHall, boss: Visitor, direction: str
) -> None:
    await create(hall, boss, direction=direction, counting="every")
    scores = [1.7976931348623157e308, -1.7976931348623157e308, 5e-324, -5e-324, 0.0, -0.0, 0.1]
    for score in scores:
        entry = await submit(hall, boss, score)
        assert msgspec.json.encode(entry.score) == msgspec.json.encode(score + 0.0)
        await set_verified(hall, boss, "verify", entry.entry_id)
        hall.clock.advance(1)
    ranked = await places(hall, boss)
    is_high_first = direction == "descending"
    assert [score for _, _, score in ranked] == sorted(scores, reverse=is_high_first)
    zeros = [place for place, _, score in ranked if score == 0]
    assert len(zeros) == 2
    assert zeros[0] == zeros[1]
    assert "-0.0" not in repr(ranked)


@pytest.mark.requirement("R61")
async def test_sum_beyond_all_numbers_stays_a_number(hall: OpenHall, boss: Visitor) -> None:
    await create(hall, boss, counting="sum")
    huge = 1.7976931348623157e308
    made = [await submit(hall, boss, huge) for _ in range(3)]
    for entry in made:
        await set_verified(hall, boss, "verify", entry.entry_id)
    assert await places(hall, boss) == [(1, "boss", huge)]
    await set_verified(hall, boss, "unverify", made[0].entry_id)
    assert await places(hall, boss) == [(1, "boss", huge)]


@pytest.mark.requirement("R34")
async def test_repeated_submission_is_one_entry(hall: OpenHall, boss: Visitor) -> None:
    await create(hall, boss)
    request = {"board_id": "seven", "score": 5.0}
    first = await hall.call("leaderboards.submit_score", request, as_=boss, key="k")
    again = await hall.call("leaderboards.submit_score", request, as_=boss, key="k")
    assert first == again
    with pytest.raises(ProblemError, match="key_reused"):
        await hall.call("leaderboards.submit_score", {**request, "score": 6.0}, as_=boss, key="k")
    assert await hall.rows("SELECT count(*) FROM leaderboards_entry") == [(1,)]
    assert len(await hall.events("board/seven/moderation")) == 1


# --- who sees what --------------------------------------------------------------------------------


@pytest.mark.requirement("R53")
async def test_others_unverified_entries_are_seen_by_moderators_only(
    hall: OpenHall, boss: Visitor, ann: Visitor, bob: Visitor
) -> None:
    await create(hall, boss, default_level="write")
    await give(hall, boss, (await hall.member("mod")).member_id, "moderate", "seven")
    of_ann, of_bob = await submit(hall, ann, 1.0), await submit(hall, bob, 2.0)

    async def waiting(who: Visitor) -> list[str]:
        page = await hall.call("leaderboards.list_waiting", {"board_id": "seven"}, as_=who)
        return sorted(entry.entry_id for entry in page.entries)

    assert await waiting(ann) == [of_ann.entry_id]
    assert await waiting(bob) == [of_bob.entry_id]
    assert await waiting(boss) == sorted([of_ann.entry_id, of_bob.entry_id])
    await set_verified(hall, boss, "verify", of_ann.entry_id)
    assert await waiting(ann) == []
    assert await places(hall, bob) == [(1, "ann", 1.0)]


@pytest.mark.requirement("R53")
@pytest.mark.parametrize("limit", [1, 2, 200])
async def test_waiting_entries_are_listed_once_by_pages(
    hall: OpenHall, boss: Visitor, limit: int
) -> None:
    await create(hall, boss)
    made = []
    for number in range(5):
        hall.clock.advance(1)
        made.append((await submit(hall, boss, float(number))).score)
    seen: list[float] = []
    after: str | None = ""
    while after is not None:
        request = {"board_id": "seven", "after": after, "limit": limit}
        page = await hall.call("leaderboards.list_waiting", request, as_=boss)
        seen += [entry.score for entry in page.entries]
        after = page.next
    assert seen == made


@pytest.mark.requirement("R53")
async def test_readers_never_hear_of_unverified_entries(
    hall: OpenHall, boss: Visitor, ann: Visitor
) -> None:
    await create(hall, boss, default_level="write")
    entry = await submit(hall, ann, 3.0)
    await bring_in(hall, boss, history("cid", 9.0, verified=False), history("cid", 8.0))
    [_, imported] = await hall.events("board/seven")
    assert (imported.kind, imported.data) == ("leaderboards.entries_imported", {"count": 1})
    await set_verified(hall, boss, "verify", entry.entry_id)
    await set_verified(hall, boss, "unverify", entry.entry_id)
    moderation = await hall.events("board/seven/moderation")
    assert [(event.kind, event.data.get("count")) for event in moderation] == [
        ("leaderboards.score_submitted", None),
        ("leaderboards.entries_imported", 2),
        ("leaderboards.entry_verified", None),
        ("leaderboards.entry_unverified", None),
    ]
    board = await hall.events("board/seven")
    assert [event.seq for event in board] == [1, 2, 3, 4]
    assert [event.kind.rpartition(".")[2] for event in board] == [
        "board_created",
        "entries_imported",
        "entry_verified",
        "entry_unverified",
    ]
    assert board[2].data["verified_by"] == boss.member_id


# --- verifying ------------------------------------------------------------------------------------


@pytest.mark.requirement("R55")
async def test_verifier_and_time_are_kept_and_repeating_is_an_error(
    hall: OpenHall, boss: Visitor, ann: Visitor
) -> None:
    await create(hall, boss, default_level="write")
    entry = await submit(hall, ann)
    refusal = await refused(hall, boss, "unverify_entry", {"entry_id": entry.entry_id})
    assert (refusal.code, refusal.name) == ("failed_precondition", "not_verified")
    hall.clock.advance(1_000)
    verified = await set_verified(hall, boss, "verify", entry.entry_id)
    assert (verified.verified_by, verified.verified_at_ms) == (
        boss.member_id,
        hall.clock.now_ms(),
    )
    refusal = await refused(hall, boss, "verify_entry", {"entry_id": entry.entry_id})
    assert (refusal.code, refusal.name) == ("failed_precondition", "already_verified")
    assert refusal.details["verified_by"] == boss.member_id
    taken_back = await set_verified(hall, boss, "unverify", entry.entry_id)
    assert (taken_back.verified_by, taken_back.verified_at_ms) == (None, None)


@pytest.mark.requirement("R55")
async def test_of_many_who_verify_at_once_exactly_one_does(hall: OpenHall, boss: Visitor) -> None:
    await create(hall, boss)
    entry = await submit(hall, boss)
    body = {"entry_id": entry.entry_id}
    replies = await asyncio.gather(
        *(hall.answer("leaderboards.verify_entry", body, token=boss.token) for _ in range(20))
    )
    names = [reply.problem.name if reply.problem else "won" for reply in replies]
    assert sorted(names) == ["already_verified"] * 19 + ["won"]
    assert await places(hall, boss) == [(1, "boss", 1.0)]


@pytest.mark.requirement("R55")
async def test_writer_cannot_verify_not_even_an_entry_of_their_own(
    hall: OpenHall, boss: Visitor, ann: Visitor
) -> None:
    await create(hall, boss, default_level="write")
    entry = await submit(hall, ann)
    refusal = await refused(hall, ann, "verify_entry", {"entry_id": entry.entry_id})
    assert refusal.code == "permission_denied"
    assert refusal.details["permission"] == "scores:moderate"
    assert await places(hall, ann) == []


# --- places ---------------------------------------------------------------------------------------


@pytest.mark.requirement("R54")
async def test_ties_share_a_place_and_the_earlier_stands_first(
    hall: OpenHall, boss: Visitor
) -> None:
    await create(hall, boss)
    await bring_in(
        hall,
        boss,
        history("late", 5.0, 3_000),
        history("early", 5.0, 1_000),
        history("best", 9.0, 4_000),
        history("last", 1.0, 500),
        history("middle", 5.0, 2_000),
        history("more", 4.0, 2_000),
    )
    assert await places(hall, boss) == [
        (1, "best", 9.0),
        (2, "early", 5.0),
        (2, "middle", 5.0),
        (2, "late", 5.0),
        (5, "more", 4.0),
        (6, "last", 1.0),
    ]
    assert await places(hall, boss, offset=3, limit=2) == [(2, "late", 5.0), (5, "more", 4.0)]
    assert await places(hall, boss, offset=6) == []
    assert await places(hall, boss, offset=2**31) == []


@pytest.mark.requirement("R54")
async def test_unverifying_the_best_restores_the_next_best(hall: OpenHall, boss: Visitor) -> None:
    await create(hall, boss)
    made = [await submit(hall, boss, score) for score in (1.0, 3.0, 2.0)]
    for entry in made:
        await set_verified(hall, boss, "verify", entry.entry_id)
    seen = [await places(hall, boss)]
    for entry in (made[1], made[2], made[0]):
        await set_verified(hall, boss, "unverify", entry.entry_id)
        seen.append(await places(hall, boss))
    assert seen == [[(1, "boss", 3.0)], [(1, "boss", 2.0)], [(1, "boss", 1.0)], []]


@pytest.mark.requirement("R54")
@pytest.mark.parametrize(
    ("member", "count", "seen", "offset"),
    [
        ("m0", 2, ["m0", "m1", "m2"], 0),
        ("m1", 2, ["m0", "m1", "m2", "m3"], 0),
        ("m4", 2, ["m2", "m3", "m4", "m5", "m6"], 2),
        ("m8", 2, ["m6", "m7", "m8", "m9"], 6),
        ("m9", 2, ["m7", "m8", "m9"], 7),
        ("m4", 0, ["m4"], 4),
        ("m4", 100, [f"m{number}" for number in range(10)], 0),
    ],
)
async def test_around_a_member_stand_their_neighbours(
    hall: OpenHall, boss: Visitor, member: str, count: int, seen: list[str], offset: int
) -> None:
    await create(hall, boss)
    await bring_in(hall, boss, *(history(f"m{number}", 10.0 - number) for number in range(10)))
    request = {"board_id": "seven", "member": member, "count": count}
    around = await hall.call("leaderboards.list_around", request, as_=boss)
    assert [row.name for row in around.standings] == seen
    assert (around.offset, around.total) == (offset, 10)
    assert [row.place for row in around.standings] == list(
        range(offset + 1, offset + 1 + len(seen))
    )


@pytest.mark.requirement("R54")
async def test_rank_of_an_unknown_member_is_not_found(hall: OpenHall, boss: Visitor) -> None:
    await create(hall, boss)
    for action in ("get_rank", "list_around"):
        refusal = await refused(hall, boss, action, {"board_id": "seven", "member": "nobody"})
        assert (refusal.code, refusal.name) == ("not_found", "member_not_found")


# --- history --------------------------------------------------------------------------------------


@pytest.mark.requirement("R61")
async def test_import_reports_the_rows_it_leaves_out_and_keeps_the_rest(
    hall: OpenHall, boss: Visitor
) -> None:
    await create(hall, boss)
    now_ms = hall.clock.now_ms()
    report = await bring_in(
        hall,
        boss,
        history("ann", 1.0),
        history("every/one", 2.0),
        history("never", 3.0, now_ms + 60_001),
        history("bob", 4.0, now_ms + 60_000, description="a duel"),
        history("everyone", 5.0),
        history("bob", 6.0, 0, verified=False),
    )
    assert report.imported == 3
    assert [(one.row, one.field) for one in report.refused] == [
        (1, "submitter"),
        (2, "submitted_at_ms"),
        (4, "submitter"),
    ]
    assert all(one.reason and one.remedy for one in report.refused)
    assert await places(hall, boss) == [(1, "bob", 4.0), (2, "ann", 1.0)]
    rows = await hall.rows(
        "SELECT submitted_at_ms, verified_by FROM leaderboards_entry ORDER BY submitted_at_ms"
    )
    assert rows == [(0, None), (1_000, boss.member_id), (now_ms + 60_000, boss.member_id)]
    assert await hall.rows("SELECT text FROM leaderboards_comment") == [("a duel",)]
    names = await hall.rows("SELECT name FROM identity_member ORDER BY name")
    assert names == [("ann",), ("bob",), ("boss",)], "a refused row makes no account"


@pytest.mark.requirement("R61")
async def test_import_of_refused_rows_only_changes_nothing(hall: OpenHall, boss: Visitor) -> None:
    await create(hall, boss)
    report = await bring_in(hall, boss, history("a", 1.0, 2**53 - 1))
    assert (report.imported, len(report.refused)) == (0, 1)
    assert len(await hall.events("board/seven")) == 1
    assert await hall.rows("SELECT count(*) FROM identity_member") == [(1,)]


@pytest.mark.requirement("R61")
@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"submitter": "a", "score": 1.0}, "entries[1].submitted_at_ms"),
        (history("a", 1.0, -1), "entries[1].submitted_at_ms"),
        (history("a", 1.0, 2**53), "entries[1].submitted_at_ms"),
        (history("", 1.0), "entries[1].submitter"),
        (history("a" * 65, 1.0), "entries[1].submitter"),
        (history("a", 1.0, scores=2), "entries[1].scores"),
        ({**history("a", 1.0), "score": "1,5"}, "entries[1].score"),
        (history("a", 1.0, verified="yes"), "entries[1].verified"),
    ],
)
async def test_row_of_the_wrong_form_is_named_and_nothing_is_imported(
    hall: OpenHall, boss: Visitor, row: dict[str, Any], field: str
) -> None:
    await create(hall, boss)
    with pytest.raises(ProblemError) as refusal:
        await bring_in(hall, boss, history("ann", 1.0), row)
    assert (refusal.value.code, refusal.value.details["field"]) == ("invalid_argument", field)
    assert refusal.value.details["remedy"]
    assert await hall.rows("SELECT count(*) FROM identity_member") == [(1,)]


@pytest.mark.requirement("R61")
async def test_import_takes_at_most_1500_rows(hall: OpenHall, boss: Visitor) -> None:
    await create(hall, boss)
    rows = [history(f"m{number}", float(number)) for number in range(1_501)]
    with pytest.raises(ProblemError) as refusal:
        await bring_in(hall, boss, *rows)
    assert (refusal.value.code, refusal.value.details["field"]) == ("invalid_argument", "entries")
    assert (await bring_in(hall, boss, *rows[:1_500])).imported == 1_500
    assert (await places(hall, boss, offset=1_499))[0] == (1_500, "m0", 0.0)


@pytest.mark.requirement("R34")
async def test_repeated_import_has_no_second_effect(hall: OpenHall, boss: Visitor) -> None:
    await create(hall, boss, counting="every")
    rows = [history("ann", 1.0), history("every/one", 2.0), history("ann", 1.0)]
    first = await bring_in(hall, boss, *rows, key="chunk-1")
    hall.clock.advance(1_000)
    assert await bring_in(hall, boss, *rows, key="chunk-1") == first
    assert await places(hall, boss) == [(1, "ann", 1.0), (1, "ann", 1.0)]
    with pytest.raises(ProblemError, match="key_reused"):
        await bring_in(hall, boss, rows[0], key="chunk-1")


@pytest.mark.requirement("R61")
async def test_unknown_submitters_get_accounts_that_nobody_can_enter(
    hall: OpenHall, boss: Visitor, ann: Visitor
) -> None:
    await create(hall, boss)
    await bring_in(hall, boss, history("ANN", 1.0), history("Zoë", 2.0), history("zoe\u0308", 3.0))
    rows = await hall.rows("SELECT name, password_hash IS NULL FROM identity_member ORDER BY name")
    assert rows == [("Zoë", 1), ("ann", 0), ("boss", 0)]
    rank = await hall.call("leaderboards.get_rank", {"board_id": "seven"}, as_=ann)
    assert (rank.place, rank.score) == (2, 1.0), "what was brought in for a member is theirs"
    for password in ("", "Zoë", "None", "correct horse battery staple"):
        reply = await hall.answer("identity.open_session", {"name": "Zoë", "password": password})
        assert reply.problem is not None


@pytest.mark.requirement("R61")
@pytest.mark.parametrize(("counting", "score"), [("last", 3.0), ("best", 9.0), ("sum", 13.0)])
async def test_of_history_at_one_moment_the_later_row_is_the_later_one(
    hall: OpenHall, boss: Visitor, counting: str, score: float
) -> None:
    await create(hall, boss, counting=counting)
    await bring_in(hall, boss, *(history("ann", each) for each in (1.0, 9.0, 3.0)))
    assert await places(hall, boss) == [(1, "ann", score)]


@pytest.mark.requirement("R24")
async def test_import_and_what_it_does_in_other_rooms_are_audited(
    hall: OpenHall, boss: Visitor
) -> None:
    await create(hall, boss)
    await bring_in(hall, boss, history("ann", 1.0))
    rows = await hall.rows(
        "SELECT actor, action, path, outcome FROM access_audit ORDER BY number DESC LIMIT 4"
    )
    on_behalf = f"room:leaderboards for {boss.member_id}"
    assert rows[::-1] == [
        (on_behalf, "access.grant_role", "board/seven", "done"),
        (boss.member_id, "leaderboards.create_board", "", "done"),
        (on_behalf, "identity.add_members", "", "done"),
        (boss.member_id, "leaderboards.import_entries", "board/seven", "done"),
    ]
