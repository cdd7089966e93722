"""Guests who left: removed after a while, and nobody else."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from moothall.action.migrations import read_migrations
from moothall.core.units import DAY_MS, HOUR_MS
from moothall.services import identity
from moothall.services.access.actions import digest_secret
from moothall.services.access.store import renew_claim
from moothall.testing import OpenHall, Visitor, open_test_hall
from moothall.testing.hall import PASSWORD

KEPT_MS = 3 * DAY_MS
SWEPT_MS = 2 * HOUR_MS
SETTINGS = {
    "registration": {"guests": True, "guest_kept_ms": KEPT_MS, "accounts_per_source_hour_max": 300},
    "sessions": {"swept_after_ms": SWEPT_MS, "idle_ms": 2 * DAY_MS, "life_ms": 6 * DAY_MS},
}


@pytest.fixture
async def hall(tmp_path: Path) -> AsyncIterator[OpenHall]:
    async with open_test_hall(tmp_path, tables=SETTINGS) as opened:
        yield opened


async def come_in(hall: OpenHall) -> Visitor:
    opened = await hall.call("identity.register_guest")
    return Visitor(opened.member_id, opened.name, opened.session_id, opened.access_token)


async def keep_house(hall: OpenHall) -> None:
    for job in ("sweep_sessions", "remove_idle_guests", "finish_removals"):
        await hall.run_job(f"identity.{job}")


async def pass_time(hall: OpenHall, milliseconds: int) -> None:
    """Let time pass as it does in a hall, where house is kept every hour."""
    for _ in range(milliseconds // HOUR_MS):
        hall.clock.advance(HOUR_MS)
        await keep_house(hall)


async def removed(hall: OpenHall) -> set[str]:
    rows = await hall.rows("SELECT member_id FROM identity_member WHERE removed_at_ms IS NOT NULL")
    return {row[0] for row in rows}


@pytest.mark.requirement("R12")
async def test_guest_who_left_is_removed_after_a_while_and_not_before(hall: OpenHall) -> None:
    gone, staying = await come_in(hall), await come_in(hall)
    await hall.call("identity.close_session", as_=gone)
    await pass_time(hall, DAY_MS)
    await hall.call("identity.get_registration")
    assert await removed(hall) == set()
    hall.clock.advance(2 * DAY_MS - 1)
    await keep_house(hall)
    assert await removed(hall) == set()
    hall.clock.advance(1)
    await keep_house(hall)
    assert await removed(hall) == {gone.member_id}
    [row] = await hall.rows(
        "SELECT name, removed_at_ms FROM identity_member WHERE member_id = $1", gone.member_id
    )
    assert row == ("", hall.clock.now_ms()), "a tombstone"
    told = [event.data for event in await hall.events("identity")]
    assert {"member_id": gone.member_id} in told
    assert staying.member_id not in await removed(hall)


@pytest.mark.requirement("R12")
async def test_guest_whose_session_lapsed_is_removed_too_and_all_of_theirs_goes(
    hall: OpenHall,
) -> None:
    guest = await come_in(hall)
    lapsed_ms = hall.clock.now_ms() + 2 * DAY_MS
    await pass_time(hall, 2 * DAY_MS + SWEPT_MS + HOUR_MS)
    sql = "SELECT idle_since_ms FROM identity_member WHERE member_id = $1"
    assert await hall.rows(sql, guest.member_id) == [(lapsed_ms,)]
    await pass_time(hall, KEPT_MS)
    assert await removed(hall) == {guest.member_id}
    await pass_time(hall, HOUR_MS)
    erased = "SELECT 1 FROM identity_member WHERE member_id = $1 AND erased_at_ms IS NOT NULL"
    assert await hall.rows(erased, guest.member_id) == [(1,)]
    audit = "SELECT path, outcome FROM access_audit WHERE action = 'identity.remove_idle_guests'"
    assert await hall.rows(audit) == [(f"member/{guest.member_id}", "done")]


@pytest.mark.requirement("R12")
async def test_guest_who_comes_by_is_never_removed(hall: OpenHall) -> None:
    opened = await hall.call("identity.register_guest")
    for _ in range(5):
        await pass_time(hall, DAY_MS)
        opened = await hall.call(
            "identity.refresh_session", {"refresh_token": opened.refresh_token}
        )
    assert await removed(hall) == set()
    await pass_time(hall, DAY_MS + SWEPT_MS + KEPT_MS)
    assert await removed(hall) == {opened.member_id}, "at the end of the session's life"


@pytest.mark.requirement("R12")
async def test_members_are_not_removed_however_long_they_are_away(hall: OpenHall) -> None:
    boss = await hall.administrator()
    alice = await hall.member("alice")
    became = await come_in(hall)
    wanted = {"name": "bob", "new_password": PASSWORD}
    await hall.call("identity.become_member", wanted, as_=became)
    added = await hall.call("identity.add_members", {"names": ["carol"]}, as_=boss)
    for who in (alice, became):
        await hall.call("identity.close_session", as_=who)
    await pass_time(hall, 10 * DAY_MS)
    assert await removed(hall) == set()
    assert (await hall.sign_in("bob")).member_id == became.member_id
    assert added.members[0] is not None


@pytest.mark.requirement("R12")
async def test_guest_who_was_handed_a_code_keeps_the_account_and_is_a_guest_no_more(
    hall: OpenHall,
) -> None:
    boss = await hall.administrator()
    guest, other = await come_in(hall), await come_in(hall)
    for who in (guest, other):
        await hall.call("identity.close_session", as_=who)
    await pass_time(hall, KEPT_MS - HOUR_MS)
    boss = await hall.sign_in(boss.name)
    issued = await hall.call("identity.issue_recovery_code", {"member": guest.name}, as_=boss)
    await pass_time(hall, HOUR_MS)
    assert await removed(hall) == {other.member_id}
    fields = {"name": guest.name, "code": issued.code, "new_password": PASSWORD}
    await hall.call("identity.complete_recovery", fields)
    await pass_time(hall, 2 * DAY_MS)
    back = await hall.sign_in(guest.name)
    assert back.member_id == guest.member_id
    reply = await hall.answer("identity.remove_guest", token=back.token)
    assert reply.problem is not None
    assert reply.problem.name == "not_a_guest", "who has a password is asked for it"


@pytest.mark.requirement("R12")
async def test_more_than_one_chunk_and_one_whom_the_hall_needs(hall: OpenHall) -> None:
    """The only administrator cannot go, and who comes after them in the row can."""
    guests = [await come_in(hall) for _ in range(205)]
    needed = guests[0]
    digest, now_ms = digest_secret("a secret"), hall.clock.now_ms()
    await hall.hall.database.write(lambda tx: renew_claim(tx, digest, now_ms))
    await hall.call("access.claim_administration", {"secret": "a secret"}, as_=needed)
    for guest in guests:
        await hall.call("identity.close_session", as_=guest)
    hall.clock.advance(KEPT_MS)
    await keep_house(hall)
    assert await removed(hall) == {guest.member_id for guest in guests[1:]}


@pytest.mark.requirement("R12")
async def test_guest_who_leaves_by_themselves_meanwhile_is_removed_once(hall: OpenHall) -> None:
    guest = await come_in(hall)
    await hall.call("identity.remove_guest", as_=guest)
    await pass_time(hall, KEPT_MS + DAY_MS)
    await asyncio.gather(keep_house(hall), keep_house(hall))
    kinds = [event.kind for event in await hall.events("identity")]
    assert kinds.count("identity.member_removed") == 1


# --- accounts that wait for their first password --------------------------------------------------


@pytest.mark.requirement("R10")
async def test_account_that_was_added_can_leave_as_soon_as_anybody_can_use_it(
    hall: OpenHall,
) -> None:
    """Before its first password it has no session, so nobody could even ask; then it can."""
    boss = await hall.administrator()
    await hall.call("identity.add_members", {"names": ["carol", "dave"]}, as_=boss)
    issued = await hall.call("identity.issue_recovery_code", {"member": "carol"}, as_=boss)
    fields = {"name": "carol", "code": issued.code, "new_password": PASSWORD}
    await hall.call("identity.complete_recovery", fields)
    rows = await hall.rows(
        "SELECT 1 FROM identity_session AS s JOIN identity_member AS m"
        " ON m.member_id = s.member_id WHERE m.name IN ('carol', 'dave')"
    )
    assert rows == [], "a code opens no session"
    carol = await hall.sign_in("carol")
    await hall.call("identity.remove_account", {"password": PASSWORD}, as_=carol)
    gone = await hall.call("identity.remove_member", {"member": "dave"}, as_=boss)
    assert await removed(hall) == {carol.member_id, gone.member_id}


@pytest.mark.sqlite  # No older release ran on anything else.
@pytest.mark.requirement("R12")
def test_guests_of_an_older_hall_are_idle_from_its_migration_on() -> None:
    """Nobody knows any more when their sessions were over, so they are not removed at once."""
    folder = Path(identity.__file__).parent / "migrations"
    steps = [step.sql for step in read_migrations("identity", folder, "sqlite")]
    connection = apsw.Connection(":memory:")
    connection.execute("CREATE TABLE action_event (kind TEXT, data TEXT)")
    for step in steps[:5]:
        connection.execute(step)
    for member_id, is_guest, password_hash in (
        ("swept", 1, None),
        ("here", 1, None),
        ("member", 0, None),
        ("recovered", 1, "hash"),
    ):
        connection.execute(
            "INSERT INTO identity_member (member_id, name, name_key, created_at_ms, is_guest,"
            " password_hash) VALUES (?1, ?1, ?1, 0, ?2, ?3)",
            (member_id, is_guest, password_hash),
        )
    connection.execute(
        "INSERT INTO identity_session (session_id, member_id, generation, opened_at_ms,"
        " rotated_at_ms, expires_at_ms, source) VALUES ('s', 'here', 1, 0, 0, 1, '')"
    )
    before_s = int(time.time())
    connection.execute(steps[5])
    rows = connection.execute("SELECT member_id, is_guest, idle_since_ms FROM identity_member")
    found = {row[0]: row[1:] for row in rows}
    is_guest, idle_since_ms = found.pop("swept")
    assert is_guest == 1
    assert before_s <= idle_since_ms // 1_000 <= time.time()
    assert found == {"here": (1, None), "member": (0, None), "recovered": (0, None)}
