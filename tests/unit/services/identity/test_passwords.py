"""What a password must be, and changing it."""

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from moothall.core.errors import InvalidArgumentError, OverloadedError
from moothall.ports.hasher import PasswordHasher
from moothall.services.identity.adapters.blocklist import CommonPasswords
from moothall.services.identity.model import PasswordSettings
from moothall.services.identity.rules.passwords import (
    check_is_not_common,
    check_password,
    find_fault_of_import,
    normalise_password,
)
from moothall.testing import OpenHall, ProblemError, Visitor
from moothall.testing.hall import CheapHasher

PASSWORD = "correct horse battery staple"
NEW = "another password, and longer"
SIGNS = r"""~!@#$%^&*_-+=`|\(){}[]:;"'<>,.?/"""


@pytest.fixture
async def alice(hall: OpenHall) -> Visitor:
    return await hall.member("alice")


async def change(hall: OpenHall, who: Visitor, old: str = PASSWORD, new: str = NEW) -> Any:
    fields = {"password": old, "new_password": new}
    return await hall.call("identity.change_password", fields, as_=who)


async def signs_in(hall: OpenHall, password: str, name: str = "alice") -> str:
    fields = {"name": name, "password": password}
    reply = await hall.answer("identity.open_session", fields)
    return reply.problem.name if reply.problem else "done"


# --- what a password must be ----------------------------------------------------------------------


@pytest.mark.requirement("R6")
@pytest.mark.parametrize(
    "password", ["x" * 7 + "y", "x" * 255 + "y", SIGNS, "пароль и ещё", "ab" * 9]
)
def test_password_of_any_composition_is_taken(password: str) -> None:
    check_password(password, ["alice"], PasswordSettings())


@pytest.mark.requirement("R6")
@pytest.mark.parametrize(
    "password", ["", "1234567", "x" * 256 + "y", "AliceAlice", "xxxxxxxx", "XxXxXxXxXx"]
)
def test_bad_password_is_refused_and_not_repeated(password: str) -> None:
    with pytest.raises(InvalidArgumentError) as refusal:
        check_password(password, ["alicealice"], PasswordSettings(), "new_password")
    assert refusal.value.details["field"] == "new_password"
    assert refusal.value.details["remedy"]
    assert not password or password not in repr(refusal.value.details)


@pytest.mark.requirement("R6")
def test_length_is_a_setting() -> None:
    settings = PasswordSettings(length_min=15, length_max=64)
    for password in ("fourteen signs", "x" * 64 + "y"):
        with pytest.raises(InvalidArgumentError, match="15 to 64"):
            check_password(password, [], settings)
    check_password("fifteen signs!!", [], settings)


@pytest.mark.requirement("R6")
def test_password_typed_on_another_system_is_the_same_password() -> None:
    assert normalise_password("cafe\N{COMBINING ACUTE ACCENT} au lait") == "café au lait"
    assert normalise_password(SIGNS) == SIGNS


@pytest.mark.requirement("R6")
def test_password_of_another_system_must_only_be_typable() -> None:
    settings = PasswordSettings()
    taken = ["1", SIGNS, " leading and trailing ", "\N{NO-BREAK SPACE}é"]
    assert [find_fault_of_import(one, settings) for one in taken] == [""] * 4
    for password in ("", "x" * 257, "tab\there", "bell\a", "nul\0", "\ud800"):
        fault = find_fault_of_import(password, settings)
        assert fault
        assert not password or password not in fault


@pytest.mark.requirement("R6")
async def test_thirty_thousand_common_passwords_are_known_in_any_case() -> None:
    known = CommonPasswords()
    for common in ("password", "PassWord", "12345678", "qwertyuiop", "iloveyou"):
        assert await known.has(common)
    assert not await known.has(PASSWORD)
    assert not await known.has(SIGNS)
    assert known._known is not None
    assert len(known._known) >= 10_000
    with pytest.raises(InvalidArgumentError) as refusal:
        check_is_not_common(is_common=True)
    assert refusal.value.details["remedy"]


def test_list_of_common_passwords_does_not_delay_the_start() -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from moothall.app.discovery import find_rooms\n"
        "find_rooms((), ())\n"
        "sys.exit('zxcvbn' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.requirement("R6")
@pytest.mark.parametrize(
    "password",
    ["password1", "Sunshine", "aaaaaaaaaaaa", "Mallory Minor", "mallory minor", "MalloryMinor",
     "moothall", "hall.test", "https://hall.test", "short"],
)  # fmt: skip
async def test_nobody_registers_with_what_everybody_would_try(
    hall: OpenHall, password: str
) -> None:
    with pytest.raises(ProblemError) as refusal:
        await hall.call("identity.register", {"name": "Mallory Minor", "password": password})
    assert refusal.value.code == "invalid_argument"
    assert refusal.value.details["field"] == "password"
    assert refusal.value.details["remedy"]
    assert await hall.rows("SELECT count(*) FROM identity_member") == [(0,)]


# --- changing it ----------------------------------------------------------------------------------


@pytest.mark.requirement("R16")
async def test_change_ends_all_other_sessions_and_keeps_this_one(
    hall: OpenHall, alice: Visitor
) -> None:
    others = [await hall.sign_in("alice") for _ in range(3)]
    bob = await hall.member("bob")
    changed = await change(hall, alice)
    assert changed.sessions_ended == 3
    for other in others:
        with pytest.raises(ProblemError, match="unauthenticated"):
            await hall.call("identity.get_self", as_=other)
    assert (await hall.call("identity.get_self", as_=alice)).name == "alice"
    assert (await hall.call("identity.get_self", as_=bob)).name == "bob"
    assert await signs_in(hall, PASSWORD) == "wrong_credentials"
    assert await signs_in(hall, NEW) == "done"
    events = await hall.events("identity")
    ended = [event.data for event in events if event.kind == "identity.session_ended"]
    assert {one["session_id"] for one in ended} == {other.session_id for other in others}
    assert {one["reason"] for one in ended} == {"password changed"}
    [event] = [event for event in events if event.kind == "identity.password_changed"]
    assert event.data == {"member_id": alice.member_id, "reason": "changed"}


@pytest.mark.requirement("R16")
async def test_refresh_token_of_another_session_is_worth_nothing_after_it(
    hall: OpenHall, alice: Visitor
) -> None:
    fields = {"name": "alice", "password": PASSWORD}
    thief = await hall.call("identity.open_session", fields)
    await change(hall, alice)
    with pytest.raises(ProblemError, match="session_ended"):
        await hall.call("identity.refresh_session", {"refresh_token": thief.refresh_token})


@pytest.mark.requirement("R16")
@pytest.mark.requirement("R7")
async def test_wrong_old_password_counts_as_a_guess_wherever_it_is_made(
    hall: OpenHall, alice: Visitor
) -> None:
    other = await hall.sign_in("alice")
    for _ in range(2):
        with pytest.raises(ProblemError, match="wrong_credentials"):
            await change(hall, alice, old="a wrong one")
    assert await signs_in(hall, "a wrong one") == "wrong_credentials"
    for old in ("a wrong one", PASSWORD):
        with pytest.raises(ProblemError, match="account_locked"):
            await change(hall, alice, old=old)
    assert await signs_in(hall, PASSWORD) == "account_locked"
    assert (await hall.call("identity.get_self", as_=other)).name == "alice"
    hall.clock.advance(60_000)
    await change(hall, alice)
    assert await signs_in(hall, NEW) == "done"


@pytest.mark.requirement("R7")
async def test_parallel_changes_have_three_guesses_looked_at(
    hall: OpenHall, alice: Visitor
) -> None:
    told = await asyncio.gather(
        *(change(hall, alice, old=f"wrong {at}") for at in range(50)), return_exceptions=True
    )
    names = sorted(one.name for one in told if isinstance(one, ProblemError))
    assert names == ["account_locked"] * 47 + ["wrong_credentials"] * 3


@pytest.mark.requirement("R16")
@pytest.mark.parametrize("new", ["short", "password1", "alicealice" * 30, PASSWORD, "xxxxxxxxxx"])
async def test_new_password_that_may_not_be_chosen_costs_no_guess(
    hall: OpenHall, alice: Visitor, new: str
) -> None:
    for _ in range(5):
        with pytest.raises(ProblemError) as refusal:
            await change(hall, alice, new=new)
        assert refusal.value.details["field"] == "new_password"
    assert await hall.rows("SELECT * FROM identity_lockout") == []
    assert await signs_in(hall, PASSWORD) == "done"


@pytest.mark.requirement("R16")
async def test_of_two_changes_at_once_one_wins(hall: OpenHall, alice: Visitor) -> None:
    class Together(CheapHasher):
        """Lets nobody go on before both have proved the old password."""

        def __init__(self) -> None:
            self.proved, self.all_proved = 0, asyncio.Event()

        async def verify(self, known: str | None, password: str) -> bool:
            is_right = await super().verify(known, password)
            self.proved += 1
            if self.proved == 2:
                self.all_proved.set()
            await self.all_proved.wait()
            return is_right

    other = await hall.sign_in("alice")
    hall.hall.house.ports[PasswordHasher] = Together()  # type: ignore[index]
    told = await asyncio.gather(
        change(hall, alice, new="the first new password"),
        change(hall, other, new="the second new password"),
        return_exceptions=True,
    )
    assert [type(one).__name__ for one in told].count("ProblemError") == 1, told
    hall.hall.house.ports[PasswordHasher] = CheapHasher()  # type: ignore[index]
    won = (
        "the first new password"
        if not isinstance(told[0], ProblemError)
        else ("the second new password")
    )
    assert await signs_in(hall, won) == "done"


@pytest.mark.requirement("R35")
async def test_full_pool_costs_no_guess(hall: OpenHall, alice: Visitor) -> None:
    class Full(CheapHasher):
        async def hash(self, password: str) -> str:
            raise OverloadedError("too many people are signing in", retry_after_ms=1_000)

        async def verify(self, known: str | None, password: str) -> bool:
            return known == await CheapHasher().hash(password)

    hall.hall.house.ports[PasswordHasher] = Full()  # type: ignore[index]
    for _ in range(5):
        with pytest.raises(ProblemError, match="unavailable"):
            await change(hall, alice)
    hall.hall.house.ports[PasswordHasher] = CheapHasher()  # type: ignore[index]
    assert await signs_in(hall, PASSWORD) == "done"


@pytest.mark.requirement("R6")
@pytest.mark.requirement("R24")
async def test_passwords_stand_neither_in_the_audit_trail_nor_in_events(
    hall: OpenHall, alice: Visitor
) -> None:
    await change(hall, alice)
    with pytest.raises(ProblemError):
        await change(hall, alice, old="a wrong old one", new="a third new password")
    rows = await hall.rows("SELECT * FROM access_audit")
    text = repr(rows) + repr(await hall.rows("SELECT * FROM action_event"))
    for secret in (PASSWORD, NEW, "a wrong old one", "a third new password"):
        assert secret not in text
    where = f"member/{alice.member_id}"
    told = [(row[2], row[4], row[5]) for row in rows if row[3] == "identity.change_password"]
    assert told == [
        (alice.member_id, where, "done"),
        (alice.member_id, where, "wrong_credentials"),
    ]


async def test_stranger_changes_nothing(hall: OpenHall, alice: Visitor) -> None:
    fields = {"password": PASSWORD, "new_password": NEW}
    with pytest.raises(ProblemError, match="unauthenticated"):
        await hall.call("identity.change_password", fields)
