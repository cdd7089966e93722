"""Taking one's data along, and leaving: by oneself, by an administrator, and with a crash."""

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import pytest

from moothall.core.units import DAY_MS, MINUTE_MS
from moothall.ports.hasher import PasswordHasher
from moothall.services.identity.store import passwords, removal
from moothall.testing import OpenHall, ProblemError, Visitor, open_test_hall
from moothall.testing.hall import PASSWORD, CheapHasher
from tests.unit.services.access.calls import rights_of
from tests.unit.services.identity.tables import list_tables, read_everything

MEMBER_COLUMNS = (
    ("identity_session", "member_id"),
    ("identity_name_hold", "member_id"),
    ("identity_contact", "member_id"),
    ("identity_lockout", "member_id"),
    ("identity_recovery", "member_id"),
    ("identity_invitation", "invited_by"),
    ("access_binding", "granted_by"),
    ("access_team_member", "member_id"),
    ("access_ban", "member_id"),
    ("access_claim", "claimed_by"),
    ("leaderboards_entry", "member_id"),
    ("leaderboards_entry", "verified_by"),
    ("leaderboards_standing", "member_id"),
    ("leaderboards_comment", "member_id"),
    ("leaderboards_board", "created_by"),
)


async def exported(hall: OpenHall, who: Visitor, action: str = "export_self", **fields: Any) -> Any:
    rows, after = [], ""
    while True:
        page = await hall.call(f"identity.{action}", {**fields, "after": after}, as_=who)
        rows += page.rows
        if page.next is None:
            return rows
        after = page.next


async def leave(hall: OpenHall, who: Visitor, password: str = PASSWORD) -> Any:
    return await hall.call("identity.remove_account", {"password": password}, as_=who)


async def remove(hall: OpenHall, who: Visitor, member: str) -> Any:
    return await hall.call("identity.remove_member", {"member": member}, as_=who)


async def refused(hall: OpenHall, who: Visitor | None, action: str, **fields: Any) -> ProblemError:
    with pytest.raises(ProblemError) as refusal:
        await hall.call(action, fields, as_=who)
    return refusal.value


async def grant(hall: OpenHall, boss: Visitor, member: str, role: str, at: str = "") -> None:
    fields = {"member": member, "role": role, "at": at}
    await hall.call("access.grant_role", fields, as_=boss)


async def manager(hall: OpenHall, boss: Visitor, name: str = "mia") -> Visitor:
    """Return a member who removes and exports members, and holds nothing else."""
    role = {"name": "remover", "permissions": ["members:remove", "members:export"]}
    await hall.call("access.define_role", role, as_=boss)
    visitor = await hall.member(name)
    await grant(hall, boss, name, "remover")
    return visitor


async def check_no_orphans(hall: OpenHall) -> None:
    """Refuse a row that names somebody, or something, that does not exist."""
    if hall.hall.database.engine == "sqlite":  # the other one never lets a foreign key dangle
        assert await hall.rows("SELECT * FROM pragma_foreign_key_check") == []
    for table, column in MEMBER_COLUMNS:
        dangling = await hall.rows(
            f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL"
            f" AND {column} NOT IN (SELECT member_id FROM identity_member)"
        )
        assert dangling == [], (table, column)
    gone = "SELECT member_id FROM identity_member WHERE erased_at_ms IS NOT NULL"
    for table in ("identity_contact", "identity_lockout", "identity_recovery", "access_ban"):
        assert await hall.rows(f"SELECT * FROM {table} WHERE member_id IN ({gone})") == [], table
    for table, column in (("access_binding", "subject"), ("access_team_member", "member_id")):
        assert await hall.rows(f"SELECT * FROM {table} WHERE {column} IN ({gone})") == [], table


async def settle(hall: OpenHall) -> None:
    """Let the time pass after which the job may finish, and run it."""
    hall.clock.advance(MINUTE_MS)
    await hall.run_job("identity.finish_removals")


# --- taking along ---------------------------------------------------------------------------------


@pytest.mark.requirement("R16")
async def test_a_member_takes_along_what_the_rooms_hold_and_no_secret(hall: OpenHall) -> None:
    boss = await hall.administrator()
    ann, _ = await hall.member("ann"), await hall.member("bob")
    await grant(hall, boss, "ann", "member_manager")
    rows = await exported(hall, ann)
    kinds = [(row.room, row.kind) for row in rows]
    for kind in (("identity", "account"), ("identity", "session"), ("access", "binding")):
        assert kinds.count(kind) == 1, kind
    account = next(row.data for row in rows if row.kind == "account")
    assert (account["member_id"], account["name"]) == (ann.member_id, "ann")
    binding = next(row.data for row in rows if row.kind == "binding")
    assert binding["role"] == "member_manager"
    assert binding["granted_by"] == boss.member_id
    assert [row.data["action"] for row in rows if row.kind == "deed"] == [
        "identity.register",
        "identity.open_session",
    ]
    text = msgspec.json.encode(rows).decode()
    assert await CheapHasher().hash(PASSWORD) not in text
    assert "bob" not in text


@pytest.mark.requirement("R16")
@pytest.mark.parametrize("limit", [1, 3])
async def test_pages_hold_the_same_as_the_whole(hall: OpenHall, limit: int) -> None:
    boss = await hall.administrator()
    for number in range(4):
        await hall.sign_in("admin")
        await grant(hall, boss, "admin", "member_manager", f"board/{number}")
    whole = await exported(hall, boss, limit=500)
    assert len(whole) > 12
    parts = await exported(hall, boss, limit=limit)
    assert parts == whole


@pytest.mark.requirement("R16")
@pytest.mark.requirement("R24")
async def test_only_who_may_exports_others_and_each_page_is_audited(hall: OpenHall) -> None:
    boss = await hall.administrator()
    ann, mia = await hall.member("ann"), await manager(hall, boss)
    refusal = await refused(hall, ann, "identity.export_member", member="mia")
    assert refusal.details["permission"] == "members:export"
    rows = await exported(hall, mia, "export_member", member="ann")
    assert [row.data["name"] for row in rows if row.kind == "account"] == ["ann"]
    audited = await hall.rows(
        "SELECT path, outcome FROM access_audit WHERE action = 'identity.export_member'"
        " AND actor = $1",
        mia.member_id,
    )
    assert set(audited) == {(f"member/{ann.member_id}", "done")}
    refusal = await refused(hall, mia, "identity.export_member", member="nobody")
    assert refusal.name == "member_not_found"


# --- leaving by oneself ---------------------------------------------------------------------------


@pytest.mark.requirement("R16")
async def test_wrong_password_removes_nothing_and_counts(hall: OpenHall) -> None:
    ann = await hall.member("ann")
    names = [
        (await refused(hall, ann, "identity.remove_account", password="a wrong one")).name
        for _ in range(4)
    ]
    assert names == [*["wrong_credentials"] * 3, "account_locked"]
    refusal = await refused(hall, ann, "identity.remove_account", password=PASSWORD)
    assert refusal.name == "account_locked"
    assert (await hall.call("identity.get_self", as_=ann)).name == "ann"
    assert not [e for e in await hall.events("identity") if e.kind.endswith("member_removed")]


@pytest.mark.requirement("R16")
async def test_who_left_is_a_tombstone_whose_sessions_have_ended(hall: OpenHall) -> None:
    await hall.member("bob")
    ann = await hall.member("Ann")
    fields = {"name": "Ann", "password": PASSWORD, "device": "Ann's phone"}
    other = await hall.call("identity.open_session", fields)
    removal = await leave(hall, ann)
    assert (removal.member_id, removal.is_erased) == (ann.member_id, True)

    for token in (ann.token, other.access_token):
        reply = await hall.answer("identity.get_self", token=token)
        assert reply.problem is not None
        assert reply.problem.code == "unauthenticated"
    renewal = {"refresh_token": other.refresh_token}
    assert (await refused(hall, None, "identity.refresh_session", **renewal)).name == (
        "session_ended"
    )
    gone, unknown = [
        await refused(hall, None, "identity.open_session", name=name, password=PASSWORD)
        for name in ("Ann", "never")
    ]
    assert (gone.name, gone.details) == (unknown.name, unknown.details)

    bob = await hall.sign_in("bob")
    found = await hall.call("identity.find_member", {"member": ann.member_id}, as_=bob)
    assert (found.name, found.is_removed) == ("", True)
    assert (await refused(hall, bob, "identity.find_member", member="Ann")).code == "not_found"
    listed = (await hall.call("identity.list_members", as_=bob)).members
    assert [member.name for member in listed] == ["bob"]
    ids = {"member_ids": [ann.member_id, bob.member_id]}
    named = await hall.call("identity.name_members", ids, as_=bob)
    assert (named.names, named.removed) == ({bob.member_id: "bob"}, [ann.member_id])
    [event] = [e for e in await hall.events("identity") if e.kind.endswith("member_removed")]
    assert event.data == {"member_id": ann.member_id}
    sessions = "SELECT ended_at_ms, source, device FROM identity_session WHERE member_id = $1"
    now_ms = hall.clock.now_ms()
    assert await hall.rows(sessions, ann.member_id) == [(now_ms, "", "")] * 2


@pytest.mark.requirement("R16")
async def test_a_restart_does_not_let_tokens_of_the_removed_live_again(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path) as hall:
        ann = await hall.member("ann")
        await leave(hall, ann)
        clock = hall.clock
    async with open_test_hall(tmp_path, clock=clock) as hall:
        await settle(hall)
        reply = await hall.answer("identity.get_self", token=ann.token)
        assert reply.problem is not None
        assert reply.problem.code == "unauthenticated"


@pytest.mark.requirement("R16")
async def test_the_name_can_be_had_again_after_30_days_and_is_nowhere_then(
    hall: OpenHall,
) -> None:
    boss = await hall.administrator()
    ann = await hall.member("Annabella")
    await hall.call("identity.add_members", {"names": ["Zenobia"]}, as_=boss)
    await grant(hall, boss, "Annabella", "member_manager")
    await leave(hall, ann)
    again = {"name": "annabella", "password": PASSWORD}
    assert (await refused(hall, None, "identity.register", **again)).name == "name_taken"
    hall.clock.advance(30 * DAY_MS + 1)
    await hall.run_job("identity.finish_removals")
    for job in hall.hall.catalog.rooms["identity"].jobs:
        await hall.run_job(job.name)
    assert "zenobia" in (await read_everything(hall)).casefold(), "the search finds who is there"
    assert "annabella" not in (await read_everything(hall)).casefold()
    member = await hall.call("identity.register", again)
    assert member.member_id != ann.member_id


@pytest.mark.requirement("R16")
async def test_a_sign_in_that_was_under_way_opens_no_session(hall: OpenHall) -> None:
    class Slow(CheapHasher):
        """Lets the account be removed while its password is compared."""

        async def verify(self, known: str | None, password: str) -> bool:
            hall.hall.house.ports[PasswordHasher] = CheapHasher()  # type: ignore[index]
            await leave(hall, ann)
            return await super().verify(known, password)

    ann = await hall.member("ann")
    hall.hall.house.ports[PasswordHasher] = Slow()  # type: ignore[index]
    refusal = await refused(hall, None, "identity.open_session", name="ann", password=PASSWORD)
    assert refusal.code == "unauthenticated"
    assert await hall.rows("SELECT * FROM identity_session WHERE ended_at_ms IS NULL") == []


@pytest.mark.requirement("R16")
@pytest.mark.requirement("R10")
async def test_a_guest_leaves_without_a_password_and_a_member_does_not(tmp_path: Path) -> None:
    settings = {"registration": {"guests": True}}
    async with open_test_hall(tmp_path, tables=settings) as hall:
        opened = await hall.call("identity.register_guest", {})
        guest = Visitor(opened.member_id, opened.name, opened.session_id, opened.access_token)
        ann = await hall.member("ann")
        refusal = await refused(hall, ann, "identity.remove_guest")
        assert refusal.name == "not_a_guest"
        removal = await hall.call("identity.remove_guest", as_=guest)
        assert removal.member_id == guest.member_id
        reply = await hall.answer("identity.get_self", token=guest.token)
        assert reply.problem is not None
        assert (await hall.call("identity.get_self", as_=ann)).name == "ann"


@pytest.mark.requirement("R16")
async def test_a_password_that_was_changed_meanwhile_is_no_fresh_proof(hall: OpenHall) -> None:
    class Slow(CheapHasher):
        """Lets the password be changed while it is compared."""

        async def verify(self, known: str | None, password: str) -> bool:
            new_hash = await self.hash("another one")
            await hall.hall.database.write(
                lambda tx: passwords.update_password(tx, ann.member_id, new_hash)
            )
            return await super().verify(known, password)

    ann = await hall.member("ann")
    hall.hall.house.ports[PasswordHasher] = Slow()  # type: ignore[index]
    refusal = await refused(hall, ann, "identity.remove_account", password=PASSWORD)
    assert refusal.name == "wrong_credentials"
    assert (await hall.call("identity.get_self", as_=ann)).name == "ann"


@pytest.mark.requirement("R16")
async def test_a_call_that_was_let_in_before_gives_a_tombstone_no_name(hall: OpenHall) -> None:
    ann = await hall.member("ann")
    now_ms = hall.clock.now_ms()
    await hall.hall.database.write(lambda tx: removal.update_removed(tx, ann.member_id, now_ms))
    refusal = await refused(hall, ann, "identity.rename_self", name="anna")
    assert refusal.name == "member_not_found"
    names = await hall.rows("SELECT name FROM identity_member")
    assert names == [("",)]


# --- administrators -------------------------------------------------------------------------------


@pytest.mark.requirement("R16")
async def test_the_last_administrator_stays(hall: OpenHall) -> None:
    boss = await hall.administrator()
    second = await hall.member("second")
    refusal = await refused(hall, boss, "identity.remove_account", password=PASSWORD)
    assert (refusal.code, refusal.name) == ("failed_precondition", "member_needed")
    assert "no administrator" in str(refusal.details["reason"])
    assert (await hall.call("identity.get_self", as_=boss)).name == "admin"
    listed = await hall.call("access.list_bindings", {"member": "admin"}, as_=boss)
    assert [binding.role for binding in listed.bindings] == ["administrator"]
    await grant(hall, boss, "second", "administrator")
    await leave(hall, boss)
    refusal = await refused(hall, second, "identity.remove_account", password=PASSWORD)
    assert refusal.name == "member_needed"
    # The refused password was right, so it costs no guess.
    for _ in range(4):
        again = await refused(hall, second, "identity.remove_account", password=PASSWORD)
        assert again.name == "member_needed"


@pytest.mark.requirement("R16")
async def test_of_two_last_administrators_who_leave_at_once_one_stays(hall: OpenHall) -> None:
    boss, second = await hall.administrator(), await hall.member("second")
    await grant(hall, boss, "second", "administrator")
    body = {"password": PASSWORD}
    replies = await asyncio.gather(
        *(hall.answer("identity.remove_account", body, token=one.token) for one in (boss, second))
    )
    names = [reply.problem.name if reply.problem else "left" for reply in replies]
    assert sorted(names) == ["left", "member_needed"]


@pytest.mark.requirement("R16")
async def test_an_administrator_removes_a_member(hall: OpenHall) -> None:
    boss, ann = await hall.administrator(), await hall.member("ann")
    removal = await remove(hall, boss, "ann")
    assert removal.member_id == ann.member_id
    reply = await hall.answer("identity.get_self", token=ann.token)
    assert reply.problem is not None
    assert reply.problem.code == "unauthenticated"
    audited = await hall.rows(
        "SELECT actor, path, outcome FROM access_audit WHERE action = 'identity.remove_member'"
    )
    assert audited == [(boss.member_id, f"member/{ann.member_id}", "done")]
    for member in ("ann", ann.member_id):
        refusal = await refused(hall, boss, "identity.remove_member", member=member)
        assert refusal.name == "member_not_found"
    refusal = await refused(hall, boss, "identity.remove_member", member="admin")
    assert refusal.name == "not_by_this_way"
    assert "remove_account" in str(refusal.details["remedy"])


@pytest.mark.requirement("R16")
@pytest.mark.requirement("R20")
async def test_nobody_removes_who_holds_more(hall: OpenHall) -> None:
    boss = await hall.administrator()
    ann, mia = await hall.member("ann"), await manager(hall, boss)
    refusal = await refused(hall, ann, "identity.remove_member", member="mia")
    assert refusal.details["permission"] == "members:remove"
    refusal = await refused(hall, mia, "identity.remove_member", member="admin")
    assert refusal.code == "permission_denied"
    # A role on one board is more than nothing there.
    await grant(hall, boss, "ann", "board_writer", "board/7")
    refusal = await refused(hall, mia, "identity.remove_member", member="ann")
    assert (refusal.code, refusal.details["path"]) == ("permission_denied", "board/7")
    assert (await hall.call("identity.get_self", as_=ann)).name == "ann"
    await grant(hall, boss, "mia", "board_moderator")
    await remove(hall, mia, "ann")


@pytest.mark.requirement("R16")
async def test_what_a_member_held_acts_no_more_and_a_tombstone_is_given_nothing(
    hall: OpenHall,
) -> None:
    boss, ann = await hall.administrator(), await hall.member("ann")
    await grant(hall, boss, "ann", "member_manager")
    await hall.call("access.create_team", {"team": "helpers"}, as_=boss)
    await grant(hall, boss, "team:helpers", "role_manager")
    place = {"team": "helpers", "member": "ann"}
    await hall.call("access.add_team_member", place, as_=boss)
    ban = {"member": "ann", "at": "board/7", "reason": "spam"}
    await hall.call("access.ban", ban, as_=boss)
    rights = await rights_of(hall, ann.member_id)
    assert rights.allows("members:add", "")
    assert rights.allows("roles:grant", "")
    await leave(hall, ann)
    rights = await rights_of(hall, ann.member_id)
    assert not rights.allows("members:add", "")
    assert not rights.allows("roles:grant", "")
    kinds = [event.kind.removeprefix("access.") for event in await hall.events("access")]
    assert kinds[-3:] == ["role_revoked", "team_member_removed", "ban_lifted"]
    place = {"team": "helpers", "member": ann.member_id}
    assert (await refused(hall, boss, "access.add_team_member", **place)).name == (
        "member_not_found"
    )
    fields = {"member": ann.member_id, "role": "member_manager"}
    assert (await refused(hall, boss, "access.grant_role", **fields)).name == "member_not_found"


# --- cut off in the middle ------------------------------------------------------------------------


class CutOffError(Exception):
    """Stands for a crash."""


def cut_off(hall: OpenHall, room: str, after_steps: int) -> None:
    """Let the erasing of a room fail after so many steps, once."""
    found = hall.hall.catalog.rooms[room]
    assert found.personal is not None
    whole, left = found.personal, after_steps

    async def erase_rows(ctx: Any, member_id: str) -> bool:
        nonlocal left
        if left == 0:
            hall.hall.catalog.rooms[room] = found
            raise CutOffError
        left -= 1
        return await whole.erase_rows(ctx, member_id)

    personal = dataclasses.replace(whole, erase_rows=erase_rows)
    hall.hall.catalog.rooms[room] = dataclasses.replace(found, personal=personal)


async def make_story(hall: OpenHall) -> tuple[Visitor, Visitor]:
    """Return an administrator, and a member of whom each room holds something."""
    boss = await hall.administrator()
    board = {"name": "Seven", "direction": "descending", "default_level": "write"}
    await hall.call("leaderboards.create_board", {**board, "removed_members": "remove"}, as_=boss)
    ann = await hall.member("ann")
    await grant(hall, boss, "ann", "board_moderator", "board/seven")
    for score in (3.0, 5.0):
        fields = {"board_id": "seven", "score": score, "description": "well played"}
        entry = await hall.call("leaderboards.submit_score", fields, as_=ann, key=f"{score}")
        verify = {"entry_id": entry.entry_id}
        await hall.call("leaderboards.verify_entry", verify, as_=boss)
    fields = {"board_id": "seven", "score": 4.0}
    entry = await hall.call("leaderboards.submit_score", fields, as_=boss)
    await hall.call("leaderboards.verify_entry", {"entry_id": entry.entry_id}, as_=ann)
    return boss, ann


async def traces(hall: OpenHall, member_id: str) -> list[str]:
    """Return the tables that name a member still."""
    return [
        name
        for name in await list_tables(hall)
        # What nodes told each other is swept within hours, and holds nothing but ids.
        if name != "action_notice" and member_id in str(await hall.rows(f"SELECT * FROM {name}"))
    ]


@pytest.mark.requirement("R16")
@pytest.mark.parametrize(
    ("room", "after_steps"),
    [
        *(("access", 0), ("access", 1), ("identity", 0), ("identity", 1)),
        *(("leaderboards", 0), ("leaderboards", 1), ("leaderboards", 2)),
    ],
)
async def test_what_was_cut_off_goes_on(hall: OpenHall, room: str, after_steps: int) -> None:
    boss, ann = await make_story(hall)
    cut_off(hall, room, after_steps)
    refusal = await refused(hall, ann, "identity.remove_account", password=PASSWORD)
    assert refusal.code == "internal"
    reply = await hall.answer("identity.get_self", token=ann.token)
    assert reply.problem is not None, "whatever happens afterwards, the member is removed"
    await settle(hall)
    [(erased,)] = await hall.rows(
        "SELECT erased_at_ms FROM identity_member WHERE member_id = $1", ann.member_id
    )
    assert erased == hall.clock.now_ms()
    # The verification of the boss's entry, what the trail and the events tell, ended sessions;
    # the stream of the member's entries is named by the id.
    assert await traces(hall, ann.member_id) == [
        "access_audit",
        "action_event",
        "action_stream",
        "identity_member",
        "identity_name_hold",
        "identity_session",
        "leaderboards_entry",
    ]
    await check_no_orphans(hall)
    page = await hall.call(
        "leaderboards.list_entries", {"board_id": "seven"}, as_=await hall.sign_in("admin")
    )
    assert [(row.place, row.member_id) for row in page.standings] == [(1, boss.member_id)]


@pytest.mark.requirement("R16")
async def test_a_removal_is_finished_when_no_call_is_under_way_any_more(hall: OpenHall) -> None:
    _, ann = await make_story(hall)
    await leave(hall, ann)
    erased = "SELECT erased_at_ms FROM identity_member WHERE removed_at_ms IS NOT NULL"
    hall.clock.advance(MINUTE_MS - 1)
    await hall.run_job("identity.finish_removals")
    assert await hall.rows(erased) == [(None,)]
    # A call that began before the removal writes its row now.
    sql = """
    INSERT INTO identity_lockout (member_id, series, guesses, guessed_at_ms, locked_until_ms)
    VALUES ($1, 's', 1, 0, 0)
    """
    await hall.hall.database.write(lambda tx: tx.execute(sql, ann.member_id))
    hall.clock.advance(1)
    await hall.run_job("identity.finish_removals")
    assert await hall.rows(erased) == [(hall.clock.now_ms(),)]
    assert await hall.rows("SELECT * FROM identity_lockout") == []


@pytest.mark.requirement("R16")
async def test_one_member_who_cannot_be_erased_keeps_no_other_waiting(hall: OpenHall) -> None:
    await hall.administrator()
    ann, bob = await hall.member("ann"), await hall.member("bob")
    await leave(hall, ann)
    hall.clock.advance(1)
    await leave(hall, bob)
    cut_off(hall, "access", 0)
    hall.clock.advance(MINUTE_MS)
    with pytest.raises(ExceptionGroup, match="1 removed members"):
        await hall.run_job("identity.finish_removals")
    left = "SELECT member_id FROM identity_member WHERE removed_at_ms > 0 AND erased_at_ms IS NULL"
    assert await hall.rows(left) == [(ann.member_id,)]
    await hall.run_job("identity.finish_removals")
    assert await hall.rows(left) == []
