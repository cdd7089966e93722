"""Changing and deleting roles, by calls that take the whole road."""

from typing import Any

import pytest

from moothall.testing import OpenHall, Visitor
from tests.unit.services.access.calls import change, do, may, refused


@pytest.fixture
async def boss(hall: OpenHall) -> Visitor:
    visitor = await hall.administrator("boss")
    permissions = ["scores:read", "entries:import"]
    await do(hall, visitor, "define_role", name="made", permissions=permissions, summary="Old.")
    return visitor


@pytest.fixture
async def bob(hall: OpenHall, boss: Visitor) -> Visitor:
    visitor = await hall.member("bob")
    await change(hall, boss, "grant", "bob", "made", "org")
    return visitor


@pytest.fixture
async def ann(hall: OpenHall, boss: Visitor) -> Visitor:
    """Manages roles in the whole hall, and reads scores there."""
    visitor = await hall.member("ann")
    await change(hall, boss, "grant", "ann", "role_manager", "")
    await change(hall, boss, "grant", "ann", "board_reader", "")
    return visitor


@pytest.mark.requirement("R22")
async def test_change_of_a_role_acts_at_once_on_everybody_who_has_it(
    hall: OpenHall, boss: Visitor, bob: Visitor
) -> None:
    cid = await hall.member("cid")
    await do(hall, boss, "create_team", team="staff")
    await do(hall, boss, "add_team_member", team="staff", member="cid")
    await change(hall, boss, "grant", "team:staff", "made", "org")
    for permissions in (["scores:write"], ["entries:import", "scores:write"], ["scores:read"]):
        changed = await do(hall, boss, "update_role", name="made", permissions=permissions)
        assert (changed.permissions, changed.summary) == (tuple(permissions), "Old.")
        for who in (bob, cid):
            for one in ("scores:read", "scores:write", "entries:import"):
                assert await may(hall, who, one, "org/1") is (one in permissions)
    renamed = await do(
        hall, boss, "update_role", name="made", permissions=["scores:read"], summary="New."
    )
    assert renamed.summary == "New."
    [event] = [one for one in await hall.events("access") if one.kind == "access.role_updated"][:1]
    assert event.data == {"name": "made", "permissions": ["scores:write"]}


@pytest.mark.requirement("R22")
async def test_nobody_puts_in_or_takes_out_what_they_do_not_hold(
    hall: OpenHall, boss: Visitor, bob: Visitor, ann: Visitor
) -> None:
    for permissions in (
        ["scores:read", "entries:import", "scores:moderate"],
        ["scores:read", "entries:import", "*"],
        ["scores:read"],
    ):
        request = {"name": "made", "permissions": permissions}
        refusal = await refused(hall, ann, "access.update_role", request)
        assert refusal.name == "grant_exceeds_own"
    assert (await refused(hall, ann, "access.delete_role", {"name": "made"})).name == (
        "grant_exceeds_own"
    )
    await do(hall, ann, "update_role", name="made", permissions=["entries:import", "roles:list"])
    assert await may(hall, bob, "roles:list", "org")
    assert await may(hall, bob, "entries:import", "org"), "what stays need not be held"


@pytest.mark.requirement("R22")
async def test_who_holds_it_at_a_resource_only_changes_no_role_of_the_hall(
    hall: OpenHall, boss: Visitor, bob: Visitor
) -> None:
    eve = await hall.member("eve")
    await change(hall, boss, "grant", "eve", "administrator", "org")
    for verb in ("update_role", "delete_role", "define_role"):
        request: dict[str, Any] = {"name": "made"}
        if verb != "delete_role":
            request["permissions"] = ["scores:read"]
        refusal = await refused(hall, eve, f"access.{verb}", request)
        assert (refusal.name, refusal.details["permission"]) == (
            "permission_denied",
            "roles:define",
        )


@pytest.mark.requirement("R22")
async def test_role_that_is_bound_is_deleted_with_force_only(
    hall: OpenHall, boss: Visitor, bob: Visitor
) -> None:
    await change(hall, boss, "grant", "everyone", "made", "board/7")
    refusal = await refused(hall, boss, "access.delete_role", {"name": "made"})
    assert (refusal.name, refusal.details["bindings"]) == ("role_in_use", 2)
    assert await may(hall, bob, "entries:import", "org")
    gone = await do(hall, boss, "delete_role", name="made", force=True)
    assert gone.bindings == 2
    assert not await may(hall, bob, "entries:import", "org")
    assert not await may(hall, bob, "entries:import", "board/7")
    assert await hall.rows("SELECT * FROM access_binding WHERE role = 'made'") == []
    await do(hall, boss, "define_role", name="made", permissions=["entries:import"])
    assert not await may(hall, bob, "entries:import", "org"), "a new one inherits nothing"
    assert (await do(hall, boss, "delete_role", name="made")).bindings == 0


@pytest.mark.requirement("R22")
@pytest.mark.parametrize("verb", ["update_role", "delete_role"])
@pytest.mark.parametrize(
    ("role", "code", "name"),
    [
        ("administrator", "failed_precondition", "role_built_in"),
        ("member", "failed_precondition", "role_built_in"),
        ("board_reader", "failed_precondition", "role_built_in"),
        ("unmade", "not_found", "role_not_found"),
        ("room:access", "invalid_argument", "invalid_argument"),
    ],
)
async def test_built_in_and_missing_roles_cannot_be_changed(
    hall: OpenHall, boss: Visitor, verb: str, role: str, code: str, name: str
) -> None:
    request: dict[str, Any] = {"name": role}
    if verb == "update_role":
        request["permissions"] = ["scores:read"]
    refusal = await refused(hall, boss, f"access.{verb}", request)
    assert (refusal.code, refusal.name) == (code, name)
    assert refusal.details["remedy"]


@pytest.mark.requirement("R22")
@pytest.mark.parametrize("permissions", [["scores:reed"], ["scores:read"] * 2, []])
async def test_role_is_changed_to_known_permissions_only(
    hall: OpenHall, boss: Visitor, permissions: list[str]
) -> None:
    request = {"name": "made", "permissions": permissions}
    refusal = await refused(hall, boss, "access.update_role", request)
    assert refusal.name == "invalid_argument"
