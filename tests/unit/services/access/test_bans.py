"""Bans, by calls that take the whole road."""

from pathlib import Path
from typing import Any

import pytest

from moothall.services.access.model import KEPT_WHEN_BANNED
from moothall.testing import OpenHall, Visitor, open_test_hall
from tests.unit.services.access.calls import change, do, may, refused, rights_of


@pytest.fixture
async def bob(hall: OpenHall, boss: Visitor) -> Visitor:
    """Writes everywhere under org."""
    visitor = await hall.member("bob")
    await change(hall, boss, "grant", "bob", "board_writer", "org")
    return visitor


@pytest.mark.requirement("R20")
@pytest.mark.requirement("R22")
async def test_ban_covers_its_path_and_what_lies_below_until_it_is_lifted(
    hall: OpenHall, boss: Visitor, bob: Visitor
) -> None:
    await do(hall, boss, "ban", member="bob", at="org/1", reason="spam")
    places = ["org/1", "org/1/x", "org/10", "org", "org/1.a"]
    seen = [await may(hall, bob, "scores:write", at) for at in places]
    assert seen == [False, False, True, True, True]
    await do(hall, boss, "lift_ban", member="bob", at="org/1")
    assert await may(hall, bob, "scores:write", "org/1/x")
    kinds = [event.kind for event in await hall.events("access")][-2:]
    assert kinds == ["access.member_banned", "access.ban_lifted"]


@pytest.mark.requirement("R20")
@pytest.mark.parametrize("way", ["own", "team", "everyone"])
async def test_ban_overrides_every_role_even_that_of_an_administrator(
    hall: OpenHall, boss: Visitor, way: str
) -> None:
    ann = await hall.member("ann")
    await do(hall, boss, "create_team", team="staff")
    await do(hall, boss, "add_team_member", team="staff", member="ann")
    subject = {"own": "ann", "team": "team:staff", "everyone": "everyone"}[way]
    await change(hall, boss, "grant", subject, "administrator", "")
    await do(hall, boss, "ban", member="ann", at="board/7")
    assert not await may(hall, ann, "scores:write", "board/7")
    assert await may(hall, ann, "scores:write", "board/8")
    await change(hall, boss, "grant", "ann", "administrator", "board/7")
    assert not await may(hall, ann, "scores:write", "board/7/deep"), "no grant undoes it"


@pytest.mark.requirement("R20")
async def test_ban_ends_by_itself_at_its_time(hall: OpenHall, boss: Visitor, bob: Visitor) -> None:
    start_ms = hall.clock.now_ms()
    await do(hall, boss, "ban", member="bob", at="org", until_ms=start_ms + 1_000)
    seen = []
    for now_ms in (start_ms + 999, start_ms + 1_000, start_ms - 60_000, start_ms + 1_001):
        hall.clock.set_wall(now_ms)
        rights = await rights_of(hall, bob.member_id)
        seen.append(rights.allows("scores:write", "org"))
    assert seen == [False, True, False, True], "a clock that is set back forgives nothing"
    assert (await do(hall, boss, "list_bans")).bans == []


@pytest.mark.requirement("R20")
async def test_who_is_banned_from_the_hall_may_still_leave_and_ask_why(
    hall: OpenHall, boss: Visitor, bob: Visitor
) -> None:
    await do(hall, boss, "ban", member="bob", at="", reason="spam")
    denied: list[tuple[str, dict[str, Any]]] = [
        ("identity.list_members", {}),
        ("leaderboards.list_boards", {}),
        ("leaderboards.submit_score", {"board_id": "7", "score": 1}),
        ("access.list_bans", {}),
        ("access.lift_ban", {"member": "bob", "at": ""}),
        ("identity.rename_self", {"name": "rob"}),
        ("identity.issue_token", {"audience": "https://elsewhere.test"}),
        ("identity.add_contact", {"contact": "bob@example.org", "password": "x"}),
    ]
    for action, request in denied:
        assert (await refused(hall, bob, action, request)).code == "permission_denied"
    bob = await hall.sign_in("bob")
    assert (await hall.call("identity.get_self", as_=bob)).name == "bob"
    found = await do(hall, bob, "explain", member="bob", permission="scores:write", at="org")
    assert (found.is_allowed, found.cause, found.ban.reason) == (False, "banned", "spam")
    assert await hall.call("identity.export_self", as_=bob)
    await hall.call("identity.close_session", as_=bob)


@pytest.mark.requirement("R20")
async def test_what_a_ban_leaves_is_what_every_member_holds(hall: OpenHall) -> None:
    every = hall.hall.catalog.rooms["identity"].service.member_permissions
    every += hall.hall.catalog.rooms["access"].service.member_permissions
    assert set(every) >= KEPT_WHEN_BANNED


@pytest.mark.requirement("R22")
async def test_nobody_bans_themselves_nor_whoever_holds_more(
    hall: OpenHall, boss: Visitor, bob: Visitor
) -> None:
    warden = await hall.member("warden")
    await change(hall, boss, "grant", "warden", "warden", "org")
    await change(hall, boss, "grant", "warden", "board_writer", "org/1")
    for member, at, name, missing in [
        ("warden", "org", "own_ban", None),
        ("boss", "org", "ban_exceeds_own", "*"),
        ("boss", "org/1", "ban_exceeds_own", "*"),
        ("bob", "org", "ban_exceeds_own", "scores:read"),
        ("bob", "", "permission_denied", "members:ban"),
        ("bob", "other", "permission_denied", "members:ban"),
    ]:
        request = {"member": member, "at": at}
        refusal = await refused(hall, warden, "access.ban", request)
        assert (refusal.name, refusal.details.get("permission")) == (name, missing), request
    assert await hall.rows("SELECT * FROM access_ban") == []
    await do(hall, warden, "ban", member="bob", at="org/1")
    assert not await may(hall, bob, "scores:write", "org/1")
    assert await may(hall, bob, "scores:write", "org/2")


@pytest.mark.requirement("R22")
async def test_what_somebody_holds_below_or_by_a_team_protects_them_too(
    hall: OpenHall, boss: Visitor
) -> None:
    warden = await hall.member("warden")
    await change(hall, boss, "grant", "warden", "warden", "org")
    await hall.member("ann")
    await hall.member("cid")
    await change(hall, boss, "grant", "ann", "board_moderator", "org/1/x")
    await do(hall, boss, "create_team", team="staff")
    await do(hall, boss, "add_team_member", team="staff", member="cid")
    await change(hall, boss, "grant", "team:staff", "board_moderator", "org/2")
    for member, at in (("ann", "org"), ("ann", "org/1"), ("cid", "org"), ("cid", "org/2/y")):
        refusal = await refused(hall, warden, "access.ban", {"member": member, "at": at})
        assert refusal.name == "ban_exceeds_own"
    for member, at in (("ann", "org/2"), ("cid", "org/1")):
        await do(hall, warden, "ban", member=member, at=at)


@pytest.mark.requirement("R22")
async def test_warden_lifts_no_ban_of_somebody_who_would_hold_more(
    hall: OpenHall, boss: Visitor
) -> None:
    warden, ann = await hall.member("warden"), await hall.member("ann")
    await change(hall, boss, "grant", "warden", "warden", "")
    await change(hall, boss, "grant", "ann", "administrator", "")
    await do(hall, boss, "ban", member="ann", at="org")
    for who in (warden, ann):
        refusal = await refused(hall, who, "access.lift_ban", {"member": "ann", "at": "org"})
        assert refusal.code == "permission_denied"
    assert not await may(hall, ann, "scores:read", "org")


@pytest.mark.requirement("R11")
async def test_last_administrator_who_is_not_banned_stays(hall: OpenHall, boss: Visitor) -> None:
    ann = await hall.member("ann")
    await change(hall, boss, "grant", "ann", "administrator", "")
    await do(hall, ann, "ban", member="boss", at="")
    request = {"member": "ann", "role": "administrator"}
    assert (await refused(hall, ann, "access.revoke_role", request)).name == "last_administrator"
    await do(hall, boss := await hall.sign_in("boss"), "explain", member="boss", permission="*")
    assert (await refused(hall, boss, "access.ban", {"member": "ann", "at": ""})).code == (
        "permission_denied"
    )
    await do(hall, ann, "lift_ban", member="boss", at="")
    await do(hall, boss, "ban", member="ann", at="board/7")
    await do(hall, boss, "ban", member="ann", at="")
    assert not await may(hall, ann, "roles:grant")


@pytest.mark.requirement("R11")
async def test_administrator_by_a_team_cannot_ban_the_last_direct_one(
    hall: OpenHall, boss: Visitor
) -> None:
    ann = await hall.member("ann")
    await do(hall, boss, "create_team", team="staff")
    await do(hall, boss, "add_team_member", team="staff", member="ann")
    await change(hall, boss, "grant", "team:staff", "administrator", "")
    refusal = await refused(hall, ann, "access.ban", {"member": "boss", "at": ""})
    assert refusal.name == "last_administrator"
    assert await may(hall, boss, "roles:grant")


@pytest.mark.requirement("R22")
@pytest.mark.parametrize(
    ("verb", "change_", "name", "field"),
    [
        ("ban", {"member": "nobody"}, "member_not_found", None),
        ("ban", {"member": "everyone"}, "member_not_found", None),
        ("ban", {"member": "team:x"}, "member_not_found", None),
        ("ban", {"until_ms": 1}, "invalid_argument", "until_ms"),
        ("ban", {"until_ms": -1}, "invalid_argument", "until_ms"),
        ("ban", {"at": "/"}, "invalid_argument", "at"),
        ("ban", {"at": None}, "invalid_argument", "at"),
        ("lift_ban", {"at": "org/10"}, "ban_not_found", None),
        ("lift_ban", {"at": "org/1/x"}, "ban_not_found", None),
        ("lift_ban", {"member": "nobody"}, "member_not_found", None),
    ],
)
async def test_bad_ban_is_refused(
    hall: OpenHall,
    boss: Visitor,
    bob: Visitor,
    verb: str,
    change_: dict[str, Any],
    name: str,
    field: str | None,
) -> None:
    await do(hall, boss, "ban", member="bob", at="org/1")
    before = await hall.rows("SELECT * FROM access_ban")
    request = {"member": bob.member_id, "at": "org/1", **change_}
    refusal = await refused(hall, boss, f"access.{verb}", request)
    assert (refusal.name, refusal.details.get("field")) == (name, field)
    assert refusal.details["remedy"]
    assert await hall.rows("SELECT * FROM access_ban") == before


@pytest.mark.requirement("R20")
async def test_bans_are_listed_by_pages_to_those_who_ban_there(
    hall: OpenHall, boss: Visitor, bob: Visitor
) -> None:
    warden = await hall.member("warden")
    await change(hall, boss, "grant", "warden", "warden", "org/1")
    for at in ("org/1", "org/1/x", "org/10", "org", "board"):
        await do(hall, boss, "ban", member="bob", at=at)
    found: list[str] = []
    after: Any = ("", "")
    for _ in range(5):
        page = await do(hall, boss, "list_bans", limit=2, after=after)
        found += [one.at for one in page.bans]
        after = page.next
        if after is None:
            break
    assert found == ["board", "org", "org/1", "org/1/x", "org/10"]
    own = await do(hall, warden, "list_bans", at="org/1")
    assert [one.at for one in own.bans] == ["org/1", "org/1/x"]
    assert (await refused(hall, warden, "access.list_bans", {"at": "org"})).code == (
        "permission_denied"
    )
    assert (await refused(hall, bob, "access.list_bans", {})).code == "permission_denied"


@pytest.mark.requirement("R22")
async def test_ban_outlives_a_restart_and_so_does_its_end(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path) as hall:
        boss, bob = await hall.administrator("boss"), await hall.member("bob")
        await change(hall, boss, "grant", "bob", "board_writer", "")
        now_ms = hall.clock.now_ms()
        await do(hall, boss, "ban", member="bob", at="org")
        await do(hall, boss, "ban", member="bob", at="board", until_ms=now_ms + 60_000)
        await do(hall, boss, "ban", member="bob", at="gone")
        await do(hall, boss, "lift_ban", member="bob", at="gone")
    async with open_test_hall(tmp_path) as hall:
        seen = [await may(hall, bob, "scores:write", at) for at in ("org", "board", "gone")]
        assert seen == [False, False, True]
        hall.clock.advance(60_000)
        assert await may(hall, bob, "scores:write", "board")
