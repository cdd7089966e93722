"""Ways to more than one was given; each is tried, and each is refused without a change."""

from asyncio import gather
from typing import Any

import pytest

from moothall.testing import OpenHall, Visitor
from tests.unit.services.access.calls import change, do, may, refused

TABLES = ("access_role", "access_binding", "access_team", "access_team_member", "access_ban")


async def everything(hall: OpenHall) -> list[Any]:
    return [await hall.rows(f"SELECT * FROM {table}") for table in TABLES]


@pytest.fixture
async def eve(hall: OpenHall, boss: Visitor) -> Visitor:
    """Manages roles, teams and bans in the whole hall, and moderates org/1; belongs to `staff`."""
    visitor = await hall.member("eve")
    for role in ("role_manager", "team_manager", "warden"):
        await change(hall, boss, "grant", "eve", role, "")
    await change(hall, boss, "grant", "eve", "board_moderator", "org/1")
    await hall.member("alt")
    for team in ("staff", "chiefs"):
        await do(hall, boss, "create_team", team=team)
    await do(hall, boss, "add_team_member", team="staff", member="eve")
    await change(hall, boss, "grant", "team:chiefs", "administrator", "board")
    await do(hall, boss, "define_role", name="helper", permissions=["roles:list"])
    await change(hall, boss, "grant", "eve", "helper", "")
    return visitor


WAYS = {
    "role of all permissions": ("define_role", {"name": "mine", "permissions": ["*"]}),
    "role of what is held at a resource only": (
        "define_role",
        {"name": "mine", "permissions": ["scores:moderate"]},
    ),
    "own role made greater": (
        "update_role",
        {"name": "helper", "permissions": ["roles:list", "scores:moderate"]},
    ),
    "oneself": ("grant_role", {"member": "eve", "role": "administrator"}),
    "another account": ("grant_role", {"member": "alt", "role": "administrator"}),
    "everyone": ("grant_role", {"member": "everyone", "role": "administrator"}),
    "own team": ("grant_role", {"member": "team:staff", "role": "administrator"}),
    "parent of what is held": (
        "grant_role",
        {"member": "eve", "role": "board_moderator", "at": "org"},
    ),
    "neighbour of what is held": (
        "grant_role",
        {"member": "team:staff", "role": "board_moderator", "at": "org/10"},
    ),
    "team that holds more": ("add_team_member", {"team": "chiefs", "member": "eve"}),
    "team that holds more, for another account": (
        "add_team_member",
        {"team": "chiefs", "member": "alt"},
    ),
    "team that holds more, deleted": ("delete_team", {"team": "chiefs"}),
    "administrator's role taken": ("revoke_role", {"member": "boss", "role": "administrator"}),
    "administrator banned": ("ban", {"member": "boss", "at": ""}),
    "administrator banned below": ("ban", {"member": "boss", "at": "org/1"}),
}


@pytest.mark.requirement("R22")
@pytest.mark.parametrize(("verb", "request_"), WAYS.values(), ids=WAYS.keys())
async def test_r22_no_way_leads_to_more_than_one_holds(
    hall: OpenHall, eve: Visitor, verb: str, request_: dict[str, Any]
) -> None:
    before = await everything(hall)
    refusal = await refused(hall, eve, f"access.{verb}", request_)
    assert refusal.code == "permission_denied"
    assert refusal.details["permission"]
    assert await everything(hall) == before


@pytest.mark.requirement("R22")
async def test_r22_what_one_holds_one_may_hand_out_in_each_of_these_ways(
    hall: OpenHall, boss: Visitor, eve: Visitor
) -> None:
    await do(hall, eve, "define_role", name="mine", permissions=["teams:list"])
    await do(hall, eve, "update_role", name="mine", permissions=["teams:list", "roles:list"])
    await do(hall, eve, "grant_role", member="team:staff", role="board_moderator", at="org/1/x")
    await do(hall, eve, "add_team_member", team="staff", member="alt")
    await do(hall, eve, "grant_role", member="everyone", role="mine", at="")
    alt = await hall.sign_in("alt")
    assert await may(hall, alt, "scores:moderate", "org/1/x/y")
    assert await may(hall, alt, "teams:list")
    await do(hall, eve, "ban", member="alt", at="org/1/x")
    await do(hall, eve, "remove_team_member", team="staff", member="alt")
    await do(hall, eve, "delete_team", team="staff")


@pytest.mark.requirement("R22")
async def test_r22_banned_administrator_reaches_the_place_by_no_detour(
    hall: OpenHall, boss: Visitor, eve: Visitor
) -> None:
    ann = await hall.member("ann")
    await change(hall, boss, "grant", "ann", "administrator", "")
    await do(hall, boss, "ban", member="ann", at="org/1")
    before = await everything(hall)
    detours: list[tuple[str, dict[str, Any]]] = [
        ("lift_ban", {"member": "ann", "at": "org/1"}),
        ("grant_role", {"member": "ann", "role": "administrator", "at": "org/1"}),
        ("grant_role", {"member": "alt", "role": "board_writer", "at": "org/1/x"}),
        ("grant_role", {"member": "alt", "role": "board_writer", "at": "org"}),
        ("grant_role", {"member": "alt", "role": "administrator", "at": ""}),
        ("define_role", {"name": "mine", "permissions": ["scores:write"]}),
        ("update_role", {"name": "helper", "permissions": ["scores:write"]}),
    ]
    for verb, request in detours:
        refusal = await refused(hall, ann, f"access.{verb}", request)
        assert refusal.code == "permission_denied", request
        assert refusal.details["path"] == ("org/1/x" if "x" in request.get("at", "") else "org/1")
    assert await everything(hall) == before
    assert await may(hall, ann, "roles:define"), "elsewhere nothing is taken"
    await do(hall, ann, "grant_role", member="alt", role="board_writer", at="org/10")


@pytest.mark.sqlite  # elsewhere each call has a commit of its own; see test_access_races.py
@pytest.mark.requirement("R22")
async def test_r22_role_that_was_deleted_in_the_same_commit_cannot_be_granted(
    hall: OpenHall, boss: Visitor, eve: Visitor
) -> None:
    await do(hall, boss, "define_role", name="brief", permissions=["scores:read"])

    replies = await gather(
        hall.answer("access.delete_role", {"name": "brief"}, token=boss.token),
        hall.answer("access.grant_role", {"member": "alt", "role": "brief"}, token=boss.token),
        hall.answer("access.delete_team", {"team": "chiefs"}, token=boss.token),
        hall.answer(
            "access.add_team_member", {"team": "chiefs", "member": "alt"}, token=boss.token
        ),
        hall.answer(
            "access.grant_role",
            {"member": "team:chiefs", "role": "helper"},
            token=boss.token,
        ),
    )
    names = [reply.problem.name if reply.problem else "done" for reply in replies]
    assert names == ["done", "role_not_found", "done", "team_not_found", "team_not_found"]
    assert await hall.rows("SELECT * FROM access_binding WHERE role = 'brief'") == []
