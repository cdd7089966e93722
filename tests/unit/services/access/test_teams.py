"""Teams, by calls that take the whole road."""

from typing import Any

import pytest

from moothall.testing import OpenHall, ProblemError, Visitor, open_test_hall
from tests.unit.services.access.calls import change, do, may, refused


@pytest.fixture
async def bob(hall: OpenHall, boss: Visitor) -> Visitor:
    """Belongs to the team `staff`, which writes at board/7."""
    visitor = await hall.member("bob")
    await do(hall, boss, "create_team", team="staff", summary="They help.")
    await do(hall, boss, "add_team_member", team="staff", member="bob")
    await change(hall, boss, "grant", "team:staff", "board_writer", "board/7")
    return visitor


@pytest.mark.requirement("R20")
async def test_what_a_team_holds_acts_for_its_members_only(hall: OpenHall, bob: Visitor) -> None:
    eve = await hall.member("eve")
    assert await may(hall, bob, "scores:write", "board/7")
    assert not await may(hall, bob, "scores:write", "board/70")
    assert not await may(hall, eve, "scores:write", "board/7")


@pytest.mark.requirement("R22")
@pytest.mark.parametrize("way", ["leave", "revoke", "delete"])
async def test_what_a_team_loses_its_members_lose_with_the_next_call(
    hall: OpenHall, boss: Visitor, bob: Visitor, way: str
) -> None:
    if way == "leave":
        await do(hall, boss, "remove_team_member", team="staff", member="bob")
    elif way == "revoke":
        await change(hall, boss, "revoke", "team:staff", "board_writer", "board/7")
    else:
        gone = await do(hall, boss, "delete_team", team="staff")
        assert (gone.members, gone.bindings) == (1, 1)
        assert await hall.rows("SELECT * FROM access_binding WHERE subject LIKE 'team:%'") == []
        assert await hall.rows("SELECT * FROM access_team_member") == []
    assert not await may(hall, bob, "scores:write", "board/7")
    if way == "delete":  # a team that is made anew inherits nothing
        await do(hall, boss, "create_team", team="staff")
        assert not await may(hall, bob, "scores:write", "board/7")


@pytest.mark.requirement("R22")
async def test_adding_twice_changes_nothing_and_events_tell_each_change(
    hall: OpenHall, boss: Visitor, bob: Visitor
) -> None:
    await do(hall, boss, "add_team_member", team="staff", member=bob.member_id)
    await do(hall, boss, "remove_team_member", team="staff", member="bob")
    await do(hall, boss, "delete_team", team="staff")
    kinds = [event.kind.removeprefix("access.") for event in await hall.events("access")]
    assert kinds == [
        "role_granted",
        "team_created",
        "team_member_added",
        "role_granted",
        "team_member_removed",
        "team_deleted",
    ]


@pytest.mark.requirement("R22")
@pytest.mark.parametrize(
    ("verb", "request_", "name"),
    [
        ("create_team", {"team": "staff"}, "team_exists"),
        ("create_team", {"team": "Staff"}, "invalid_argument"),
        ("create_team", {"team": "a:b"}, "invalid_argument"),
        ("delete_team", {"team": "stuff"}, "team_not_found"),
        ("add_team_member", {"team": "stuff", "member": "bob"}, "team_not_found"),
        ("add_team_member", {"team": "staff", "member": "nobody"}, "member_not_found"),
        ("add_team_member", {"team": "staff", "member": "everyone"}, "member_not_found"),
        ("add_team_member", {"team": "staff", "member": "team:staff"}, "member_not_found"),
        ("remove_team_member", {"team": "staff", "member": "boss"}, "team_member_not_found"),
        ("list_team_members", {"team": "stuff"}, "team_not_found"),
        ("grant_role", {"member": "team:stuff", "role": "board_reader"}, "team_not_found"),
        ("grant_role", {"member": "team:", "role": "board_reader"}, "team_not_found"),
        ("revoke_role", {"member": "team:stuff", "role": "board_reader"}, "team_not_found"),
        ("list_bindings", {"member": "team:stuff"}, "team_not_found"),
    ],
)
async def test_what_cannot_be_done_is_refused_with_a_remedy_and_changes_nothing(
    hall: OpenHall, boss: Visitor, bob: Visitor, verb: str, request_: dict[str, Any], name: str
) -> None:
    sql = "SELECT team, member_id FROM access_team_member"
    before = await hall.rows(sql)
    refusal = await refused(hall, boss, f"access.{verb}", request_)
    assert refusal.name == name
    assert refusal.details["remedy"]
    assert await hall.rows(sql) == before == [("staff", bob.member_id)]


@pytest.mark.requirement("R20")
@pytest.mark.parametrize(
    ("verb", "request_", "permission"),
    [
        ("create_team", {"team": "x"}, "teams:manage"),
        ("delete_team", {"team": "staff"}, "teams:manage"),
        ("add_team_member", {"team": "staff", "member": "bob"}, "teams:manage"),
        ("remove_team_member", {"team": "staff", "member": "bob"}, "teams:manage"),
        ("list_teams", {}, "teams:list"),
        ("list_team_members", {"team": "staff"}, "teams:list"),
    ],
)
async def test_teams_are_not_for_everybody(
    hall: OpenHall, bob: Visitor, verb: str, request_: dict[str, Any], permission: str
) -> None:
    refusal = await refused(hall, bob, f"access.{verb}", request_)
    assert (refusal.name, refusal.details["permission"]) == ("permission_denied", permission)


@pytest.mark.requirement("R20")
async def test_teams_and_members_are_listed_by_pages(hall: OpenHall, boss: Visitor) -> None:
    for team in ("a", "b", "c"):
        await do(hall, boss, "create_team", team=team)
    members = [await hall.member(name) for name in ("ann", "bob", "cid")]
    for member in members:
        await do(hall, boss, "add_team_member", team="b", member=member.name)
    first = await do(hall, boss, "list_teams", limit=2)
    assert ([one.team for one in first.teams], first.next) == (["a", "b"], "b")
    second = await do(hall, boss, "list_teams", limit=2, after="b")
    assert ([one.team for one in second.teams], second.next) == (["c"], None)
    ids = sorted(member.member_id for member in members)
    page = await do(hall, boss, "list_team_members", team="b", limit=2)
    rest = await do(hall, boss, "list_team_members", team="b", limit=2, after=page.next)
    assert [one.member_id for one in page.members + rest.members] == ids
    assert rest.next is None


@pytest.mark.requirement("R11")
async def test_team_of_administrators_does_not_replace_the_last_one(
    hall: OpenHall, boss: Visitor, bob: Visitor
) -> None:
    await change(hall, boss, "grant", "team:staff", "administrator", "")
    request = {"member": "boss", "role": "administrator"}
    assert (await refused(hall, boss, "access.revoke_role", request)).name == "last_administrator"
    await do(hall, bob, "remove_team_member", team="staff", member="bob")
    assert not await may(hall, bob, "roles:grant")


@pytest.mark.requirement("R22")
async def test_teams_bindings_and_bans_have_bounds(tmp_path: Any) -> None:
    bounds = {
        "roles_max": 1,
        "teams_max": 2,
        "team_members_max": 1,
        "teams_per_member_max": 1,
        "bindings_per_subject_max": 1,
        "bans_per_member_max": 1,
    }
    async with open_test_hall(tmp_path, tables={"access": bounds}) as hall:
        boss = await hall.administrator("boss")
        for name in ("ann", "bob"):
            await hall.member(name)
        await do(hall, boss, "define_role", name="r", permissions=["scores:read"])
        for team in ("a", "b"):
            await do(hall, boss, "create_team", team=team)
        await do(hall, boss, "add_team_member", team="a", member="ann")
        await do(hall, boss, "grant_role", member="ann", role="r", at="x/1")
        await do(hall, boss, "grant_role", member="ann", role="r", at="x/1")
        await do(hall, boss, "ban", member="ann", at="x/1")
        await do(hall, boss, "ban", member="ann", at="x/1")
        refused_calls: list[tuple[str, dict[str, Any]]] = [
            ("define_role", {"name": "s", "permissions": ["scores:read"]}),
            ("create_team", {"team": "c"}),
            ("add_team_member", {"team": "a", "member": "bob"}),
            ("add_team_member", {"team": "b", "member": "ann"}),
            ("grant_role", {"member": "ann", "role": "r", "at": "x/2"}),
            ("ban", {"member": "ann", "at": "x/2"}),
        ]
        for verb, request in refused_calls:
            with pytest.raises(ProblemError) as refusal:
                await do(hall, boss, verb, **request)
            assert refusal.value.name == "limit_reached", verb
            assert refusal.value.details["limit"] == bounds.get(
                "teams_max" if verb == "create_team" else "roles_max"
            )
        for number in range(3):
            await do(hall, boss, "grant_role", member="everyone", role="r", at=f"x/{number}")
