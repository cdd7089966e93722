"""Roles and bindings, by calls that take the whole road."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from moothall.testing import OpenHall, Visitor, open_test_hall
from tests.unit.services.access.calls import change, may, refused

# --- what is allowed ------------------------------------------------------------------------------


@pytest.mark.requirement("R20")
@pytest.mark.parametrize(
    ("action", "request_", "permission"),
    [
        ("access.grant_role", {"member": "eve", "role": "administrator"}, "roles:grant"),
        ("access.grant_role", {"member": "eve", "role": "no_such"}, "roles:grant"),
        ("access.revoke_role", {"member": "boss", "role": "administrator"}, "roles:grant"),
        ("access.define_role", {"name": "x", "permissions": ["scores:read"]}, "roles:define"),
        ("access.list_roles", {}, "roles:list"),
        ("access.list_bindings", {}, "roles:list"),
        ("leaderboards.create_board", {"name": "x", "direction": "ascending"}, "boards:create"),
    ],
)
async def test_what_was_not_granted_is_denied_and_says_what_is_missing(
    hall: OpenHall, boss: Visitor, action: str, request_: dict[str, Any], permission: str
) -> None:
    eve = await hall.member("eve")
    before = await hall.rows("SELECT * FROM access_binding")
    refusal = await refused(hall, eve, action, request_)
    assert (refusal.code, refusal.name) == ("permission_denied", "permission_denied")
    assert refusal.details["permission"] == permission
    assert str(refusal.details["reason"]).startswith(permission)
    assert await hall.rows("SELECT * FROM access_binding") == before
    assert boss.member_id not in repr(refusal.details)


@pytest.mark.requirement("R20")
@pytest.mark.parametrize(
    ("at", "reason"),
    [("board/7", "roles:grant at board/7 is missing"), ("", "roles:grant in the hall is missing")],
)
@pytest.mark.parametrize("verb", ["grant", "revoke"])
async def test_refusal_names_the_place_that_the_caller_sent(
    hall: OpenHall, boss: Visitor, verb: str, at: str, reason: str
) -> None:
    eve = await hall.member("eve")
    request = {"member": boss.name, "role": "administrator", "at": at}
    refusal = await refused(hall, eve, f"access.{verb}_role", request)
    assert (refusal.details["path"], refusal.details["reason"]) == (at, reason)


@pytest.mark.requirement("R20")
async def test_org_1_never_covers_org_10(hall: OpenHall, boss: Visitor) -> None:
    bob = await hall.member("bob")
    await change(hall, boss, "grant", "bob", "board_reader", "org/1")
    seen = [
        await may(hall, bob, "scores:read", at)
        for at in ("org/1", "org/1/a", "org/10", "org/1.a", "org", "")
    ]
    assert seen == [True, True, False, False, False, False]


@pytest.mark.requirement("R22")
async def test_grant_and_revocation_act_on_the_very_next_call(
    hall: OpenHall, boss: Visitor
) -> None:
    bob = await hall.member("bob")
    for _ in range(3):
        await change(hall, boss, "grant", "bob", "board_writer", "board/7")
        assert await may(hall, bob, "scores:write", "board/7")
        await change(hall, boss, "revoke", "bob", "board_writer", "board/7")
        assert not await may(hall, bob, "scores:write", "board/7")


@pytest.mark.requirement("R22")
async def test_revoking_one_of_two_roles_leaves_the_other(hall: OpenHall, boss: Visitor) -> None:
    bob = await hall.member("bob")
    await change(hall, boss, "grant", "bob", "board_writer", "board/7")
    await change(hall, boss, "grant", "bob", "board_reader", "board/7")
    await change(hall, boss, "revoke", "bob", "board_writer", "board/7")
    assert await may(hall, bob, "scores:read", "board/7")
    assert not await may(hall, bob, "scores:write", "board/7")


@pytest.mark.requirement("R20")
async def test_binding_of_everyone_holds_for_members_but_not_for_strangers(
    hall: OpenHall, boss: Visitor
) -> None:
    await change(hall, boss, "grant", "everyone", "board_reader", "board/7")
    bob = await hall.member("bob")
    assert await may(hall, bob, "scores:read", "board/7")
    assert not await may(hall, bob, "scores:read", "board/8")
    stranger = await refused(hall, None, "access.check", {"permission": "scores:read"})
    assert stranger.code == "unauthenticated"


@pytest.mark.requirement("R20")
async def test_rooms_hold_what_their_name_plates_say_and_nothing_of_everyone(
    hall: OpenHall, boss: Visitor
) -> None:
    await change(hall, boss, "grant", "everyone", "administrator", "")
    authority = hall.hall.house.authority
    assert authority.allows("room:leaderboards", "members:add", "")
    assert not authority.allows("room:leaderboards", "roles:define", "")
    assert not authority.allows("room:hall", "members:read", "")
    assert not authority.allows("room:nowhere", "members:read", "")


@pytest.mark.requirement("R22")
@pytest.mark.parametrize("role", ["room:leaderboards", "Administrator", "administrator ", "x"])
async def test_only_roles_for_people_can_be_granted(
    hall: OpenHall, boss: Visitor, role: str
) -> None:
    for verb in ("grant", "revoke"):
        refusal = await refused(hall, boss, f"access.{verb}_role", {"member": "boss", "role": role})
        assert (refusal.code, refusal.name) == ("not_found", "role_not_found")
        assert refusal.details["role"] == role


@pytest.mark.requirement("R22")
async def test_what_every_member_may_do_cannot_be_revoked_by_accident(
    hall: OpenHall, boss: Visitor
) -> None:
    bob = await hall.member("bob")
    await change(hall, boss, "grant", "everyone", "member", "")
    refusal = await refused(
        hall, boss, "access.revoke_role", {"member": "everyone", "role": "member"}
    )
    assert (refusal.code, refusal.name) == ("not_found", "binding_not_found")
    assert (await hall.call("identity.get_self", as_=bob)).name == "bob"


@pytest.mark.requirement("R22")
async def test_grant_that_stands_already_changes_nothing(hall: OpenHall, boss: Visitor) -> None:
    bob = await hall.member("bob")
    for _ in range(2):
        await change(hall, boss, "grant", bob.member_id, "board_reader", "board/7")
    kinds = [event.kind for event in await hall.events("access")]
    assert kinds == ["access.role_granted"] * 2, "the administrator's and bob's"


@pytest.mark.requirement("R22")
@pytest.mark.parametrize(
    ("member", "at", "name"),
    [
        ("nobody", "board/7", "member_not_found"),
        ("0" * 24, "board/7", "member_not_found"),
        ("a/b", "board/7", "member_not_found"),
        ("bob", "board/70", "binding_not_found"),
        ("everyone", "board/7", "binding_not_found"),
        ("bob", "board/../7", "invalid_argument"),
        ("bob", "/board/7", "invalid_argument"),
        ("bob", "board/7/", "invalid_argument"),
        ("bob", "board/7\n", "invalid_argument"),
        ("bob", "a/b/c/d/e/f/g/h/i", "invalid_argument"),
    ],
)
async def test_revocation_of_what_does_not_stand_says_so(
    hall: OpenHall, boss: Visitor, member: str, at: str, name: str
) -> None:
    await hall.member("bob")
    await change(hall, boss, "grant", "bob", "board_reader", "board/7")
    refusal = await refused(
        hall, boss, "access.revoke_role", {"member": member, "role": "board_reader", "at": at}
    )
    assert refusal.name == name
    assert refusal.details["remedy"]


# --- nobody grants more than they hold ------------------------------------------------------------


@pytest.fixture
async def steward(hall: OpenHall, boss: Visitor) -> Visitor:
    """Manages roles and moderates, both at org/1 only."""
    visitor = await hall.member("steward")
    await change(hall, boss, "grant", "steward", "role_manager", "org/1")
    await change(hall, boss, "grant", "steward", "board_moderator", "org/1")
    return visitor


@pytest.mark.requirement("R22")
async def test_steward_grants_what_they_hold_where_they_hold_it(
    hall: OpenHall, steward: Visitor
) -> None:
    bob = await hall.member("bob")
    await change(hall, steward, "grant", "bob", "board_moderator", "org/1/a")
    assert await may(hall, bob, "scores:moderate", "org/1/a")


@pytest.mark.requirement("R22")
@pytest.mark.parametrize(
    ("role", "at", "name", "missing"),
    [
        ("administrator", "org/1", "grant_exceeds_own", "*"),
        ("member_manager", "org/1", "grant_exceeds_own", "members:add"),
        ("board_moderator", "org/10", "permission_denied", "roles:grant"),
        ("board_moderator", "org", "permission_denied", "roles:grant"),
        ("board_moderator", "", "permission_denied", "roles:grant"),
    ],
)
async def test_steward_grants_and_revokes_nothing_beyond(
    hall: OpenHall, boss: Visitor, steward: Visitor, role: str, at: str, name: str, missing: str
) -> None:
    await hall.member("bob")
    await change(hall, boss, "grant", "bob", role, at)
    before = await hall.rows("SELECT * FROM access_binding")
    for verb, member in (("grant", "steward"), ("revoke", "bob")):
        request = {"member": member, "role": role, "at": at}
        refusal = await refused(hall, steward, f"access.{verb}_role", request)
        assert (refusal.code, refusal.name) == ("permission_denied", name)
        assert refusal.details["permission"] == missing
    assert await hall.rows("SELECT * FROM access_binding") == before


@pytest.mark.requirement("R22")
async def test_role_manager_of_the_hall_makes_no_role_that_holds_more(
    hall: OpenHall, boss: Visitor
) -> None:
    await change(hall, boss, "grant", (await hall.member("ann")).member_id, "role_manager", "")
    ann = await signed_in(hall, "ann")
    for permissions in (["*"], ["roles:list", "scores:moderate"]):
        refusal = await refused(
            hall, ann, "access.define_role", {"name": "mine", "permissions": permissions}
        )
        assert refusal.name == "grant_exceeds_own"
    made = await hall.call(
        "access.define_role", {"name": "mine", "permissions": ["roles:list"]}, as_=ann
    )
    assert not made.is_built_in


async def signed_in(hall: OpenHall, name: str) -> Visitor:
    fields = {"name": name, "password": "correct horse battery staple"}
    opened = await hall.call("identity.open_session", fields)
    return Visitor(opened.member_id, opened.name, opened.session_id, opened.access_token)


@pytest.mark.requirement("R11")
async def test_last_administrator_stays(hall: OpenHall, boss: Visitor) -> None:
    request = {"member": "boss", "role": "administrator"}
    refusal = await refused(hall, boss, "access.revoke_role", request)
    assert (refusal.code, refusal.name) == ("failed_precondition", "last_administrator")
    await change(hall, boss, "grant", "everyone", "administrator", "")
    await hall.member("ann")
    refusal = await refused(hall, boss, "access.revoke_role", request)
    assert refusal.name == "last_administrator", "everyone is nobody in particular"
    await change(hall, boss, "revoke", "everyone", "administrator", "")
    await change(hall, boss, "grant", "ann", "administrator", "")
    await change(hall, boss, "revoke", "boss", "administrator", "")
    assert not await may(hall, boss, "roles:grant")


# --- defining roles -------------------------------------------------------------------------------


@pytest.mark.requirement("R22")
async def test_defined_role_can_be_granted_at_once(hall: OpenHall, boss: Visitor) -> None:
    bob = await hall.member("bob")
    role = {"name": "importer", "permissions": ["entries:import"], "summary": "Brings history in."}
    await hall.call("access.define_role", role, as_=boss)
    await change(hall, boss, "grant", "bob", "importer", "board/7")
    assert await may(hall, bob, "entries:import", "board/7")
    listed = (await hall.call("access.list_roles", as_=boss)).roles
    [found] = [one for one in listed if one.name == "importer"]
    assert found.permissions == ("entries:import",)
    assert (found.summary, found.is_built_in) == ("Brings history in.", False)
    assert [one.name for one in listed] == sorted(one.name for one in listed)
    assert not [one.name for one in listed if one.name.startswith("room")]


@pytest.mark.requirement("R22")
@pytest.mark.parametrize(
    ("change_", "code", "field"),
    [
        ({"name": "administrator"}, "already_exists", None),
        ({"name": "member"}, "already_exists", None),
        ({"name": "taken"}, "already_exists", None),
        ({"name": "room:access"}, "invalid_argument", "name"),
        ({"name": "x\n"}, "invalid_argument", "name"),
        ({"name": ""}, "invalid_argument", "name"),
        ({"permissions": []}, "invalid_argument", "permissions"),
        ({"permissions": ["scores:read\n"]}, "invalid_argument", "permissions[0]"),
        ({"permissions": ["scores"]}, "invalid_argument", "permissions[0]"),
        ({"permissions": ["scores:reed"]}, "invalid_argument", "permissions[0]"),
        ({"permissions": ["roles:list"] * 2}, "invalid_argument", "permissions[1]"),
    ],
)
async def test_bad_role_is_refused_with_field_and_remedy(
    hall: OpenHall, boss: Visitor, change_: dict[str, Any], code: str, field: str | None
) -> None:
    role: dict[str, Any] = {"name": "taken", "permissions": ["scores:read"]}
    await hall.call("access.define_role", role, as_=boss)
    refusal = await refused(hall, boss, "access.define_role", {**role, "name": "new", **change_})
    assert (refusal.code, refusal.details.get("field")) == (code, field)
    assert refusal.details["remedy"]
    assert await hall.rows("SELECT name FROM access_role") == [("taken",)]


@pytest.mark.requirement("R22")
async def test_of_many_who_define_one_role_at_once_exactly_one_wins(
    hall: OpenHall, boss: Visitor
) -> None:
    bodies = [{"name": "x", "permissions": [each]} for each in ("scores:read", "scores:write")] * 5
    replies = await asyncio.gather(
        *(hall.answer("access.define_role", body, token=boss.token) for body in bodies)
    )
    names = sorted(reply.problem.name if reply.problem else "won" for reply in replies)
    assert names == ["role_exists"] * 9 + ["won"]


# --- listing, audit, restart ----------------------------------------------------------------------


@pytest.mark.requirement("R22")
@pytest.mark.parametrize("limit", [1, 2, 3, 500])
async def test_bindings_are_listed_once_by_pages(hall: OpenHall, boss: Visitor, limit: int) -> None:
    bob = await hall.member("bob")
    for at in ("", "board/1", "board/10", "board/2"):
        await change(hall, boss, "grant", "bob", "board_reader", at)
    await change(hall, boss, "grant", "everyone", "board_reader", "board/1")

    async def list_all(**wanted: str) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        after: Any = ("", "", "")
        for _ in range(20):
            page = await hall.call(
                "access.list_bindings", {**wanted, "limit": limit, "after": after}, as_=boss
            )
            found += [(binding.subject, binding.at) for binding in page.bindings]
            if page.next is None:
                return found
            after = page.next
        raise AssertionError(found)

    of_bob = [(bob.member_id, at) for at in ("", "board/1", "board/10", "board/2")]
    assert await list_all(member="bob") == of_bob
    everything = await list_all()
    assert sorted(everything) == sorted([*of_bob, ("everyone", "board/1"), (boss.member_id, "")])
    assert await list_all(member="everyone") == [("everyone", "board/1")]


@pytest.mark.requirement("R24")
async def test_each_change_and_each_refusal_has_one_audit_row(
    hall: OpenHall, boss: Visitor
) -> None:
    eve = await hall.member("eve")
    after = (await hall.rows("SELECT max(number) FROM access_audit"))[0][0]
    grant = {"member": "eve", "role": "board_reader", "at": "board/7"}
    await hall.call("access.grant_role", grant, as_=boss, source="203.0.113.9")
    await refused(hall, eve, "access.revoke_role", grant)
    await refused(hall, eve, "access.list_roles")
    await refused(hall, eve, "access.claim_administration", {"secret": "a wrong secret"})
    await hall.call("access.check", {"permission": "scores:read"}, as_=eve)
    await refused(hall, boss, "access.grant_role", {**grant, "role": "no_such"})
    rows = await hall.rows(
        "SELECT actor, action, path, outcome, source FROM access_audit WHERE number > $1", after
    )
    here = "192.0.2.1"
    assert rows == [
        (boss.member_id, "access.grant_role", "board/7", "done", "203.0.113.9"),
        (eve.member_id, "access.revoke_role", "board/7", "permission_denied", here),
        (eve.member_id, "access.list_roles", "", "permission_denied", here),
    ]
    everything = repr(await hall.rows("SELECT * FROM access_audit"))
    for secret in ("a wrong secret", "the secret of this test", boss.token, eve.token):
        assert secret not in everything


@pytest.mark.requirement("R24")
async def test_attempt_to_grant_more_than_one_holds_is_audited(
    hall: OpenHall, steward: Visitor
) -> None:
    await refused(
        hall,
        steward,
        "access.grant_role",
        {"member": "steward", "role": "administrator", "at": "org/1"},
    )
    [row] = await hall.rows(
        "SELECT actor, path, outcome FROM access_audit ORDER BY number DESC LIMIT 1"
    )
    assert row == (steward.member_id, "org/1", "grant_exceeds_own")


@pytest.mark.requirement("R34")
async def test_repeated_grant_answers_the_same_and_acts_once(hall: OpenHall, boss: Visitor) -> None:
    await hall.member("bob")
    grant = {"member": "bob", "role": "board_reader", "at": "board/7"}
    first = await hall.call("access.grant_role", grant, as_=boss, key="k1")
    await change(hall, boss, "revoke", "bob", "board_reader", "board/7")
    hall.clock.advance(1_000)
    assert await hall.call("access.grant_role", grant, as_=boss, key="k1") == first
    bound = await hall.rows("SELECT count(*) FROM access_binding WHERE path = 'board/7'")
    assert bound == [(0,)], "a replayed grant does not undo the revocation"


@pytest.mark.requirement("R22")
async def test_restart_keeps_roles_bindings_and_revocations(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path) as hall:
        boss, bob = await hall.administrator("boss"), await hall.member("bob")
        role = {"name": "importer", "permissions": ["entries:import"]}
        await hall.call("access.define_role", role, as_=boss)
        await change(hall, boss, "grant", "bob", "importer", "board/7")
        await change(hall, boss, "grant", "bob", "board_writer", "board/8")
        await change(hall, boss, "revoke", "bob", "board_writer", "board/8")
        await change(hall, boss, "grant", "everyone", "board_reader", "board/9")
    async with open_test_hall(tmp_path) as hall:
        assert await may(hall, bob, "entries:import", "board/7")
        assert not await may(hall, bob, "scores:write", "board/8")
        assert await may(hall, bob, "scores:read", "board/9")
        assert await may(hall, boss, "roles:define")
        assert (await hall.call("identity.get_self", as_=bob)).name == "bob"
