"""Sessions: how many, how long, where; and how they end from elsewhere."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from moothall.action.migrations import read_migrations
from moothall.core.errors import InvalidArgumentError
from moothall.core.units import DAY_MS, HOUR_MS
from moothall.services import identity
from moothall.services.identity.jobs import CHUNK_ROWS
from moothall.services.identity.model import SessionSettings
from moothall.services.identity.rules.sessions import check_device, choose_ended
from moothall.testing import ManualClock, OpenHall, ProblemError, Visitor, open_test_hall
from moothall.testing.hall import PASSWORD

DEFAULT = SessionSettings()


async def sign_in(hall: OpenHall, name: str, device: str = "", source: str = "203.0.113.7") -> Any:
    fields = {"name": name, "password": PASSWORD, "device": device}
    return await hall.call("identity.open_session", fields, source=source)


async def refresh(hall: OpenHall, token: str, **fields: Any) -> Any:
    return await hall.call("identity.refresh_session", {"refresh_token": token, **fields})


def visitor(opened: Any) -> Visitor:
    return Visitor(opened.member_id, opened.name, opened.session_id, opened.access_token)


async def is_in(hall: OpenHall, token: str) -> bool:
    """Tell whether the hall takes the bearer for a member."""
    return (await hall.answer("identity.get_self", token=token)).problem is None


async def refused(hall: OpenHall, action: str, request: Any, who: Visitor | None) -> ProblemError:
    with pytest.raises(ProblemError) as refusal:
        await hall.call(action, request, as_=who)
    return refusal.value


async def reasons(hall: OpenHall) -> list[str]:
    """Return why sessions ended, in order."""
    found = await hall.events("identity")
    return [event.data["reason"] for event in found if event.kind == "identity.session_ended"]


async def count_open(hall: OpenHall) -> tuple[int, int]:
    """Return how many sessions are said to be open, and how many rows say so."""
    [(said,)] = await hall.rows("SELECT open FROM identity_session_count")
    [(found,)] = await hall.rows("SELECT count(*) FROM identity_session WHERE ended_at_ms IS NULL")
    return said, found


@pytest.fixture
async def narrow(tmp_path: Path) -> AsyncIterator[OpenHall]:
    """A hall in which two sessions a member and four in all may be open."""
    tables = {"sessions": {"per_member_max": 2, "per_hall_max": 4}}
    tables["lockout"] = {"attempts_max": 50}
    async with open_test_hall(tmp_path, tables=tables) as opened:
        yield opened


# --- decisions ------------------------------------------------------------------------------------


@pytest.mark.requirement("R12")
def test_one_too_many_ends_the_oldest_and_never_the_newest() -> None:
    assert choose_ended(["a", "b", "c"], "c", 3) == []
    assert choose_ended(["a", "b", "c", "d"], "d", 3) == ["a"]
    assert choose_ended(["a", "b", "c", "d"], "d", 1) == ["a", "b", "c"]
    assert choose_ended(["new", "z"], "new", 1) == ["z"], "whatever the order of ids"


@pytest.mark.parametrize(
    "device", ["two\nlines", "\x1b[31mred", "tab\there", "\N{RIGHT-TO-LEFT MARK}"]
)
def test_a_device_label_cannot_disturb_a_screen(device: str) -> None:
    with pytest.raises(InvalidArgumentError) as refusal:
        check_device(device)
    assert refusal.value.details["field"] == "device"
    assert refusal.value.details["remedy"]


def test_a_device_label_loses_blanks_around_it() -> None:
    assert check_device("  Zoë's phone ") == "Zoë's phone"


# --- how many -------------------------------------------------------------------------------------


@pytest.mark.requirement("R12")
async def test_a_member_who_opens_too_many_loses_the_oldest(narrow: OpenHall) -> None:
    ada = await narrow.member("ada")
    second = await sign_in(narrow, "ada")
    assert await reasons(narrow) == []
    third = await sign_in(narrow, "ada")
    assert await reasons(narrow) == ["too many sessions"]
    assert not await is_in(narrow, ada.token)
    assert await is_in(narrow, second.access_token)
    assert await is_in(narrow, third.access_token)
    assert await count_open(narrow) == (2, 2)


@pytest.mark.requirement("R12")
async def test_many_sign_ins_at_once_leave_as_many_as_may_be(narrow: OpenHall) -> None:
    await narrow.member("ada")
    opened = await asyncio.gather(*(sign_in(narrow, "ada") for _ in range(20)))
    alive = [one for one in opened if await is_in(narrow, one.access_token)]
    assert sorted(one.session_id for one in alive) == sorted(one.session_id for one in opened)[-2:]
    assert await count_open(narrow) == (2, 2)
    assert len(await reasons(narrow)) == 19


@pytest.mark.requirement("R12")
async def test_a_full_hall_refuses_and_changes_nothing_until_somebody_leaves(
    narrow: OpenHall,
) -> None:
    for name in ("ada", "bob"):
        await narrow.member(name)
        await sign_in(narrow, name)
    carl = {"name": "carl", "password": PASSWORD}
    await narrow.call("identity.register", carl)
    before = await narrow.rows("SELECT * FROM identity_session")
    refusal = await refused(narrow, "identity.open_session", carl, None)
    assert (refusal.code, refusal.name) == ("resource_exhausted", "hall_full")
    assert refusal.details["remedy"]
    assert await narrow.rows("SELECT * FROM identity_session") == before
    assert await count_open(narrow) == (4, 4)

    ada = visitor(await sign_in(narrow, "ada"))  # takes the place of one of her own
    assert await count_open(narrow) == (4, 4)
    await narrow.call("identity.close_session", as_=ada)
    await narrow.sign_in("carl")
    assert await count_open(narrow) == (4, 4)


# --- how long -------------------------------------------------------------------------------------


@pytest.mark.requirement("R5", "R12")
async def test_a_session_that_nobody_renews_lapses(hall: OpenHall) -> None:
    await hall.member("ada")
    opened = await sign_in(hall, "ada")
    assert opened.refresh_expires_at_ms == hall.clock.now_ms() + DEFAULT.idle_ms
    hall.clock.advance(DEFAULT.idle_ms - 1)
    renewed = await refresh(hall, opened.refresh_token)
    hall.clock.advance(DEFAULT.idle_ms)
    refusal = await refused(
        hall, "identity.refresh_session", {"refresh_token": renewed.refresh_token}, None
    )
    assert (refusal.code, refusal.name) == ("unauthenticated", "session_ended")


@pytest.mark.requirement("R5")
async def test_a_session_ends_after_its_life_however_often_it_is_renewed(hall: OpenHall) -> None:
    await hall.member("ada")
    opened = await sign_in(hall, "ada")
    ends_at_ms = hall.clock.now_ms() + DEFAULT.life_ms
    while hall.clock.now_ms() + DEFAULT.idle_ms <= ends_at_ms:
        hall.clock.advance(DEFAULT.idle_ms - 1)
        opened = await refresh(hall, opened.refresh_token)
    hall.clock.advance(ends_at_ms - 10_000 - hall.clock.now_ms())
    last = await refresh(hall, opened.refresh_token)
    assert last.refresh_expires_at_ms == ends_at_ms
    assert last.access_expires_at_ms == ends_at_ms, "no token outlives its session"
    hall.clock.advance(9_999)
    assert await is_in(hall, last.access_token)
    hall.clock.advance(1)
    assert not await is_in(hall, last.access_token)
    with pytest.raises(ProblemError, match="session_ended"):
        await refresh(hall, last.refresh_token)


@pytest.mark.requirement("R12")
async def test_dead_sessions_are_swept_in_chunks_and_live_ones_stay(hall: OpenHall) -> None:
    ada = await hall.member("ada")
    now_ms = hall.clock.now_ms()
    gone = 2 * CHUNK_ROWS + 3
    insert = """
    INSERT INTO identity_session (session_id, member_id, generation, opened_at_ms, rotated_at_ms,
      expires_at_ms, lapses_at_ms, ended_at_ms, source)
    VALUES ($1, $2, 1, $3, $3, $3, $3, $4, '')
    """

    async def fill(tx: Any) -> None:
        for number in range(gone):  # every third was closed, the others lapsed
            ended = now_ms if number % 3 == 0 else None
            await tx.execute(insert, f"{number:024}", ada.member_id, now_ms, ended)
        lapsed = gone - (gone + 2) // 3
        await tx.execute("UPDATE identity_session_count SET open = open + $1", lapsed)

    await hall.hall.database.write(fill)
    kept = await sign_in(hall, "ada")
    await hall.call("identity.close_session", as_=visitor(kept))
    assert await count_open(hall) == (1 + gone - (gone + 2) // 3,) * 2
    hall.clock.advance(DEFAULT.swept_after_ms)
    await hall.run_job("identity.sweep_sessions")
    assert len(await hall.rows("SELECT 1 FROM identity_session")) == gone + 2, "not yet"
    hall.clock.advance(1)
    await hall.run_job("identity.sweep_sessions")
    rows = await hall.rows("SELECT session_id FROM identity_session")
    assert rows == [(ada.session_id,)]
    assert await count_open(hall) == (1, 1)
    assert await reasons(hall) == ["closed"], "what lapsed by itself needs no telling"


@pytest.mark.requirement("R12")
async def test_sweeping_does_not_forgive_a_session(hall: OpenHall) -> None:
    await hall.member("ada")
    opened = await sign_in(hall, "ada")
    await hall.call("identity.close_session", as_=visitor(opened))
    hall.clock.advance(DEFAULT.swept_after_ms + 1)
    await hall.run_job("identity.sweep_sessions")
    with pytest.raises(ProblemError, match="session_ended"):
        await refresh(hall, opened.refresh_token)


# --- where ----------------------------------------------------------------------------------------


@pytest.mark.requirement("R5")
async def test_list_shows_device_source_and_times_and_marks_the_own_one(hall: OpenHall) -> None:
    ada = await hall.member("ada")
    opened_at_ms = hall.clock.now_ms()
    phone = await sign_in(hall, "ada", device=" phone ", source="203.0.113.8")
    assert phone.device == "phone"
    hall.clock.advance(HOUR_MS)
    renewed = await hall.call(
        "identity.refresh_session", {"refresh_token": phone.refresh_token}, source="203.0.113.9"
    )
    assert renewed.device == "phone", "it need not be said again"
    page = await hall.call("identity.list_sessions", as_=visitor(renewed))
    assert page.next is None
    first, second = page.sessions
    assert (first.session_id, first.is_current, first.device) == (ada.session_id, False, "")
    assert (second.session_id, second.is_current, second.device) == (
        phone.session_id,
        True,
        "phone",
    )
    assert second.source == "203.0.113.9"
    assert (second.opened_at_ms, second.used_at_ms) == (opened_at_ms, hall.clock.now_ms())
    assert second.lapses_at_ms == hall.clock.now_ms() + DEFAULT.idle_ms

    again = await refresh(hall, renewed.refresh_token, device="Ada's phone")
    page = await hall.call("identity.list_sessions", as_=visitor(again))
    assert [one.device for one in page.sessions] == ["", "Ada's phone"]


@pytest.mark.parametrize("device", ["x" * 65, "a\nb"])
async def test_bad_device_label_is_refused_before_anything_else(
    hall: OpenHall, device: str
) -> None:
    ada = await hall.member("ada")
    opened = await sign_in(hall, "ada")
    login = {"name": "ada", "password": PASSWORD, "device": device}
    renewal = {"refresh_token": opened.refresh_token, "device": device}
    for action, request in (("open_session", login), ("refresh_session", renewal)):
        refusal = await refused(hall, f"identity.{action}", request, None)
        assert (refusal.code, refusal.details["field"]) == ("invalid_argument", "device")
    page = await hall.call("identity.list_sessions", as_=ada)
    assert len(page.sessions) == 2
    await refresh(hall, opened.refresh_token)  # the token was not spent


@pytest.mark.requirement("R5")
@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_list_shows_each_open_session_once_whatever_the_page(
    hall: OpenHall, limit: int
) -> None:
    ada = await hall.member("ada")
    opened = [await sign_in(hall, "ada") for _ in range(4)]
    await hall.call("identity.close_session", as_=visitor(opened[1]))
    seen, after = [], ""
    for _ in range(9):
        request = {"after": after, "limit": limit}
        page = await hall.call("identity.list_sessions", request, as_=ada)
        assert len(page.sessions) <= limit
        seen += [one.session_id for one in page.sessions]
        if page.next is None:
            break
        after = page.next
    assert seen == [ada.session_id] + [opened[number].session_id for number in (0, 2, 3)]


@pytest.mark.requirement("R5", "R24")
async def test_session_managers_see_sessions_of_others_and_each_look_is_audited(
    hall: OpenHall,
) -> None:
    boss = await hall.administrator("boss")
    ada, eve = await hall.member("ada"), await hall.member("eve")
    refusal = await refused(hall, "identity.list_sessions_of", {"member": "ada"}, eve)
    assert (refusal.code, refusal.details["permission"]) == ("permission_denied", "sessions:read")
    await hall.call("access.grant_role", {"member": "eve", "role": "session_manager"}, as_=boss)
    for name in ("ada", ada.member_id):
        page = await hall.call("identity.list_sessions_of", {"member": name}, as_=eve)
        assert [one.session_id for one in page.sessions] == [ada.session_id]
        assert not page.sessions[0].is_current
    rows = await hall.rows(
        "SELECT actor, path, outcome FROM access_audit WHERE action = $1",
        "identity.list_sessions_of",
    )
    where = f"member/{ada.member_id}"
    assert [row[1:] for row in rows] == [("", "permission_denied"), *[(where, "done")] * 2]
    assert {row[0] for row in rows} == {eve.member_id}
    missing = await refused(hall, "identity.list_sessions_of", {"member": "nobody"}, eve)
    assert missing.name == "member_not_found"


# --- ending from elsewhere ------------------------------------------------------------------------


@pytest.mark.requirement("R5")
async def test_own_session_is_revoked_by_id_and_refused_at_once(hall: OpenHall) -> None:
    ada = await hall.member("ada")
    phone = await sign_in(hall, "ada")
    assert await is_in(hall, phone.access_token)
    done = await hall.call("identity.revoke_session", {"session_id": phone.session_id}, as_=ada)
    assert (done.session_id, done.ended_at_ms) == (phone.session_id, hall.clock.now_ms())
    assert not await is_in(hall, phone.access_token)
    with pytest.raises(ProblemError, match="session_ended"):
        await refresh(hall, phone.refresh_token)
    assert await is_in(hall, ada.token)
    assert await reasons(hall) == ["revoked"]


@pytest.mark.requirement("R5", "R20")
async def test_a_strangers_session_an_ended_one_and_none_are_answered_alike(
    hall: OpenHall,
) -> None:
    ada, eve = await hall.member("ada"), await hall.member("eve")
    ended = await hall.sign_in("eve")
    await hall.call("identity.close_session", as_=ended)
    before = await hall.rows("SELECT * FROM identity_session ORDER BY session_id")
    answers = set()
    for session_id in (ada.session_id, ended.session_id, "0" * 24, "x"):
        refusal = await refused(hall, "identity.revoke_session", {"session_id": session_id}, eve)
        assert refusal.details["session_id"] == session_id
        details = {**refusal.details, "session_id": ""}
        answers.add((refusal.code, refusal.name, str(details)))
    assert len(answers) == 1
    assert {answer[:2] for answer in answers} == {("not_found", "session_not_found")}
    assert await is_in(hall, ada.token)
    assert await hall.rows("SELECT * FROM identity_session ORDER BY session_id") == before


@pytest.mark.requirement("R5")
async def test_signing_out_everywhere_else_leaves_this_one(hall: OpenHall) -> None:
    ada, bob = await hall.member("ada"), await hall.member("bob")
    others = [await sign_in(hall, "ada") for _ in range(3)]
    done = await hall.call("identity.close_other_sessions", as_=ada)
    assert (done.member_id, done.ended_count) == (ada.member_id, 3)
    assert await is_in(hall, ada.token)
    assert await is_in(hall, bob.token)
    assert not any([await is_in(hall, other.access_token) for other in others])
    assert await reasons(hall) == ["closed from another session"] * 3
    assert (await hall.call("identity.close_other_sessions", as_=ada)).ended_count == 0
    assert await count_open(hall) == (2, 2)


@pytest.mark.requirement("R5", "R20")
async def test_a_session_manager_signs_a_member_out_everywhere(hall: OpenHall) -> None:
    boss = await hall.administrator("boss")
    ada, eve = await hall.member("ada"), await hall.member("eve")
    phone = await sign_in(hall, "ada")
    refusal = await refused(hall, "identity.revoke_sessions_of", {"member": "ada"}, eve)
    assert (refusal.code, refusal.details["permission"]) == ("permission_denied", "sessions:revoke")
    assert await is_in(hall, ada.token)
    await hall.call("access.grant_role", {"member": "eve", "role": "session_manager"}, as_=boss)
    done = await hall.call("identity.revoke_sessions_of", {"member": "ada"}, as_=eve)
    assert (done.member_id, done.ended_count) == (ada.member_id, 2)
    assert not await is_in(hall, ada.token)
    assert not await is_in(hall, phone.access_token)
    assert await is_in(hall, eve.token)
    assert (await hall.sign_in("ada")).member_id == ada.member_id, "the account stays"
    missing = await refused(hall, "identity.revoke_sessions_of", {"member": "nobody"}, eve)
    assert missing.name == "member_not_found"
    [path] = await hall.rows(
        "SELECT path FROM access_audit WHERE action = $1 AND outcome = 'done'",
        "identity.revoke_sessions_of",
    )
    assert path == (f"member/{ada.member_id}",)


@pytest.mark.requirement("R5")
async def test_revocation_survives_a_restart(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_test_hall(tmp_path, clock=clock) as hall:
        boss = await hall.administrator("boss")
        ada, bob = await hall.member("ada"), await hall.member("bob")
        phone = await sign_in(hall, "bob")
        await hall.call("identity.revoke_sessions_of", {"member": "ada"}, as_=boss)
        await hall.call("identity.revoke_session", {"session_id": phone.session_id}, as_=bob)
    clock.advance(200_000)
    async with open_test_hall(tmp_path, clock=clock) as hall:
        assert not await is_in(hall, ada.token)
        assert not await is_in(hall, phone.access_token)
        assert await is_in(hall, bob.token)
        with pytest.raises(ProblemError, match="session_ended"):
            await refresh(hall, phone.refresh_token)


@pytest.mark.requirement("R12")
async def test_the_settings_of_a_hall_are_kept_to(tmp_path: Path) -> None:
    tables = {"sessions": {"life_ms": 2 * HOUR_MS, "idle_ms": HOUR_MS, "swept_after_ms": DAY_MS}}
    async with open_test_hall(tmp_path, tables=tables) as hall:
        await hall.member("ada")
        opened = await sign_in(hall, "ada")
        assert opened.refresh_expires_at_ms == hall.clock.now_ms() + HOUR_MS
        hall.clock.advance(HOUR_MS - 1)
        opened = await refresh(hall, opened.refresh_token)
        hall.clock.advance(HOUR_MS - 1)
        opened = await refresh(hall, opened.refresh_token)
        assert opened.refresh_expires_at_ms == hall.clock.now_ms() + 2


@pytest.mark.sqlite  # No older release ran on anything else.
@pytest.mark.requirement("R5")
def test_sessions_and_keys_of_an_older_hall_go_on() -> None:
    folder = Path(identity.__file__).parent / "migrations"
    steps = [step.sql for step in read_migrations("identity", folder, "sqlite")][:4]
    connection = apsw.Connection(":memory:")
    connection.execute(steps[0])
    connection.execute(
        "INSERT INTO identity_member (member_id, name, name_key, created_at_ms)"
        " VALUES ('m', 'Ada', 'ada', 0)"
    )
    for session_id, rotated_at_ms, ended_at_ms in (
        ("a", 5, None),
        ("b", 29 * DAY_MS, None),
        ("c", 5, 9),
    ):
        connection.execute(
            "INSERT INTO identity_session (session_id, member_id, generation, opened_at_ms,"
            " rotated_at_ms, expires_at_ms, ended_at_ms, source)"
            " VALUES (?, 'm', 1, 0, ?, ?, ?, '')",
            (session_id, rotated_at_ms, 30 * DAY_MS, ended_at_ms),
        )
    connection.execute("INSERT INTO identity_key VALUES ('k', '00', 7, NULL)")
    for step in steps[1:]:
        connection.execute(step)
    rows = connection.execute("SELECT session_id, lapses_at_ms, device FROM identity_session")
    lapse_ms = 5 + DEFAULT.idle_ms
    assert list(rows) == [("a", lapse_ms, ""), ("b", 30 * DAY_MS, ""), ("c", lapse_ms, "")]
    assert list(connection.execute("SELECT open FROM identity_session_count")) == [(2,)]
    assert list(connection.execute("SELECT begins_at_ms FROM identity_key")) == [(7,)]
