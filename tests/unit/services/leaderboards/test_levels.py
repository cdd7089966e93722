"""Levels: who may give which to whom, and that they act at once."""

import asyncio

import pytest

from moothall.services.leaderboards.actions import levels as level_actions
from moothall.testing import OpenHall, Visitor
from tests.unit.services.leaderboards.cast import BOARD, Cast, gather_cast

LEVELS = ["none", "read", "write", "moderate"]


@pytest.fixture
async def cast(hall: OpenHall) -> Cast:
    return await gather_cast(hall)


async def set_level(cast: Cast, who: Visitor, member: str, level: str) -> str:
    """Return what came of it: ``done``, or the name of the error."""
    fields = {**BOARD, "member": member, "level": level}
    body = await cast.hall.answer("leaderboards.set_level", fields, token=who.token)
    return "done" if body.problem is None else body.problem.name


@pytest.mark.requirement("R58")
@pytest.mark.parametrize("own", LEVELS)
@pytest.mark.parametrize("wanted", LEVELS)
async def test_moderators_set_levels_below_moderator_for_members_below_moderator(
    cast: Cast, own: str, wanted: str
) -> None:
    dan = await cast.hall.member("dan")
    if own != "none":
        assert await set_level(cast, cast.boss, "dan", own) == "done"
    outcome = await set_level(cast, cast.mod, "dan", wanted)
    if "moderate" in {own, wanted}:
        assert outcome == "level_too_high"
        assert await cast.level_of(dan) == own
    elif own == wanted:
        assert outcome == "level_unchanged"
    else:
        assert outcome == "done"
        assert await cast.level_of(dan) == wanted


@pytest.mark.requirement("R58")
@pytest.mark.parametrize("own", LEVELS)
@pytest.mark.parametrize("wanted", LEVELS)
async def test_administrators_set_any_level_for_anybody_up_and_down(
    cast: Cast, own: str, wanted: str
) -> None:
    dan = await cast.hall.member("dan")
    if own != "none":
        await set_level(cast, cast.boss, "dan", own)
    outcome = await set_level(cast, cast.boss, "dan", wanted)
    assert outcome == ("level_unchanged" if own == wanted else "done")
    assert await cast.level_of(dan) == wanted
    rows = await cast.hall.rows(
        "SELECT role FROM access_binding WHERE subject = $1 AND path = 'board/seven'",
        dan.member_id,
    )
    assert len(rows) == (wanted != "none")


@pytest.mark.requirement("R58")
async def test_members_and_strangers_set_no_levels(cast: Cast) -> None:
    for who in (cast.ann, cast.bob, cast.out):
        assert await set_level(cast, who, "out", "read") == "permission_denied"
        assert (await cast.refused(who, "list_levels", **BOARD)).name == "permission_denied"
    # A level on one board is worth nothing on another.
    board = {"name": "Eight", "direction": "descending", "default_level": "read"}
    await cast.do(cast.boss, "create_board", **board)
    refusal = await cast.refused(
        cast.mod, "set_level", board_id="eight", member="ann", level="write"
    )
    assert refusal.details["permission"] == "levels:set"


@pytest.mark.requirement("R58")
async def test_nobody_raises_themselves(cast: Cast) -> None:
    await cast.hall.call("access.create_team", {"team": "staff"}, as_=cast.boss)
    await cast.grant("team:staff", "board_moderator")
    await cast.hall.call(
        "access.add_team_member", {"team": "staff", "member": "ann"}, as_=cast.boss
    )
    for who, name in ((cast.boss, "boss"), (cast.ann, "ann")):
        assert await set_level(cast, who, name, "moderate") == "own_level"
    # A moderator by a team is a moderator to others too.
    assert await set_level(cast, cast.mod, "ann", "read") == "level_too_high"
    assert await set_level(cast, cast.mod, "mod", "write") == "level_too_high"
    # An administrator may step down as far as their own level goes.
    await cast.grant("boss", "board_writer")
    assert await set_level(cast, cast.boss, "boss", "none") == "done"


@pytest.mark.requirement("R58")
@pytest.mark.parametrize("role", ["role_manager", "administrator", "board_moderator"])
async def test_who_holds_more_in_the_whole_hall_is_not_below_moderator(
    cast: Cast, role: str
) -> None:
    await cast.grant("out", role, at="")
    assert await set_level(cast, cast.mod, "out", "read") == "level_too_high"
    assert await set_level(cast, cast.boss, "out", "read") == "done"


@pytest.mark.requirement("R22")
async def test_nobody_gives_a_level_that_holds_more_than_they_do(cast: Cast) -> None:
    role = {"name": "clerk", "permissions": ["levels:set", "roles:grant", "scores:read"]}
    await cast.hall.call("access.define_role", role, as_=cast.boss)
    await cast.grant("out", "clerk")
    dan = await cast.hall.member("dan")
    assert await set_level(cast, cast.out, "dan", "moderate") == "grant_exceeds_own"
    assert await set_level(cast, cast.out, "ann", "none") == "grant_exceeds_own"
    assert await set_level(cast, cast.out, "dan", "read") == "done"
    assert await cast.level_of(dan) == "read"


@pytest.mark.requirement("R58")
async def test_banned_and_removed_members_get_no_level(cast: Cast) -> None:
    await cast.ban("bob")
    refusal = await cast.refused(cast.mod, "set_level", **BOARD, member="bob", level="write")
    assert (refusal.code, refusal.name) == ("failed_precondition", "member_banned")
    assert refusal.details["remedy"]
    await cast.hall.call("identity.remove_member", {"member": "out"}, as_=cast.boss)
    for member in (cast.out.member_id, "out", "nobody"):
        refusal = await cast.refused(cast.mod, "set_level", **BOARD, member=member, level="read")
        assert (refusal.code, refusal.name) == ("not_found", "member_not_found")


@pytest.mark.requirement("R22")
async def test_level_acts_on_open_connections_at_once(cast: Cast) -> None:
    connection = await cast.hall.connect(cast.bob)
    fields = {**BOARD, "score": 1.0}
    assert await set_level(cast, cast.mod, "bob", "write") == "done"
    await connection.call("leaderboards.submit_score", **fields)
    assert await set_level(cast, cast.mod, cast.bob.member_id, "none") == "done"
    reply = await connection.answer("leaderboards.get_board", **BOARD)
    assert reply.problem is not None
    assert reply.problem.name == "permission_denied"


@pytest.mark.requirement("R58")
async def test_two_changes_at_once_leave_no_moderator_lowered_by_a_moderator(cast: Cast) -> None:
    promoted, lowered = await asyncio.gather(
        set_level(cast, cast.boss, "bob", "moderate"), set_level(cast, cast.mod, "bob", "none")
    )
    assert (promoted, lowered) == ("done", "level_too_high")
    assert await cast.level_of(cast.bob) == "moderate"


@pytest.mark.requirement("R24")
async def test_level_is_told_and_audited(cast: Cast) -> None:
    await set_level(cast, cast.mod, "out", "write")
    data = {
        "board_id": "seven",
        "member_id": cast.out.member_id,
        "level": "write",
        "changed_by": cast.mod.member_id,
    }
    for stream in ("board/seven/moderation", f"member/{cast.out.member_id}/entries"):
        event = (await cast.hall.events(stream))[-1]
        assert (event.kind, event.data) == ("leaderboards.level_changed", data)
    assert "level_changed" not in await cast.kinds("board/seven")
    rows = await cast.hall.rows(
        "SELECT actor, action FROM access_audit ORDER BY number DESC LIMIT 2"
    )
    assert [tuple(row) for row in reversed(rows)] == [
        (f"room:leaderboards for {cast.mod.member_id}", "access.grant_role"),
        (cast.mod.member_id, "leaderboards.set_level"),
    ]


@pytest.mark.requirement("R60")
async def test_levels_are_listed_with_names_own_and_effective(cast: Cast) -> None:
    await cast.hall.call("access.create_team", {"team": "staff"}, as_=cast.boss)
    await cast.hall.call(
        "access.add_team_member", {"team": "staff", "member": "bob"}, as_=cast.boss
    )
    await cast.grant("team:staff", "board_writer")
    await cast.grant("ann", "board_reader")  # besides the higher one
    await cast.grant("out", "auditor")  # no level
    await cast.grant("out", "board_moderator", at="board/seven/below")
    await cast.grant("everyone", "board_reader", at="board/seven-b")
    await cast.ban("mod")
    page = await cast.do(cast.boss, "list_levels", **BOARD)
    assert page.default_level == "none"
    assert page.next is None
    assert {one.name: (one.level, one.effective_level, one.is_banned) for one in page.levels} == {
        "mod": ("moderate", "none", True),
        "ann": ("write", "write", False),
        "bob": ("read", "write", False),
        "staff": ("write", "write", False),
    }


@pytest.mark.requirement("R60")
@pytest.mark.parametrize("limit", [1, 2, 3, 50])
@pytest.mark.parametrize("at_once", [2, 5])
async def test_levels_are_listed_once_by_pages(
    cast: Cast, limit: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(level_actions, "BINDINGS_AT_ONCE", at_once)
    monkeypatch.setattr(level_actions, "SCANNED_MAX", 4)
    for number in range(5):
        await cast.hall.member(f"dan{number}")
        await cast.grant(f"dan{number}", "board_reader")
        await cast.grant(f"dan{number}", "board_writer" if number % 2 else "auditor")
    seen: list[tuple[str, str]] = []
    after: str | None = ""
    while after is not None:
        page = await cast.do(cast.mod, "list_levels", **BOARD, after=after, limit=limit)
        assert len(page.levels) <= limit
        seen += [(one.name, one.level) for one in page.levels]
        after = page.next
    assert sorted(seen) == [
        ("ann", "write"),
        ("bob", "read"),
        ("dan0", "read"),
        ("dan1", "write"),
        ("dan2", "read"),
        ("dan3", "write"),
        ("dan4", "read"),
        ("mod", "moderate"),
    ]
