"""Check, explain and the visibility of bindings, by calls that take the whole road."""

from typing import Any

import pytest

from moothall.testing import OpenHall, Visitor
from tests.unit.services.access.calls import change, do, refused


@pytest.fixture
async def bob(hall: OpenHall, boss: Visitor) -> Visitor:
    """Reads at org/1 as everyone does, writes at org by a team."""
    visitor = await hall.member("bob")
    await do(hall, boss, "create_team", team="staff")
    await do(hall, boss, "add_team_member", team="staff", member="bob")
    await change(hall, boss, "grant", "team:staff", "board_writer", "org")
    await change(hall, boss, "grant", "everyone", "board_reader", "org/1")
    return visitor


async def explain(hall: OpenHall, who: Visitor, permission: str, at: str, member: str) -> Any:
    return await do(hall, who, "explain", member=member, permission=permission, at=at)


@pytest.mark.requirement("R21")
async def test_explanation_names_the_nearest_binding(
    hall: OpenHall, boss: Visitor, bob: Visitor
) -> None:
    for permission, at, expected in [
        ("scores:read", "org/1/x", ("everyone", "board_reader", "org/1")),
        ("scores:read", "org/2", ("team:staff", "board_writer", "org")),
        ("scores:write", "org/1", ("team:staff", "board_writer", "org")),
        ("sessions:own", "org/1", ("everyone", "member", "")),
    ]:
        for who in (bob, boss):
            found = await explain(hall, who, permission, at, "bob")
            assert (found.is_allowed, found.cause, found.ban) == (True, "granted", None)
            assert (found.ground.subject, found.ground.role, found.ground.at) == expected
            assert found.member_id == bob.member_id


@pytest.mark.requirement("R21")
async def test_explanation_of_a_refusal_says_what_could_be_granted(
    hall: OpenHall, bob: Visitor
) -> None:
    found = await explain(hall, bob, "scores:write", "board", "bob")
    assert (found.is_allowed, found.cause, found.ground, found.ban) == (
        False,
        "not_granted",
        None,
        None,
    )
    assert found.roles == ("administrator", "board_moderator", "board_writer")
    assert not [role for role in found.roles if role.startswith("room:")]


@pytest.mark.requirement("R21")
async def test_explanation_names_the_ban_and_what_it_overrides(
    hall: OpenHall, boss: Visitor, bob: Visitor
) -> None:
    await do(hall, boss, "ban", member="bob", at="org", reason="spam", until_ms=4 * 10**12)
    found = await explain(hall, bob, "scores:write", "org/1", "bob")
    assert (found.is_allowed, found.cause) == (False, "banned")
    assert (found.ban.at, found.ban.reason, found.ban.until_ms) == ("org", "spam", 4 * 10**12)
    assert found.ban.banned_by == boss.member_id
    assert found.ground.subject == "team:staff"


@pytest.mark.requirement("R21")
async def test_explanation_agrees_with_the_check_and_with_the_call(
    hall: OpenHall, boss: Visitor, bob: Visitor
) -> None:
    await do(hall, boss, "ban", member="bob", at="org/1/x")
    for at in ("", "org", "org/1", "org/1/x", "org/1/x/y", "org/10"):
        for permission in ("scores:read", "scores:write", "roles:grant", "sessions:own"):
            found = (await explain(hall, bob, permission, at, "bob")).is_allowed
            for who, asked in ((bob, {}), (boss, {"member": "bob"}), (bob, {"member": "bob"})):
                answer = await do(hall, who, "check", permission=permission, at=at, **asked)
                assert answer.is_allowed is found


@pytest.mark.requirement("R21")
async def test_about_others_one_asks_where_one_may_check(
    hall: OpenHall, boss: Visitor, bob: Visitor
) -> None:
    warden = await hall.member("warden")
    await change(hall, boss, "grant", "warden", "warden", "org")
    assert (await explain(hall, warden, "scores:write", "org/1", "bob")).is_allowed
    for verb in ("check", "explain"):
        for member in ("bob", bob.member_id, "nobody"):
            request = {"member": member, "permission": "scores:write", "at": "board"}
            refusal = await refused(hall, warden, f"access.{verb}", request)
            assert (refusal.name, refusal.details["permission"]) == (
                "permission_denied",
                "permissions:check",
            ), "who may not ask learns not who exists"
        request = {"member": "nobody", "permission": "scores:write", "at": "org"}
        assert (await refused(hall, warden, f"access.{verb}", request)).name == "member_not_found"


@pytest.mark.requirement("R21")
async def test_permission_that_nothing_demands_is_told_with_near_matches(
    hall: OpenHall, bob: Visitor
) -> None:
    request = {"member": "bob", "permission": "scores:wrte"}
    refusal = await refused(hall, bob, "access.explain", request)
    assert (refusal.name, refusal.details["field"]) == ("invalid_argument", "permission")
    assert "scores:write" in str(refusal.details["remedy"])


# --- who sees which bindings ----------------------------------------------------------------------


async def listed(hall: OpenHall, who: Visitor, **wanted: Any) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    after: Any = ("", "", "")
    for _ in range(20):
        page = await do(hall, who, "list_bindings", **wanted, limit=2, after=after)
        found += [(one.subject, one.at) for one in page.bindings]
        if page.next is None:
            return found
        after = page.next
    raise AssertionError(found)


@pytest.mark.requirement("R60")
async def test_everybody_sees_what_acts_for_themselves_and_no_more(
    hall: OpenHall, boss: Visitor, bob: Visitor
) -> None:
    await change(hall, boss, "grant", "bob", "board_reader", "board/7")
    assert await listed(hall, bob, member="bob") == [(bob.member_id, "board/7")]
    assert await listed(hall, bob, member="bob", at="board") == [(bob.member_id, "board/7")]
    assert await listed(hall, bob, member="bob", at="board/70") == []
    assert await listed(hall, bob, member="team:staff") == [("team:staff", "org")]
    assert await listed(hall, bob, member="everyone") == [("everyone", "org/1")]
    eve = await hall.member("eve")
    for wanted in (
        {"member": "bob"},
        {"member": "team:staff"},
        {"member": "team:no-such"},
        {"member": "nobody"},
        {"member": "boss", "at": "org"},
        {"at": "org"},
        {},
    ):
        refusal = await refused(hall, eve, "access.list_bindings", wanted)
        assert refusal.name == "permission_denied"
        missing = "roles:grant" if "at" in wanted else "roles:list"
        assert refusal.details["permission"] == missing


@pytest.mark.requirement("R60")
async def test_who_may_grant_at_a_resource_sees_its_bindings_and_those_below(
    hall: OpenHall, boss: Visitor, bob: Visitor
) -> None:
    steward = await hall.member("steward")
    for at in ("org/1", "org/1/a", "org/1/b", "org/10", "org/1-", "org/1.a", "org"):
        await change(hall, boss, "grant", "bob", "board_reader", at)
    await hall.rows("SELECT 1")
    role = {"name": "granter", "permissions": ["roles:grant"]}
    await hall.call("access.define_role", role, as_=boss)
    await change(hall, boss, "grant", "steward", "granter", "org/1")
    expected = {
        (bob.member_id, "org/1"),
        (bob.member_id, "org/1/a"),
        (bob.member_id, "org/1/b"),
        (steward.member_id, "org/1"),
        ("everyone", "org/1"),
    }
    for who in (steward, boss):
        found = await listed(hall, who, at="org/1")
        assert (set(found), len(found)) == (expected, 5)
    below = [(bob.member_id, at) for at in ("org/1", "org/1/a", "org/1/b")]
    assert await listed(hall, steward, at="org/1", member="bob") == below
    for at in ("org", "", "org/10"):
        refusal = await refused(hall, steward, "access.list_bindings", {"at": at})
        assert refusal.code == "permission_denied"


@pytest.mark.requirement("R21")
async def test_permissions_of_several_members_are_told_to_who_may_check_others(
    hall: OpenHall, boss: Visitor, bob: Visitor
) -> None:
    eve = await hall.member("eve")
    await change(hall, boss, "grant", "eve", "board_moderator", "org/1")
    await do(hall, boss, "ban", member="eve", at="org/1")
    fields = {
        "member_ids": [eve.member_id, bob.member_id, "nobody"],
        "permissions": ["scores:write", "scores:read", "sessions:own"],
        "at": "org/1",
    }
    found = await do(hall, boss, "check_members", **fields)
    assert [(one.member_id, one.permissions, one.is_banned) for one in found.members] == [
        (eve.member_id, ["sessions:own"], True),
        (bob.member_id, ["scores:write", "scores:read", "sessions:own"], False),
        ("nobody", ["scores:read", "sessions:own"], False),
    ]
    await change(hall, boss, "grant", "bob", "warden", "org/2")
    refusal = await refused(hall, bob, "access.check_members", fields)
    assert refusal.details["permission"] == "permissions:check"
    await do(hall, bob, "check_members", **{**fields, "at": "org/2"})
