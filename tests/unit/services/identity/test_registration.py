"""How accounts come to be: openly, by invitation, not at all, or as a guest."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from moothall.core.addresses import network_of
from moothall.core.errors import ConfigurationError
from moothall.core.units import DAY_MS, HOUR_MS
from moothall.testing import ManualClock, OpenHall, ProblemError, Visitor, open_test_hall
from tests.unit.services.identity.tables import read_everything

PASSWORD = "correct horse battery staple"


def mode(name: str, **more: Any) -> dict[str, Any]:
    return {"registration": {"mode": name, **more}}


async def outcome(hall: OpenHall, action: str, who: Visitor | None = None, **fields: Any) -> str:
    """Return the name of the problem, or ``done``."""
    token = None if who is None else who.token
    reply = await hall.answer(f"identity.{action}", fields, token=token)
    return reply.problem.name if reply.problem else "done"


async def registers(hall: OpenHall, name: str, **fields: Any) -> str:
    return await outcome(hall, "register", name=name, password=PASSWORD, **fields)


async def has_nothing_but_the_administrator(hall: OpenHall) -> bool:
    return await hall.rows("SELECT name FROM identity_member") == [("admin",)]


async def found_hall(folder: Path, clock: ManualClock | None = None) -> None:
    """Make a hall that has an administrator, while it is still open to all."""
    async with open_test_hall(folder, clock=clock) as hall:
        await hall.administrator()


def read_all(folder: Path) -> list[bytes]:
    return [file.read_bytes() for file in folder.rglob("*") if file.is_file()]


async def invite(hall: OpenHall, boss: Visitor, **fields: Any) -> Any:
    return await hall.call("identity.create_invitation", fields, as_=boss)


# --- what is needed -------------------------------------------------------------------------------


@pytest.mark.requirement("R10")
async def test_open_hall_tells_whether_a_name_is_free(hall: OpenHall) -> None:
    await hall.member("alice")
    free = {}
    for name in ("alice", "ALICE", "a1ice", "bob", ""):
        shown = await hall.call("identity.get_registration", {"name": name})
        assert (shown.mode, shown.needs, shown.guests) == ("open", [], False)
        free[name] = shown.is_name_free
    assert free == {"alice": False, "ALICE": False, "a1ice": False, "bob": True, "": None}


@pytest.mark.requirement("R10")
@pytest.mark.parametrize(
    ("name", "needs"),
    [("invite", ["invitation"]), ("contact", ["contact", "code"]), ("closed", [])],
)
async def test_other_halls_tell_what_they_need_and_not_who_is_there(
    tmp_path: Path, name: str, needs: list[str]
) -> None:
    await found_hall(tmp_path)
    tables = {**mode(name), "mail": {"command": ["cat"]}}
    async with open_test_hall(tmp_path, tables=tables) as hall:
        for asked in ("admin", "nobody"):
            shown = await hall.call("identity.get_registration", {"name": asked})
            assert (shown.mode, shown.needs, shown.is_name_free) == (name, needs, None)
            assert shown.contact_kinds == ["email"]


# --- closed ---------------------------------------------------------------------------------------


@pytest.mark.requirement("R10")
async def test_closed_hall_takes_only_whom_administrators_add(tmp_path: Path) -> None:
    await found_hall(tmp_path)
    async with open_test_hall(tmp_path, tables=mode("closed")) as hall:
        boss = await hall.sign_in("admin")
        with pytest.raises(ProblemError) as refusal:
            await hall.call("identity.register", {"name": "alice", "password": PASSWORD})
        assert (refusal.value.code, refusal.value.name) == (
            "failed_precondition",
            "registration_closed",
        )
        assert "administrator" in str(refusal.value.details["remedy"])
        assert await registers(hall, "admin") == "registration_closed", "names are not told"
        assert await outcome(hall, "request_contact", contact="a@example.org") == (
            "registration_closed"
        )
        assert await has_nothing_but_the_administrator(hall)
        added = await hall.call("identity.add_members", {"names": ["alice"]}, as_=boss)
        assert added.members[0].name == "alice"


# --- invitations ----------------------------------------------------------------------------------


@pytest.mark.requirement("R10")
async def test_invitation_makes_as_many_accounts_as_it_says(tmp_path: Path) -> None:
    await found_hall(tmp_path)
    async with open_test_hall(tmp_path, tables=mode("invite")) as hall:
        boss = await hall.sign_in("admin")
        made = await invite(hall, boss, uses=2)
        assert await registers(hall, "alice", invitation=made.code) == "done"
        typed_otherwise = made.code.upper().replace("-", " ")
        assert await registers(hall, "bob", invitation=typed_otherwise) == "done"
        assert await registers(hall, "carol", invitation=made.code) == "invitation_refused"
        listed = await hall.call("identity.list_invitations", as_=boss)
        assert [(one.uses_max, one.uses_left) for one in listed.invitations] == [(2, 0)]


@pytest.mark.requirement("R10")
async def test_all_bad_invitations_are_refused_alike(tmp_path: Path) -> None:
    clock = ManualClock()
    await found_hall(tmp_path, clock)
    async with open_test_hall(tmp_path, clock=clock, tables=mode("invite")) as hall:
        boss = await hall.sign_in("admin")
        expired = await invite(hall, boss, days=1)
        clock.advance(DAY_MS)
        boss = await hall.sign_in("admin")
        used, revoked = await invite(hall, boss), await invite(hall, boss)
        assert await registers(hall, "alice", invitation=used.code) == "done"
        wanted = {"invitation_id": revoked.invitation.invitation_id}
        first = await hall.call("identity.revoke_invitation", wanted, as_=boss)
        clock.advance(5)
        assert await hall.call("identity.revoke_invitation", wanted, as_=boss) == first
        problems = []
        # Whether the name is taken is not told to those who were not invited.
        for code in (expired.code, used.code, revoked.code, "abcd-efgh", "\N{SNOWMAN}"):
            for name in ("dave", "alice"):
                fields = {"name": name, "password": PASSWORD, "invitation": code}
                reply = await hall.answer("identity.register", fields)
                assert reply.problem is not None
                problems.append((reply.problem.code, reply.problem.name, reply.problem.details))
        assert problems == [problems[0]] * 10
        assert problems[0][:2] == ("permission_denied", "invitation_refused")
        assert len(await hall.rows("SELECT 1 FROM identity_member")) == 2


@pytest.mark.requirement("R10")
async def test_without_an_invitation_the_hall_says_what_it_asks_for(tmp_path: Path) -> None:
    await found_hall(tmp_path)
    async with open_test_hall(tmp_path, tables=mode("invite")) as hall:
        with pytest.raises(ProblemError) as refusal:
            await hall.call("identity.register", {"name": "alice", "password": PASSWORD})
        assert (refusal.value.code, refusal.value.details["field"]) == (
            "invalid_argument",
            "invitation",
        )
        assert await has_nothing_but_the_administrator(hall)


@pytest.mark.requirement("R10")
async def test_invitation_that_means_nothing_is_told(hall: OpenHall) -> None:
    assert await registers(hall, "alice", invitation="abcd") == "invalid_argument"


@pytest.mark.requirement("R10")
async def test_of_many_with_the_last_use_exactly_one_wins(tmp_path: Path) -> None:
    await found_hall(tmp_path)
    async with open_test_hall(tmp_path, tables=mode("invite")) as hall:
        made = await invite(hall, await hall.sign_in("admin"), uses=3)
        outcomes = await asyncio.gather(
            *(registers(hall, f"player {number + 2}", invitation=made.code) for number in range(20))
        )
        assert sorted(outcomes) == ["done"] * 3 + ["invitation_refused"] * 17
        assert len(await hall.rows("SELECT 1 FROM identity_member")) == 4
        assert await hall.rows("SELECT uses_left FROM identity_invitation") == [(0,)]


@pytest.mark.requirement("R10")
async def test_refused_registration_uses_no_invitation_up(tmp_path: Path) -> None:
    await found_hall(tmp_path)
    async with open_test_hall(tmp_path, tables=mode("invite")) as hall:
        made = await invite(hall, await hall.sign_in("admin"))
        assert await registers(hall, "ADMIN", invitation=made.code) == "name_taken"
        short = {"name": "alice", "password": "x", "invitation": made.code}
        assert await outcome(hall, "register", **short) == "invalid_argument"
        assert await registers(hall, "alice", invitation=made.code) == "done"


@pytest.mark.requirement("R10")
async def test_code_of_an_invitation_rests_nowhere(tmp_path: Path) -> None:
    await found_hall(tmp_path)
    async with open_test_hall(tmp_path, tables=mode("invite")) as hall:
        made = await invite(hall, await hall.sign_in("admin"))
        assert await registers(hall, "alice", invitation=made.code) == "done"
        plain = made.code.replace("-", "")
        assert len(plain) == 32
        rows = await read_everything(hall)
    files = read_all(tmp_path)
    assert "alice" in rows
    for secret in (made.code, plain, plain.upper()):
        assert secret not in rows
        assert not any(secret.encode() in content for content in files)


@pytest.mark.requirement("R10")
async def test_only_who_may_invite_does(hall: OpenHall) -> None:
    alice = await hall.member("alice")
    for action, fields in (
        ("create_invitation", {}),
        ("list_invitations", {}),
        ("revoke_invitation", {"invitation_id": "x"}),
    ):
        assert await outcome(hall, action, alice, **fields) == "permission_denied"
    boss = await hall.administrator()
    assert await outcome(hall, "revoke_invitation", boss, invitation_id="x") == (
        "invitation_not_found"
    )
    for wrong in ({"uses": 0}, {"uses": 1_001}, {"days": 0}, {"days": 366}):
        assert await outcome(hall, "create_invitation", boss, **wrong) == "invalid_argument"
    assert await hall.rows("SELECT * FROM identity_invitation") == []


@pytest.mark.requirement("R10")
async def test_invitations_are_listed_by_pages_and_forgotten_in_the_end(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_test_hall(tmp_path, clock=clock) as hall:
        boss = await hall.administrator()
        made = []
        for _ in range(5):
            clock.advance(1)
            made.append((await invite(hall, boss, days=1)).invitation)
        page = await hall.call("identity.list_invitations", {"limit": 3}, as_=boss)
        rest = await hall.call(
            "identity.list_invitations", {"limit": 3, "after": page.next}, as_=boss
        )
        assert page.invitations + rest.invitations == made[::-1]
        assert rest.next is None
        clock.advance(31 * DAY_MS - 1_000)
        await hall.run_job("identity.sweep_registration")
        assert len(await hall.rows("SELECT 1 FROM identity_invitation")) == 5
        clock.advance(2_000)
        await hall.run_job("identity.sweep_registration")
        assert await hall.rows("SELECT 1 FROM identity_invitation") == []


# --- budgets --------------------------------------------------------------------------------------


@pytest.mark.requirement("R10")
@pytest.mark.requirement("R12")
async def test_source_makes_no_more_accounts_in_an_hour_than_it_may(tmp_path: Path) -> None:
    clock = ManualClock()
    tables = mode("open", accounts_per_source_hour_max=3)
    async with open_test_hall(tmp_path, clock=clock, tables=tables) as hall:
        replies = await asyncio.gather(
            *(
                hall.answer(
                    "identity.register", {"name": f"player {number + 2}", "password": PASSWORD}
                )
                for number in range(10)
            )
        )
        names = [reply.problem.name if reply.problem else "done" for reply in replies]
        assert sorted(names) == ["done"] * 3 + ["rate_limited"] * 7
        waits = {reply.problem.details["retry_after_ms"] for reply in replies if reply.problem}
        assert waits == {HOUR_MS - clock.now_ms() % HOUR_MS}
        await hall.member("from elsewhere")
        assert await registers(hall, "player 2") == "rate_limited"
        clock.advance(HOUR_MS - clock.now_ms() % HOUR_MS)
        assert await registers(hall, "too late") == "done"
        await hall.run_job("identity.sweep_registration")
        rows = await hall.rows("SELECT kind, used FROM identity_budget ORDER BY source")
        assert rows == [("accounts", 1), ("accounts", 1)], "past hours are forgotten"


@pytest.mark.requirement("R10")
async def test_hall_makes_no_more_accounts_in_an_hour_than_it_may(tmp_path: Path) -> None:
    tables = mode("open", accounts_per_hall_hour_max=3)
    async with open_test_hall(tmp_path, tables=tables) as hall:
        for number in range(3):
            await hall.member(f"player {number + 2}")
        with pytest.raises(ProblemError, match="rate_limited"):
            await hall.member("one more")
        assert len(await hall.rows("SELECT 1 FROM identity_member")) == 3


@pytest.mark.requirement("R10")
async def test_budget_outlives_a_restart_and_refusals_cost_nothing(tmp_path: Path) -> None:
    clock, tables = ManualClock(), mode("open", accounts_per_source_hour_max=2)
    async with open_test_hall(tmp_path, clock=clock, tables=tables) as hall:
        assert await registers(hall, "alice") == "done"
        for _ in range(3):
            assert await registers(hall, "alice") == "name_taken"
            assert await registers(hall, "") == "invalid_argument"
        assert await registers(hall, "bob") == "done"
    async with open_test_hall(tmp_path, clock=clock, tables=tables) as hall:
        assert await registers(hall, "carol") == "rate_limited"


@pytest.mark.parametrize(
    ("source", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_budget_counts_networks(source: str, counted: str) -> None:
    assert network_of(source) == counted


# --- guests ---------------------------------------------------------------------------------------


async def come_in(hall: OpenHall) -> Visitor:
    opened = await hall.call("identity.register_guest")
    return Visitor(opened.member_id, opened.name, opened.session_id, opened.access_token)


@pytest.mark.requirement("R10")
async def test_guest_becomes_a_member_and_keeps_id_and_session(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path, tables=mode("open", guests=True)) as hall:
        guest, other = await come_in(hall), await come_in(hall)
        assert guest.name.startswith("guest-")
        assert (await hall.call("identity.get_self", as_=guest)).member_id == guest.member_id
        assert await outcome(hall, "open_session", name=guest.name, password=PASSWORD) == (
            "wrong_credentials"
        ), "a guest has no password"
        assert await outcome(hall, "rename_self", guest, name="alice") == "guest_name"
        wanted = {"name": "Alice", "new_password": PASSWORD}
        made = await hall.call("identity.become_member", wanted, as_=guest)
        assert (made.member_id, made.name) == (guest.member_id, "Alice")
        assert (await hall.call("identity.get_self", as_=guest)).name == "Alice"
        assert (await hall.sign_in("alice")).member_id == guest.member_id
        assert await outcome(hall, "become_member", guest, **wanted) == "not_a_guest"
        assert await outcome(hall, "become_member", other, **wanted) == "name_taken"
        assert (await hall.call("identity.get_self", as_=other)).name == other.name
        [*_, last] = await hall.events("identity")
        assert (last.kind, last.data) == (
            "identity.guest_became_member",
            {"member_id": guest.member_id},
        )


@pytest.mark.requirement("R10")
async def test_hall_without_guests_refuses_them(hall: OpenHall) -> None:
    assert await outcome(hall, "register_guest") == "guests_refused"
    assert await hall.rows("SELECT * FROM identity_member") == []
    alice = await hall.member("alice")
    wanted = {"name": "bob", "new_password": PASSWORD}
    assert await outcome(hall, "become_member", alice, **wanted) == "not_a_guest"


@pytest.mark.requirement("R10")
async def test_guests_have_a_budget_too(tmp_path: Path) -> None:
    tables = mode("open", guests=True, accounts_per_source_hour_max=2)
    async with open_test_hall(tmp_path, tables=tables) as hall:
        outcomes = [await outcome(hall, "register_guest") for _ in range(3)]
        assert outcomes == ["done", "done", "rate_limited"]
        assert len(await hall.rows("SELECT * FROM identity_session")) == 2


@pytest.mark.requirement("R10")
async def test_being_a_guest_is_no_way_around_an_invitation(tmp_path: Path) -> None:
    await found_hall(tmp_path)
    async with open_test_hall(tmp_path, tables=mode("invite", guests=True)) as hall:
        made = await invite(hall, await hall.sign_in("admin"))
        guest = await come_in(hall)
        wanted = {"name": "alice", "new_password": PASSWORD}
        assert await outcome(hall, "become_member", guest, **wanted) == "invalid_argument"
        assert await outcome(hall, "become_member", guest, **wanted, invitation="x") == (
            "invitation_refused"
        )
        assert await outcome(hall, "become_member", guest, **wanted, invitation=made.code) == "done"
        assert await registers(hall, "bob", invitation=made.code) == "invitation_refused"


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.requirement("R10")
async def test_hall_does_not_ask_for_contacts_that_it_cannot_verify(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"set up \[mail\]"):
        async with open_test_hall(tmp_path, tables=mode("contact")):
            pass


@pytest.mark.parametrize("wrong", [{"mode": "opne"}, {"guests": "perhaps"}, {"mod": "open"}])
async def test_wrong_settings_stop_the_start(tmp_path: Path, wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="registration"):
        async with open_test_hall(tmp_path, tables={"registration": wrong}):
            pass
